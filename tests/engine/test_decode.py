"""Speculative decoding gives exactly what the target gives, and these checks see every broken rule.

Greedy decoding is compared by token ids, in float32 on CPU, with plain decoding and with Hugging Face generate.
Sampling is compared with the target's own probabilities of whole answers, by a chi-square test.
"""

from functools import cache
from pathlib import Path

import pytest
import torch

from doubledraft.engine import decode as decoding
from doubledraft.engine import sampling
from doubledraft.engine.backend import Backend
from doubledraft.engine.decode import decode, speculative_decode
from doubledraft.engine.decoding_metrics import Metrics
from doubledraft.engine.draft_length import AdaptiveLength
from doubledraft.engine.kv_cache import CacheFull, KVCache
from doubledraft.engine.load import create_backend
from doubledraft.engine.lossless import differences
from doubledraft.engine.proposers import DraftModel, NGram
from doubledraft.engine.sampling import Acceptance, Sampling, probabilities
from doubledraft.evaluation.acceptance import summary
from tests.helpers.prompts import NEW, PROMPTS
from tests.helpers.tiny_models import build_model

ANSWERS = 4_000  # drawn for one chi-square test
FALSE_ALARM = 1e-6  # of one chi-square test; seeds are fixed, so what passed once goes on passing


@pytest.fixture(scope="module")
def target(tiny_model) -> Backend:
    return create_backend(tiny_model, "float32", "cpu")


@pytest.fixture(scope="module")
def drafts(target, tiny_draft, tmp_path_factory) -> dict[str, Backend]:
    other = build_model(tmp_path_factory.mktemp("models") / "other", layers=1, seed=7)
    return {
        "near": create_backend(tiny_draft, "float32", "cpu"),
        "random": create_backend(other, "float32", "cpu"),
        "identical": target,
    }


@pytest.fixture(scope="module")
def expected(tiny_model) -> list[list[int]]:
    """What Hugging Face generate emits, prompt by prompt."""
    return [generate(tiny_model, prompt, NEW) for prompt in PROMPTS]


@pytest.fixture(scope="module")
def plain(target) -> list[list[int]]:
    return decode(target, PROMPTS, NEW)[0]


@pytest.fixture(scope="module")
def repeating(repeating_model) -> tuple[Backend, list[list[int]]]:
    """Return a target that often repeats itself, and what Hugging Face generate emits of it."""
    answers = [generate(repeating_model, prompt, NEW) for prompt in PROMPTS]
    return create_backend(repeating_model, "float32", "cpu"), answers


@cache
def reference(folder: Path):
    """Return transformers' own model."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def generate(folder: Path, prompt: list[int], tokens: int, stop: int | None = None) -> list[int]:
    """Return what Hugging Face generate emits."""
    model = reference(folder)
    model.generation_config.eos_token_id = stop
    ids = torch.tensor([prompt])
    output = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False)
    return output[0, len(prompt) :].tolist()


def check_greedy(target: Backend, draft, expected: list[list[int]], length: int, **settings) -> Metrics:
    """The check that every broken rule below must fail: exact ids, and tokens that were drafted, kept and refused."""
    ids, metrics = speculative_decode(target, draft, PROMPTS, NEW, draft_length=length, **settings)
    assert ids == expected
    figures = summary(metrics)
    assert figures["drafted"] > 0, "nothing was drafted, so nothing was tested"
    if draft is target:
        assert figures["accepted"] == figures["drafted"], "the target refused its own proposals"
    return metrics


@pytest.mark.parametrize("length", range(1, 9))
@pytest.mark.parametrize("name", ["near", "random", "identical"])
def test_greedy_speculation_equals_plain_decoding_and_generate(target, drafts, plain, expected, name, length):
    assert plain == expected
    metrics = check_greedy(target, drafts[name], expected, length)
    refused = summary(metrics)["drafted"] - summary(metrics)["accepted"]
    assert (refused > 0) == (name != "identical")
    assert summary(metrics)["accepted"] > 0 or name == "random"


@pytest.mark.parametrize("name", ["near", "random", "identical"])
def test_a_row_of_a_batch_gets_what_it_gets_alone(target, drafts, name: str):
    together, metrics = speculative_decode(target, drafts[name], PROMPTS, NEW, draft_length=4)
    for prompt, row, answer in zip(PROMPTS, together, metrics.answers, strict=True):
        alone, single = speculative_decode(target, drafts[name], [prompt], NEW, draft_length=4)
        assert alone == [row]
        assert single.answers[0].steps == answer.steps, "the batch changed how often the row's drafts were kept"


def test_an_answer_ends_at_a_stop_token_inside_a_draft(target, tiny_model, expected):
    stop = _first_seen_late(expected[0])
    alone = [generate(tiny_model, prompt, NEW, stop) for prompt in PROMPTS]
    assert alone[0][-1] == stop and len(alone[0]) < NEW
    ids, metrics = speculative_decode(target, target, PROMPTS, NEW, draft_length=8, stop_ids={stop})
    assert ids == alone
    last = metrics.answers[0].steps[-1]
    assert last.accepted + 1 > last.emitted, "the stop token did not stand inside a draft, so nothing was tested"
    assert summary(metrics)["self_check"]["excess"] > 0
    assert metrics.answers[0].finish_reason == "stop"


@pytest.mark.parametrize("name", ["near", "random", "identical", "n-gram"])
def test_an_answer_ends_wherever_in_a_draft_its_stop_token_or_limit_stands(target, drafts, expected, name: str):
    """Every early place of the first answer in turn, so that each place of a draft is one of them."""
    draft, drafted, ended_inside = NGram(fewest=1) if name == "n-gram" else drafts[name], 0, 0
    few = [row[:12] for row in expected]
    for place, stop in enumerate(few[0]):
        for length in (1, 4, 8):
            ids, metrics = speculative_decode(target, draft, PROMPTS, 12, draft_length=length, stop_ids={stop})
            assert ids == [_cut(row, stop) for row in few]
            drafted += summary(metrics)["drafted"]
            ended_inside += summary(metrics)["self_check"]["excess"] > 0
        alone = speculative_decode(target, draft, PROMPTS[:1], 12, draft_length=4, stop_ids={stop})[0]
        assert alone == [_cut(few[0], stop)]
        ids, _ = speculative_decode(target, draft, PROMPTS, place + 1, draft_length=5)
        assert ids == [row[: place + 1] for row in few]
    assert drafted > 0, "nothing was drafted, so nothing was tested"
    assert ended_inside > 0 or name in ("random", "n-gram"), "no stop token stood inside a draft"


def _cut(ids: list[int], stop: int) -> list[int]:
    return ids[: ids.index(stop) + 1] if stop in ids else ids


def test_rows_that_end_early_stand_still_and_leave_the_others_alone(target, drafts, expected):
    stops = {_first_seen_late(expected[0]), _first_seen_late(expected[3])}
    alone = [decode(target, [prompt], NEW, stop_ids=stops)[0][0] for prompt in PROMPTS]
    assert len({len(ids) for ids in alone}) > 1
    for draft in drafts.values():
        assert speculative_decode(target, draft, PROMPTS, NEW, draft_length=5, stop_ids=stops)[0] == alone


def _first_seen_late(ids: list[int]) -> int:
    return next(token for position, token in enumerate(ids) if position > 2 and token not in ids[:position])


@pytest.mark.parametrize("limit", range(1, 12))
def test_an_answer_ends_at_the_limit_inside_a_draft(target, expected, limit: int):
    ids, metrics = speculative_decode(target, target, PROMPTS, limit, draft_length=5)
    assert ids == [row[:limit] for row in expected]
    assert {answer.finish_reason for answer in metrics.answers} == {"length"}
    assert summary(metrics)["self_check"]["excess"] == 0, "a token was drafted that could not be emitted"


def test_a_draft_of_any_length_counts_its_steps(target, expected):
    """An identical draft is always kept, so the steps of a row are known: 1 + ceil((NEW - 1) / (K + 1))."""
    for length in range(1, 9):
        metrics = check_greedy(target, target, expected, length)
        assert summary(metrics)["steps"] == len(PROMPTS) * (1 - -(NEW - 1) // (length + 1))


@pytest.mark.parametrize("length", [1, 3, 8])
def test_n_gram_lookup_is_exact(repeating, length: int):
    target, expected = repeating
    figures = summary(check_greedy(target, NGram(fewest=1, most=3), expected, length))
    assert 0 < figures["accepted"] < figures["drafted"]


def test_adaptive_length_is_exact_and_differs_from_step_to_step(target, drafts, expected, monkeypatch):
    length = AdaptiveLength(longest=8)
    for _ in range(2):
        check_greedy(target, drafts["near"], expected, length)
    monkeypatch.setattr(
        AdaptiveLength, "price", lambda self: 0.3
    )  # the measured one of a busy machine may settle at K = 1
    metrics = check_greedy(target, drafts["near"], expected, AdaptiveLength(longest=8))
    begun = metrics.times[:10]  # what room an answer has left shortens only its last drafts
    assert len({time.drafted for time in begun}) > 1


def test_several_calls_share_nothing(target, drafts):
    draft = DraftModel(drafts["near"])
    first = speculative_decode(target, draft, PROMPTS[:1], NEW)[0]
    speculative_decode(target, draft, PROMPTS[1:], NEW)
    assert speculative_decode(target, draft, PROMPTS[:1], NEW)[0] == first


def test_trimming_moves_no_bytes():
    cache = KVCache(1, 2, 8, 1, 4, torch.float32, torch.device("cpu"))
    positions = cache.next_positions(5)
    cache.write(0, positions, torch.ones(2, 5, 1, 4), torch.ones(2, 5, 1, 4))
    cache.advance(5)
    place, content = cache.keys.data_ptr(), cache.keys.clone()
    cache.trim([2, 4])
    assert (cache.keys.data_ptr(), cache.longest, cache.lengths.tolist()) == (place, 4, [2, 4])
    assert torch.equal(cache.keys, content)
    with pytest.raises(CacheFull, match="8 positions, but 4 \\+ 5"):
        cache.next_positions(5)


def _accept_everything(best, drafted, lengths) -> Acceptance:
    return Acceptance(lengths, best[torch.arange(len(best)), lengths], drafted == best[:, :-1])


def _accept_one_too_many(best, drafted, lengths) -> Acceptance:
    agreed = drafted == best[:, :-1]
    accepted = (sampling.leading(agreed, lengths) + 1).minimum(lengths)
    return Acceptance(accepted, best[torch.arange(len(best)), accepted], agreed)


def _accept_nothing(best, drafted, lengths) -> Acceptance:
    return Acceptance(torch.zeros_like(lengths), best[:, 0], drafted == best[:, :-1])


def _next_token_one_early(best, drafted, lengths) -> Acceptance:
    right = sampling.accept_greedy(best, drafted, lengths)
    early = best[torch.arange(len(best)), (right.accepted - 1).clamp(min=0)]
    return Acceptance(right.accepted, early, right.agreed)


def _count_agreed_anywhere(agreed, lengths) -> torch.Tensor:
    return (agreed & (torch.arange(agreed.shape[1]) < lengths.unsqueeze(-1))).sum(-1)


def _stop_only_at_the_end_of_a_step(row, tokens) -> int:
    row.text += tokens
    row.answer.token_ids += tokens
    row.room = 0 if tokens[-1] in row._stop_ids else row.room - len(tokens)
    return len(tokens)


def test_a_stop_token_that_is_overlooked_inside_a_draft_is_seen(target, drafts, expected, monkeypatch):
    monkeypatch.setattr(decoding._Row, "take", _stop_only_at_the_end_of_a_step)
    with pytest.raises(AssertionError):
        test_an_answer_ends_wherever_in_a_draft_its_stop_token_or_limit_stands(target, drafts, expected, "identical")


def _trim_one_too_few(cache: KVCache, lengths: list[int], trim=KVCache.trim) -> None:
    trim(cache, [length + 1 for length in lengths])


def _read_only_the_last_token(draft: DraftModel, texts) -> torch.Tensor:
    draft._cache.trim([len(text) - 1 for text in texts])
    return torch.tensor([text[-1:] for text in texts])


@pytest.mark.parametrize(
    ("place", "name", "broken"),
    [
        (decoding, "accept_greedy", _accept_everything),
        (decoding, "accept_greedy", _accept_one_too_many),
        (decoding, "accept_greedy", _accept_nothing),
        (decoding, "accept_greedy", _next_token_one_early),
        (sampling, "leading", _count_agreed_anywhere),
        (KVCache, "trim", _trim_one_too_few),
        (KVCache, "trim", lambda cache, lengths: None),
        (DraftModel, "_unread", _read_only_the_last_token),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_broken_greedy_rule_is_seen(target, drafts, expected, monkeypatch, place, name: str, broken):
    monkeypatch.setattr(place, name, broken)
    with pytest.raises((AssertionError, CacheFull)):
        for draft in ("near", "identical"):
            check_greedy(target, drafts[draft], expected, 4)


def small(seed: int) -> tuple[Backend, object]:
    """Return a random model of three tokens, and the transformers model that it was made from."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=3,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    models = []
    for _ in range(2):
        torch.manual_seed(seed)
        models.append(LlamaForCausalLM(config).eval())
    return Backend(models[0], {}, "small"), models[1]


def check_sampling(proposer, length, settings: Sampling, stop: int | None = None, seed: int = 0) -> None:
    """Compare drawn answers of 5 tokens with their exact probabilities under the target."""
    from scipy.stats import chisquare

    target, reference = small(seed=0)
    prompt = [0, 1, 2, 0, 1]
    ids, metrics = speculative_decode(
        target,
        proposer,
        [prompt] * ANSWERS,
        5,
        draft_length=length,
        sampling=settings,
        stop_ids=set() if stop is None else {stop},
        generator=torch.Generator().manual_seed(seed),
    )
    figures = summary(metrics)
    assert 0 < figures["accepted"] < figures["drafted"]
    exact = exact_answers(reference, prompt, settings, stop)
    counts = dict.fromkeys(exact, 0)
    for answer in ids:
        counts[tuple(answer)] += 1
    common = [answer for answer, share in exact.items() if share * ANSWERS >= 5]
    seen = [counts[answer] for answer in common]
    due = [exact[answer] * ANSWERS for answer in common]
    rest = ANSWERS - sum(due)
    if rest >= 5:
        seen, due = [*seen, ANSWERS - sum(seen)], [*due, rest]
    scale = sum(seen) / sum(due)
    assert chisquare(seen, [expected * scale for expected in due]).pvalue > FALSE_ALARM


def exact_answers(model, prompt: list[int], settings: Sampling, stop: int | None) -> dict[tuple[int, ...], float]:
    """Return the probability of every possible answer of 5 tokens, or fewer where one ends with `stop`."""
    answers = {(): 1.0}
    for _ in range(5):
        longer = {}
        for answer, share in answers.items():
            if answer and answer[-1] == stop:
                longer[answer] = share
                continue
            with torch.no_grad():
                logits = model(torch.tensor([[*prompt, *answer]])).logits[0, -1]
            for token, chance in enumerate(probabilities(logits, settings).tolist()):
                if chance:
                    longer[*answer, token] = share * chance
        answers = longer
    return answers


@pytest.mark.parametrize(
    ("settings", "stop"),
    [(Sampling(1.0), None), (Sampling(0.7), 2), (Sampling(1.3, top_k=2), None), (Sampling(1.0, top_p=0.8), None)],
    ids=str,
)
@pytest.mark.slow
@pytest.mark.parametrize("length", [2, 3])
def test_sampled_answers_are_distributed_as_the_target_says(length: int, settings: Sampling, stop: int | None):
    check_sampling(small(seed=1)[0], length, settings, stop)


@pytest.mark.slow
def test_answers_sampled_with_n_grams_or_adaptive_drafts_are_distributed_as_the_target_says():
    check_sampling(NGram(fewest=1, most=2), 3, Sampling(1.0))
    check_sampling(small(seed=1)[0], AdaptiveLength(longest=3), Sampling(1.0))


@pytest.mark.parametrize("length", [1, 3, 8])
def test_a_draft_that_is_the_target_is_kept_when_sampling_too(target, length: int):
    """p = q passes always, but for p and q of passes that round differently."""
    random = torch.Generator().manual_seed(0)
    _, metrics = speculative_decode(
        target, target, PROMPTS * 4, NEW, draft_length=length, sampling=Sampling(1.0), generator=random
    )
    assert summary(metrics)["acceptance_rate"] > 0.99


def _judged_by(shift_p: int, shift_q: int):
    """Return the accept rule with the distributions of other places."""

    def accept(p, q, drafted, lengths, generator) -> Acceptance:
        moved = q if q is None else q.roll(shift_q, 1)  # None where nothing was drafted
        return sampling.accept(p.roll(shift_p, 1), moved, drafted, lengths, generator)

    return accept


@pytest.mark.slow
@pytest.mark.parametrize("shifts", [(1, 0), (-1, 0), (0, 1)], ids=["p before", "p after", "q before"])
def test_distributions_of_another_place_are_seen(monkeypatch, shifts: tuple[int, int]):
    monkeypatch.setattr(decoding, "accept", _judged_by(*shifts))
    with pytest.raises(AssertionError):
        check_sampling(small(seed=1)[0], 3, Sampling(1.0))


@pytest.mark.slow
def test_a_bonus_token_that_is_not_drawn_from_p_is_seen(monkeypatch):
    def accept(p, q, drafted, lengths, generator) -> Acceptance:
        verdict = sampling.accept(p, q, drafted, lengths, generator)
        return Acceptance(
            verdict.accepted, verdict.next_token.where(verdict.accepted < lengths, p[:, -1].argmax(-1)), verdict.agreed
        )

    monkeypatch.setattr(decoding, "accept", accept)
    with pytest.raises(AssertionError):
        check_sampling(small(seed=1)[0], 3, Sampling(1.0))


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("passes", lambda chance, p, q: torch.ones_like(p, dtype=torch.bool)),
        ("passes", lambda chance, p, q: chance < p),
        ("passes", lambda chance, p, q: chance * p < q),
        ("residual", lambda p, q: p),
        ("residual", lambda p, q: (p - q).abs() / (p - q).abs().sum(-1, keepdim=True)),
        ("residual", lambda p, q: torch.full_like(p, 1 / p.shape[-1])),
        ("leading", _count_agreed_anywhere),
    ],
    ids=["always passes", "forgets q", "swaps p and q", "is p", "is |p - q|", "is uniform", "counts beyond a refusal"],
)
@pytest.mark.slow
def test_a_broken_sampling_rule_is_seen(monkeypatch, name: str, broken):
    monkeypatch.setattr(sampling, name, broken)
    with pytest.raises(AssertionError):
        check_sampling(small(seed=1)[0], 3, Sampling(1.0))


def test_the_same_seed_gives_the_same_answer(target, drafts):
    def answer(seed: int) -> list[list[int]]:
        random = torch.Generator().manual_seed(seed)
        return speculative_decode(target, drafts["near"], PROMPTS, NEW, sampling=Sampling(1.0), generator=random)[0]

    assert answer(3) == answer(3) != answer(4)


@pytest.mark.parametrize("length", [1, 4, 8])
def test_bfloat16_is_compared_not_called_lossless(tiny_model, tiny_draft, length: int):
    target, draft = (create_backend(folder, "bfloat16", "cpu") for folder in (tiny_model, tiny_draft))
    prompts = [[first, *prompt] for prompt in PROMPTS for first in (3, 50, 60)]
    plain, _ = decode(target, prompts, NEW)
    drafted, metrics = speculative_decode(target, draft, prompts, NEW, draft_length=length)
    assert summary(metrics)["drafted"] > summary(metrics)["accepted"] > 0
    report = differences(target, prompts, plain, drafted)
    same = sum(one == other for one, other in zip(plain, drafted, strict=True))
    assert report["n"] == 12 and report["identical_rate"] == same / 12
    for difference in report["differences"]:  # both tokens were nearly the best: logits here have steps of 2^-5
        assert (
            plain[difference["prompt"]][: difference["position"]]
            == drafted[difference["prompt"]][: difference["position"]]
        )
        assert difference["top2_gap"] <= 0.125


def test_a_difference_is_reported_with_its_place_and_gap(target, tiny_model, expected):
    changed = [row.copy() for row in expected]
    changed[1][7] = (changed[1][7] + 1) % target.vocabulary
    changed[2].pop()
    report = differences(target, PROMPTS, expected, changed)
    logits = reference(tiny_model)(torch.tensor([PROMPTS[1] + expected[1][:7]])).logits[0, -1]
    best = logits.log_softmax(-1).topk(2).values
    gap = pytest.approx((best[0] - best[1]).item(), abs=1e-4)
    assert report["identical_rate"] == 0.5
    assert report["differences"] == [
        {"prompt": 1, "position": 7, "top2_gap": gap},
        {"prompt": 2, "position": NEW - 1, "top2_gap": None},
    ]


@pytest.mark.parametrize(
    ("prompts", "tokens", "message"),
    [
        ([list(range(100)) * 10], 100, "prompt 0 has 1000 tokens, but .* has 1024 positions"),
        ([[1], []], 5, "prompt 1 should be token ids"),
        ([[1, 99999]], 5, "prompt 0 should be token ids from 0 to"),
        ([], 5, "found 0 and 5"),
        ([[1]], 0, "found 1 and 0"),
    ],
)
def test_prompts_that_cannot_be_answered_are_refused(target, prompts, tokens: int, message: str):
    with pytest.raises(ValueError, match=message):
        decode(target, prompts, tokens)


def test_a_draft_of_no_tokens_is_refused(target):
    with pytest.raises(ValueError, match="at least 1 token, found 0"):
        speculative_decode(target, target, PROMPTS, NEW, draft_length=0)
