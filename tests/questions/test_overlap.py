"""Overlap of train and test: what is found, and what is not."""

import time
from pathlib import Path

import pytest

from doubledraft.questions import overlap
from doubledraft.questions.sources import read_gsm8k
from doubledraft.records import Question

RELEASED = Path(__file__).parents[3] / "shared/data"
STORY = (
    "Max bought stamps at the post office. Some had a snowflake design, some had a truck design, and some had a rose "
    "design. Max bought 16 snowflake stamps. He bought 3 more truck stamps than snowflake stamps, and 9 fewer rose "
    "stamps than truck stamps. How many stamps did Max buy in all?"
)


def asked(*texts: str, split: str = "test") -> list[Question]:
    return [
        Question(id=f"{split}-{place}", scenario="s", split=split, question=text, answer="1", steps=[])
        for place, text in enumerate(texts, start=1)
    ]


def kinds(train: str, test: str) -> list[str]:
    return [found.kind for found in overlap.find(asked(train, split="train"), asked(test))]


def test_the_same_text_is_exact_whatever_its_case_and_punctuation():
    (found,) = overlap.find(asked("other", "max bought stamps", split="train"), asked("why", "Max  bought\nstamps!"))
    assert (found.id, found.test_id, found.kind, found.similarity) == ("train-2", "test-2", "exact", 1.0)
    assert (found.question, found.test_question) == ("max bought stamps", "Max  bought\nstamps!")


@pytest.mark.parametrize(
    "changed",
    [
        STORY.replace("16", "11").replace("9 fewer", "13 fewer"),
        STORY.replace("Max", "Bella").replace("He bought", "She bought"),
        STORY + " Explain.",
        STORY.partition(". ")[2],
    ],
)
def test_a_story_told_again_with_few_words_or_numbers_changed_is_near(changed):
    assert kinds(changed, STORY) == ["near"]
    assert kinds(STORY, changed) == ["near"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (STORY, "Max went to the post office. How many stamps did Max buy in all, if he bought 16?"),
        ("What is the greatest common factor of 32 and 48?", "What is the greatest common factor of 68 and 92?"),
        ("Compute $2 + 3$.", "Compute $2 - 3$."),
        ("Solve $x^2 - 5x + 6 = 0$.", "Solve $x^2 + 5x - 6 = 0$."),
    ],
)
def test_another_question_of_the_same_kind_is_no_overlap(one, other):
    assert kinds(one, other) == []


def test_of_several_test_questions_the_most_similar_one_is_named():
    train = STORY.replace("16", "11")
    tests = asked(train.replace("9 fewer", "2 fewer").replace("3 more", "5 more"), STORY, STORY + " ")
    (found,) = overlap.find(asked(train, split="train"), tests)
    assert found.test_id == "test-2", "of equals the first counts"


@pytest.mark.slow
@pytest.mark.skipif(not (RELEASED / "gsm8k_train.jsonl").exists(), reason="the released GSM8K files are not here")
def test_released_gsm8k_has_no_exact_and_three_near_overlaps_found_in_seconds():
    path = {split: RELEASED / f"gsm8k_{split}.jsonl" for split in ("train", "test")}
    train, test = (read_gsm8k(split, "easy", path).questions for split in ("train", "test"))
    start = time.process_time()
    found = overlap.find(train, test)
    assert time.process_time() - start < 20
    assert [item.kind for item in found] == ["near"] * 3
    assert [item.similarity for item in found] == [0.405, 0.556, 0.556]
