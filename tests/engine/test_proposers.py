"""What proposers propose, and pairs that may not draft for each other."""

import logging

import pytest
import torch

from doubledraft.engine.decode import decode, speculative_decode
from doubledraft.engine.draft_length import FixedLength
from doubledraft.engine.load import create_backend
from doubledraft.engine.proposers import DraftModel, NGram, NoDraft
from doubledraft.engine.sampling import Sampling
from doubledraft.evaluation.acceptance import summary
from doubledraft.models.folder import ModelError
from tests.helpers.tiny_models import SPECIAL, build_model, build_tokenizer

TEXT = [5, 9, 40, 77, 3, 100, 101, 5, 9, 60]
GREEDY = (FixedLength(4), Sampling(), None)


@pytest.fixture(scope="module")
def target(tiny_model):
    return create_backend(tiny_model, "float32", "cpu")


def lookup(target, text: list[int], longest: int, **sizes) -> list[int]:
    proposer = NGram(**sizes)
    proposer.start(target, [text], 100)
    draft = proposer.propose([text], longest, *GREEDY)
    return draft.tokens[0, : draft.lengths[0]].tolist()


@pytest.mark.parametrize("positions", [1024, 40])
def test_a_draft_beyond_its_positions_is_warned_of_once_and_changes_no_answer(
    positions, target, tiny_draft, caplog, monkeypatch
):
    monkeypatch.setattr(logging.getLogger("doubledraft"), "propagate", True)
    draft = create_backend(tiny_draft, "float32", "cpu")
    draft.max_positions = positions
    proposer, expected = DraftModel(draft), decode(target, [TEXT], 60)[0]
    assert speculative_decode(target, proposer, [TEXT], 20, draft_length=4)[0] == [expected[0][:20]]
    assert not caplog.text, "texts and drafts of fewer than 40 tokens"
    for _ in range(2):
        assert speculative_decode(target, proposer, [TEXT], 60, draft_length=4)[0] == expected
    assert caplog.text.count("has 40 positions, and drafts beyond them now") == (positions == 40)


def test_n_grams_propose_what_followed_before(target):
    assert lookup(target, [1, 2, 3, 4, 5, 6, 1, 2, 3], 2) == [4, 5]


def test_n_grams_prefer_the_longest_end_and_then_its_last_place(target):
    assert lookup(target, [7, 1, 2, 50, 9, 2, 60, 7, 1, 2], 1, fewest=1, most=3) == [50]
    assert lookup(target, [1, 2, 50, 9, 1, 2, 60, 8, 1, 2], 1) == [60]


def test_n_grams_carry_a_loop_on(target):
    assert lookup(target, [8, 1, 2, 1, 2], 5) == [1, 2, 1, 2, 1]


def test_n_grams_propose_nothing_where_nothing_recurs(target):
    assert lookup(target, [1, 2, 3, 4], 5) == []
    assert lookup(target, [1], 5) == []
    assert lookup(target, [1, 5, 1], 5, fewest=2) == []


def test_rows_of_a_batch_may_find_different_amounts(target):
    proposer = NGram()
    texts = [[1, 2, 3, 1, 2], [4, 5, 6, 7]]
    proposer.start(target, texts, 20)
    draft = proposer.propose(texts, 3, *GREEDY)
    assert draft.lengths == [3, 0] and draft.tokens.shape == (2, 3)
    assert texts == [[1, 2, 3, 1, 2], [4, 5, 6, 7]], "the texts are not the proposer's to change"


def test_no_draft_proposes_nothing(target):
    proposer = NoDraft()
    proposer.start(target, [[1], [2]], 10)
    draft = proposer.propose([[1], [2]], 5, *GREEDY)
    assert draft.lengths == [0, 0] and draft.tokens.shape == (2, 0)


def test_a_draft_model_proposes_its_own_answer(target):
    answer = decode(target, [TEXT], 12)[0][0]
    proposer = DraftModel(target)
    proposer.start(target, [TEXT], 60)
    text = TEXT + answer[:1]
    for kept in (4, 0, 2, 4):  # accepted tokens of each draft, followed by a token of the target
        assert proposer.propose([text], 4, *GREEDY).tokens[0].tolist() == decode(target, [text], 4)[0][0]
        following = decode(target, [text], kept + 1)[0][0]
        text = text + following[:kept] + [(following[kept] + (kept < 4)) % target.vocabulary]


def test_a_drawn_draft_comes_with_the_probabilities_it_was_drawn_from(target):
    proposer = DraftModel(target)
    proposer.start(target, [TEXT, TEXT[:4]], 60)
    random = torch.Generator().manual_seed(0)
    draft = proposer.propose([TEXT + [1], TEXT[:4] + [2]], 3, FixedLength(3), Sampling(1.0), random)
    assert draft.q.shape == (2, 3, target.vocabulary)
    assert torch.allclose(draft.q.sum(-1), torch.ones(2, 3))
    assert (draft.q.gather(-1, draft.tokens.unsqueeze(-1)) > 0).all()


@pytest.mark.parametrize("rows", [(400, 512), (512, 400)], ids=["draft padded wider", "target padded wider"])
def test_models_that_pad_one_vocabulary_differently_work_together(tmp_path, rows: tuple[int, int]):
    target, draft = (create_backend(build_model(tmp_path / str(size), rows=size), "float32", "cpu") for size in rows)
    plain = decode(target, [TEXT], 30)[0]
    assert speculative_decode(target, draft, [TEXT], 30)[0] == plain
    random = torch.Generator().manual_seed(0)
    drawn, metrics = speculative_decode(target, draft, [TEXT], 30, sampling=Sampling(1.0), generator=random)
    assert len(drawn[0]) == 30 and summary(metrics)["drafted"] > 0


def test_another_tokenizer_is_refused_with_the_first_difference(target, tmp_path):
    folder = build_model(tmp_path / "other")
    build_tokenizer(special=[SPECIAL[0], "<other>", SPECIAL[2]]).save_pretrained(folder)
    with pytest.raises(ModelError, match="token '<other>' is id None in the target and 1 in the draft"):
        speculative_decode(target, create_backend(folder, "float32", "cpu"), [TEXT], 5)


def test_impossible_n_gram_sizes_are_refused():
    with pytest.raises(ValueError, match="found 3 and 2"):
        NGram(fewest=3, most=2)
