"""A draft vocabulary changes no token of the output."""

import pytest
import torch

from doubledraft.engine.backend import Backend
from doubledraft.engine.decode import decode, speculative_decode
from doubledraft.engine.draft_length import AdaptiveLength
from doubledraft.engine.draft_vocabulary import learn, learn_from_files
from doubledraft.engine.load import create_backend
from doubledraft.engine.sampling import Sampling
from doubledraft.evaluation.acceptance import summary
from doubledraft.models.folder import ModelError
from doubledraft.records import Generation, write_records
from tests.helpers.prompts import NEW, PROMPTS


@pytest.fixture(scope="module")
def target(tiny_model) -> Backend:
    return create_backend(tiny_model, "float32", "cpu")


@pytest.fixture(scope="module")
def answers(target) -> list[list[int]]:
    return decode(target, PROMPTS, NEW)[0]


def test_the_most_frequent_tokens_are_learnt():
    assert learn([[7, 3, 3], [9, 3, 9]]) == [3, 7, 9]
    assert learn([[7, 3, 3], [9, 3, 9]], size=2) == [3, 9]
    assert learn([[9, 7], [3]], size=2) == learn([[3], [7, 9]], size=2) == [3, 7], "the order of the answers is chance"


def test_they_are_learnt_from_files_of_generations(tmp_path):
    for index, ids in enumerate(([5, 6], [6, 2])):
        row = Generation(
            id="q", prompt_tokens=1, token_ids=ids, text="", finish_reason="stop", batch=0, batch_seconds=0.1
        )
        write_records(tmp_path / f"{index}.jsonl", [row])
    assert learn_from_files(sorted(tmp_path.iterdir())) == [2, 5, 6]


def test_nothing_to_learn_from_is_refused():
    for answers, size in (([], None), ([[]], None), ([[1]], 0)):
        with pytest.raises(ValueError, match="expected answers with tokens"):
            learn(answers, size)


@pytest.mark.parametrize("kernel", ["compiled", "torch"])
@pytest.mark.parametrize("size", [None, 5])
def test_greedy_answers_are_those_of_plain_decoding(target, tiny_draft, answers, size: int | None, kernel: str):
    allowed = learn(answers, size)
    draft = create_backend(tiny_draft, "float32", "cpu", allowed_tokens=allowed, kernel=kernel)
    for length in (3, AdaptiveLength(6)):
        ids, metrics = speculative_decode(target, draft, PROMPTS, NEW, draft_length=length)
        assert ids == answers
        steps = [step for answer in metrics.answers for step in answer.steps]
        assert {token for step in steps for token in step.drafted} <= set(allowed)
        assert any(step.accepted for step in steps), "no draft was accepted, so the ids were not mapped back rightly"


def test_an_identical_draft_is_refused_only_where_a_token_is_missing(target, tiny_model, answers):
    """Its proposals are the target's own choices, so what it may say is always accepted: the ids are mapped rightly."""
    full = create_backend(tiny_model, "float32", "cpu", allowed_tokens=learn(answers))
    figures = summary(speculative_decode(target, full, PROMPTS, NEW)[1])
    assert figures["accepted"] == figures["drafted"] > 0


def test_a_drawn_draft_comes_with_its_probabilities_over_the_whole_vocabulary(target, tiny_model):
    from doubledraft.engine.draft_length import FixedLength
    from doubledraft.engine.proposers import DraftModel

    allowed = [3, 8, 200]
    proposer = DraftModel(create_backend(tiny_model, "float32", "cpu", allowed_tokens=allowed))
    proposer.start(target, PROMPTS, 60)
    random = torch.Generator().manual_seed(0)
    draft = proposer.propose([[*prompt, 1] for prompt in PROMPTS], 3, FixedLength(3), Sampling(1.0), random)
    assert draft.q.shape == (4, 3, target.vocabulary)
    assert torch.allclose(draft.q[..., allowed].sum(-1), torch.ones(4, 3)), "all the probability is on those tokens"
    assert (draft.q.gather(-1, draft.tokens.unsqueeze(-1)) > 0).all()


def test_sampled_tokens_are_distributed_as_the_target_says(target, tiny_draft):
    """The second token of many answers to one prompt, against its exact distribution; false alarm at 1 in a million."""
    from scipy.stats import chisquare

    rows, settings = 3_000, Sampling(0.5)
    prompt = PROMPTS[2]
    draft = create_backend(tiny_draft, "float32", "cpu", allowed_tokens=list(range(0, target.vocabulary, 2)))
    random = torch.Generator().manual_seed(0)
    ids, metrics = speculative_decode(
        target, draft, [prompt] * rows, 3, draft_length=2, sampling=settings, generator=random
    )
    figures = summary(metrics)
    assert 0 < figures["accepted"] < figures["drafted"]
    first = torch.tensor([row[0] for row in ids]).mode().values.item()
    seconds = torch.tensor([row[1] for row in ids if row[0] == first])
    cache = target.new_cache(1, 20)
    exact = (target.logits(target.forward(torch.tensor([[*prompt, first]]), cache))[0, -1] / 0.5).softmax(-1)
    common = (exact * len(seconds) >= 5).nonzero().flatten()
    assert len(common) >= 3
    seen = torch.bincount(seconds, minlength=target.vocabulary).double()[common]
    due = exact.double()[common] * len(seconds)
    seen, due = torch.cat((seen, len(seconds) - seen.sum(0, True))), torch.cat((due, len(seconds) - due.sum(0, True)))
    assert chisquare(seen, due * (seen.sum() / due.sum())).pvalue > 1e-6


def test_a_target_needs_every_token(tiny_model):
    few = create_backend(tiny_model, "float32", "cpu", allowed_tokens=[1, 2, 3])
    with pytest.raises(ValueError, match="draft vocabulary of 3 tokens: a target needs all"):
        decode(few, PROMPTS, 5)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([1, 99999], "token 99999 of the draft vocabulary is not one of 0 to "),
        ([1, -1], "token -1 of the draft vocabulary is not one of 0 to "),
        ([1, 7, 7], "token 7 occurs 2 times"),
        ([], "expected at least one token"),
    ],
)
def test_tokens_that_a_draft_does_not_have_are_refused_by_id(tiny_draft, tokens: list[int], message: str):
    with pytest.raises(ModelError, match=message):
        create_backend(tiny_draft, "float32", "cpu", allowed_tokens=tokens)


def test_tokens_beyond_the_targets_vocabulary_are_refused(target, tmp_path):
    from tests.helpers.tiny_models import build_model

    padded = build_model(tmp_path / "padded", rows=512)
    draft = create_backend(padded, "float32", "cpu", allowed_tokens=[1, 500])
    with pytest.raises(ModelError, match="draft vocabulary must lie below"):
        speculative_decode(target, draft, PROMPTS, 5)
