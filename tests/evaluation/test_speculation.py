"""Acceptance, the cost model and the check of counters are right on cases worked by hand."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from doubledraft.evaluation import acceptance, speculation
from doubledraft.evaluation.acceptance import CounterError
from doubledraft.evaluation.runs import Run
from doubledraft.records import Generation
from doubledraft.stats import ratio_interval
from doubledraft.summaries.cell_metrics import CounterCheck, SpeculationMetrics, Speedup, StepReading
from doubledraft.summaries.run_file import EngineRun, PassBytes, StepSeconds, TokenCounts


def row(id="a", emitted=7, steps=3, drafted=6, accepted=4, per_step=(3, 1), **values):
    """Prefill emits 1; a step accepts 3 of 3 and emits 4; another accepts 1 of 3 and emits 2: 7 tokens, 3 steps."""
    return Generation(
        id=id,
        prompt_tokens=5,
        token_ids=list(range(emitted)),
        text="",
        finish_reason="stop",
        batch=0,
        batch_seconds=1.0,
        steps=steps,
        drafted=drafted,
        accepted=accepted,
        accepted_per_step=list(per_step),
        **values,
    )


def run(rows, draft=None, target=None, verify=None, length=3, **changes):
    info = EngineRun(
        engine="vllm",
        version="0.32.0",
        kernel="vllm",
        dtype="bfloat16",
        method="draft_model",
        draft_length=length,
        concurrency=1,
        step_seconds=StepSeconds(target=target, draft=draft, verify=verify),
        bytes_per_pass=None,
        read_bytes_per_second=None,
        token_classes=None,
    )
    return Run("x.jsonl", rows, replace(info, **changes))


def test_alpha_solves_its_equation():
    assert acceptance.per_token_acceptance((0.5 + 0.25) / 2, 2) == pytest.approx(0.5)
    assert acceptance.per_token_acceptance((0.8 + 0.64 + 0.512) / 3, 3) == pytest.approx(0.8)
    assert acceptance.per_token_acceptance(0.7, 1) == pytest.approx(0.7), "with one drafted token both rates are one"
    assert acceptance.per_token_acceptance(0.882, 5) == pytest.approx(0.958, abs=5e-4), "the published study's CoD easy"


@pytest.mark.parametrize("length", [1, 3, 8])
def test_alpha_is_exact_at_the_ends(length):
    assert acceptance.per_token_acceptance(0, length) == 0
    assert acceptance.per_token_acceptance(1, length) == 1


@pytest.mark.parametrize(("rate", "length"), [(-0.1, 3), (1.1, 3), (0.5, 0)])
def test_alpha_of_an_impossible_rate_is_refused(rate, length):
    with pytest.raises(ValueError, match="rate"):
        acceptance.per_token_acceptance(rate, length)


def test_expected_tokens_equal_the_closed_form_and_the_counters_form():
    assert acceptance.expected_tokens(0.88, 5) == pytest.approx((1 - 0.88**6) / (1 - 0.88))
    assert acceptance.expected_tokens(1, 5) == 6
    assert acceptance.expected_tokens(0, 5) == 1
    alpha = acceptance.per_token_acceptance(0.6, 4)
    assert acceptance.expected_tokens(alpha, 4) == pytest.approx(1 + 4 * 0.6), "both forms agree by alpha's definition"


def test_expected_tokens_equal_a_simulation_of_drafting():
    # 20,000 steps: the standard error of the mean is under 0.012, so 0.06 is passed with probability under 1e-6.
    accepted = np.cumprod(np.random.default_rng(3).random((20_000, 4)) < 0.8, axis=1).sum(axis=1)
    assert 1 + accepted.mean() == pytest.approx(acceptance.expected_tokens(0.8, 4), abs=0.06)


def test_predicted_speedup_charges_the_draft_and_the_verification():
    assert acceptance.predicted_speedup(4.46, 5, 0.0405, 1) == pytest.approx(3.71, abs=0.005)
    assert acceptance.predicted_speedup(3, 3, 0.2, 1.4) == pytest.approx(3 / 2)


def test_best_draft_length_is_where_one_more_token_no_longer_pays():
    """While v does not grow, one more drafted token pays while alpha^(K+1) > c * S(K)."""
    for alpha, cost in product((0.3, 0.6, 0.88, 0.97), (0.02, 0.1, 0.316, 0.7)):
        best = acceptance.best_draft_length(alpha, cost, 1, 5)
        pays = [
            alpha ** (length + 1)
            > cost * acceptance.predicted_speedup(acceptance.expected_tokens(alpha, length), length, cost, 1)
            for length in range(acceptance.LONGEST_DRAFT)
        ]
        assert pays == [length < best for length in range(acceptance.LONGEST_DRAFT)]


def test_best_draft_length_at_the_ends():
    assert acceptance.best_draft_length(0.88, 0.316, 1, 5) == 4, "the table of the CPU pair"
    assert acceptance.best_draft_length(0, 0.1, 1, 5) == 0, "a draft that is never right does not pay"
    assert acceptance.best_draft_length(1, 0.1, 1, 5) == acceptance.LONGEST_DRAFT
    assert acceptance.best_draft_length(0.9, 0, 1, 5) == acceptance.LONGEST_DRAFT, "a free draft always pays"


def test_a_verification_that_grows_with_its_tokens_makes_shorter_drafts_the_best():
    """The cost at 5 drafted tokens is 1 + 5 * 0.1, so that a token costs 0.1 to draft and 0.1 to verify."""
    assert acceptance.best_draft_length(0.9, 0.1, 1.5, 5) == acceptance.best_draft_length(0.9, 0.2, 1, 5)
    assert acceptance.best_draft_length(0.3, 0.1, 3, 2) == 0


def test_position_rates_are_unconditional_shares_of_drafting_steps():
    rates = acceptance.per_position_acceptance([row(), row("b", 2, 2, 3, 0, [0])], 3)
    assert [rate.value for rate in rates] == [2 / 3, 1 / 3, 1 / 3]
    assert {rate.n for rate in rates} == {3}
    assert acceptance.per_position_acceptance([row("c", 1, 1, 0, 0, [])], 2) == [None, None]


def test_position_rates_sum_to_the_accepted_tokens_per_drafting_step():
    rates = acceptance.per_position_acceptance([row()], 3)
    assert sum(rate.value for rate in rates) == pytest.approx(4 / 2)


def test_counters_that_explain_the_tokens_pass():
    expected = CounterCheck(accepted_plus_steps=7, emitted=7, excess=0, trimmable=1)
    assert acceptance.check_counters([row()], 3) == expected


def test_trimming_of_the_last_step_is_allowed_and_counted():
    trimmed = row(emitted=6)  # the last step accepted 1 and emitted 2, of which the bonus token fell behind the end
    found = acceptance.check_counters([trimmed, row("b")], 3)
    assert (found.excess, found.trimmable) == (1, 2)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"emitted": 8}, "= -1"),
        ({"emitted": 5}, "= 2, but trimming the last step explains 0 to 1"),
        ({"drafted": 3}, "accepted 4 of 3"),
        ({"accepted": 3}, "sums to 4"),
        ({"per_step": (4, 0)}, "a step accepted 4"),
        ({"drafted": 9}, "drafted 9 tokens in 2 steps"),
        ({"steps": 1, "emitted": 5}, "2 steps drafted, but only 1 ran"),
        ({"steps": -3, "emitted": 1}, "negative"),
    ],
)
def test_counters_that_contradict_the_tokens_are_an_error(values, reason):
    with pytest.raises(CounterError, match="question 'bad'") as error:
        acceptance.check_counters([row(), row("bad", **values)], 3)
    assert reason in str(error.value)


def test_cumulative_counters_are_an_error():
    # An engine's counters that were not differenced: the second row also holds what the first one counted.
    with pytest.raises(CounterError, match="question 'b'"):
        acceptance.check_counters([row(), row("b", 7, 6, 12, 8, (3, 1, 3, 1))], 3)


def test_rows_without_counters_are_an_error():
    with pytest.raises(CounterError, match="steps, drafted"):
        acceptance.check_counters([replace(row(), steps=None, drafted=None)], 3)


def metrics(rows, **changes) -> SpeculationMetrics:
    return speculation.speculation_metrics(run(rows, **changes), seed=0)


def sped_up(plain: Run, drafted: Run) -> Speedup:
    measured = ratio_interval(plain.batches, drafted.batches, seed=0)
    return speculation.speedup(plain, drafted, speculation.speculation_metrics(drafted, 0), measured, "batch")


def test_metrics_are_ratios_of_totals():
    found = metrics([row(), row("b", 2, 2, 3, 0, [0])])
    assert found.tokens_per_step.value == pytest.approx(9 / 5), "the mean of ratios would be 1.67"
    assert found.acceptance_rate.value == pytest.approx(4 / 9), "the mean of ratios would be 0.33"
    assert found.acceptance_rate.n == 2
    assert found.expected_tokens_per_step.from_counters == pytest.approx(1 + 3 * 4 / 9)
    assert found.expected_tokens_per_step.from_alpha == pytest.approx(1 + 3 * 4 / 9)
    assert found.order_independent_agreement is None and found.reason is None
    assert found.acceptance_definition == "accepted/drafted, prefix count, vllm 0.32.0"


def test_a_run_that_never_drafted_has_no_acceptance_and_says_why():
    found = metrics([row("a", 2, 2, 0, 0, []), row("b", 3, 3, 0, 0, [])])
    assert found.acceptance_rate is found.per_token_acceptance is found.expected_tokens_per_step is None
    assert found.per_position_acceptance == [None, None, None]
    assert found.tokens_per_step.value == 1 and found.mean_draft_length is None
    assert found.reason == "no step drafted a token"


SHORT = row("b", drafted=5)  # one of two steps drafted 2 of 3
SKIPPED = row("c", emitted=8, steps=4)  # one step found nothing to draft


@pytest.mark.parametrize(
    ("rows", "method", "reason"),
    [
        ([row(), SHORT], "draft_model", "some steps drafted fewer than K tokens"),
        ([row(), SKIPPED], "draft_model", "some steps drafted fewer than K tokens"),
        ([row()], "ngram", "n-grams draft where the text repeats itself"),
    ],
)
def test_what_assumes_k_tokens_in_every_step_is_null_where_steps_drafted_fewer(rows, method, reason):
    plain, drafted = run(rows, target=0.05), run(rows, draft=0.01, verify=0.06, method=method)
    found, speedup = speculation.speculation_metrics(drafted, 0), sped_up(plain, drafted)
    assert found.reason.startswith(reason)
    assert found.per_token_acceptance is found.expected_tokens_per_step is None
    assert speedup.predicted is speedup.predicted_from_alpha is speedup.best_draft_length is None
    assert found.acceptance_rate.value > 0 and found.mean_draft_length <= 3, "what was counted stays"


def test_drafts_that_the_token_cap_cut_short_do_not_vary_the_length():
    at_cap = replace(SHORT, finish_reason="length")
    assert metrics([row(), at_cap]).reason is None
    assert metrics([row(), at_cap], adaptive=True).reason == "the draft length adapts"


def test_speedup_counts_the_time_of_a_batch_once():
    def batched(seconds):
        return [replace(row(str(index)), batch=index // 2, batch_seconds=seconds[index // 2]) for index in range(12)]

    speedup = sped_up(run(batched([6.0, 2.0] * 3)), run(batched([3.0, 2.0] * 3)))
    assert speedup.value == pytest.approx(8 / 5), "the mean of ratios would be 1.5"
    assert 1 <= speedup.low < 8 / 5 < speedup.high <= 2 and speedup.n == 6
    assert (speedup.baseline_seconds, speedup.speculative_seconds) == (24, 15)
    assert speedup.predicted is None and speedup.best_draft_length is None, "no step was timed"


def test_prediction_uses_measured_step_times():
    speedup = sped_up(run([row()], target=0.05), run([row()], draft=0.01, verify=0.06))
    assert speedup.draft_cost == pytest.approx(0.2)
    assert speedup.verify_cost == pytest.approx(1.2)
    assert speedup.predicted == pytest.approx((7 / 3) / (1.2 + 3 * 0.2))
    assert speedup.predicted_from_alpha == pytest.approx((1 + 3 * 4 / 6) / (1.2 + 3 * 0.2))
    alpha = acceptance.per_token_acceptance(4 / 6, 3)
    assert speedup.best_draft_length == acceptance.best_draft_length(alpha, 0.2, 1.2, 3)


def test_half_of_the_costs_give_no_prediction():
    speedup = sped_up(run([row()], target=0.1), run([row()], draft=0.01))
    assert (speedup.draft_cost, speedup.verify_cost) == (pytest.approx(0.1), None)
    assert speedup.predicted is None


def test_a_plain_step_of_the_drafting_process_is_no_measure_of_the_baseline_s():
    speedup = sped_up(run([row()]), run([row()], draft=0.01, target=0.1, verify=0.06))
    assert speedup.draft_cost is speedup.verify_cost is speedup.predicted is None


def test_steps_inferred_from_the_tokens_check_nothing():
    assert metrics([row()]).self_check is not None
    assert metrics([row()], method="ngram").self_check is None
    assert metrics([row()], method="ngram", engine="native").self_check is not None, "it counts its steps"


def test_agreement_counts_past_the_first_rejection_and_is_labelled():
    told = [
        row(agreed=[[True, True, True], [True, False, True]]),
        row("b", 2, 2, 3, 0, [0], agreed=[[False, True, True]]),
    ]
    found = metrics(told)
    assert found.acceptance_rate.value == pytest.approx(4 / 9)
    assert found.order_independent_agreement.value == pytest.approx(7 / 9)
    assert found.order_independent_agreement.n == 2
    assert found.agreement_definition == "agreed/drafted, past the first rejection too, vllm 0.32.0"


def test_an_engine_that_records_no_drafts_has_neither_agreement_nor_token_classes():
    found = metrics([row(agreed=[[True] * 3] * 2), row("b")])
    assert found.order_independent_agreement is found.agreement_definition is found.token_classes is None


def test_token_classes_have_both_acceptances_with_their_n():
    words = metrics([row()], token_classes={"words": TokenCounts(drafted=4, accepted=2, agreed=3)}).token_classes[
        "words"
    ]
    assert (words.acceptance_rate.value, words.order_independent_agreement.value) == (0.5, 0.75)
    assert words.acceptance_rate.n == words.drafted == 4


def measured(target: int, draft: int | None) -> dict:
    return {"bytes_per_pass": PassBytes(target=target, draft=draft), "read_bytes_per_second": 4000.0}


def test_bandwidth_is_the_weights_over_the_time_of_a_step():
    plain = run([row()], target=0.05, **measured(100, None))
    found = speculation.bandwidth_metrics(plain, run([row()], draft=0.01, verify=0.1, **measured(100, 20)))
    assert found.read_bytes_per_second == 4000
    assert found.target == StepReading(bytes=100, seconds=0.05, bytes_per_second=2000, share=0.5)
    assert (found.draft.bytes_per_second, found.verify.bytes_per_second) == (2000, 1000)
    assert speculation.bandwidth_metrics(run([row()]), run([row()])).target is None


def bound(rows, **changes) -> float | None:
    return speculation.bound_tokens_per_second(run(rows, **changes))


def test_the_bound_is_the_tokens_of_a_step_over_the_time_to_read_its_weights():
    per_step, drafted = 7 / 3, 6 / 3
    assert bound([row()], **measured(100, 20)) == pytest.approx(4000 * per_step / (100 + drafted * 20))
    assert bound([row()], method="ngram", **measured(100, None)) == pytest.approx(4000 * per_step / 100), "no weights"
    assert bound([row()], concurrency=8, **measured(100, 20)) == 8 * bound([row()], **measured(100, 20)), "share a pass"
    plain = replace(row(), steps=None, drafted=None)
    assert bound([plain], method="none", **measured(100, None)) == 40, "a token per pass, whatever the engine counts"
    assert bound([row()]) is None, "nothing was measured"


@pytest.mark.parametrize("seed", range(20))
def test_no_run_that_reads_every_weight_from_memory_exceeds_the_bound(seed):
    """Steps take the time of reading and some more; the share of the bound is 1 without the more, and lower with it."""
    random = np.random.default_rng(seed)
    target, draft, length, more = 100, int(random.integers(1, 90)), int(random.integers(1, 9)), random.random(5)
    rows, ideal = [], 0.0
    for index in range(5):
        per_step = [int(accepted) for accepted in random.integers(0, length + 1, size=random.integers(1, 30))]
        steps, drafted = 1 + len(per_step), length * len(per_step)
        seconds = (steps * target + drafted * draft) / 4000
        made = row(str(index), sum(per_step) + steps, steps, drafted, sum(per_step), per_step)
        rows.append(replace(made, batch=index, batch_seconds=seconds * (1 + more[index])))
        ideal += seconds
    emitted, took = sum(len(one.token_ids) for one in rows), sum(one.batch_seconds for one in rows)
    most = bound(rows, length=length, **measured(target, draft))
    assert emitted / took < most and emitted / ideal == pytest.approx(most)
