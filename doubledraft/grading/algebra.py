"""Compare two pieces of LaTeX with sympy; runs in the worker process alone (doubledraft.answers_worker).

The text is parsed by a grammar (latex2sympy2_extended) and compared by math-verify. Its word alone is not enough to
call two answers equal: it drops differences below 15 digits, finds any two equations without solutions equal, and is
not symmetric. So numbers and values at a few points must agree to 100 digits, sets must be equal from both sides, and
equations and inequalities are compared here: they are equal when one is a multiple of the other.
"""

import re
from fractions import Fraction
from typing import TYPE_CHECKING

from doubledraft.grading.amounts import rounds_to
from doubledraft.grading.words import Undecided

if TYPE_CHECKING:
    from sympy import Basic, Expr
    from sympy.core.relational import Relational

DIGITS = 120  # of evaluation
AGREE = 100  # digits of those that must agree
IMAGINARY = re.compile(r"(?<![\\A-Za-z])i(?![A-Za-z])|\\sqrt\{-")
POINTS = ("-29/13", "17/11", "36/97", "-71/97", "211/17")  # values of variables, rational, of both signs


def compare(gold: str, prediction: str) -> bool:
    """Compare two pieces of LaTeX without dollar signs; raises Undecided when one of them cannot be parsed."""
    imaginary = any(IMAGINARY.search(text) for text in (gold, prediction))
    one, other = (_read(name, text, imaginary) for name, text in (("gold answer", gold), ("prediction", prediction)))
    return _same(one, other)


def _read(name: str, text: str, imaginary: bool) -> "Basic":
    from latex2sympy2_extended import NormalizationConfig, latex2sympy, normalize_latex
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig
    from sympy import I, Symbol, nan, zoo

    if "'" in text:  # the grammar drops it
        raise Undecided(f"the {name} cannot be parsed")
    units_stay = NormalizationConfig(malformed_operators=True, nits=True, units=False)  # else `5m` would equal `5`
    try:
        found = latex2sympy(
            normalize_latex(text, units_stay),
            is_real=None if imaginary else True,
            convert_degrees=True,
            normalization_config=None,
            conversion_config=ConversionConfig(lowercase_symbols=False),
        )
    except MemoryError:
        raise
    except Exception as error:  # the grammar raises plain exceptions, sympy whatever strange input makes of it
        raise Undecided(f"the {name} cannot be parsed") from error
    if found.has(zoo, nan):
        raise Undecided(f"the {name} is undefined")
    return found.xreplace({Symbol("i"): I}) if Symbol("i") in found.free_symbols else found


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
    if isinstance(one, Expr) and isinstance(other, Expr):
        return not _differ(one, other) and _verified(one, other)
    return _verified(one, other) and _verified(other, one)  # math-verify reads sets and relations as the gold answer's


def _verified(one: "Basic", other: "Basic") -> bool:
    from math_verify import verify

    return verify(one, other, allow_set_relation_comp=True, timeout_seconds=None, raise_on_error=True)


def _same_relation(one: "Relational", other: "Relational") -> bool:
    """Tell whether one relation is the other multiplied by a constant, a positive one for an inequality."""
    from sympy import Eq, Ge, Gt, Ne, fraction, simplify, together

    if isinstance(one, (Gt, Ge)):
        one = one.reversed
    if isinstance(other, (Gt, Ge)):
        other = other.reversed
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


def _differ(one: "Expr", other: "Expr") -> bool:
    """Tell whether two expressions differ in value: to 100 digits, or six places where one is a decimal."""
    from sympy import Rational

    (one, one_decimal), (other, other_decimal) = _exact(one), _exact(other)
    symbols = sorted(one.free_symbols | other.free_symbols, key=str)
    if one_decimal != other_decimal and not symbols:
        return not _rounds(*((one, other) if one_decimal else (other, one)))
    for start in range(len(POINTS) if symbols else 1):
        values = {symbol: Rational(POINTS[(start + index) % len(POINTS)]) for index, symbol in enumerate(symbols)}
        a, b = (expression.subs(values).evalf(DIGITS) for expression in (one, other))
        if a.is_number and b.is_number and a.is_finite and b.is_finite:
            largest = max(1, abs(a), abs(b))
            if abs(a - b) > largest * 10**-AGREE:
                return True
    return False


def _exact(expression: "Expr") -> tuple["Expr", bool]:
    """Write decimals as fractions; tell whether the whole is a decimal."""
    from sympy import Float, Rational

    decimals = {number: Rational(str(number)) for number in expression.atoms(Float)}
    exact = expression.xreplace(decimals)
    return exact, bool(decimals) and bool(exact.doit().is_Rational)


def _rounds(decimal: "Expr", exact: "Expr") -> bool:
    """Tell whether the value of `decimal` gives that of `exact` by the rule on precision."""
    from sympy import nsimplify

    values = [nsimplify(number.doit().evalf(DIGITS), rational=True) for number in (decimal, exact)]
    if not all(value.is_Rational for value in values):
        return False
    one, other = (Fraction(int(value.p), int(value.q)) for value in values)
    return one == other or rounds_to(one, other)
