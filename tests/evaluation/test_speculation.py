"""Acceptance, the cost model and the check of counters are right on cases worked by hand.

Run:
"""

from dataclasses import replace

import numpy as np
import pytest

from doubledraft.evaluation import acceptance, speculation
from doubledraft.evaluation.acceptance import CounterError
from doubledraft.evaluation.runs import Run
from doubledraft.records import Generation


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


def run(rows, draft=None, target=None, verify=None, length=3):
    seconds = {"draft": draft, "target": target, "verify": verify}
    info = {"engine": "vllm", "version": "0.32.0", "method": "draft_model", "draft_length": length, "concurrency": 1}
    unmeasured = {"bytes_per_pass": None, "read_bytes_per_second": None, "token_classes": None}
    return Run("x.jsonl", rows, info | {"step_seconds": seconds} | unmeasured)


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


@pytest.mark.parametrize("alpha", [0.3, 0.6, 0.88, 0.97])
@pytest.mark.parametrize("draft_cost", [0.02, 0.1, 0.316, 0.7])
@pytest.mark.parametrize("verify_cost", [1.0, 1.5, 3.0])
def test_best_draft_length_is_the_best_of_all(alpha, draft_cost, verify_cost):
    def speedup(length):
        if length == 0:
            return 1
        return acceptance.predicted_speedup(acceptance.expected_tokens(alpha, length), length, draft_cost, verify_cost)

    best = max(range(acceptance.LONGEST_DRAFT + 1), key=speedup)
    assert acceptance.best_draft_length(alpha, draft_cost, verify_cost) == best


def test_best_draft_length_at_the_ends():
    assert acceptance.best_draft_length(0.88, 0.316, 1) == 4, "the table of the CPU pair"
    assert acceptance.best_draft_length(0, 0.1, 1) == 0, "a draft that is never right does not pay"
    assert acceptance.best_draft_length(1, 0.1, 1) == acceptance.LONGEST_DRAFT
    assert acceptance.best_draft_length(0.9, 0, 1) == acceptance.LONGEST_DRAFT, "a free draft always pays"


def test_position_rates_are_unconditional_shares_of_drafting_steps():
    rates = acceptance.per_position_acceptance([row(), row("b", 2, 2, 3, 0, [0])], 3)
    assert [rate.value for rate in rates] == [2 / 3, 1 / 3, 1 / 3]
    assert {rate.n for rate in rates} == {3}
    assert acceptance.per_position_acceptance([row("c", 1, 1, 0, 0, [])], 2) == [None, None]


def test_position_rates_sum_to_the_accepted_tokens_per_drafting_step():
    rates = acceptance.per_position_acceptance([row()], 3)
    assert sum(rate.value for rate in rates) == pytest.approx(4 / 2)


def test_counters_that_explain_the_tokens_pass():
    assert acceptance.check_counters([row()], 3) == {
        "accepted_plus_steps": 7,
        "emitted": 7,
        "excess": 0,
        "explained_by_trimming": True,
    }


def test_trimming_of_the_last_step_is_allowed_and_counted():
    trimmed = row(emitted=6)  # the last step accepted 1 and emitted 2, of which the bonus token fell behind the end
    assert acceptance.check_counters([trimmed, row("b")], 3)["excess"] == 1


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


def test_figures_are_ratios_of_totals():
    figures = speculation.figures(run([row(), row("b", 2, 2, 3, 0, [0])]), seed=0)
    assert figures["tokens_per_step"]["value"] == pytest.approx(9 / 5), "the mean of ratios would be 1.67"
    assert figures["acceptance_rate"]["value"] == pytest.approx(4 / 9), "the mean of ratios would be 0.33"
    assert figures["acceptance_rate"]["n"] == 2
    assert figures["expected_tokens_per_step"]["from_counters"] == pytest.approx(1 + 3 * 4 / 9)
    assert figures["expected_tokens_per_step"]["from_alpha"] == pytest.approx(1 + 3 * 4 / 9)
    assert figures["order_independent_agreement"] is None
    assert figures["acceptance_definition"] == "accepted/drafted, prefix count, vllm 0.32.0"


def test_a_run_that_never_drafted_has_no_acceptance():
    figures = speculation.figures(run([row("a", 2, 2, 0, 0, []), row("b", 3, 3, 0, 0, [])]), seed=0)
    assert figures["acceptance_rate"] is None
    assert figures["per_token_acceptance"] is None
    assert figures["per_position_acceptance"] == [None, None, None]
    assert figures["expected_tokens_per_step"] == {"from_counters": None, "from_alpha": None}
    assert figures["tokens_per_step"]["value"] == 1


def test_speedup_counts_the_time_of_a_batch_once():
    def batched(seconds):
        return [replace(row(str(index)), batch=index // 2, batch_seconds=seconds[index // 2]) for index in range(4)]

    plain, drafted = run(batched([6.0, 2.0])), run(batched([3.0, 2.0]))
    speedup = speculation.speedup(plain, drafted, speculation.figures(drafted, 0), seed=0)
    assert speedup["value"] == pytest.approx(8 / 5), "the mean of ratios would be 1.5"
    assert (speedup["low"], speedup["high"], speedup["n"]) == (1, 2, 2)
    assert (speedup["baseline_seconds"], speedup["speculative_seconds"]) == (8, 5)
    assert speedup["predicted"] is None and speedup["best_draft_length"] is None, "no step was timed"


def test_prediction_uses_measured_step_times():
    plain, drafted = run([row()], target=0.05), run([row()], draft=0.01, verify=0.06)
    speedup = speculation.speedup(plain, drafted, speculation.figures(drafted, 0), seed=0)
    assert speedup["draft_cost"] == pytest.approx(0.2)
    assert speedup["verify_cost"] == pytest.approx(1.2)
    assert speedup["predicted"] == pytest.approx((7 / 3) / (1.2 + 3 * 0.2))
    assert speedup["predicted_from_alpha"] == pytest.approx((1 + 3 * 4 / 6) / (1.2 + 3 * 0.2))
    assert speedup["best_draft_length"] == acceptance.best_draft_length(
        acceptance.per_token_acceptance(4 / 6, 3), 0.2, 1.2
    )


def test_half_of_the_costs_give_no_prediction():
    counters = speculation.figures(run([row()]), 0)
    plain, drafted = run([row()], target=0.1), run([row()], draft=0.01)
    speedup = speculation.speedup(plain, drafted, counters, seed=0)
    assert (speedup["draft_cost"], speedup["verify_cost"]) == (pytest.approx(0.1), None)
    assert speedup["predicted"] is None


def test_a_plain_step_of_the_drafting_process_is_no_measure_of_the_baseline_s():
    counters = speculation.figures(run([row()]), 0)
    plain, drafted = run([row()]), run([row()], draft=0.01, target=0.1, verify=0.06)
    speedup = speculation.speedup(plain, drafted, counters, seed=0)
    assert speedup["draft_cost"] is speedup["verify_cost"] is speedup["predicted"] is None


def test_steps_inferred_from_the_tokens_check_nothing():
    drafted = run([row()])
    assert speculation.figures(drafted, 0)["self_check"]["explained_by_trimming"]
    drafted.info["method"] = "ngram"
    assert speculation.figures(drafted, 0)["self_check"] is None
    drafted.info["engine"] = "native"
    assert speculation.figures(drafted, 0)["self_check"]["explained_by_trimming"], "it counts its steps"


def test_agreement_counts_past_the_first_rejection_and_is_labelled():
    told = [
        row(agreed=[[True, True, True], [True, False, True]]),
        row("b", 2, 2, 3, 0, [0], agreed=[[False, True, True]]),
    ]
    figures = speculation.figures(run(told), seed=0)
    assert figures["acceptance_rate"]["value"] == pytest.approx(4 / 9)
    assert figures["order_independent_agreement"]["value"] == pytest.approx(7 / 9)
    assert figures["order_independent_agreement"]["n"] == 2
    assert figures["agreement_definition"] == "agreed/drafted, past the first rejection too, vllm 0.32.0"


def test_an_engine_that_does_not_tell_has_neither_agreement_nor_token_classes():
    figures = speculation.figures(run([row(agreed=[[True] * 3] * 2), row("b")]), seed=0)
    assert figures["order_independent_agreement"] is figures["agreement_definition"] is figures["token_classes"] is None


def test_token_classes_have_both_acceptances_with_their_n():
    drafted = run([row()])
    drafted.info["token_classes"] = {"words": {"drafted": 4, "accepted": 2, "agreed": 3}}
    words = speculation.figures(drafted, 0)["token_classes"]["words"]
    assert [words[name]["value"] for name in ("acceptance_rate", "order_independent_agreement")] == [0.5, 0.75]
    assert words["acceptance_rate"]["n"] == words["drafted"] == 4


def measured(run, target, draft):
    run.info.update(bytes_per_pass={"target": target, "draft": draft}, read_bytes_per_second=4000.0)
    return run


def test_bandwidth_is_the_weights_over_the_time_of_a_step():
    plain = measured(run([row()], target=0.05), 100, None)
    drafted = measured(run([row()], draft=0.01, verify=0.1), 100, 20)
    found = speculation.bandwidth(plain, drafted)
    assert found["read_bytes_per_second"] == 4000
    assert found["target"] == {"bytes": 100, "seconds": 0.05, "bytes_per_second": 2000, "share": 0.5}
    assert [found[kind]["bytes_per_second"] for kind in ("draft", "verify")] == [2000, 1000]
    assert speculation.bandwidth(run([row()]), run([row()]))["target"] is None


def test_the_bound_is_the_cost_model_of_bytes_alone():
    plain, drafted = run([replace(row(), batch_seconds=1.5)]), measured(run([row()]), 100, 20)
    found = speculation.speedup(plain, drafted, speculation.figures(drafted, 0), seed=0)
    assert found["bound"] == pytest.approx((7 / 3) / (1 + 3 * 0.2))
    assert found["share_of_bound"] == pytest.approx(1.5 / found["bound"])
    without = measured(run([row()]), 100, None)
    assert speculation.speedup(plain, without, speculation.figures(without, 0), 0)["bound"] == pytest.approx(7 / 3), (
        "n-grams read no weights"
    )


def test_counters_form_is_null_where_a_step_drafted_fewer_than_k():
    fewer = row("b", drafted=5)  # one of two steps drafted 2 of 3
    undrafted = row("c", emitted=8, steps=4)  # one step found nothing to draft
    for other in (fewer, undrafted):
        assert speculation.figures(run([row(), other]), 0)["expected_tokens_per_step"]["from_counters"] is None
