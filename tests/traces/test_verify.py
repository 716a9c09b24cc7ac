"""Keeping, condensing and auditing traces."""

import re
from dataclasses import replace
from fractions import Fraction

import pytest

from doubledraft.questions.wordproblems import generate
from doubledraft.records import Question, Trace
from doubledraft.summaries import json_file
from doubledraft.summaries.provenance import recorded
from doubledraft.summaries.trace_audit import Flagged, TraceAudit
from doubledraft.traces import draft_rule
from doubledraft.traces.arithmetic import value
from doubledraft.traces.audit import describe
from doubledraft.traces.condense import NotCondensable, condense, condense_all, condense_lines
from doubledraft.traces.draft_rule import Rule, compliance, count_words
from doubledraft.traces.teacher import oracle
from doubledraft.traces.verify import Dropped, keep_verified

RULE = Rule(min_steps=3, max_steps=5, max_words=5)
ANY = Rule(min_steps=1, max_steps=9, max_words=5)
COUNT = 150  # questions of a difficulty


def trace(text: str, answer: str = "15") -> Trace:
    return Trace(id="q1", scenario="easy", type="cot", question="?", answer=answer, text=text, teacher="oracle")


def question(answer: str = "15") -> Question:
    return Question(id="q1", scenario="easy", split="train", question="?", answer=answer, steps=["5 + 10 = 15"])


@pytest.fixture(scope="module", params=["easy", "medium", "hard"])
def generated(request) -> tuple[list[Question], list[Trace]]:
    asked = generate.generate(request.param, "train", COUNT, 17, request.param)
    return asked, oracle.write_traces(asked)


@pytest.mark.parametrize(
    ("line", "draft"),
    [
        ("Each of the 3 bags holds 5 apples, so there are 3 * 5 = 15 apples.", "3 * 5 = 15 apples"),
        ("She pays 3 × 5 = 15 dollars in total.", "3 * 5 = 15 dollars"),
        ("That leaves 20 − 5=15 for them.", "20 - 5 = 15"),
        ("The area is 33 * 4 = 132 square meters.", "33 * 4 = 132 square meters"),
        ("The area is 3 * 11 * 4 = 132 square meters.", "3 * 11 * 4 = 132 meters"),
        ("The area is 3 * 11 * 2 * 2 = 132 square meters.", "3 * 11 * 2 * 2 = 132"),
        ("First 2 * 3 = 6 pens, then 6 + 1 = 7 pens.", "6 + 1 = 7 pens"),
        ("Divide both sides by 2 to get x = 14 / 2 = 7.", "x = 14 / 2 = 7"),
        ("So the value is x = 1 + 2 + 3 + 4 = 10.", "x = 10"),
        ("So 1 + 2 + 3 = 3 + 3 = 6 in all.", "1 + 2 + 3 = 6"),
        ("Expand the bracket, 3(x - 7) = 3x - 21.", "3(x - 7) = 3x - 21"),
        ("The value is f(g(3)) = 4 * 12 (that is 4 * 12 = 48).", "4 * 12 = 48"),
        ("The product is (-8) * 4 = -32.", "(-8) * 4 = -32"),
        ("There are 9 bags with 8 figs each.", "9 bags 8 figs each"),
        ("The tent costs 52 dollars and Vera has 25.", "costs 52 dollars, Vera 25"),
        ("The quadratic has the coefficients 2, 8 and 6.", "quadratic coefficients 2, 8, 6"),
        ("Ned has 160 x 2 = 320 cards", "160 * 2 = 320 cards"),
        ("So he has 48/2=24 cards", "48/2 = 24 cards"),
        ("They ran 20 miles + 12 miles = 32 miles in all.", "20 + 12 = 32 miles"),
        ("One third is 1 / 3 = 0.333.", "1 / 3 = 0.333"),
        ("Del = 23 * 2 = 46 oranges", "23 * 2 = 46 oranges"),
    ],
)
def test_a_line_becomes_its_last_equation_or_its_key_words(line, draft):
    assert condense_lines([line], ANY) == [draft]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("We add 1 + 2 + 3 + 4 + 5 = 15.", "more than 5 words"),
        ("They are 1, 2, 3, 4, 5 and 6.", "more than 5 numbers"),
        ("So his age * 3 = 15 years.", "mixed with words"),
        ("So twice 3 + 2 = 8.", "mixed with words"),
    ],
)
def test_a_line_that_cannot_be_cut_short_is_refused_with_the_reason(line, reason):
    with pytest.raises(NotCondensable, match=reason):
        condense_lines([line], ANY)


@pytest.mark.parametrize(
    ("first", "second", "merged"),
    [
        ("3 * 5 = 15", "15 + 2 = 17", "3 * 5 + 2 = 17"),
        ("3 + 5 = 8", "8 * 2 = 16", "(3 + 5) * 2 = 16"),
        ("3 + 5 = 8", "20 - 8 = 12", "20 - (3 + 5) = 12"),
        ("2 * 3 = 6", "12 / 6 = 2", "12 / (2 * 3) = 2"),
        ("2 - 8 = -6", "5 + (-6) = -1 points", "5 + 2 - 8 = -1 points"),
        ("2 * 3 = 6", "x = 6 + 1 = 7", "x = 2 * 3 + 1 = 7"),
    ],
)
def test_too_many_drafts_are_merged_exactly(first, second, merged):
    assert condense_lines([first, second], Rule(1, 1, 5)) == [merged]


@pytest.mark.parametrize("second", ["6 + 6 = 12", "7 + 1 = 8", "16 + 1 = 17", "1 + 2 + 3 + 6 = 12"])
def test_drafts_that_would_not_merge_exactly_or_not_fit_are_refused(second):
    with pytest.raises(NotCondensable, match="none of which merge"):
        condense_lines(["2 * 3 = 6", second], Rule(1, 1, 5))


def test_lines_without_equation_go_before_anything_is_merged():
    lines = ["There are 3 bags.", "3 * 5 = 15", "15 + 2 = 17"]
    assert condense_lines(lines, Rule(1, 2, 5)) == ["3 * 5 = 15", "15 + 2 = 17"]


def test_too_few_drafts_are_helped_out_by_the_same_lines():
    two = ["The 3 bags hold 5 figs each, so 3 * 5 = 15 figs.", "First 15 + 2 = 17, then 17 - 1 = 16 figs."]
    assert condense_lines(two, RULE) == ["3 * 5 = 15 figs", "15 + 2 = 17", "17 - 1 = 16 figs"]
    with pytest.raises(NotCondensable, match="2 steps where the rule asks for 3 to 5"):
        condense_lines(["3 * 5 = 15", "15 + 2 = 17"], RULE)


def test_the_answer_line_and_the_identity_of_the_row_stay():
    source = trace("There are 3 bags.\nThey hold 3 * 5 = 15 figs.\nSo 15 / 1 = 15 figs.\n#### 15 figs")
    made = condense(source, "cod", RULE)
    assert made.text.split("\n")[-1] == "#### 15 figs"
    assert replace(made, text=source.text, type="cot") == source
    assert made.type == "cod"


def test_an_indented_answer_line_is_one_in_condensing_as_in_grading():
    source = trace("There are 3 bags.\nThey hold 3 * 5 = 15 figs.\nSo 15 / 1 = 15 figs.\n  #### 15 ")
    assert condense(source, "cod", RULE).text.split("\n")[-1] == "#### 15"


def test_generated_traces_all_condense_keep_the_rule_and_halve_their_length(generated):
    asked, written = generated
    kept, lost = condense_all(written, "cod", RULE)
    assert not lost
    assert all(compliance(row.text, RULE).compliant for row in kept)
    assert sum(len(row.text) for row in kept) < 0.6 * sum(len(row.text) for row in written)
    assert condense_all(written, "cod", RULE) == (kept, lost), "the same rows give the same drafts"


def test_drafts_hold_no_number_that_their_trace_does_not(generated):
    for row in generated[1]:
        drafts = condense(row, "cod", RULE).text
        assert set(re.findall(r"\d+", drafts)) <= set(re.findall(r"\d+", row.text))


def test_numeric_drafts_are_true(generated):
    checked = 0
    for row in generated[1]:
        for line in condense(row, "cod", RULE).text.split("\n"):
            values = [value(side) for side in re.sub(r" [A-Za-z ]+$", "", line).split(" = ")]
            if len(values) > 1 and None not in values:
                checked += 1
                assert len(set(values)) == 1, line
    assert checked > COUNT


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2 * (3 + 4) - 5", 9), ("-12 / 8", Fraction(-3, 2)), ("(-3) * -2", 6), ("$1,200 / 3", 400), ("2 - 3 - 4", -5)]
    + [("0.1 + 0.2", Fraction(3, 10)), ("8 / 4 / 2", 1)]
    + [(text, None) for text in ("", "x + 1", "1 +", "(1", "1)", "2 3(", "1 / 0", "2 ** 3", "abs(1)")],
)
def test_arithmetic_is_exact_and_knows_its_bounds(text, expected):
    assert value(text) == expected


def test_only_traces_that_end_in_the_gold_answer_are_kept():
    texts = ["so 15\n#### 15.0", "so 16\n#### 16", "so 15", "so\n#### some apples"]
    found = [keep_verified([trace(text)], [question()]) for text in texts]
    assert [len(kept) for kept, _ in found] == [1, 0, 0, 0]
    reasons = [lost[0].reason for _, lost in found[1:]]
    assert reasons == ["wrong answer", "no answer", "undecided: the prediction cannot be parsed"]


def test_gold_is_the_question_s_and_not_the_trace_s():
    kept, _ = keep_verified([trace("#### 16", answer="16")], [question("15")])
    assert not kept


@pytest.mark.parametrize(
    ("text", "steps", "words", "compliant"),
    [
        ("3 * 5 = 15 apples\n15 + 2 = 17\n17 / 1 = 17\n#### 17", 3, [4, 3, 3], True),
        ("3 * 5 = 15\n\n15 + 2 = 17\n#### 17\n1\n2", 2, [3, 3], False),
        ("1 + 2 + 3 + 4 + 5 = 15\na\nb\n#### 15", 3, [6, 1, 1], False),
        ("#### 15", 0, [], False),
        ("", 0, [], False),
    ],
)
def test_compliance_counts_lines_before_the_answer_and_words_that_are_no_operators(text, steps, words, compliant):
    found = compliance(text, RULE)
    assert (found.steps, found.words_per_step, found.compliant) == (steps, words, compliant)
    assert compliance(text, None).compliant is None


def test_thoughts_are_no_steps():
    text = "<think>\none\n#### 5\n</think>\n2 + 3\n= 5\n#### 5"
    assert draft_rule.steps_of(text) == ["2 + 3", "= 5"]
    assert draft_rule.steps_of("<think>\none\ntwo") == []


def test_a_lone_operator_is_no_word():
    assert count_words("x = 3 * (5 + 2) - 7 apples") == 6


def test_audit_counts_every_row_once_and_comes_back_from_its_file(tmp_path):
    rows = [replace(trace("5 + 10 = 15\nyes\nso it is\n#### 15"), id=str(number), type="cod") for number in range(3)]
    rows[2] = replace(rows[2], text="5 + 11 = 16\n#### 16")
    asked = [replace(question(), id=str(number)) for number in range(5)]
    lost = [Dropped(id="3", reason="too long"), Dropped(id="4", reason="too long")]
    found = describe(rows, lost, asked, RULE, lambda text: len(text.split()), {"usd": 0.5}, recorded())
    json_file.write(tmp_path / "audit.json", found)
    assert json_file.read(tmp_path / "audit.json", TraceAudit) == found
    assert (found.n, found.kept, found.dropped, found.reasons) == (5, 3, 2, {"too long": 2})
    assert found.verified.value == pytest.approx(2 / 3)
    assert found.compliant.value == pytest.approx(2 / 3)
    assert found.numeric_density.value == pytest.approx(3 / 7)
    assert found.steps.median == 3 and found.steps.histogram.counts == [1, 0, 2]
    assert found.without_equation == Flagged(n=0, ids=[]) and found.asked == {"usd": 0.5}
    for counted in (found.tokens, found.steps, found.words_per_step):
        assert sum(counted.histogram.counts) == counted.n
        assert len(counted.histogram.edges) == len(counted.histogram.counts) + 1


def test_audit_of_nothing_has_nulls_and_no_rule_has_no_compliance():
    found = describe([], [Dropped(id="1", reason="no answer")], [question()], None, len, {}, recorded())
    assert (found.kept, found.tokens, found.verified, found.compliant) == (0, None, None, None)


def test_a_trace_without_any_equation_is_flagged_and_kept():
    rows = [replace(trace(text), id=str(n)) for n, text in enumerate(["5 + 10 = 15\n#### 15", "ten and five\n#### 15"])]
    found = describe(rows, [], [replace(question(), id=str(n)) for n in range(2)], None, len, {}, recorded())
    assert (found.kept, found.without_equation) == (2, Flagged(n=1, ids=["1"]))
