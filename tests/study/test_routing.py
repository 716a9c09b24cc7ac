"""Drafts by domain and their router at miniature scale, by Snakemake: all is real but for the size of the models."""

import json
import subprocess
import sys

import pytest

from doubledraft.engine.draft_vocabulary import learn_from_files, of_draft
from doubledraft.records import Question, read_records
from doubledraft.routing import matrix as matrices
from tests.helpers import domain_study, miniature
from tests.helpers.running import ROOT

pytestmark = pytest.mark.slow
PAGE = "results/routing/report.html"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder in which the page was made."""
    files = tmp_path_factory.mktemp("routing")
    config = domain_study.build(files)
    miniature.build_taught_model(files / "model")
    made = snakemake(files, config, PAGE)
    assert made.returncode == 0, made.stderr[-4000:]
    return files


def snakemake(folder, config, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line from the repository, with a folder of its own as working directory."""
    command = [sys.executable, "-m", "snakemake", "--configfile", config, "--cores", "1", "--directory", folder / "run"]
    return subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_page_says_what_the_score_says(folder):
    score = json.loads((folder / "run/results/routing/score.json").read_text())
    assert score["conclusion"] in (folder / "run" / PAGE).read_text()
    assert score["test_prompts"] == 2 * domain_study.COUNTS["test"] and score["provenance"]["config_hash"]
    named = {arm["name"] for arm in score["arms"]}
    assert {"random", "best single", "domain label", "centroid", "knn", "mlp", "hedge", "oracle"} <= named


def test_every_draft_answered_every_prompt_and_no_group_is_in_two_splits(folder):
    matrix = matrices.read(folder / "run/results/routing/matrix.csv")
    assert set(matrix.drafts) == {"chat", "reasoning", "generic"} and matrix.seconds.shape[2] == 2
    groups = {
        split: {
            row.subject
            for name in ("chat", "reasoning")
            for row in read_records(folder / f"run/data/domains/{name}/{split}.jsonl", Question)
        }
        for split in ("train", "validation", "test")
    }
    assert not groups["train"] & (groups["validation"] | groups["test"]) | groups["validation"] & groups["test"]


def test_a_draft_learns_to_choose_among_the_tokens_that_it_will_propose(folder):
    domains = folder / "run/results/domains"
    answers = {name: domains / name / "answers.jsonl" for name in ("chat", "reasoning")}
    for draft, learnt in {**{name: [path] for name, path in answers.items()}, "generic": answers.values()}.items():
        assert of_draft(domains / draft / "best") == learn_from_files(learnt)


def test_drafts_are_kept_and_nothing_is_left_to_do(folder):
    assert (folder / "run/results/domains/generic/best/model.safetensors").exists()
    again = snakemake(folder, folder / "study.yaml", PAGE)
    assert "Nothing to be done" in again.stderr and not list(folder.rglob("*.partial"))
