"""Every target with every draft: the diagonal is the cell's own audit, and the table has every pair."""

import csv

import pytest

from doubledraft.evaluation.audit import draft_audit, matrix
from doubledraft.files import write_json
from doubledraft.inference.teacher_forcing import force_drafts, ready
from doubledraft.inference.tokenizing import stop_ids
from doubledraft.models.inspect import load_tokenizer
from doubledraft.models.merge import merged
from doubledraft.records import Generation, Question, read_records, write_records
from doubledraft.summaries import json_file
from doubledraft.summaries.draft_audit import AcceptanceRow
from tests.helpers import made_up
from tests.helpers.small_job import small_job
from tests.helpers.tiny_models import build_adapter, build_model

CELLS = ["cot_easy", "cod_easy"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Write the rows of two cells, whose targets and drafts are adapters of one base; return folder and arguments."""
    folder = tmp_path_factory.mktemp("study")
    base = build_model(folder / "base")
    tokenizer = load_tokenizer(base)
    adapters = {name: str(build_adapter(base, folder / f"{name}_draft", seed=at)) for at, name in enumerate(CELLS)}
    arguments = {}
    for at, cell in enumerate(CELLS):
        job = small_job(folder, base, cell, questions=3)
        asked = read_records(job.questions, Question)
        ids = tokenizer.encode("4 boxes with 6 pencils each, so 4 * 6 = 24. #### 24")
        prompts = [
            draft_audit.prompts.messages(draft_audit.prompts.load(job.prompt), q.question, few_shot=False)
            for q in asked
        ]
        lengths = [len(draft_audit.prompt_ids(tokenizer, messages)) for messages in prompts]
        rows = [
            Generation(
                id=question.id,
                prompt_tokens=length,
                token_ids=ids,
                text="",
                finish_reason="stop",
                batch=0,
                batch_seconds=1.0,
            )
            for question, length in zip(asked, lengths, strict=True)
        ]
        write_records(job.out, rows)
        write_json(job.run_out, made_up.run_file())
        arguments[cell] = {
            "cell": cell,
            "questions": job.questions,
            "generations": job.out,
            "run": job.run_out,
            "prompt": job.prompt,
            "target": (str(base), str(build_adapter(base, folder / f"{cell}_target", seed=5 + at))),
            "draft": str(base),
            "adapters": adapters,
            "dtype": "float32",
            "settings": {"seed": 17},
            "out": str(folder / f"{cell}_row.json"),
        }
        matrix.write_row(**arguments[cell])
    return folder, arguments


@pytest.mark.slow
def test_a_pair_of_the_matrix_is_what_reading_it_alone_gives(study):
    _, arguments = study
    given = arguments["cod_easy"]
    row = json_file.read(given["out"], AcceptanceRow)
    assert list(row.drafts) == [*CELLS, "untrained"]
    tokenizer = load_tokenizer(given["draft"])
    answers = draft_audit.read_answers(
        given["generations"], read_records(given["questions"], Question), given["prompt"], tokenizer
    )
    target, draft = (
        ready(merged(given["draft"], adapter, dtype="float32"))
        for adapter in (given["target"][1], given["adapters"]["cot_easy"])
    )
    [alone] = force_drafts(target, [(draft, None)], answers)
    expected = matrix.acceptance(alone, tokenizer, stop_ids(given["draft"], tokenizer), 17)
    assert row.drafts["cot_easy"].agreement == expected.agreement
    assert row.drafts["cot_easy"] != row.drafts["cod_easy"]


@pytest.mark.slow
def test_the_table_has_a_line_for_every_pair_and_the_figure_is_drawn(study, tmp_path):
    folder, _ = study
    matrix.write_matrix(
        [str(folder / f"{cell}_row.json") for cell in CELLS],
        table=str(tmp_path / "matrix.csv"),
        figure=str(tmp_path / "matrix.png"),
    )
    with open(tmp_path / "matrix.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["target"], line["draft"]) for line in lines] == [
        (target, draft) for target in CELLS for draft in (*CELLS, "untrained")
    ]
    assert all(0 <= float(line["agreement"]) <= 1 for line in lines)
    assert {line["agreement_low"] for line in lines} == {""}, "three answers are too few for an interval"
    assert all(1 <= float(line["tokens_per_step_4"]) <= 5 for line in lines)
    assert (tmp_path / "matrix.png").stat().st_size > 5000
