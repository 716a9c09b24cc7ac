"""The generator: right answers, regular solutions, splits that share nothing.

Answers are checked against sympy, which reads the text of the question and knows nothing of the templates' own steps.
"""

import hashlib
import os
import random
import re
import subprocess
import sys
from collections import Counter
from functools import cache

import pytest
from sympy import Lambda, Rational, Symbol, diff, expand, prod, rem, simplify, solve
from sympy.parsing.sympy_parser import implicit_multiplication, parse_expr, standard_transformations

from doubledraft.questions.fetch import check_disjoint
from doubledraft.questions.overlap import normalise
from doubledraft.questions.wordproblems import generate
from doubledraft.records import to_line
from doubledraft.traces import condense, draft_rule
from doubledraft.traces.teacher import oracle

DIFFICULTIES = ["easy", "medium", "hard"]
SAMPLE = 240  # questions of each difficulty, 20 of each template
x, y, r, s = (Symbol(name) for name in "xyrs")


@cache
def sample(difficulty: str):
    return generate.generate(difficulty, "train", SAMPLE, 5, difficulty)


# Reading mathematics out of prose


def spans(text: str) -> list[str]:
    """Maximal runs of words that are mathematics; a comma or a full stop ends a run."""
    found, run = [], []
    for word in [*text.split(), ""]:
        bare = word.rstrip(".,?:")
        mathematical = re.fullmatch(r"[-+*/=]|[0-9xyrsfg^()+*/-]*[0-9xyrs)][0-9xyrsfg^()+*/-]*", bare)
        if mathematical:
            run.append(bare)
        if run and not (mathematical and bare == word):
            found.append(" ".join(run))
            run = []
    return found


@cache
def parse(text: str, functions: tuple = ()):
    code = text.replace("^", "**")
    return parse_expr(code, dict(functions), (*standard_transformations, implicit_multiplication))


def equations(text: str) -> list[list[str]]:
    return [[side.strip() for side in span.split("=")] for span in spans(text) if "=" in span]


def functions(text: str) -> tuple:
    """The definitions `f(x) = ...` of a text, as something that parse can call."""
    return tuple((sides[0][0], Lambda(x, parse(sides[1]))) for sides in equations(text) if sides[0] in ("f(x)", "g(x)"))


def expressions(text: str) -> list:
    return [parse(span) for span in spans(text) if "=" not in span and len(span) > 2]


def solved(text: str) -> list[dict]:
    return solve([parse(left) - parse(right) for left, right in equations(text)], dict=True)


def polynomial_of(text: str):
    """The quadratic that a text is about, whether or not `= 0` follows."""
    return parse(next(span for span in spans(text) if "x^2" in span).removesuffix("= 0"))


# What sympy makes of a question: its answer, and what the unknowns of its steps may stand for


def unknown(text):
    solutions = solved(text.replace(" equal to ", " = "))
    return solutions[0][x], solutions


def value_at(text):
    place = parse(equations(text)[0][1])
    return expressions(text)[0].subs(x, place), []


def slope(text):
    x1, y1, x2, y2 = (int(number) for number in re.findall(r"-?\d+", text))
    return Rational(y2 - y1, x2 - x1), []


def taxi(text):
    fee, rate, bill = (int(number) for number in re.findall(r"\d+", text))
    miles = solve(fee + rate * x - bill, x)[0]
    return miles, [{x: miles}]


def system(text):
    solutions = solved(text)
    return solutions[0][y], solutions


def tickets(text):
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    adult, child, count, money = numbers if "At a" in text else numbers[2:] + numbers[:2]
    return solve([x + y - count, adult * x + child * y - money], [x, y])[x], []


def absolute(text):
    middle, distance = re.search(r"\|(x - \d+)\| = (\d+)", text).groups()
    found = sorted(solve(parse(middle) ** 2 - int(distance) ** 2, x))
    return found, [{x: root} for root in found]


def line(text):
    x1, y1, x2, y2 = (int(number) for number in re.findall(r"-?\d+", text))
    return expand(y1 + Rational(y2 - y1, x2 - x1) * (x - x1)), []


def minimum(text):
    quadratic = polynomial_of(text)
    vertex = solve(diff(quadratic, x), x)[0]
    return quadratic.subs(x, vertex), [{x: vertex}]


def remainder(text):
    dividend, divisor = expressions(text)
    return rem(dividend, divisor, x), [{x: solve(divisor, x)[0]}]


def sequence(text):
    n = int(re.search(r"(\d+)th", text)[1])
    terms = [int(number) for number in re.findall(r"-?\d+(?!\d*th)", text)]
    return terms[0] + (n - 1) * (terms[1] - terms[0]), []


def of_roots(expression):
    def answer(text):
        one, two = solve(polynomial_of(text), x)
        return simplify(expression.subs({r: one, s: two})), [{r: one, s: two}]

    return answer


def composition(text):
    definitions = functions(text)
    wanted = next(span for span in spans(text) if span.startswith("f(g("))
    return expand(parse(wanted, definitions)), []


SYMPY = {
    "linear_equation": unknown,
    "unknown_on_both_sides": unknown,
    "bracket_equation": unknown,
    "fraction_solution": unknown,
    "expression_value": value_at,
    "fraction_product": lambda text: (prod(parse(span) for span in spans(text) if "/" in span), []),
    "taxi_ride": taxi,
    "slope_of_line": slope,
    "simplify_expression": lambda text: (expand(expressions(text)[0]), []),
    "system_by_adding": system,
    "ticket_system": tickets,
    "absolute_value": absolute,
    "quadratic_minimum": minimum,
    "line_through_points": line,
    "expand_product": lambda text: (expand(expressions(text)[0]), []),
    "remainder": remainder,
    "arithmetic_term": sequence,
    "composed_value": composition,
    "composed_functions": composition,
    "squares_of_roots": of_roots(r**2 + s**2),
    "reciprocals_of_roots": of_roots(1 / r + 1 / s),
}
STORIES = {  # from the tuple of numbers
    "bags_given_away": lambda bags, each, given: bags * each - given,
    "packs_added": lambda start, packs, size: start + packs * size,
    "change_from_shopping": lambda count, price, paid: paid - count * price,
    "shared_equally": lambda one, two, friends: Rational(one + two, friends),
    "times_as_many": lambda first, times, more: first * (1 + times) + more,
    "pages_left": lambda daily, days, extra, book: book - daily * days - extra,
    "two_flower_beds": lambda a, b, c, d: a * b + c * d,
    "bus_passengers": lambda start, on, off, later: start + on - off + later,
    "half_given": lambda start, found, lost: Rational(start, 2) + found - lost,
    "wages": lambda wage, first, second: wage * (first + second),
    "difference_of_boxes": lambda a, b, c, d: a * b - c * d,
    "saving_up": lambda price, saved, weekly: Rational(price - saved, weekly),
    "percent_of_group": lambda percent, count, more: count * Rational(percent, 100) + more,
    "average_score": lambda first, second, third: Rational(first + second + third, 3),
    "falling_temperature": lambda start, drop, hours: start - drop * hours,
}


def templates():
    return [kind for difficulty in DIFFICULTIES for kind in generate.TEMPLATES[difficulty]]


def test_every_template_is_checked_by_sympy():
    assert {kind.name for kind in templates()} == SYMPY.keys() | STORIES.keys()


@pytest.mark.slow
@pytest.mark.parametrize("difficulty", ["medium", "hard"])
def test_algebra_has_the_answer_that_sympy_reads_out_of_the_text(difficulty):
    checked = [question for question in sample(difficulty) if question.subject in SYMPY]
    assert len(checked) > SAMPLE // 2
    for question in checked:
        expected, _ = SYMPY[question.subject](question.question)
        answer = [parse(part) for part in question.answer.split(", ")]
        expected = expected if isinstance(expected, list) else [expected]
        assert [simplify(one - two) for one, two in zip(answer, expected, strict=True)] == [0] * len(answer), question


@pytest.mark.parametrize("kind", [kind for kind in templates() if kind.name in STORIES], ids=lambda kind: kind.name)
def test_stories_have_the_answer_of_one_formula_and_every_number_in_the_text(kind):
    for numbers in kind.numbers[::37]:
        problem = kind.write(random.Random(0), *numbers)
        assert Rational(problem.answer) == STORIES[kind.name](*numbers)
        for text in problem.texts:
            told = Counter(int(number) for number in re.findall(r"-?\d+", text))
            assert not Counter(numbers) - told, f"{numbers} should stand in: {text}"


@pytest.mark.slow
@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_every_equation_of_every_step_holds(difficulty):
    count = 0
    for question in sample(difficulty):
        _, solutions = SYMPY[question.subject](question.question) if question.subject in SYMPY else (None, [])
        for step in question.steps:
            for sides in equations(step):
                count += 1
                values = [parse(side, functions(question.question)) for side in sides]
                cases = [[value.subs(case) for value in values] for case in solutions or [{}]]
                holds = [all(expand(value - case[0]) == 0 for value in case) for case in cases]
                assert any(holds), f"{step!r} does not hold in {question.question!r}"
    assert count >= 2 * SAMPLE, "the equations were not found"


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_steps_are_lines_of_prose_whose_equation_fits_a_draft_of_five_words(difficulty):
    for question in sample(difficulty):
        assert 3 <= len(question.steps) <= 5
        assert sum(bool(equations(step)) for step in question.steps) >= 2
        for step in question.steps:
            assert "\n" not in step and "####" not in step and step.endswith(".")
            assert len(step.split()) <= 25
            for sides in equations(step)[-1:]:
                words = [word for side in sides for word in side.split() if word not in "+-*/"]
                assert len(words) <= 5, step


@pytest.mark.parametrize("difficulty", ["easy", "medium"])
def test_a_numeric_solution_ends_with_the_answer(difficulty):
    for question in sample(difficulty):
        if re.fullmatch(r"-?\d+(/\d+)?", question.answer):
            assert equations(question.steps[-1])[-1][-1] == question.answer


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_every_solution_condenses_to_a_chain_of_draft(difficulty):
    rule = draft_rule.Rule(min_steps=3, max_steps=5, max_words=5)
    kept, dropped = condense.condense_all(oracle.write_traces(sample(difficulty)), "cod", rule)
    assert not dropped
    assert all(draft_rule.compliance(trace.text, rule).compliant for trace in kept)


def test_answers_are_of_the_kinds_that_the_difficulties_call_for():
    answers = {difficulty: [question.answer for question in sample(difficulty)] for difficulty in DIFFICULTIES}
    assert all(2 <= int(answer) < 100 for answer in answers["easy"])
    patterns = {"negative": r"-\d+", "fraction": r"-?\d+/\d+", "linear": r"-?\d*x [+-] \d+"}
    for difficulty in ("medium", "hard"):
        for name, pattern in patterns.items():
            assert any(re.fullmatch(pattern, answer) for answer in answers[difficulty]), (difficulty, name)
    assert any(re.fullmatch(r"\d*x\^2 [+-] \d*x [+-] \d+", answer) for answer in answers["hard"])
    assert any(re.fullmatch(r"-?\d+, -?\d+", answer) for answer in answers["hard"])


def test_answers_parse_as_what_they_say():
    from math_verify import parse as read
    from math_verify import verify

    for question in sample("medium")[:60] + sample("hard")[:60]:
        gold, told = (
            read(text, parsing_timeout=None) for text in (f"${question.answer}$", f"\\boxed{{{question.answer}}}")
        )
        assert gold and verify(gold, told, timeout_seconds=None), question.answer


# Splits, seeds, variety


@pytest.mark.parametrize("kind", templates(), ids=lambda kind: kind.name)
def test_no_template_is_tested_with_numbers_it_was_trained_with(kind):
    assert len(set(kind.numbers)) == len(kind.numbers)
    train, test = ({tuple(sorted(n)) for n in generate.numbers_of(kind, split)} for split in ("train", "test"))
    assert not train & test, "not even in another order"
    assert train | test == {tuple(sorted(n)) for n in kind.numbers}


def test_stories_of_test_tell_no_numbers_of_train():
    told = {}
    for split in ("train", "test"):
        for question in generate.generate("easy", split, 300, 17, "easy"):
            numbers = tuple(sorted(int(number) for number in re.findall(r"\d+", question.question)))
            told.setdefault((question.subject, numbers), set()).add(split)
    assert all(len(splits) == 1 for splits in told.values())


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_all_the_questions_there_are_have_different_texts(difficulty):
    splits = [
        generate.generate(difficulty, split, generate.capacity(difficulty, split), 3, "s")
        for split in ("train", "test")
    ]
    check_disjoint(*splits, "s")
    for questions in splits:
        assert len({normalise(question.question) for question in questions}) == len(questions)
        assert len({question.id for question in questions}) == len(questions)


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_twelve_templates_or_more_are_asked_equally_often_in_several_phrasings(difficulty):
    kinds = generate.TEMPLATES[difficulty]
    assert len(kinds) >= 12
    assert set(Counter(question.subject for question in sample(difficulty)).values()) == {SAMPLE // len(kinds)}
    for kind in kinds:
        assert len(set(kind.write(random.Random(1), *kind.numbers[0]).texts)) >= 2


def test_the_default_study_can_be_asked_for_five_times_over():
    for difficulty in DIFFICULTIES:
        assert generate.capacity(difficulty, "train") >= 1500
        assert generate.capacity(difficulty, "test") >= 300


def test_a_larger_count_extends_a_smaller_one():
    assert generate.generate("hard", "test", 50, 1, "h")[:20] == generate.generate("hard", "test", 20, 1, "h")


def test_another_seed_asks_other_questions():
    one, two = (generate.generate("easy", "train", 100, seed, "e") for seed in (1, 2))
    assert len({question.question for question in one} & {question.question for question in two}) < 30


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_hash_seed():
    code = """if True:
        import hashlib
        from doubledraft.records import to_line
        from doubledraft.questions.wordproblems.generate import generate
        lines = [to_line(q) for d in ("easy", "medium", "hard") for q in generate(d, "train", 60, 17, d)]
        print(hashlib.sha256("".join(lines).encode()).hexdigest())
    """
    digests = set()
    for hash_seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        digests.add(run.stdout.strip())
    lines = [to_line(q) for d in DIFFICULTIES for q in generate.generate(d, "train", 60, 17, d)]
    assert digests == {hashlib.sha256("".join(lines).encode()).hexdigest()}


def test_too_many_are_refused_with_scenario_asked_and_available():
    available = generate.capacity("easy", "test")
    assert len(generate.generate("easy", "test", available, 1, "mine")) == available
    with pytest.raises(ValueError, match=rf"'mine': {available + 1} test questions asked for.* {available}"):
        generate.generate("easy", "test", available + 1, 1, "mine")


def test_an_unknown_difficulty_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'harder'.*easy, medium, hard"):
        generate.generate("harder", "train", 1, 1, "s")
