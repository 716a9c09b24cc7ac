"""Medium questions: one unknown, expressions, percent, averages, slopes; whole, negative and fraction answers.

They add algebra to the easy questions: equations are solved step by step, numbers may be negative, quotients may be
fractions. The numbers are smaller in return, since a small target fails at sums of two digits first.
"""

import random
from math import gcd

from doubledraft.questions.wordproblems.parts import PEOPLE, Problem, operand, polynomial, ratio, template

SIGNED = [n for n in range(-5, 6) if n]  # -5 to 5 without 0


def _move(constant: int) -> tuple[str, str]:
    """Describe how a constant leaves one side of an equation, and return what it adds to the other side."""
    return (f"Subtract {constant} from", f"- {constant}") if constant > 0 else (f"Add {-constant} to", f"+ {-constant}")


@template((a, b, x) for a in range(2, 5) for b in SIGNED for x in range(1, 9))
def linear_equation(words: random.Random, a: int, b: int, x: int) -> Problem:
    left, right = polynomial([a, b]), a * x + b
    action, change = _move(b)
    texts = [
        f"Solve for x: {left} = {right}.",
        f"What value of x satisfies {left} = {right}?",
        f"If {left} = {right}, what is x?",
    ]
    steps = [
        f"We want x alone on one side of the equation {left} = {right}.",
        f"{action} both sides of the equation to get {a}x = {right} {change} = {a * x}.",
        f"Divide both sides of the equation by {a} to get x = {a * x} / {a} = {x}.",
    ]
    return Problem(texts, steps, str(x))


@template(
    (a, c, b, x)
    for c in range(2, 5)
    for a in range(c + 2, c + 5)
    for b in SIGNED
    for x in range(2, 7)
    if (a - c) * x + b
)
def unknown_on_both_sides(words: random.Random, a: int, c: int, b: int, x: int) -> Problem:
    rest = (a - c) * x + b
    left, right = polynomial([a, b]), polynomial([c, rest])
    action, change = _move(b)
    texts = [
        f"Solve for x: {left} = {right}.",
        f"For which x is {left} equal to {right}?",
        f"Find the number x with {left} = {right}.",
    ]
    steps = [
        f"Take {c}x from both sides, where {a}x - {c}x = {a - c}x.",
        f"Now x stands on one side of the equation only, {polynomial([a - c, b])} = {rest}.",
        f"{action} both sides of the equation to get {a - c}x = {rest} {change} = {rest - b}.",
        f"Divide both sides of the equation by {a - c} to get x = {rest - b} / {a - c} = {x}.",
    ]
    return Problem(texts, steps, str(x))


@template((a, b, x) for a in range(2, 5) for b in SIGNED for x in range(-3, 10) if x and 1 < x + b <= 10)
def bracket_equation(words: random.Random, a: int, b: int, x: int) -> Problem:
    inner, right = polynomial([1, b]), a * (x + b)
    action, change = _move(b)
    texts = [
        f"Solve for x: {a}({inner}) = {right}.",
        f"What is x if {a}({inner}) = {right}?",
        f"Find x such that {a}({inner}) = {right}.",
    ]
    steps = [
        f"We want x alone on one side of the equation {a}({inner}) = {right}.",
        f"Divide both sides of the equation by {a} to get {inner} = {right} / {a} = {x + b}.",
        f"{action} both sides of the equation to get x = {x + b} {change} = {x}.",
    ]
    return Problem(texts, steps, str(x))


@template((a, b, n) for a in range(2, 8) for b in SIGNED for n in range(-4, 12) if n and gcd(a, n) == 1)
def fraction_solution(words: random.Random, a: int, b: int, n: int) -> Problem:
    left, right = polynomial([a, b]), n + b
    action, change = _move(b)
    answer = ratio(n, a)
    texts = [
        f"Solve {left} = {right} and write x as a fraction.",
        f"The number x satisfies {left} = {right}. Give x as a fraction in lowest terms.",
        f"Which fraction x makes {left} = {right} true?",
    ]
    steps = [
        f"We want x alone on one side of the equation {left} = {right}.",
        f"{action} both sides of the equation to get {a}x = {right} {change} = {n}.",
        f"Divide both sides by {a} and keep the fraction in lowest terms, x = {answer}.",
    ]
    return Problem(texts, steps, str(answer))


@template((x, b, c) for x in range(-3, 6) for b in range(2, 6) for c in range(1, 10) if abs(x) > 1)
def expression_value(words: random.Random, x: int, b: int, c: int) -> Problem:
    expression = polynomial([1, b, c])
    square, linear, subtotal = x * x, b * x, x * x + b * x
    texts = [
        f"What is the value of {expression} when x = {x}?",
        f"Evaluate {expression} for x = {x}.",
        f"Find the value of the expression {expression} at x = {x}.",
    ]
    steps = [
        f"Put {x} for x, and the square is {operand(x)} * {operand(x)} = {square}.",
        f"The term with x has the value {b} * {operand(x)} = {linear}.",
        f"Add the square and the term with x to get {square} + {operand(linear)} = {subtotal}.",
        f"With the number at the end, the whole expression is {subtotal} + {c} = {subtotal + c}.",
    ]
    return Problem(texts, steps, str(subtotal + c))


@template((p, n, c) for p in range(10, 100, 10) for n in range(20, 110, 10) for c in range(2, 10))
def percent_of_group(words: random.Random, percent: int, count: int, more: int) -> Problem:
    place = words.choice(["school", "club", "camp", "choir", "village"])
    sport = words.choice(["swim", "play chess", "run", "dance", "play tennis"])
    tenth, tens = count // 10, percent // 10
    part = tenth * tens
    texts = [
        f"A {place} has {count} children, and {percent} percent of them {sport}. Then {more} more children start. "
        f"How many children {sport} now?",
        f"Of the {count} children of a {place}, {percent} percent {sport}. After {more} others have joined them, "
        f"how many children {sport}?",
    ]
    steps = [
        f"Ten percent of the children of the {place} is {count} / 10 = {tenth} children.",
        f"So {percent} percent of them is {tens} * {tenth} = {part} children.",
        f"Add the ones who started later to get the total of {part} + {more} = {part + more} children.",
    ]
    return Problem(texts, steps, str(part + more))


@template(
    (a, b, c)
    for a in range(2, 16)
    for b in range(2, 13)
    for c in range(2, 13)
    if (a + b + c) % 3 == 0 and len({a, b, c}) == 3
)
def average_score(words: random.Random, first: int, second: int, third: int) -> Problem:
    who, what = words.choice(PEOPLE), words.choice(["games", "tests", "rounds", "races"])
    two, total = first + second, first + second + third
    texts = [
        f"The scores of {who} in 3 {what} are {first}, {second} and {third}. What is the average score?",
        f"{who} scores {first} points, then {second} and then {third} in 3 {what}. Find the average of the scores.",
    ]
    steps = [
        f"The first two scores add up to {first} + {second} = {two} points.",
        f"With the last one, all scores add up to {two} + {third} = {total} points.",
        f"Divide that by the number of {what} to get the average of {total} / 3 = {total // 3} points.",
    ]
    return Problem(texts, steps, str(total // 3))


@template(
    (a, b, c, d)
    for b in range(2, 9)
    for d in range(2, 9)
    for a in range(1, b)
    for c in range(1, d)
    if gcd(a * c, b * d) == 1 and a * c <= 20
)
def fraction_product(words: random.Random, a: int, b: int, c: int, d: int) -> Problem:
    top, bottom = a * c, b * d
    who = words.choice(PEOPLE)
    texts = [
        f"What is {a}/{b} times {c}/{d}? Give a fraction.",
        f"Multiply the fractions {a}/{b} and {c}/{d}.",
        f"{who} has {a}/{b} of a cake and eats {c}/{d} of that. Which fraction of the cake does {who} eat?",
    ]
    steps = [
        f"The top number of the product is {a} * {c} = {top}.",
        f"The bottom number of the product is {b} * {d} = {bottom}.",
        f"Nothing cancels, so the product is {a}/{b} * {c}/{d} = {top}/{bottom}.",
    ]
    return Problem(texts, steps, f"{top}/{bottom}")


@template((a, b, m) for a in range(2, 9) for b in range(2, 6) for m in range(2, 10))
def taxi_ride(words: random.Random, fee: int, rate: int, miles: int) -> Problem:
    who, bill = words.choice(PEOPLE), fee + rate * miles
    vehicle = words.choice(["taxi", "van", "coach"])
    texts = [
        f"A {vehicle} charges {fee} dollars plus {rate} dollars for each mile. {who} pays {bill} dollars. "
        f"How many miles was the ride?",
        f"To ride in a {vehicle}, {who} pays {fee} dollars at the start and {rate} dollars more for each mile. "
        f"The price is {bill} dollars. How many miles is the ride?",
    ]
    steps = [
        f"Let x be the number of miles, and the price is {rate}x + {fee} = {bill}.",
        f"Subtract the fixed fee from both sides of the equation to get {rate}x = {bill} - {fee} = {rate * miles}.",
        f"Divide both sides of the equation by {rate} to get x = {rate * miles} / {rate} = {miles}.",
    ]
    return Problem(texts, steps, str(miles))


@template(
    (x1, y1, run, rise)
    for x1 in range(5)
    for y1 in range(8)
    for run in range(2, 6)
    for rise in SIGNED
    if y1 + rise >= 0 and (gcd(run, rise) == 1 or rise % run == 0)
)
def slope_of_line(words: random.Random, x1: int, y1: int, run: int, rise: int) -> Problem:
    x2, y2, slope = x1 + run, y1 + rise, ratio(rise, run)
    texts = [
        f"What is the slope of the line through ({x1}, {y1}) and ({x2}, {y2})?",
        f"A line passes through the points ({x1}, {y1}) and ({x2}, {y2}). Find its slope.",
    ]
    steps = [
        f"The rise is the difference of the second coordinates, {y2} - {operand(y1)} = {rise}.",
        f"The run is the difference of the first coordinates, {x2} - {operand(x1)} = {run}.",
        f"The slope is the rise divided by the run, {rise} / {run} = {slope}.",
    ]
    return Problem(texts, steps, str(slope))


@template((a, b, c, d) for a in range(2, 5) for b in range(1, 6) for c in range(2, 6) for d in range(1, 7))
def simplify_expression(words: random.Random, a: int, b: int, c: int, d: int) -> Problem:
    inner = polynomial([1, b])
    expression = f"{a}({inner}) + {polynomial([c, d])}"
    texts = [
        f"Simplify {expression}.",
        f"Write {expression} in the form of a number times x plus a number.",
        f"Expand and collect like terms: {expression}.",
    ]
    steps = [
        f"Multiply the bracket out to get {a}({inner}) = {polynomial([a, a * b])}.",
        f"Collect the terms with x to get {a}x + {c}x = {a + c}x.",
        f"Collect the numbers without x to get {a * b} + {d} = {a * b + d}.",
    ]
    return Problem(texts, steps, polynomial([a + c, a * b + d]))


@template((t, k, h) for t in range(16) for k in range(2, 6) for h in range(2, 8) if -12 <= t - k * h < 0)
def falling_temperature(words: random.Random, start: int, drop: int, hours: int) -> Problem:
    place, fall = words.choice(["Oslo", "the valley", "the village", "Quebec", "the camp"]), drop * hours
    texts = [
        f"In {place} it is {start} degrees. The temperature falls {drop} degrees every hour. "
        f"What is the temperature after {hours} hours?",
        f"The temperature in {place} is {start} degrees at noon and drops by {drop} degrees each hour. "
        f"How many degrees is it {hours} hours later?",
    ]
    steps = [
        f"It is {start} degrees at the start.",
        f"Over all the hours the temperature falls by {drop} * {hours} = {fall} degrees.",
        f"Subtract the fall from the temperature at the start to get {start} - {fall} = {start - fall} degrees.",
    ]
    return Problem(texts, steps, str(start - fall))


TEMPLATES = (
    linear_equation,
    unknown_on_both_sides,
    bracket_equation,
    fraction_solution,
    expression_value,
    percent_of_group,
    average_score,
    fraction_product,
    taxi_ride,
    slope_of_line,
    simplify_expression,
    falling_temperature,
)
