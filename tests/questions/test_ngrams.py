"""The most similar of many texts is found exactly, without comparing all pairs."""

import random

import pytest

from doubledraft.questions.ngrams import Index, jaccard, ngrams


def test_ngrams_are_of_words_and_operators_and_a_shorter_text_is_one():
    assert ngrams("3 + 4 = 7", 3) == {("3", "+", "4"), ("+", "4", "="), ("4", "=", "7")}
    assert ngrams("yes", 3) == {("yes",)} and ngrams("", 3) == {()}


@pytest.mark.parametrize("threshold", [0.2, 0.35, 0.5, 0.8, 1.0])
def test_the_nearest_set_is_that_of_comparing_all_pairs(threshold):
    draw = random.Random(threshold)
    texts = {}
    for number in range(300):  # half of them an earlier text with some words replaced
        words = [str(draw.randrange(40)) for _ in range(draw.randrange(1, 25))]
        if texts and number % 2:
            words = draw.choice(list(texts.values())).split()
            for place in draw.sample(range(len(words)), draw.randrange(min(4, len(words) + 1))):
                words[place] = str(draw.randrange(40))
        texts[str(number)] = " ".join(words)
    sets = {name: ngrams(text, 2) for name, text in texts.items()}
    index, earlier, found = Index(threshold, sets.values()), {}, 0
    for name, grams in sets.items():
        best = max(earlier, key=lambda other: jaccard(grams, earlier[other]), default=None)
        expected = None if best is None else (best, jaccard(grams, earlier[best]))
        expected = expected if expected and expected[1] >= threshold else None
        assert index.nearest(grams) == expected
        index.add(name, grams)
        earlier[name] = grams
        found += expected is not None
    assert found > 20, "texts of which none repeats another would prove nothing"
