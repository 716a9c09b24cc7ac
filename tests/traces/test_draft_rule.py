"""What a teacher must keep when it condenses."""

from fractions import Fraction

import pytest

from doubledraft.questions.wordproblems import generate
from doubledraft.records import Trace
from doubledraft.traces.condense import condense_all
from doubledraft.traces.draft_rule import Rule, fault, numbers
from doubledraft.traces.teacher import oracle

RULE = Rule(min_steps=3, max_steps=5, max_words=5)
SOURCE = Trace(
    id="q1",
    scenario="easy",
    type="cot",
    question="Ann buys 3 bags of 1,200 beads and uses 20 beads a day. For how many days do they last?",
    answer="180",
    text="There are 3 * 1200 = 3600 beads.\nThey last 3600 / 20 = 180 days.\n#### 180",
    teacher="openai tiny",
)
GOOD = "3 * 1200 = 3600 beads\n20 beads a day\n3600 / 20 = 180\n#### 180"


def test_drafts_with_the_same_numbers_and_answer_have_no_fault():
    assert fault(GOOD, SOURCE, RULE) is None
    assert fault(GOOD.replace("1200", "1,200") + "\n", SOURCE, RULE) is None, "the question writes it so"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (GOOD.replace("#### 180", ""), "no answer line at the end"),
        (GOOD + "\nThat is all.", "no answer line at the end"),
        ("", "no answer line at the end"),
        (GOOD.replace("#### 180", "#### 181"), "another answer than its chain of thought"),
        (GOOD.replace("#### 180", "#### 180 days"), "another answer than its chain of thought"),
        (GOOD.replace("#### 180", "####"), "another answer than its chain of thought"),
        ("3600 / 20 = 180\n#### 180", "1 steps where the rule asks for 3 to 5"),
        ("3600 / 20 = 180\n" * 6 + "#### 180", "6 steps where the rule asks for 3 to 5"),
        (GOOD.replace("20 beads a day", "she uses 20 beads a day"), "a step of more than 5 words"),
        (GOOD.replace("20 beads a day", "7 beads a day"), "a number that its chain of thought does not have"),
        (GOOD.replace("3 * 1200", "3.5 * 1200"), "a number that its chain of thought does not have"),
        ("<think>\n3 * 1200\n20 beads\n</think>\n180\n#### 180", "1 steps where the rule asks for 3 to 5"),
    ],
)
def test_what_is_broken_is_named(text, reason):
    assert fault(text, SOURCE, RULE) == reason


@pytest.mark.parametrize("difficulty", ["easy", "medium", "hard"])
def test_what_the_rule_condenses_keeps_all_that_a_teacher_must_keep(difficulty):
    written = oracle.write_traces(generate.generate(difficulty, "train", 60, 17, difficulty))
    kept, _ = condense_all(written, "cod", RULE)
    sources = {row.id: row for row in written}
    assert kept and [fault(row.text, sources[row.id], RULE) for row in kept] == [None] * len(kept)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,200 and 1200", [1200]),
        ("(1,2) and 1, 2", [1, 2]),
        ("$0.50 is .5 of -3", [Fraction(1, 2), 3]),
        (r"\frac{3}{4}x^2 + 50%.", [3, 4, 2, 50]),
        ("three, twice, Q", []),
    ],
)
def test_numbers_are_compared_by_value(text, values):
    assert set(numbers(text)) == {Fraction(value) for value in values}
