"""What word-problem templates share: the template, lists of words, the notation of numbers and polynomials.

A template is a list of number tuples and a writer. The writer takes a source of words (names, nouns) and one tuple, and
returns the phrasings of the question, the solution steps and the answer. Numbers are listed rather than drawn, so that
train and test can divide them and the number of different questions is known.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sympy import Rational

PEOPLE = [
    "Anna", "Ben", "Carla", "David", "Elena", "Felix", "Grace", "Hugo", "Irene", "James",
    "Kira", "Liam", "Maria", "Nora", "Oscar", "Paula", "Quinn", "Rosa", "Samir", "Tara",
    "Umar", "Vera", "Wendy", "Yusuf", "Zoe", "Amir", "Bella", "Chen", "Diego", "Emma",
]  # fmt: skip
FRUIT = ["apples", "oranges", "pears", "plums", "lemons", "peaches", "mangoes", "figs"]
THINGS = ["pencils", "marbles", "stickers", "cards", "shells", "coins", "buttons", "beads", "stamps", "crayons"]
FLOWERS = ["roses", "tulips", "daisies", "lilies", "sunflowers", "violets"]
GOODS = ["notebooks", "pens", "cups", "caps", "candles", "scarves", "puzzles", "kites", "mugs", "dolls"]


@dataclass(frozen=True, slots=True)
class Problem:
    """A question in several phrasings, with its solution: one line of prose per step, the answer as a plain string."""

    texts: list[str]
    steps: list[str]
    answer: str


@dataclass(frozen=True, slots=True)
class Template:
    """One kind of question: every tuple of numbers it can be asked with, and the writer of its problems."""

    name: str
    numbers: tuple[tuple[int, ...], ...]
    write: Callable[..., Problem]  # (words: random.Random, *numbers) -> Problem


def template(numbers: Iterable[tuple[int, ...]]) -> Callable[[Callable[..., Problem]], Template]:
    """Make a writer into a template that is asked with these number tuples."""
    return lambda write: Template(write.__name__, tuple(numbers), write)


def two_people(words: random.Random) -> list[str]:
    """Return two different names."""
    return words.sample(PEOPLE, 2)


def operand(number: object) -> str:
    """Write a number as an operand: negative ones in parentheses."""
    return f"({number})" if str(number).startswith("-") else str(number)


def polynomial(coefficients: Sequence[int], variable: str = "x") -> str:
    """Write a polynomial, highest power first, as `x^2 - 5x + 6`."""
    degree = len(coefficients) - 1
    terms = [(value, degree - index) for index, value in enumerate(coefficients) if value]
    text = " ".join(f"{'-' if value < 0 else '+'} {_monomial(abs(value), power, variable)}" for value, power in terms)
    return "-" + text[2:] if text.startswith("-") else text[2:] or "0"


def ratio(numerator: int, denominator: int) -> "Rational":
    """Return an exact quotient in lowest terms; it prints as `3/4`, or as `3` when whole."""
    from sympy import Rational

    return Rational(numerator, denominator)


def multiply(left: Sequence[int], right: Sequence[int]) -> list[int]:
    """Return the coefficients of the product of two polynomials, highest power first."""
    from sympy import Poly, Symbol

    x = Symbol("x")
    return [int(value) for value in (Poly(left, x) * Poly(right, x)).all_coeffs()]


def _monomial(value: int, power: int, variable: str) -> str:
    if power == 0:
        return str(value)
    factor = "" if value == 1 else str(value)
    return factor + variable + (f"^{power}" if power > 1 else "")
