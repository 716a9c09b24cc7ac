"""Makes doubledraft/report/published.json, the published study's figures, from its own raw results.

The study is SOURCE. `published_study.csv` beside this file holds what its folders `outputs/` and `data/training/` hold
at COMMIT, a row per run; with a clone of it the rows are counted again. `published_study.yaml` has the words.

    python -m benchmarks.published_study                    # published.json from published_study.csv
    python -m benchmarks.published_study --clone FOLDER     # published_study.csv from the clone first
"""

import argparse
import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from doubledraft import yaml_files
from doubledraft.files import whole_file
from doubledraft.summaries.table import write_csv
from doubledraft.traces.draft_rule import count_words

SOURCE = "https://github.com/Hassan-Sarwat/efficient-speculative-decoding"
COMMIT = "9cb1f62857666511aee95a627edfeef6ebedd262"
RAW, WORDS = (Path(__file__).with_suffix(end) for end in (".csv", ".yaml"))
PUBLISHED = Path(__file__).parents[1] / "doubledraft/report/published.json"
SCENARIOS, TYPES = ("easy", "medium", "hard"), ("cot", "cod")
CAP = 512  # tokens per answer
LENGTH = 5  # K, drafted tokens per step
SHORT = 5  # words of a step, at most, by the chain of draft rule
BILLIONS = {
    "target": 14.8,
    "draft": 0.6,
}  # parameters of Qwen3-14B and Qwen3-0.6B; a step reads the one and K times the other
Run = Mapping[str, float]
Runs = Mapping[tuple[str, str, bool], Run]  # by type, scenario, and whether it drafted
Answers = Sequence[Mapping[str, str]]


def main() -> None:
    """Read the options and write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clone", type=Path, help="folder of a clone of the study, at the commit that is named here")
    if clone := parser.parse_args().clone:
        write_csv(RAW, count(clone))
    with whole_file(PUBLISHED) as file:
        file.write(json.dumps(published(read(RAW)), indent=2, ensure_ascii=False) + "\n")


def count(clone: Path) -> list[dict[str, object]]:
    """Return a row per run of the study, counted from its metrics, its tables of answers and its training sets."""
    csv.field_size_limit(1 << 30)
    rows = []
    for scenario in SCENARIOS:
        answers = {type: _answers(clone / "outputs", type, scenario) for type in (*TYPES, "base")}
        ended = _both_ended(*(answers[type]["baseline"] for type in TYPES))
        for type, runs in answers.items():
            measured = json.loads((clone / f"outputs/metrics_{type}_{scenario}_benchmark.json").read_text())
            trained = _training(clone / f"data/training/{type}_{scenario}.jsonl") if type in TYPES else {}
            rows += [
                {"type": type, "scenario": scenario, "speculative": int(mode == "speculative")}
                | _counts(runs[mode], runs["baseline"], measured[mode], ended if type in TYPES else [])
                | trained
                for mode in runs
            ]
    return rows


def _answers(outputs: Path, type: str, scenario: str) -> dict[str, list[dict[str, str]]]:
    """Return the answers of a cell by mode, in the order of the file."""
    runs: dict[str, list] = {}
    with open(outputs / f"{type}_{scenario}_benchmark_{scenario}.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            runs.setdefault(row["run_id"].rsplit("_", 1)[1], []).append(row)
    return runs


def _both_ended(cot: Answers, cod: Answers) -> list[int]:
    """Return the places of the questions to which both types have an answer that ended before the cap."""
    if [row["question"] for row in cot] != [row["question"] for row in cod]:
        raise ValueError("expected the tables of CoT and CoD to have the same questions in one order")
    return [at for at, pair in enumerate(zip(cot, cod, strict=True)) if all(int(row["tokens"]) < CAP for row in pair)]


def _counts(rows: Answers, plain: Answers, measured: Run, ended: Sequence[int]) -> dict[str, object]:
    right = [row["is_correct"] == "True" for row in rows]
    return {
        "n": len(rows),
        "right": sum(right),
        "both_ended": len(ended),
        "right_of_both_ended": sum(right[at] for at in ended),
        "tokens": sum(int(row["tokens"]) for row in rows),
        "cut": sum(int(row["tokens"]) >= CAP for row in rows),
        "unclosed_think": sum("<think>" in row["prediction"] and "</think>" not in row["prediction"] for row in rows),
        "same_text": sum(row["prediction"] == other["prediction"] for row, other in zip(rows, plain, strict=True)),
        "drafted": measured["num_draft_tokens"],
        "accepted": measured["num_accepted_tokens"],
        "seconds": measured["total_duration_sec"],
        "first_token_ms": measured["avg_ttft_ms"],
    }


def _training(path: Path) -> dict[str, int]:
    """Return counts of a training set: rows, those without an equation, steps, and how many of these are short."""
    texts = [json.loads(line)["output"] for line in path.read_text(encoding="utf-8").splitlines()]
    steps = [step for text in texts for step in text.partition("####")[0].split("->") if step.strip()]
    return {
        "training_rows": len(texts),
        "training_without_equation": sum("=" not in text for text in texts),
        "training_steps": len(steps),
        "training_steps_of_few_words": sum(count_words(step) <= SHORT for step in steps),
        "training_steps_of_few_tokens": sum(len(step.split()) <= SHORT for step in steps),
    }


def read(path: Path) -> Runs:
    """Return the rows of the file of raw values."""
    runs = {}
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            key = (row.pop("type"), row.pop("scenario"), row.pop("speculative") == "1")
            runs[key] = {name: float(value) for name, value in row.items() if value}
    return runs


def published(runs: Runs) -> dict[str, object]:
    """Return what published.json holds: figures cell by cell, their definitions, and what to know before comparing."""
    words = yaml_files.read(WORDS)
    cells = [_cell(runs, scenario, type) for scenario in SCENARIOS for type in TYPES]
    computed = _figures(runs, cells)
    return {
        "title": words["title"],
        "source": SOURCE,
        "commit": COMMIT,
        "made_by": "benchmarks/published_study.py",
        "setup": words["setup"],
        "scenarios": {
            name: {"questions": words["scenarios"][name], "n": int(runs["cot", name, False]["n"])} for name in SCENARIOS
        },
        "rows": cells,
        "combined": {
            name: round(runs["cot", name, False]["seconds"] / runs["cod", name, True]["seconds"], 2)
            for name in SCENARIOS
        },
        "definitions": words["definitions"],
        "caveats": [text.format(**computed) for text in words["caveats"]],
    }


def _cell(runs: Runs, scenario: str, type: str) -> dict[str, object]:
    plain, drafted = (runs[type, scenario, speculative] for speculative in (False, True))
    per_step = drafted["tokens"] / (drafted["drafted"] / LENGTH)
    return {
        "scenario": scenario,
        "type": type,
        "speedup": round(plain["seconds"] / drafted["seconds"], 2),
        "accuracy": round(_share(plain, "right"), 3),
        "accuracy_finished": round(plain["right_of_both_ended"] / plain["both_ended"], 3),
        "accuracy_with_draft": round(_share(drafted, "right"), 3),
        "tokens": round(_share(plain, "tokens"), 1),
        "identical": round(_share(drafted, "same_text"), 3),
        "tokens_per_step": round(per_step, 2),
        "acceptance_rate": round((per_step - 1) / LENGTH, 3),
        "order_independent_agreement": round(drafted["accepted"] / drafted["drafted"], 3),
    }


def _share(run: Run, name: str) -> float:
    return run[name] / run["n"]


def _figures(runs: Runs, cells: Sequence[Mapping[str, object]]) -> dict[str, str]:
    """Return the figures that the caveats name, as text."""
    base = [runs["base", scenario, False] for scenario in SCENARIOS]
    pairs = [[runs[type, scenario, drafts] for drafts in (False, True)] for scenario in SCENARIOS for type in TYPES]
    cot, cods = runs["cot", "easy", False], [runs["cod", scenario, False] for scenario in SCENARIOS]
    steps = sum(run["training_steps"] for run in cods)
    costs = [
        drafted["seconds"] * LENGTH / drafted["drafted"] / plain["seconds"] * plain["tokens"]
        for plain, drafted in pairs
    ]
    rates = {type: _percents(cell["acceptance_rate"] for cell in cells if cell["type"] == type) for type in TYPES}
    return {
        "untrained": _percents(_share(run, "right") for run in base),
        "cut": _percents(_share(run, "cut") for run in base),
        "unclosed": _percents(_share(run, "unclosed_think") for run in base),
        "agreement": _percents(cell["order_independent_agreement"] for cell in cells),
        "cot_rate": rates["cot"],
        "cod_rate": rates["cod"],
        "first_token": _percents(1 - drafted["first_token_ms"] / plain["first_token_ms"] for plain, drafted in pairs),
        "no_equation": _percents([cot["training_without_equation"] / cot["training_rows"]]),
        "few_words": _percents([sum(run["training_steps_of_few_words"] for run in cods) / steps]),
        "few_tokens": _percents([sum(run["training_steps_of_few_tokens"] for run in cods) / steps]),
        "saving": _percents([1 - runs["cod", "hard", False]["tokens"] / runs["cot", "hard", False]["tokens"]]),
        "step_cost": f"{min(costs):.1f} to {max(costs):.1f}",
        "bytes_cost": f"{1 + LENGTH * BILLIONS['draft'] / BILLIONS['target']:.1f}",
    }


def _percents(shares: Iterable[float]) -> str:
    """Return the range of some shares as percentages."""
    values = list(shares)
    low, high = (f"{100 * end:.0f}" for end in (min(values), max(values)))
    return f"{low} %" if low == high else f"{low}–{high} %"


if __name__ == "__main__":
    main()
