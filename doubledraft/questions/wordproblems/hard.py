"""Hard questions: systems, quadratics, polynomials, sequences and functions, with answers that may be algebraic.

They are harder by the number of steps and by their algebra, not by arithmetic, which a small target is worst at: three
to five steps, most numbers of one or two digits, and answers that can be an expression, a fraction or a list.
"""

import random

from doubledraft.questions.wordproblems.parts import Problem, multiply, operand, polynomial, ratio, template

SIGNED = [n for n in range(-5, 6) if n]  # -5 to 5 without 0


@template((a, b, x, y) for a in range(2, 5) for b in range(2, 5) for x in range(1, 7) for y in range(1, 9))
def system_by_adding(words: random.Random, a: int, b: int, x: int, y: int) -> Problem:
    first, second = a * x + y, b * x - y
    total, product = first + second, a * x
    texts = [
        f"If {a}x + y = {first} and {b}x - y = {second}, what is y?",
        f"The numbers x and y satisfy {a}x + y = {first} and {b}x - y = {second}. Find y.",
        f"Solve the system {a}x + y = {first}, {b}x - y = {second} for y.",
    ]
    steps = [
        f"Add the two equations so that y drops out, {a}x + {b}x = {a + b}x.",
        f"The right sides add up to {first} + {operand(second)} = {total}.",
        f"Divide to find the first unknown, x = {total} / {a + b} = {x}.",
        f"In the first equation the term with x becomes {a} * {x} = {product}.",
        f"Subtract it from the right side to find the second unknown, y = {first} - {product} = {y}.",
    ]
    return Problem(texts, steps, str(y))


@template((p, q, m, n) for q in (2, 3) for p in range(q + 1, 7) for m in range(2, 7) for n in range(2, 7))
def ticket_system(words: random.Random, adult: int, child: int, adults: int, children: int) -> Problem:
    count, money = adults + children, adult * adults + child * children
    cheap, extra, gap = child * count, (adult - child) * adults, adult - child
    place = words.choice(["museum", "zoo", "cinema", "theatre", "pool"])
    texts = [
        f"At a {place}, adult tickets cost {adult} dollars and child tickets cost {child} dollars. A group buys "
        f"{count} tickets for {money} dollars. How many adults are in the group?",
        f"A {place} sells {count} tickets for {money} dollars in total. An adult ticket costs {adult} dollars and "
        f"a child ticket {child} dollars. How many adult tickets were sold?",
    ]
    steps = [
        f"If all of them were children, the price would be {count} * {child} = {cheap} dollars.",
        f"The price is higher than that by {money} - {cheap} = {extra} dollars.",
        f"Each adult adds the difference of the two prices, {adult} - {child} = {gap} dollars.",
        f"Divide the extra money by that difference to get {extra} / {gap} = {adults} adults.",
    ]
    return Problem(texts, steps, str(adults))


@template((a, b) for a in range(1, 16) for b in range(1, 16) if a != b)
def absolute_value(words: random.Random, a: int, b: int) -> Problem:
    texts = [
        f"Find all solutions of |x - {a}| = {b}, from smallest to largest.",
        f"Which numbers x satisfy |x - {a}| = {b}? List them in increasing order.",
        f"Solve |x - {a}| = {b} and list the solutions in increasing order.",
    ]
    steps = [
        f"In the first case the inside is negative, x - {a} = -{b}.",
        f"That gives the smaller solution, x = {a} - {b} = {a - b}.",
        f"In the second case the inside is positive, x - {a} = {b}.",
        f"That gives the larger solution, x = {a} + {b} = {a + b}.",
    ]
    return Problem(texts, steps, f"{a - b}, {a + b}")


@template((h, k) for h in SIGNED for k in range(-3, 16) if k and h * h + k)
def quadratic_minimum(words: random.Random, h: int, k: int) -> Problem:
    b, c, square = -2 * h, h * h + k, h * h
    quadratic = polynomial([1, b, c])
    texts = [
        f"What is the smallest value of {quadratic}?",
        f"Find the minimum value of {quadratic}.",
    ]
    steps = [
        f"To complete the square, take half of the middle number, {b} / 2 = {-h}.",
        f"The square of that half is {operand(-h)} * {operand(-h)} = {square}.",
        f"The smallest value is what the last number has beyond this square, {c} - {square} = {k}.",
    ]
    return Problem(texts, steps, str(k))


@template((x, run, m, b) for x in range(1, 4) for run in range(1, 4) for m in range(2, 6) for b in range(1, 7))
def line_through_points(words: random.Random, x: int, run: int, slope: int, start: int) -> Problem:
    rise, product = slope * run, slope * x
    y, x2, y2 = product + start, x + run, product + start + rise
    texts = [
        f"A line passes through ({x}, {y}) and ({x2}, {y2}). Write y in terms of x.",
        f"The points ({x}, {y}) and ({x2}, {y2}) lie on a line. Which expression in x gives y?",
        f"Find the equation of the line through ({x}, {y}) and ({x2}, {y2}). What is y in terms of x?",
    ]
    steps = [
        f"From the first point to the second, y changes by {y2} - {y} = {rise}.",
        f"From the first point to the second, x changes by {x2} - {x} = {run}.",
        f"The slope is the quotient of the two changes, {rise} / {run} = {slope}.",
        f"At the first point the term with x is {slope} * {x} = {product}.",
        f"The rest of y at this point is the number at the end, {y} - {product} = {start}.",
    ]
    return Problem(texts, steps, polynomial([slope, start]))


@template((a, b, c, d) for a in range(1, 4) for b in range(1, 7) for c in range(1, 3) for d in range(1, 7))
def expand_product(words: random.Random, a: int, b: int, c: int, d: int) -> Problem:
    left, right = polynomial([a, b]), polynomial([c, d])
    answer = polynomial(multiply([a, b], [c, d]))
    texts = [
        f"Expand ({left})({right}).",
        f"Write the product ({left})({right}) as a polynomial.",
        f"Multiply out ({left})({right}) and collect like terms.",
    ]
    first, last = polynomial([a, 0]), polynomial([c, 0])
    steps = [
        f"Multiply the first terms of the two brackets, {first} * {last} = {polynomial([a * c, 0, 0])}.",
        f"The outer terms give {first} * {d} = {polynomial([a * d, 0])}.",
        f"The inner terms give {b} * {last} = {polynomial([b * c, 0])}.",
        f"Together the terms with x are {polynomial([a * d, 0])} + {polynomial([b * c, 0])} = "
        f"{polynomial([a * d + b * c, 0])}.",
        f"The last terms of the two brackets give {b} * {d} = {b * d}.",
    ]
    return Problem(texts, steps, answer)


@template((r, b, c) for r in range(1, 4) for b in range(1, 8) for c in range(1, 10))
def remainder(words: random.Random, r: int, b: int, c: int) -> Problem:
    quadratic, square, value = polynomial([1, b, c]), r * r, r * r + b * r
    texts = [
        f"What is the remainder when {quadratic} is divided by {polynomial([1, -r])}?",
        f"Find the remainder of {quadratic} on division by {polynomial([1, -r])}.",
    ]
    steps = [
        f"By the remainder theorem we put {r} for x, and the square is {r} * {r} = {square}.",
        f"The linear term is {b} * {r} = {b * r}.",
        f"These two add up to {square} + {b * r} = {value}.",
        f"With the last number, the remainder is {value} + {c} = {value + c}.",
    ]
    return Problem(texts, steps, str(value + c))


@template((a, d, n) for a in range(1, 10) for d in range(2, 6) for n in range(4, 11))
def arithmetic_term(words: random.Random, first: int, step: int, n: int) -> Problem:
    gaps, last = step * (n - 1), first + step * (n - 1)
    start = ", ".join(str(first + step * index) for index in range(3))
    texts = [
        f"What is the {n}th term of the arithmetic sequence {start}, ...?",
        f"An arithmetic sequence starts with {start}. Find its {n}th term.",
    ]
    steps = [
        f"The step from one term to the next is {first + step} - {operand(first)} = {step}.",
        f"From the first term to the {n}th term there are {n} - 1 = {n - 1} steps.",
        f"All these steps together change the term by {n - 1} * {operand(step)} = {gaps}.",
        f"Add that to the first term of the sequence to get {first} + {operand(gaps)} = {last}.",
    ]
    return Problem(texts, steps, str(last))


@template((a, b, c, x) for a in range(2, 5) for b in SIGNED for c in range(-4, 5) for x in range(-2, 4) if c and x)
def composed_value(words: random.Random, a: int, b: int, c: int, x: int) -> Problem:
    f, g, inner = polynomial([a, b]), polynomial([1, 0, c]), x * x + c
    texts = [
        f"Let f(x) = {f} and g(x) = {g}. What is f(g({x}))?",
        f"If f(x) = {f} and g(x) = {g}, find f(g({x})).",
    ]
    steps = [
        f"Start with the inner function, where the square is {operand(x)} * {operand(x)} = {x * x}.",
        f"So the inner function has the value g({x}) = {x * x} + {operand(c)} = {inner}.",
        f"Put this into the outer function, where the first term is {a} * {operand(inner)} = {a * inner}.",
        f"With the last number, the outer function has the value {a * inner} + {operand(b)} = {a * inner + b}.",
    ]
    return Problem(texts, steps, str(a * inner + b))


@template((a, b, c, d) for a in range(2, 5) for b in SIGNED for c in range(2, 5) for d in SIGNED if a * d + b)
def composed_functions(words: random.Random, a: int, b: int, c: int, d: int) -> Problem:
    f, g = polynomial([a, b]), polynomial([c, d])
    texts = [
        f"Let f(x) = {f} and g(x) = {g}. Write f(g(x)) in simplest form.",
        f"If f(x) = {f} and g(x) = {g}, what is f(g(x)) as a polynomial?",
    ]
    steps = [
        f"Put the inner function into the outer one to get f(g(x)) = {a}({g}) {'-' if b < 0 else '+'} {abs(b)}.",
        f"The term with x is {a} * {c}x = {a * c}x.",
        f"The number from the bracket is {a} * {operand(d)} = {a * d}.",
        f"Together with the last number that makes {a * d} + {operand(b)} = {a * d + b}.",
    ]
    return Problem(texts, steps, polynomial([a * c, a * d + b]))


@template((r, s) for r in range(-10, 11) for s in range(r + 1, 13) if r and s and 0 < abs(r + s) <= 12)
def squares_of_roots(words: random.Random, r: int, s: int) -> Problem:
    total, product = r + s, r * s
    quadratic = polynomial([1, -total, product])
    texts = [
        f"Let r and s be the roots of {quadratic}. What is r^2 + s^2?",
        f"The equation {quadratic} = 0 has the solutions r and s. Find r^2 + s^2.",
    ]
    steps = [
        f"The sum of the roots is the middle number with its sign turned, r + s = {total}.",
        f"The product of the roots is the last number, r * s = {product}.",
        f"The square of the sum is {operand(total)} * {operand(total)} = {total * total}.",
        f"Twice the product of the roots is 2 * {operand(product)} = {2 * product}.",
        f"Subtract it from the square of the sum to get {total * total} - {operand(2 * product)} = {r * r + s * s}.",
    ]
    return Problem(texts, steps, str(r * r + s * s))


@template((r, s) for r in range(-9, 10) for s in range(r + 1, 13) if r and s and r + s)
def reciprocals_of_roots(words: random.Random, r: int, s: int) -> Problem:
    total, product = r + s, r * s
    quadratic = polynomial([1, -total, product])
    texts = [
        f"Let r and s be the roots of {quadratic}. What is 1/r + 1/s?",
        f"The equation {quadratic} = 0 has the solutions r and s. Find 1/r + 1/s as a fraction.",
    ]
    steps = [
        f"The sum of the roots is the middle number with its sign turned, r + s = {total}.",
        f"The product of the roots is the last number, r * s = {product}.",
        "The two fractions together are the sum over the product, "
        f"{total} / {operand(product)} = {ratio(total, product)}.",
    ]
    return Problem(texts, steps, str(ratio(total, product)))


TEMPLATES = (
    system_by_adding,
    ticket_system,
    absolute_value,
    quadratic_minimum,
    line_through_points,
    expand_product,
    remainder,
    arithmetic_term,
    composed_value,
    composed_functions,
    squares_of_roots,
    reciprocals_of_roots,
)
