"""The published study's figures are those that its raw values give, and raw values are counted from its files."""

import csv
import json

import pytest

from benchmarks import published_study


def test_the_file_in_the_library_is_made_from_the_raw_values():
    again = published_study.published(published_study.read(published_study.RAW))
    assert json.loads(published_study.PUBLISHED.read_text()) == again, (
        "make it again: python -m benchmarks.published_study"
    )


def test_what_the_study_says_itself_is_what_its_raw_values_give():
    """Its own comparison of CoD on easy: 88.23 % of 102760 drafted tokens, 34.5 % less time."""
    runs = published_study.read(published_study.RAW)
    plain, drafted = (runs["cod", "easy", drafts] for drafts in (False, True))
    assert drafted["accepted"] / drafted["drafted"] == pytest.approx(0.8823, abs=5e-5)
    assert 1 - drafted["seconds"] / plain["seconds"] == pytest.approx(0.345, abs=5e-4)


def write_answers(path, type, scenario, modes):
    rows = [
        {"run_id": f"{type}_{mode}", "question": question, "prediction": text, "is_correct": right, "tokens": tokens}
        for mode, answers in modes.items()
        for question, (text, right, tokens) in enumerate(answers)
    ]
    with open(path / f"{type}_{scenario}_benchmark_{scenario}.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    measured = {"num_draft_tokens": 10, "num_accepted_tokens": 8, "total_duration_sec": 2.0, "avg_ttft_ms": 5.0}
    (path / f"metrics_{type}_{scenario}_benchmark.json").write_text(json.dumps(dict.fromkeys(modes, measured)))


def test_rows_are_counted_from_a_clone(tmp_path):
    outputs, training = tmp_path / "outputs", tmp_path / "data/training"
    outputs.mkdir()
    training.mkdir(parents=True)
    answers = [("<think> 5", True, 512), ("<think></think> 6", False, 7)]
    for scenario in published_study.SCENARIOS:
        write_answers(outputs, "base", scenario, {"baseline": answers})
        for type in published_study.TYPES:
            write_answers(outputs, type, scenario, {"baseline": answers, "speculative": answers[::-1]})
            text = "a = 3 of them there -> so the sum of them all is 5 #### 5"
            (training / f"{type}_{scenario}.jsonl").write_text(json.dumps({"output": text}) + "\n")
    row = next(row for row in published_study.count(tmp_path) if (row["type"], row["speculative"]) == ("cod", 1))
    assert {key: row[key] for key in ("n", "right", "both_ended", "right_of_both_ended", "tokens", "cut")} == {
        "n": 2, "right": 1, "both_ended": 1, "right_of_both_ended": 1, "tokens": 519, "cut": 1,
    }  # fmt: skip
    assert (row["unclosed_think"], row["same_text"], row["drafted"]) == (1, 0, 10)
    assert (row["training_steps"], row["training_steps_of_few_words"], row["training_steps_of_few_tokens"]) == (2, 1, 0)
