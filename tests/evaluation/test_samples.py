"""Samples and the comparison page show every row, and nothing that a model wrote can act on its reader."""

import csv
import unicodedata
from dataclasses import replace

from doubledraft import escaping
from doubledraft.evaluation import samples
from doubledraft.evaluation.runs import Graded, Run
from doubledraft.records import Generation, Question, Score, from_json
from doubledraft.stats import Interval
from doubledraft.summaries.cell_metrics import Accuracy, CellMetrics, RunMetrics
from doubledraft.summaries.run_file import RunFile
from tests.helpers import made_up

HOSTILE = "=cmd|' /C calc'!A0 \x1b[31mred \u202edesrever\r\n</script>"


def question(id="q1", text="What is 1 + 1?", answer="2"):
    return Question(id=id, scenario="easy", split="test", question=text, answer=answer, steps=[], level="1")


def graded(*answers):
    """Return a graded run with one (text, ids, finish, verdict) per answer; its metrics are made up."""
    rows = [
        Generation(
            id=f"q{index}",
            prompt_tokens=1,
            token_ids=ids,
            text=text,
            finish_reason=finish,
            batch=index,
            batch_seconds=1.0,
            latency=0.5,
            steps=2,
            drafted=3,
            accepted=1,
        )
        for index, (text, ids, finish, _) in enumerate(answers, start=1)
    ]
    scores = [
        Score(id=row.id, strict="2", lenient="2", strict_verdict=verdict, lenient_verdict=verdict)
        for row, (*_, verdict) in zip(rows, answers, strict=True)
    ]
    share = Interval(0.5, 0.25, 0.75, len(rows))
    metrics = replace(
        from_json(made_up.mode(1, 20.0, 3.0), RunMetrics, "made up"),
        accuracy=Accuracy(strict=share, lenient=share, strict_finished=share, lenient_finished=None),
        truncation_warning=any(row.finish_reason == "length" for row in rows),
    )
    return Graded(Run("x.jsonl", rows, from_json(made_up.run_file(), RunFile, "made up")), scores, metrics)


METRICS = from_json(made_up.untrained("easy"), CellMetrics, "made up")


def test_samples_have_a_row_for_every_question_in_order(tmp_path):
    asked = [question("q1"), question("q2")]
    modes = {
        "baseline": graded(("#### 2", [1, 2], "stop", "equal"), ("#### 2", [1, 2], "stop", "equal")),
        "speculative": graded(("#### 2", [1, 2], "stop", "equal"), ("#### 3", [1, 3, 4], "length", "different")),
    }
    samples.write_samples(str(tmp_path / "samples.csv"), asked, modes)
    with open(tmp_path / "samples.csv", newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert (first["id"], first["identical"], first["first_difference"]) == ("q1", "True", "")
    assert (second["id"], second["identical"], second["first_difference"]) == ("q2", "False", "1")
    assert (second["speculative_strict_verdict"], second["speculative_finish"]) == ("different", "length")
    assert (second["drafted"], second["accepted"], second["baseline_tokens"]) == ("3", "1", "2")


def test_hostile_answers_stay_data_in_samples_and_page(tmp_path):
    modes = {"cot": graded((HOSTILE, [1], "length", "different"))}
    samples.write_samples(str(tmp_path / "samples.csv"), [question(text=HOSTILE)], modes)
    samples.write_page(str(tmp_path / "page.txt"), METRICS, [question(text=HOSTILE)], modes)
    with open(tmp_path / "samples.csv", newline="", encoding="utf-8") as file:
        (sample,) = csv.DictReader(file)
    assert sample["question"] == sample["cot_text"] == "'" + escaping.visible(HOSTILE)
    for name in ("samples.csv", "page.txt"):
        text = (tmp_path / name).read_text(encoding="utf-8").replace("\n", "")
        assert not {character for character in text if unicodedata.category(character) in escaping.HIDDEN}, name


def test_page_shows_an_answer_of_every_outcome_and_warns(tmp_path):
    asked = [question(f"q{index}") for index in range(1, 6)]
    modes = {
        "cot": graded(
            ("right one", [1], "stop", "equal"),
            ("another right one", [2], "stop", "equal"),
            ("wrong one", [3], "stop", "different"),
            ("hanging one", [5], "stop", "undecided"),
            ("cut", [4], "length", "different"),
        )
    }
    samples.write_page(str(tmp_path / "page.txt"), replace(METRICS, n=5), asked, modes)
    page = (tmp_path / "page.txt").read_text()
    for expected in (
        "right (cot): q1",
        "wrong (cot): q3",
        "undecided (cot): q4",
        "truncated (cot): q5",
        "right one",
        "cut",
    ):
        assert expected in page
    assert "another right one" not in page
    assert "50 % (25–75, n 5) !" in page, "a truncated accuracy is marked where it stands"
    assert "measures the cap, not the model" in page
