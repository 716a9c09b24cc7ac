"""Compare two pieces of LaTeX with sympy; used in the worker process only (doubledraft.grading.worker).

The text is parsed by the grammar of math-verify (latex2sympy2_extended), and refused where the grammar dropped part of
it. math-verify compares sets and what has no values. It rounds to 15 digits, finds any two equations without solutions
equal, and is not symmetric; so expressions are compared by their values, sets from both sides, and two equations or
inequalities are equal when one is a multiple of the other.
"""

import re
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

from doubledraft.grading.amounts import same_value
from doubledraft.grading.notation import enclosed
from doubledraft.grading.words import Undecided

if TYPE_CHECKING:
    from sympy import Basic, Expr
    from sympy.core.relational import Relational

DIGITS = 120  # of evaluation
MOST_DIGITS = 300  # that may cancel before two values count as equal
ENOUGH = 3  # points at which values must agree
IMAGINARY = re.compile(r"(?<![\\A-Za-z])i(?![A-Za-z])|\\sqrt\{-")
DROPPED = re.compile(  # by the grammar, without notice
    r"['\"]|\\(?:boxed|fbox|approx|simeq|sim|dots|cdots|[pb]?mod|lnot)(?![A-Za-z])|\d(?:\^\{[^{}]*\})?_|\^\{?(?:T|\\top)\}?(?![A-Za-z])"
)
BOX = re.compile(r"\\(?:boxed|fbox)(?=\{)")
COMMAND = re.compile(r"\\(?:begin|end)\{\w+\}|\\mathbb\{R\}|\\[A-Za-z]+")
POINTS = ("-29/13", "17/11", "36/97", "-71/97", "211/17")  # values of variables, rational, of both signs


def compare(gold: str, prediction: str) -> bool:
    """Compare two pieces of LaTeX without dollar signs; raise Undecided when one of them cannot be parsed."""
    imaginary = any(IMAGINARY.search(text) for text in (gold, prediction))
    one, other = (_read(name, text, imaginary) for name, text in (("gold answer", gold), ("prediction", prediction)))
    return _same(one, other)


@lru_cache(maxsize=64)  # the items of a list are compared with several others
def _read(name: str, text: str, imaginary: bool) -> "Basic":
    from latex2sympy2_extended import NormalizationConfig, latex2sympy
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig
    from sympy import I, Symbol, nan, zoo

    if (box := BOX.match(text)) and enclosed(text[box.end() :]):
        text = text[box.end() :]
    if DROPPED.search(text):
        raise Undecided(f"the {name} cannot be parsed")
    try:
        parsed = latex2sympy(
            text,
            is_real=None if imaginary else True,
            convert_degrees=True,
            normalization_config=NormalizationConfig(malformed_operators=True, nits=True),
            conversion_config=ConversionConfig(lowercase_symbols=False),
        )
    except MemoryError:
        raise
    except Exception as error:  # the grammar raises plain exceptions, sympy whatever strange input makes of it
        raise Undecided(f"the {name} cannot be parsed") from error
    if parsed.has(zoo, nan):
        raise Undecided(f"the {name} is undefined")
    if not _complete(text, parsed):
        raise Undecided(f"the {name} has letters that the grammar does not read")
    return parsed.xreplace({Symbol("i"): I}) if Symbol("i") in parsed.free_symbols else parsed


def _complete(text: str, parsed: "Basic") -> bool:
    """Return whether the parsed expression has the letters of the text: the grammar drops some, and adds others."""
    from sympy import Symbol
    from sympy.core.function import AppliedUndef

    letters = set(re.findall("[A-Za-z]", COMMAND.sub(" ", text)))
    names = [str(symbol) for symbol in parsed.atoms(Symbol)] + [str(call.func) for call in parsed.atoms(AppliedUndef)]
    added = {name for name in names if len(name) == 1} - letters
    return not added and letters - set("".join(names)) <= set("eid")


def _same(one: "Basic", other: "Basic") -> bool:
    from sympy import Expr, MatrixBase
    from sympy.core.relational import Relational
    from sympy.logic.boolalg import And

    if isinstance(one, And) and isinstance(other, And):
        return len(one.args) == len(other.args) and all(any(_same(a, b) for b in other.args) for a in one.args)
    if isinstance(one, Relational) and isinstance(other, Relational):
        return _same_relation(one, other)
    if isinstance(one, MatrixBase) and isinstance(other, MatrixBase):
        return one.shape == other.shape and all(_same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, Expr) and isinstance(other, Expr) and (equal := _compare_values(one, other)) is not None:
        return equal
    if any(isinstance(side, MatrixBase) for side in (one, other)) and one.free_symbols | other.free_symbols:
        raise Undecided("a letter that may stand for a matrix")
    return _verified(one, other) and _verified(other, one)  # math-verify reads sets and relations as the gold answer's


def _verified(one: "Basic", other: "Basic") -> bool:
    from math_verify import verify

    return verify(one, other, allow_set_relation_comp=True, timeout_seconds=None, raise_on_error=True)


def _same_relation(one: "Relational", other: "Relational") -> bool:
    """Return whether one relation is the other multiplied by a constant, a positive one for an inequality."""
    from sympy import Eq, Ge, Gt, Ne, fraction, simplify, together

    one, other = (side.reversed if isinstance(side, (Gt, Ge)) else side for side in (one, other))
    if type(one) is not type(other):
        return False
    sides = [relation.lhs - relation.rhs for relation in (one, other)]
    symmetric = isinstance(one, (Eq, Ne))
    if symmetric:  # y = 1/x is x y = 1
        sides = [fraction(together(side))[0] for side in sides]
    if not all(side.free_symbols for side in sides):
        return False  # true or false whatever the variables are
    ratio = simplify(sides[0] / sides[1])
    return bool(ratio.is_number and ratio.is_finite and (ratio.is_nonzero if symmetric else ratio.is_positive))


def _compare_values(one: "Expr", other: "Expr") -> bool | None:
    """Return whether two expressions have equal values; None when their values do not tell.

    A difference counts when it has digits that are certain, however small it is. Without variables, decimals may stand
    for rounded values. With variables, values are taken at a few points, and count where both sides are defined and,
    unless `i` occurs, real: so roots of variables are compared where they exist.
    """
    from sympy import I, Rational, ceiling, floor

    (one, one_decimal), (other, other_decimal) = _exact(one), _exact(other)
    symbols = sorted(one.free_symbols | other.free_symbols, key=str)
    if not symbols:
        if one_decimal != other_decimal:
            return _same_rounded(one, other, one_decimal)
        return _equal_at(one, other, {}, complex_too=True)
    imaginary = one.has(I) or other.has(I)
    outcomes = []
    for start in range(len(POINTS)):
        values = {symbol: Rational(POINTS[(start + index) % len(POINTS)]) for index, symbol in enumerate(symbols)}
        outcomes.append(_equal_at(one, other, values, imaginary))
        if outcomes[-1] is False:
            return False
    stepped = one.has(floor, ceiling) or other.has(floor, ceiling)  # may agree between integers only
    return True if outcomes.count(True) >= ENOUGH and not stepped else None


def _equal_at(one: "Expr", other: "Expr", values: dict, complex_too: bool) -> bool | None:
    """Return whether two expressions agree at one point; None where one of them has no value."""
    a, b = (expression.subs(values).doit() for expression in (one, other))
    numbers = [number.evalf(DIGITS) for number in (a, b)]
    if not all(number.is_number and number.is_finite for number in numbers):
        return None
    if not complex_too and not all(number.is_real for number in numbers):
        return None
    difference = (a - b).evalf(2, maxn=MOST_DIGITS)
    return not any(part != 0 and part._prec > 1 for part in difference.as_real_imag())


def _exact(expression: "Expr") -> tuple["Expr", bool]:
    """Return the expression with its decimals as fractions, and whether the whole is a decimal."""
    from sympy import Float, Rational

    decimals = {number: Rational(str(number)) for number in expression.atoms(Float)}
    exact = expression.xreplace(decimals)
    return exact, bool(decimals) and bool(exact.doit().is_Rational)


def _same_rounded(one: "Expr", other: "Expr", one_decimal: bool) -> bool:
    """Return whether two values, of which one is a decimal, are equal by the rule on precision."""
    from sympy import nsimplify

    values = [nsimplify(number.doit().evalf(DIGITS), rational=True) for number in (one, other)]
    if not all(value.is_Rational for value in values):
        return False
    return same_value(*(Fraction(int(value.p), int(value.q)) for value in values), one_decimal, not one_decimal)
