"""Passes captured over whole, reused caches of fixed shapes compute what other passes compute.

Without a GPU everything but the capture of a CUDA graph runs; on a GPU the same tests capture graphs too.
"""

import gc

import pytest
import torch

from doubledraft.engine.backend import Backend
from doubledraft.engine.cuda_graphs import captures
from doubledraft.engine.decode import decode, speculative_decode
from doubledraft.engine.draft_length import AdaptiveLength
from doubledraft.engine.kv_cache import CacheFull
from doubledraft.engine.load import create_backend
from doubledraft.engine.proposers import DraftModel
from doubledraft.engine.sampling import Sampling
from doubledraft.evaluation.acceptance import summary
from tests.helpers.prompts import NEW, PROMPTS

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(scope="module")
def plain(tiny_model) -> list[list[int]]:
    return decode(create_backend(tiny_model, "float32", DEVICE, kernel="torch"), PROMPTS, NEW)[0]


@pytest.fixture
def pair(tiny_model, tiny_draft) -> tuple[Backend, Backend]:
    return tuple(create_backend(folder, "float32", DEVICE, kernel="graphs") for folder in (tiny_model, tiny_draft))


@pytest.mark.parametrize("length", [1, 3, 8, AdaptiveLength(5)], ids=lambda value: getattr(value, "longest", value))
def test_answers_are_those_of_plain_decoding(pair, plain, length):
    target, draft = pair
    for proposer in (draft, target):
        for _ in range(2):  # the second run reuses the graphs of the first
            ids, metrics = speculative_decode(target, proposer, PROMPTS, NEW, draft_length=length)
            assert ids == plain
        figures = summary(metrics)
        assert figures["accepted"] > 0 and (figures["accepted"] < figures["drafted"]) == (proposer is draft)


def test_what_an_earlier_run_left_in_a_cache_is_not_seen(pair, plain):
    target, draft = pair
    speculative_decode(target, draft, [list(range(50, 150))], NEW)
    for prompt, answer in zip(PROMPTS, plain, strict=True):
        assert speculative_decode(target, draft, [prompt], NEW)[0] == [answer]


def test_a_cache_is_reused_with_its_graphs_once_its_run_is_over(pair):
    target, _ = pair
    one, two = target.new_cache(1, 30), target.new_cache(1, 30)
    assert one.keys.data_ptr() != two.keys.data_ptr()
    target.forward(torch.tensor([[5]], device=DEVICE), one)
    place = one.keys.data_ptr()
    del one
    gc.collect()
    again = target.new_cache(1, 40)
    assert again.keys.data_ptr() == place and again.lengths.tolist() == [0] and again.longest == 0
    assert [len(kept.graphs) for kept in target._pool] == [1, 0]


def test_prompts_are_read_without_a_graph_with_a_beginning_or_without(pair, plain):
    target, _ = pair
    before = captures()
    for beginning in ([], PROMPTS[0][:2]):
        target.read_beginning(beginning)
        assert decode(target, PROMPTS[:1], 1)[0] == [plain[0][:1]]
    target.read_beginning([])
    assert captures() == before


def test_a_draft_that_answers_again_takes_the_cache_of_its_first_answer(pair):
    target, draft = pair
    proposer = DraftModel(draft)
    for _ in range(3):
        speculative_decode(target, proposer, PROMPTS, NEW)
    assert (len(draft._pool), len(target._pool)) == (1, 1)


def test_a_full_cache_is_refused_before_anything_is_written(pair):
    target, _ = pair
    cache = target.new_cache(1, 256)
    cache.trim([255])
    with pytest.raises(CacheFull, match="256 positions, but 255 \\+ 2"):
        target.forward(torch.tensor([[5, 6]], device=DEVICE), cache)
    with pytest.raises(CacheFull, match="255 \\+ 3"):
        target.greedy_draft(torch.tensor([[5]], device=DEVICE), cache, 3, target.vocabulary)


def test_a_draft_that_says_few_tokens_is_mapped_back(tiny_model, pair, plain):
    allowed = sorted({token for row in plain for token in row})
    draft = create_backend(tiny_model, "float32", DEVICE, kernel="graphs", allowed_tokens=allowed)
    figures = summary(speculative_decode(pair[0], draft, PROMPTS, NEW)[1])
    assert figures["accepted"] == figures["drafted"] > 0


def test_the_same_seed_gives_the_same_answer_as_without_graphs(pair, tiny_model, tiny_draft):
    def answer(target: Backend, draft: Backend) -> list[list[int]]:
        random = torch.Generator(DEVICE).manual_seed(3)
        return speculative_decode(target, draft, PROMPTS, NEW, sampling=Sampling(1.0), generator=random)[0]

    without = (create_backend(folder, "float32", DEVICE, kernel="torch") for folder in (tiny_model, tiny_draft))
    assert answer(*pair) == answer(*without)


def test_the_adaptive_length_learns_no_cost_from_a_step_that_captured_a_graph(pair):
    class Counting(AdaptiveLength):
        learned = 0

        def learn(self, steps, time):
            self.learned += 1
            super().learn(steps, time)

    target, draft = pair
    proposer, shares = DraftModel(draft), []
    for _ in range(2):
        length = Counting(1)
        _, metrics = speculative_decode(target, proposer, PROMPTS, NEW, draft_length=length)
        shares.append((length.learned, len(metrics.times)))
    (first, steps), (second, again) = shares
    assert 0 < first < steps, "the first steps of each shape capture"
    assert second == again == steps, "the second run has all graphs"
