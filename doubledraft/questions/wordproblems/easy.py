"""Easy questions: stories in whole numbers, solved in two or three sums from the times tables.

Every number of the tuple is in the text, and every sum has a line of its own. A story of two sums opens with a line
that restates what is given, so that each solution can be drafted in three lines or more. No subtraction needs a borrow,
which is what a small target fails at first.
"""

import random

from doubledraft.questions.wordproblems.parts import (
    FLOWERS,
    FRUIT,
    GOODS,
    PEOPLE,
    THINGS,
    Problem,
    template,
    two_people,
)

TABLE = range(2, 10)  # factors of the times tables
SMALL = range(2, 21)


def _plain(total: int, subtrahend: int) -> bool:
    """Whether a subtraction needs no borrow and leaves 2 or more: 28 - 15, not 25 - 18."""
    return total >= subtrahend + 2 and total % 10 >= subtrahend % 10


@template((a, b, c) for a in TABLE for b in TABLE for c in range(2, 25) if a * b <= 36 and _plain(a * b, c))
def bags_given_away(words: random.Random, bags: int, each: int, given: int) -> Problem:
    who, item = words.choice(PEOPLE), words.choice(FRUIT)
    total = bags * each
    texts = [
        f"{who} has {bags} bags with {each} {item} in each bag. {who} gives away {given} {item}. "
        f"How many {item} are left?",
        f"There are {each} {item} in each of the {bags} bags that {who} packed. "
        f"After {given} {item} are given away, how many {item} remain?",
        f"{who} fills {bags} bags with {each} {item} each and gives {given} {item} to a neighbour. "
        f"How many {item} does {who} still have?",
    ]
    steps = [
        f"There are {bags} bags with {each} {item} each.",
        f"Multiply the bags by the {item} in each bag to get {bags} * {each} = {total} {item}.",
        f"Take away the {item} that were given to others, which leaves {total} - {given} = {total - given} {item}.",
    ]
    return Problem(texts, steps, str(total - given))


@template((a, b, c) for a in SMALL for b in TABLE for c in TABLE if a + b * c <= 30 and b * c <= 20)
def packs_added(words: random.Random, start: int, packs: int, size: int) -> Problem:
    who, item = words.choice(PEOPLE), words.choice(THINGS)
    bought = packs * size
    texts = [
        f"{who} has {start} {item} and buys {packs} packs of {size} {item} each. How many {item} does {who} have now?",
        f"A drawer holds {start} {item}. {who} puts in {packs} more packs, each with {size} {item}. "
        f"How many {item} are in the drawer now?",
        f"{who} starts with {start} {item}. Then {who} gets {packs} packs with {size} {item} in each pack. "
        f"How many {item} is that altogether?",
    ]
    steps = [
        f"There are {start} {item} at the start.",
        f"The new packs bring the packs times the size of a pack, so {packs} * {size} = {bought} {item}.",
        f"Add the new {item} to the ones from the start to get {start} + {bought} = {start + bought} {item}.",
    ]
    return Problem(texts, steps, str(start + bought))


@template((a, b, c) for a in TABLE for b in TABLE for c in range(6, 31) if a * b <= 24 and _plain(c, a * b))
def change_from_shopping(words: random.Random, count: int, price: int, paid: int) -> Problem:
    who, item = words.choice(PEOPLE), words.choice(GOODS)
    cost = count * price
    texts = [
        f"{who} buys {count} {item} for {price} dollars each and pays with {paid} dollars. "
        f"How many dollars does {who} get back?",
        f"At a shop, {who} takes {count} {item} at {price} dollars each. "
        f"{who} hands over {paid} dollars. How many dollars of change are due?",
        f"{who} needs {count} {item}. Each one costs {price} dollars. If {who} had {paid} dollars at first, "
        f"how many dollars are left after buying them?",
    ]
    steps = [
        f"There are {count} {item} for {price} dollars each.",
        f"All the {item} together cost the count times the price, so {count} * {price} = {cost} dollars.",
        f"Subtract the cost from the money that was paid, which leaves {paid} - {cost} = {paid - cost} dollars.",
    ]
    return Problem(texts, steps, str(paid - cost))


@template(
    (a, b, c)
    for c in TABLE
    for a in range(3, 22)
    for b in range(2, 16)
    if a + b <= 24 and (a + b) % c == 0 and 2 <= (a + b) // c <= 9
)
def shared_equally(words: random.Random, first: int, second: int, friends: int) -> Problem:
    (one, two), item = two_people(words), words.choice(THINGS)
    total = first + second
    texts = [
        f"{one} brings {first} {item} and {two} brings {second} {item}. They share them equally among {friends} "
        f"children. How many {item} does each child get?",
        f"{one} found {first} {item} and {two} found {second}. They put them together and divide them equally "
        f"between {friends} boxes. How many {item} go into each box?",
        f"There are {first} {item} from {one} and {second} {item} from {two}. If {friends} friends split all of "
        f"them equally, how many {item} does each friend receive?",
    ]
    steps = [
        f"There are {first} {item} and {second} {item} to share.",
        f"Put both parts together first, which makes {first} + {second} = {total} {item}.",
        f"Divide them into {friends} equal shares to get {total} / {friends} = {total // friends} {item}.",
    ]
    return Problem(texts, steps, str(total // friends))


@template((a, b, c) for a in range(2, 13) for b in range(2, 6) for c in SMALL if a * b <= 16 and a + a * b + c <= 32)
def times_as_many(words: random.Random, first: int, times: int, more: int) -> Problem:
    (one, two), item = two_people(words), words.choice(THINGS)
    second, subtotal = first * times, first + first * times
    texts = [
        f"{one} has {first} {item}. {two} has {times} times as many. Then they find {more} more {item}. "
        f"How many {item} do they have together?",
        f"{one} collected {first} {item} and {two} collected {times} times as many {item}. "
        f"With {more} {item} from a friend, how many {item} are there in all?",
        f"{one} owns {first} {item}, and {two} owns {times} times that number. They also get {more} {item} "
        f"as a gift. How many {item} do they own altogether?",
    ]
    steps = [
        f"{two} has {times} times as many as {one}, so {two} has {times} * {first} = {second} {item}.",
        f"Before the last ones come, the two of them have {first} + {second} = {subtotal} {item}.",
        f"Add the {item} that came last to get the total of {subtotal} + {more} = {subtotal + more} {item}.",
    ]
    return Problem(texts, steps, str(subtotal + more))


@template(
    (a, b, c, d)
    for a in range(2, 7)
    for b in range(2, 6)
    for c in TABLE
    for d in range(8, 31)
    if a * b <= 16 and _plain(d, a * b + c)
)
def pages_left(words: random.Random, daily: int, days: int, extra: int, book: int) -> Problem:
    who = words.choice(PEOPLE)
    first, pages = daily * days, daily * days + extra
    texts = [
        f"{who} reads {daily} pages a day for {days} days and then {extra} pages on Sunday. "
        f"The book has {book} pages. How many pages are left to read?",
        f"For {days} days {who} reads {daily} pages each day. On the next day {who} reads {extra} pages. "
        f"How many pages of the {book} page book are still unread?",
    ]
    steps = [
        f"The pages read in the first {days} days come to {days} * {daily} = {first} pages.",
        f"Together with the last day, {who} has read {first} + {extra} = {pages} pages.",
        f"Subtract them from all the pages of the book, which leaves {book} - {pages} = {book - pages} pages.",
    ]
    return Problem(texts, steps, str(book - pages))


@template(
    (a, b, c, d)
    for a in range(2, 7)
    for b in TABLE
    for c in range(2, 7)
    for d in TABLE
    if a * b <= 18 and c * d <= 18 and a * b + c * d <= 30
)
def two_flower_beds(words: random.Random, rows: int, each: int, other_rows: int, other_each: int) -> Problem:
    who, (one, two) = words.choice(PEOPLE), words.sample(FLOWERS, 2)
    first, second = rows * each, other_rows * other_each
    texts = [
        f"{who} plants {rows} rows of {each} {one} and {other_rows} rows of {other_each} {two}. "
        f"How many flowers does {who} plant in total?",
        f"A garden has {rows} rows with {each} {one} in each row and {other_rows} rows with {other_each} {two} "
        f"in each row. How many flowers are in the garden?",
        f"In the park there are {rows} beds with {each} {one} each, and {other_rows} beds with {other_each} {two} "
        f"each. How many flowers are there altogether?",
    ]
    steps = [
        f"Count the {one} first, which gives {rows} * {each} = {first} {one}.",
        f"Count the {two} in the same way, which gives {other_rows} * {other_each} = {second} {two}.",
        f"Add the two kinds together to get {first} + {second} = {first + second} flowers.",
    ]
    return Problem(texts, steps, str(first + second))


@template(
    (a, b, c, d)
    for a in range(5, 19)
    for b in range(2, 8)
    for c in range(2, 8)
    for d in range(2, 8)
    if _plain(a + b, c) and a + b - c + d <= 25
)
def bus_passengers(words: random.Random, start: int, on: int, off: int, later: int) -> Problem:
    vehicle = words.choice(["bus", "train", "boat", "tram"])
    full, fewer = start + on, start + on - off
    texts = [
        f"A {vehicle} has {start} people on it. At the first stop {on} people get on and {off} people get off. "
        f"At the next stop {later} more people get on. How many people are on the {vehicle} now?",
        f"There are {start} people on a {vehicle}. Then {on} people get on, {off} people get off, "
        f"and later {later} people get on. How many people does the {vehicle} carry now?",
    ]
    steps = [
        f"After the first people get on, the {vehicle} has {start} + {on} = {full} people.",
        f"Then some get off again, which leaves {full} - {off} = {fewer} people.",
        f"At the end more people get on, so there are {fewer} + {later} = {fewer + later} people.",
    ]
    return Problem(texts, steps, str(fewer + later))


@template((a, b, c) for a in range(4, 22, 2) for b in TABLE for c in TABLE if _plain(a // 2 + b, c))
def half_given(words: random.Random, start: int, found: int, lost: int) -> Problem:
    (one, two), item = two_people(words), words.choice(THINGS)
    half, more = start // 2, start // 2 + found
    texts = [
        f"{one} has {start} {item} and gives half of them to {two}. Then {one} finds {found} {item} "
        f"and loses {lost}. How many {item} does {one} have?",
        f"From {start} {item}, {one} gives half to {two}. Later {one} buys {found} more {item} "
        f"but loses {lost} of them. How many {item} does {one} have in the end?",
    ]
    steps = [
        f"Half of the {item} go to {two}, so {one} keeps {start} / 2 = {half} {item}.",
        f"With the new ones {one} has {half} + {found} = {more} {item}.",
        f"Some of them are lost, which leaves {more} - {lost} = {more - lost} {item}.",
    ]
    return Problem(texts, steps, str(more - lost))


@template(
    (a, b, c) for a in range(2, 13) for b in range(2, 9) for c in range(2, 9) if b + c <= 12 and a * (b + c) <= 50
)
def wages(words: random.Random, wage: int, first: int, second: int) -> Problem:
    who, job = (
        words.choice(PEOPLE),
        words.choice(["at a bakery", "in a garden", "at a farm", "in a library", "in a cafe"]),
    )
    day, other_day = words.sample(["Monday", "Tuesday", "Thursday", "Friday", "Saturday"], 2)
    hours = first + second
    texts = [
        f"{who} earns {wage} dollars an hour {job}. {who} works {first} hours on {day} and {second} hours on "
        f"{other_day}. How many dollars does {who} earn?",
        f"{job.capitalize()}, {who} is paid {wage} dollars for each hour. After {first} hours on {day} and "
        f"{second} hours on {other_day}, how many dollars has {who} earned?",
    ]
    steps = [
        f"{who} earns {wage} dollars for each hour.",
        f"Add the hours of both days to get the time worked, {first} + {second} = {hours} hours.",
        f"Multiply the hours by the pay for one hour to get {hours} * {wage} = {hours * wage} dollars.",
    ]
    return Problem(texts, steps, str(hours * wage))


@template(
    (a, b, c, d)
    for a in TABLE
    for b in TABLE
    for c in range(2, 6)
    for d in range(2, 8)
    if a * b <= 36 and c * d <= 20 and _plain(a * b, c * d)
)
def difference_of_boxes(words: random.Random, boxes: int, each: int, other_boxes: int, other_each: int) -> Problem:
    (one, two), item = two_people(words), words.choice(FRUIT)
    first, second = boxes * each, other_boxes * other_each
    texts = [
        f"{one} has {boxes} boxes of {each} {item} and {two} has {other_boxes} boxes of {other_each} {item}. "
        f"How many more {item} does {one} have than {two}?",
        f"{one} picks {boxes} baskets with {each} {item} each. {two} picks {other_boxes} baskets with {other_each} "
        f"{item} each. How many more {item} did {one} pick?",
    ]
    steps = [
        f"Count the {item} of {one} first, which gives {boxes} * {each} = {first} {item}.",
        f"Count the {item} of {two} in the same way, which gives {other_boxes} * {other_each} = {second} {item}.",
        f"The difference between the two is {first} - {second} = {first - second} {item}.",
    ]
    return Problem(texts, steps, str(first - second))


@template(
    (a, b, c)
    for c in TABLE
    for b in TABLE
    for a in range(b + 4, b + 37)
    if _plain(a, b) and (a - b) % c == 0 and 2 <= (a - b) // c <= 9
)
def saving_up(words: random.Random, price: int, saved: int, weekly: int) -> Problem:
    who, item = words.choice(PEOPLE), words.choice(["bike", "tent", "guitar", "camera", "scooter", "watch"])
    missing = price - saved
    texts = [
        f"{who} wants to buy a {item} for {price} dollars. {who} has {saved} dollars and saves {weekly} dollars "
        f"a week. How many weeks does {who} have to save?",
        f"A {item} costs {price} dollars. {who} already has {saved} dollars and puts away {weekly} dollars each "
        f"week. After how many weeks can {who} buy the {item}?",
    ]
    steps = [
        f"The {item} costs {price} dollars and {who} has {saved}.",
        f"Subtract the money that is already there, so {who} still needs {price} - {saved} = {missing} dollars.",
        f"Divide that by the money saved in one week to get {missing} / {weekly} = {missing // weekly} weeks.",
    ]
    return Problem(texts, steps, str(missing // weekly))


TEMPLATES = (
    bags_given_away,
    packs_added,
    change_from_shopping,
    shared_equally,
    times_as_many,
    pages_left,
    two_flower_beds,
    bus_passengers,
    half_given,
    wages,
    difference_of_boxes,
    saving_up,
)
