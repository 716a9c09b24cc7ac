"""Paid teachers in the workflow: when the key is asked for, what reruns, and real runs against servers of ours."""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from doubledraft.api_keys import VARIABLES
from doubledraft.questions.wordproblems import generate
from doubledraft.records import Trace, read_records
from doubledraft.traces.condense import condense
from doubledraft.traces.draft_rule import Rule
from doubledraft.traces.teacher import oracle
from tests.helpers.gemini_server import GeminiServer, answer, lines
from tests.helpers.openai_server import Fault, Server
from tests.helpers.running import ROOT, Outcome, copy_workflow, put_stand_ins, snakemake

pytestmark = pytest.mark.slow
RULE = Rule(min_steps=3, max_steps=5, max_words=5)
COUNT = 10
TARGETS = [f"data/{type}/easy/{name}" for type in ("cot", "cod") for name in ("traces.jsonl", "asked.json")]
PAID = {
    "study": "paid",
    "scenarios": {"easy": {"train": COUNT, "test": 2}, "medium": None, "hard": None},
    "types": {"cod": {"by": "teacher"}},
    "teacher": {
        "name": "openai",
        "model": "tiny",
        "base_url": "http://127.0.0.1:9/v1",
        "price": {"input": 1, "output": 10},
        "budget": 1,
    },
}
KEY = "sk-sentinel-0123456789"


def configured(folder: Path, model: Path | None = None, **teacher) -> Path:
    """Write a study with a paid teacher into a folder, its target a model folder, and give its path."""
    path = folder / "paid.yaml"
    pair = {"target": "tiny", "draft": "tiny", "sources": {"tiny": {"source": "path", "path": str(model)}}}
    path.write_text(yaml.safe_dump(PAID | {"teacher": PAID["teacher"] | teacher} | ({"models": pair} if model else {})))
    return path


# what reruns


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Return a folder in which stand-ins made the traces of a paid teacher."""
    folder = copy_workflow(tmp_path_factory.mktemp("made"))
    put_stand_ins(folder)
    first = snakemake("--configfile", str(configured(folder)), "--", *TARGETS, folder=folder)
    assert first.code == 0, first.text[-3000:]
    return folder


@pytest.mark.parametrize(
    ("teacher", "reruns"),
    [
        ({}, {}),
        ({"budget": 2, "min_yield": 0.1, "concurrency": 3, "deadline_hours": 1, "price": {"output": 2}}, {}),
        ({"pending_hours": 1}, {}),
        ({"model": "other"}, {"write_cot": 1, "summarize_cod": 1}),
        ({"attempts": 5}, {"write_cot": 1, "summarize_cod": 1}),
        ({"max_output_tokens": 5}, {"write_cot": 1, "summarize_cod": 1}),
    ],
    ids=str,
)
def test_only_what_traces_depend_on_writes_them_again(made, teacher, reruns):
    change = ("--config", f"teacher={json.dumps(teacher)}") if teacher else ()
    outcome = snakemake("-n", "--configfile", "paid.yaml", *change, "--", *TARGETS, folder=made)
    assert outcome.code == 0, outcome.text
    assert outcome.jobs == reruns


@pytest.mark.parametrize(
    ("prompt", "reruns"),
    [
        ("teacher_solve", {"write_cot": 1, "summarize_cod": 1}),
        ("teacher_condense", {"summarize_cod": 1}),
        ("teacher_independent", {}),
    ],
)
def test_a_prompt_of_the_teacher_reruns_the_types_that_it_writes(made, tmp_path, prompt, reruns):
    folder = shutil.copytree(made, tmp_path / "copy", symlinks=True)
    file = folder / f"config/prompts/{prompt}.yaml"
    file.write_text(file.read_text().replace("user:", "# edited\nuser:"))
    outcome = snakemake("-n", "--configfile", "paid.yaml", "--", *TARGETS, folder=folder)
    assert outcome.jobs == reruns


def test_answering_anew_needs_no_chain_of_thought(tmp_path):
    anew = ("--config", "types={cod: {by: independent}}")
    outcome = snakemake(
        "-n",
        "--configfile",
        str(configured(tmp_path)),
        "--directory",
        str(tmp_path),
        *anew,
        "--",
        "data/cod/easy/traces.jsonl",
        folder=ROOT,
    )
    assert outcome.code == 0, outcome.text
    assert outcome.jobs == {"record_study": 1, "fetch_questions": 1, "summarize_cod": 1}


# the key


def run(folder: Path, *arguments: str, **variables: str) -> Outcome:
    """Run the command line with no key in the environment but those given."""
    known = {name for names in VARIABLES.values() for name in names}
    environment = {name: value for name, value in os.environ.items() if name not in known} | variables
    study = ("--directory", str(folder), "--configfile", str(folder / "paid.yaml"), "--cores", "1")
    return snakemake(*study, *arguments, folder=ROOT, environment=environment)


def test_a_missing_key_stops_a_run_before_its_first_job_and_no_dry_run(tmp_path):
    configured(tmp_path, name="gemini", base_url=None)
    outcome = run(tmp_path, *TARGETS)
    assert outcome.code != 0
    assert "gemini needs a key: set GOOGLE_API_KEY or GEMINI_API_KEY" in outcome.text
    assert "Traceback" not in outcome.text and not (tmp_path / "results/study.json").exists()
    study = ("--configfile", str(tmp_path / "paid.yaml"), "--directory", str(tmp_path))
    assert snakemake("-n", *study, "--", *TARGETS, folder=ROOT).code == 0
    estimates = run(tmp_path, "data/cot/easy/estimate.json", "data/cod/easy/estimate.json")
    assert estimates.code == 0, estimates.text
    found = json.loads((tmp_path / "data/cot/easy/estimate.json").read_text())
    assert (found["requests"], found["usd_budget"], found["allowed"]) == (COUNT, 1, True)
    assert 0 < found["usd_low"] < found["usd_first_round"] < found["usd_high"]


# real runs


def solutions() -> dict[str, Trace]:
    """Return the solution of every question of the study by the question's text."""
    asked = generate.generate("easy", "train", COUNT, 17, "easy")
    return {trace.question: trace for trace in oracle.write_traces(asked)}


def good_teacher(messages: list[dict]) -> str:
    """Solve, or condense where a solution is in the request."""
    known, text = solutions(), messages[-1]["content"]
    trace = next(trace for question, trace in known.items() if question in text)
    return condense(trace, "cod", RULE).text if "Solution:" in text else trace.text


def everything_written(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".env")


def test_openai_teacher_writes_condenses_and_is_paid_once_whatever_fails(tmp_path, tiny_model):
    audits = [f"data/{type}/easy/audit.json" for type in ("cot", "cod")]
    with Server(good_teacher, [Fault(429), Fault(500), Fault(kind="length"), Fault(kind="reset")]) as server:
        configured(tmp_path, tiny_model, base_url=server.url)
        outcome = run(tmp_path, *audits, OPENAI_API_KEY=KEY)
        assert outcome.code == 0, outcome.text[-4000:]
        for type in ("cot", "cod"):
            assert len(read_records(tmp_path / f"data/{type}/easy/traces.jsonl", Trace)) == COUNT
        asked = json.loads((tmp_path / "data/cot/easy/asked.json").read_text())
        assert asked["rounds"][0]["reasons"] == {"truncated": 1} and asked["usd_per_kept"] > 0
        count = len(server.asked)
        assert count == 2 * COUNT + 1 + 3  # one was cut, three failed
        again = run(tmp_path, *TARGETS, "--forcerun", "write_cot", OPENAI_API_KEY=KEY)
        assert again.code == 0, again.text[-4000:]
        assert len(server.asked) == count, "all of it is in the ledger"
    for path in audits:
        audit = json.loads((tmp_path / path).read_text())
        assert (audit["kept"], audit["teacher"], audit["verified"]["value"]) == (COUNT, "openai tiny", 1)
        assert audit["provenance"]["seed"] == 17 and audit["provenance"]["settings"]["teacher"]["name"] == "openai"
        assert audit["asked"]["usd"] > 0 and audit["asked"]["rounds"][0]["asked"] == COUNT
    assert audit["compliant"]["value"] == 1
    assert KEY not in outcome.text and KEY.encode() not in everything_written(tmp_path)


def test_gemini_teacher_writes_and_condenses_in_one_job_each(tmp_path):
    with GeminiServer() as server:
        server.states = ["BATCH_STATE_SUCCEEDED"]
        server.rows = lambda requests: lines(
            [
                {
                    "key": row["key"],
                    "response": answer(
                        0, good_teacher([{"content": row["request"]["contents"][0]["parts"][0]["text"]}])
                    ),
                }
                for row in requests
            ]
        )
        configured(tmp_path, name="gemini", base_url=server.url)
        (tmp_path / ".env").write_text(f"GEMINI_API_KEY={KEY}\n")
        outcome = run(tmp_path, *TARGETS)
        assert outcome.code == 0, outcome.text[-4000:]
        assert len(server.jobs) == 2 and len(server.asked) == 2 * COUNT
    kept = read_records(tmp_path / "data/cod/easy/traces.jsonl", Trace)
    assert len(kept) == COUNT and {trace.teacher for trace in kept} == {"gemini tiny"}
    assert KEY not in outcome.text and KEY.encode() not in everything_written(tmp_path)
