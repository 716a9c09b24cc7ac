"""From a source to the files of a scenario: seeds, splits, overlap, counts.

The rows are made up. The released GSM8K files are used where `shared/data` lies beside the repository.
"""

import json
import logging
import re
from pathlib import Path

import pytest

from doubledraft.questions import fetch as questions
from doubledraft.questions.overlap import Overlap, normalise
from doubledraft.questions.wordproblems import generate
from doubledraft.records import Question, read_records

RELEASED = Path(__file__).parents[3] / "shared/data"
NAMES = {"train_path": "train.jsonl", "test_path": "test.jsonl", "overlap_path": "overlap.jsonl"}


class Fetched:
    """What `fetch` wrote into a folder."""

    def __init__(self, folder: Path):
        self.train, self.test = (read_records(folder / f"{split}.jsonl", Question) for split in ("train", "test"))
        self.overlap = read_records(folder / "overlap.jsonl", Overlap)
        self.manifest = json.loads((folder / "manifest.json").read_text())
        self.counts = self.manifest["splits"]


def fetch(folder: Path, seed: int = 1, **spec: object) -> Fetched:
    paths = {key: folder / name for key, name in NAMES.items()}
    questions.fetch(spec=spec, scenario="mine", seed=seed, manifest_path=folder / "manifest.json", **paths)
    return Fetched(folder)


def write_rows(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def own_rows(count: int) -> list[dict]:
    return [
        {"question": f"What is {n} apples and 1?", "answer": n + 1, "solution": f"{n} + 1 = {n + 1}"}
        for n in range(count)
    ]


def texts(found: list[Question]) -> list[str]:
    return [question.question for question in found]


@pytest.mark.parametrize("difficulty", ["easy", "medium", "hard"])
def test_generated_questions_are_written_for_both_splits(tmp_path, difficulty):
    found = fetch(tmp_path, 3, source="generated", difficulty=difficulty, train=40, test=12)
    assert (len(found.train), len(found.test)) == (40, 12)
    assert (found.train[0].id, found.test[11].id, found.test[0].split) == ("mine-train-0001", "mine-test-0012", "test")
    assert found.train == generate.generate(difficulty, "train", 40, 3, "mine")
    assert found.overlap == [], "both splits share templates, which are near overlap by design"


def test_nothing_is_written_when_one_split_asks_for_too_many(tmp_path):
    with pytest.raises(ValueError, match="'mine': 1000000 test questions"):
        fetch(tmp_path, source="generated", difficulty="easy", train=10, test=10**6)
    assert not list(tmp_path.iterdir())


def test_a_question_in_both_splits_is_an_error():
    train, test = (generate.generate("easy", split, 5, 1, "s") for split in ("train", "test"))
    with pytest.raises(ValueError, match="1 questions are in both train and test"):
        questions.check_disjoint(train + test[:1], test, "s")


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("How many, Ann?", "how  many\nANN", True),
        ("Solve $x^2 - 5x = 0$.", "Solve x^2 - 5x = 0", True),
        ("Solve 2x + 3 = 7", "Solve 2x - 3 = 7", False),
        ("Points (1, 6)", "Points (16)", False),
    ],
)
def test_texts_are_compared_without_case_and_punctuation_but_with_operators(one, two, same):
    assert (questions.normalise(one) == questions.normalise(two)) is same


# Fewer than asked for


@pytest.mark.parametrize("split", ["train", "test"])
def test_fewer_than_asked_for_is_an_error_that_says_what_there_is(tmp_path, split):
    path = {name: write_rows(tmp_path / f"{name}_rows.jsonl", own_rows(4)) for name in ("train", "test")}
    path["train"] = write_rows(tmp_path / "train_rows.jsonl", own_rows(20)[10:14])
    asked = {"train": 4, "test": 4} | {split: 5}
    message = rf"'mine': 5 {split} questions asked for, but its source \(jsonl\) has 4 \(4 {split} rows read\); lower"
    with pytest.raises(ValueError, match=message + r".*`allow_fewer: true`"):
        fetch(tmp_path, source="jsonl", path=path, **asked)
    assert not (tmp_path / "train.jsonl").exists() and not (tmp_path / "manifest.json").exists()


def test_with_allow_fewer_all_there_is_is_taken_and_told(tmp_path, caplog):
    path = {
        "train": write_rows(tmp_path / "a.jsonl", own_rows(20)[10:14]),
        "test": write_rows(tmp_path / "b", own_rows(4)),
    }
    with caplog.at_level(logging.WARNING, logger="doubledraft"):
        found = fetch(tmp_path, source="jsonl", path=path, train=9, test=3, allow_fewer=True)
    assert (len(found.train), len(found.test)) == (4, 3)
    assert "mine: 9 train questions asked for, 4 taken, which are all there are" in caplog.text
    assert "test questions asked for" not in caplog.text
    assert [(found.counts[split]["asked"], found.counts[split]["got"]) for split in ("train", "test")] == [
        (9, 4),
        (3, 3),
    ]


def test_the_generator_gives_all_that_it_can_with_allow_fewer(tmp_path):
    found = fetch(tmp_path, source="generated", difficulty="medium", train=10, test=10**6, allow_fewer=True)
    assert len(found.test) == generate.capacity("medium", "test") == found.counts["test"]["got"]


def test_no_question_at_all_is_an_error_even_with_allow_fewer(tmp_path):
    path = write_rows(tmp_path / "mine.jsonl", own_rows(3))
    with pytest.raises(ValueError, match="'mine': 2 train questions asked for, but its source .* has 0"):
        fetch(tmp_path, source="jsonl", path=path, train=2, test=3, allow_fewer=True)


# Overlap


def test_a_training_question_that_repeats_a_test_question_is_left_out_and_listed(tmp_path):
    story = "Max bought 16 red stamps at the post office and 3 more blue stamps than red stamps. How many in all?"
    train = [{"question": text, "answer": 1} for text in ("Another?", "solve  it, now!", story.replace("16", "21"))]
    test = [{"question": text, "answer": 1} for text in ("Solve it now.", story, "A third?")]
    path = {"train": write_rows(tmp_path / "a.jsonl", train), "test": write_rows(tmp_path / "b.jsonl", test)}
    found = fetch(tmp_path, source="jsonl", path=path, train=1, test=1)
    assert texts(found.train) == ["Another?"]
    assert sorted((item.kind, item.id, item.test_id) for item in found.overlap) == [
        ("exact", "mine-train-0002", "mine-test-0001"),
        ("near", "mine-train-0003", "mine-test-0002"),
    ], "held against all test questions of the source, not only against those taken"
    assert found.counts["train"]["left_out"] == {"exact overlap with test": 1, "near overlap with test": 1}
    with pytest.raises(
        ValueError, match=r"has 1 \(3 train rows read; left out: 1 exact overlap with test, 1 near over"
    ):
        fetch(tmp_path, source="jsonl", path=path, train=2, test=1)


def test_a_question_that_stands_twice_is_taken_once(tmp_path):
    rows = [*own_rows(3), {"question": "what is 1 apples, and 1", "answer": 2}]
    path = {"train": write_rows(tmp_path / "a.jsonl", rows), "test": write_rows(tmp_path / "b.jsonl", own_rows(9)[8:])}
    found = fetch(tmp_path, source="jsonl", path=path, train=3, test=1)
    assert sorted(texts(found.train)) == [row["question"] for row in own_rows(3)]
    assert found.counts["train"]["left_out"] == {"repeats another question": 1}


# Order


def test_one_file_is_divided_by_seed_without_overlap(tmp_path):
    path = write_rows(tmp_path / "mine.jsonl", own_rows(30))
    found = fetch(tmp_path, source="jsonl", path=path, train=20, test=10)
    assert len(set(texts(found.train + found.test))) == 30
    assert found.train[0].steps and found.train[0].split == "train" and found.test[0].split == "test"
    smaller = fetch(tmp_path, source="jsonl", path=path, train=7, test=5)
    assert smaller.test == found.test[:5] and smaller.train == found.train[:7], "a larger count extends a smaller one"
    assert fetch(tmp_path, 2, source="jsonl", path=path, train=20, test=10).test != found.test


def test_one_file_that_is_too_small_for_both_splits_is_refused(tmp_path):
    path = write_rows(tmp_path / "mine.jsonl", own_rows(30))
    with pytest.raises(ValueError, match=r"'mine': 25 train questions asked for, but its source \(jsonl\) has 20"):
        fetch(tmp_path, source="jsonl", path=path, train=25, test=10)


def test_the_manifest_says_where_the_questions_come_from(tmp_path):
    path = write_rows(tmp_path / "mine.jsonl", own_rows(5))
    found = fetch(tmp_path, source="jsonl", path=path, train=3, test=2)
    assert {key: found.manifest[key] for key in ("scenario", "source", "seed")} == {
        "scenario": "mine",
        "source": "jsonl",
        "seed": 1,
    }
    assert found.counts["test"]["rows"] == 5
    (origin,) = found.counts["train"]["origin"]
    assert origin["path"] == path and len(origin["sha256"]) == 64


@pytest.mark.slow
@pytest.mark.skipif(not (RELEASED / "gsm8k_train.jsonl").exists(), reason="the released GSM8K files are not here")
def test_the_released_gsm8k_gives_all_but_three_near_repeats(tmp_path):
    path = {split: str(RELEASED / f"gsm8k_{split}.jsonl") for split in ("train", "test")}
    found = fetch(tmp_path, 17, source="gsm8k", path=path, train=7470, test=1319)
    assert (found.counts["train"]["rows"], found.counts["test"]["rows"]) == (7473, 1319)
    assert found.counts["train"]["left_out"] == {"near overlap with test": 3}
    assert found.counts["test"]["left_out"] == {}
    with pytest.raises(ValueError, match=r"'mine': 1320 test questions asked for, but its source \(gsm8k\) has 1319"):
        fetch(tmp_path, 17, source="gsm8k", path=path, train=7470, test=1320)


def fetch_more(folder: Path, count: int | None, seed: int = 1, fewest: int = 0, **spec: object) -> list[Question]:
    """Return what the target answers for its draft, beside what `fetch` left in the folder."""
    paths = {f"{split}_path": folder / f"{split}.jsonl" for split in ("train", "test")}
    made = {"out": folder / "distill.jsonl", "manifest_path": folder / "distill_manifest.json"}
    questions.fetch_more(spec=spec, count=count, fewest=fewest, scenario="mine", seed=seed, **paths, **made)
    return read_records(folder / "distill.jsonl", Question)


@pytest.mark.parametrize("difficulty", ["easy", "medium", "hard"])
def test_more_generated_questions_share_no_text_and_no_numbers_with_train_or_test(tmp_path, difficulty):
    spec = {"source": "generated", "difficulty": difficulty, "train": 40, "test": 12}
    found = fetch(tmp_path, 3, **spec)
    more = fetch_more(tmp_path, 600, 3, **spec)
    keys = [normalise(question.question) for question in (*more, *found.train, *found.test)]
    assert len(more) == 600 and len(set(keys)) == len(keys)
    numbers = {key(question) for question in more}
    assert not numbers & {key(question) for question in (*found.train, *found.test)}
    assert fetch_more(tmp_path, 30, 3, **spec) == more[:30], "a larger count extends a smaller one"
    assert fetch_more(tmp_path, 30, 4, **spec) != more[:30], "another seed gives others"


def key(question: Question) -> tuple[str, ...]:
    """Return what tells problems apart whatever their words: the template and the numbers in the solution."""
    return (question.subject, *re.findall(r"-?\d+", f"{question.question} {question.steps}"), question.answer)


def test_more_of_a_data_set_are_its_training_questions_the_unseen_ones_first(tmp_path):
    path = write_rows(tmp_path / "own.jsonl", own_rows(30))
    spec = {"source": "jsonl", "path": path, "train": 10, "test": 5}
    found = fetch(tmp_path, **spec)
    more = fetch_more(tmp_path, 100, **spec)
    assert len(more) == 25 and more[15:] == found.train
    assert not set(texts(more)) & set(texts(found.test))
    assert fetch_more(tmp_path, 4, **spec) == more[:4]
    counts = json.loads((tmp_path / "distill_manifest.json").read_text())
    assert (counts["asked"], counts["got"], counts["trained_on"]) == (4, 4, 0)


def test_without_a_number_the_target_answers_the_questions_that_it_was_trained_on(tmp_path):
    found = fetch(tmp_path, source="jsonl", path=write_rows(tmp_path / "own.jsonl", own_rows(9)), train=5, test=2)
    assert fetch_more(tmp_path, None, source="jsonl") == found.train
    with pytest.raises(ValueError, match=r"mine gives the draft 5 questions, and train\.draft\.held_out needs 6"):
        fetch_more(tmp_path, None, fewest=6, source="jsonl")


@pytest.mark.slow
def test_more_questions_than_the_templates_can_ask_are_an_error(tmp_path):
    fetch(tmp_path, source="generated", difficulty="hard", train=12, test=12)
    with pytest.raises(ValueError, match=r"20000 more questions asked for, but difficulty 'hard' has \d+ beside 12"):
        fetch_more(tmp_path, 20000, source="generated", difficulty="hard")
