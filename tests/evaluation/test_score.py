"""Metrics are right on a hand-made cell, and a run that misleads is flagged or refused."""

import csv
import json
from dataclasses import replace

import pytest

from doubledraft import stats
from doubledraft.evaluation import runs
from doubledraft.evaluation import score as scoring
from doubledraft.evaluation.acceptance import CounterError
from doubledraft.evaluation.runs import ComparisonError
from doubledraft.evaluation.significance import paired_difference
from doubledraft.provenance import config_hash
from doubledraft.records import Generation, Question, write_records
from tests.helpers import made_up

RULE = {"min_steps": 3, "max_steps": 5, "max_words": 5}
GOLD = ["5", "1/2", "7", "9"]
ASKED = [
    Question(id=f"q{index}", scenario="easy", split="test", question=f"Question {index}?", answer=gold, steps=["s"])
    for index, gold in enumerate(GOLD, start=1)
]
# Right and within the rule; right only by the lenient reading, two drafts; no answer at all, cut at the cap; wrong.
TEXTS = [
    "2 + 3\nsum = 5\ndone\n#### 5",
    "half of one\nthe answer is 0.5",
    "one\ntwo\nthree and then the tokens ran out before",
    "4 + 4\n= 8\nadd nothing more\n#### 8",
]
FINISH = ["stop", "stop", "length", "stop"]
IDS = [[1, 2, 3, 4, 5, 6, 7], [1, 2, 3], [1, 2, 3, 4, 5, 6, 7, 8], [1, 2]]
SECONDS = [2.0, 1.0, 4.0, 1.0]
# steps, drafted, accepted, accepted_per_step; the third row's last step was cut by two tokens
COUNTERS = [(3, 6, 4, [3, 1]), (2, 3, 1, [1]), (4, 9, 6, [3, 0, 3]), (2, 3, 0, [0])]

MANIFEST = {"splits": {"train": {"asked": 9, "got": 7, "rows": 30}, "test": {"asked": 4, "got": 4, "rows": 4}}}
JOB = dict.fromkeys(runs.SAME_IN_JOB, 1)
SETTINGS = {"seed": 17, "target": "t"}
MEASURED = {
    "doubledraft": "0.0.9",
    "commit": "measured",
    "python": "3.11.7",
    "libraries": {"vllm": "0.32.0"},
    "hardware": {"processor": "measured", "cores": 2, "gpu": None},
    "time": "2026-01-02T03:04:05+00:00",
}


def rows(seconds=SECONDS, ids=IDS, counters=None):
    values = []
    for index, question in enumerate(ASKED):
        row = Generation(
            id=question.id,
            prompt_tokens=9,
            token_ids=ids[index],
            text=TEXTS[index],
            finish_reason=FINISH[index],
            batch=index,
            batch_seconds=seconds[index],
            time_to_first_token=0.1,
            latency=seconds[index],
        )
        if counters:
            steps, drafted, accepted, per_step = counters[index]
            row = replace(row, steps=steps, drafted=drafted, accepted=accepted, accepted_per_step=per_step)
        values.append(row)
    return values


def info(mode="baseline", **values):
    return {
        "engine": "vllm",
        "version": "0.32.0",
        "kernel": "vllm",
        "mode": mode,
        "method": "draft_model" if mode == "speculative" else "none",
        "draft_length": 3,
        "concurrency": 1,
        "dtype": "bfloat16",
        "n": len(ASKED),
        "step_seconds": {"draft": 0.01, "target": None, "verify": 0.06}
        if mode == "speculative"
        else {"draft": None, "target": 0.05, "verify": None},
        "bytes_per_pass": {"target": 100, "draft": 20 if mode == "speculative" else None},
        "read_bytes_per_second": 4000.0,
        "token_classes": None,
        "wall_seconds": 8.0,
        "emitted_tokens": 20,
        "peak_memory_gib": 1.5,
        "job": JOB,
        "environment": {"OMP_NUM_THREADS": "2"},
        "provenance": MEASURED,
    } | values


TIMES = {"baseline": SECONDS, "speculative": [1.0, 1.0, 2.0, 1.0], "control": SECONDS}


def attempt(times, arms):
    """Make an attempt with a block for each question."""
    arms = [*arms, *(["control"] if "speculative" in arms else [])]
    blocks = range(len(times["baseline"]))
    return {
        "turns": [
            {"block": block, "arm": arm, "seconds": [times[arm][block]], "tokens": [len(IDS[block])]}
            for block in blocks
            for arm in arms
        ]
    }


@pytest.fixture
def score(tmp_path):
    """Score a cell from rows; return metrics.json as read back."""
    (tmp_path / "manifest.json").write_text(json.dumps(MANIFEST))

    def score(
        baseline=None,
        speculative=None,
        baseline_run=None,
        speculative_run=None,
        rule=RULE,
        limit=None,
        asked=ASKED,
        arms=("baseline", "speculative"),
        times=(TIMES,),
        attempts=None,
        audit="",
        samples=1,
        **timing,
    ):
        write_records(tmp_path / "test.jsonl", asked)
        write_records(tmp_path / "baseline.jsonl", baseline or rows())
        write_records(tmp_path / "speculative.jsonl", speculative or rows([1.0, 1.0, 2.0, 1.0], counters=COUNTERS))
        made = {"residency": "both", "peak_memory_gib": 3.0, "provenance": MEASURED}
        made["attempts"] = attempts or [attempt(each, arms) for each in times]
        (tmp_path / "timing.json").write_text(json.dumps(made | timing))
        (tmp_path / "baseline_run.json").write_text(json.dumps(baseline_run or info()))
        (tmp_path / "speculative_run.json").write_text(json.dumps(speculative_run or info("speculative")))
        scoring.score_cell(
            type="cod",
            scenario="easy",
            questions=str(tmp_path / "test.jsonl"),
            manifest=str(tmp_path / "manifest.json"),
            generations=[str(tmp_path / f"{arm}.jsonl") for arm in arms],
            runs=[str(tmp_path / f"{arm}_run.json") for arm in arms],
            timing=str(tmp_path / "timing.json"),
            audit=audit,
            samples=samples,
            rule=rule,
            limit=limit,
            settings=SETTINGS,
            out_metrics=str(tmp_path / "metrics.json"),
            out_samples=str(tmp_path / "samples.csv"),
            out_comparison=str(tmp_path / "comparison.txt"),
        )
        return json.loads((tmp_path / "metrics.json").read_text())

    return score


def share(successes, n):
    return stats.as_json(stats.wilson(successes, n))


def test_accuracy_is_strict_and_lenient_on_all_and_on_finished_rows(score):
    mode = score()["baseline"]
    assert mode["accuracy"] == {
        "strict": share(1, 4),
        "lenient": share(2, 4),
        "strict_finished": share(1, 3),
        "lenient_finished": share(2, 3),
    }
    assert (mode["unparsable"], mode["undecided"], mode["n"]) == (2, 0, 4)


def test_accuracy_is_broken_down_by_level_and_subject_in_every_mode(score):
    kinds = [("2", "algebra"), ("1", "algebra"), ("2", "geometry"), (None, "geometry")]
    asked = [replace(row, level=level, subject=subject) for row, (level, subject) in zip(ASKED, kinds, strict=True)]
    metrics = score(asked=asked)
    for mode in (metrics["baseline"], metrics["speculative"]):
        assert list(mode["accuracy_by"]["level"]) == ["1", "2"], "in order, and a question without a level in none"
        assert mode["accuracy_by"] == {
            "level": {
                "1": {"strict": share(0, 1), "lenient": share(1, 1)},
                "2": {"strict": share(1, 2), "lenient": share(1, 2)},
            },
            "subject": {
                "algebra": {"strict": share(1, 2), "lenient": share(2, 2)},
                "geometry": {"strict": share(0, 2), "lenient": share(0, 2)},
            },
        }


def test_questions_without_level_and_subject_are_not_broken_down(score):
    assert score()["baseline"]["accuracy_by"] == {"level": {}, "subject": {}}


def test_metrics_say_how_many_questions_were_asked_for_and_taken(score):
    assert score()["questions"] == {"train": {"asked": 9, "got": 7}, "test": {"asked": 4, "got": 4}}


def test_truncation_stands_beside_every_accuracy(score):
    mode = score()["baseline"]
    assert mode["truncated"] == share(1, 4)
    assert mode["truncation_warning"] is True, "one in four is over the limit of one in five"


def test_tokens_and_times_of_a_mode(score):
    mode = score()["baseline"]
    assert mode["tokens"]["mean"]["value"] == 5
    assert (mode["tokens"]["median"], mode["tokens"]["total"]) == (5, 20)
    assert (mode["wall_seconds"], mode["tokens_per_second"], mode["concurrency"]) == (8, 2.5, 1)
    assert mode["bound_tokens_per_second"] == 40 and mode["share_of_bound"] == 2.5 / 40, "4000 bytes/s, 100 a token"
    assert mode["latency"]["p50"] == {"value": 1.5, "low": None, "high": None, "n": 4}
    assert mode["latency"]["p90"] is None and mode["latency"]["reason"].endswith("there are 4")
    assert mode["time_to_first_token"]["p50"]["value"] == 0.1
    # (latency - first token) / (tokens - 1): 1.9/6, 0.9/2, 3.9/7, 0.9/1
    assert mode["time_per_token"]["p50"]["value"] == pytest.approx((0.9 / 2 + 3.9 / 7) / 2)


def test_times_are_null_where_the_engine_gave_none(score):
    mode = score(baseline=[replace(row, latency=None, time_to_first_token=None) for row in rows()])["baseline"]
    assert mode["latency"] is mode["time_to_first_token"] is mode["time_per_token"] is None


def test_compliance_counts_drafts_before_the_answer_line(score):
    mode = score()["baseline"]
    assert mode["compliance"]["n"] == 4
    assert mode["compliance"]["value"] == 0.5, "the first and the last keep the rule"
    assert mode["steps_per_answer"]["value"] == pytest.approx((3 + 2 + 3 + 3) / 4)
    # Words without lone operators: 2+2+1, 3+4, 1+1+8, 2+1+3
    assert mode["words_per_step"]["value"] == pytest.approx(28 / 11)


def test_a_type_without_a_rule_has_steps_and_words_but_no_compliance(score):
    with_rule, without = score()["baseline"], score(rule=None)["baseline"]
    assert without["compliance"] is None
    for name in ("steps_per_answer", "words_per_step"):
        assert without[name] == with_rule[name]


def test_speculation_metrics_are_ratios_of_totals(score):
    speculation = score()["speculation"]
    assert [speculation[name] for name in ("emitted", "steps", "drafted", "accepted")] == [20, 11, 21, 11]
    assert speculation["tokens_per_step"]["value"] == pytest.approx(20 / 11)
    assert speculation["acceptance_rate"]["value"] == pytest.approx(11 / 21)
    assert [rate["value"] for rate in speculation["per_position_acceptance"]] == pytest.approx([5 / 7, 3 / 7, 3 / 7])
    assert speculation["self_check"] == {"accepted_plus_steps": 22, "emitted": 20, "excess": 2, "trimmable": 5}


def test_speedup_stands_beside_its_prediction(score):
    speedup = score()["speedup"]
    assert speedup["value"] == pytest.approx(8 / 5), "the mean of ratios would be 1.5"
    assert speedup["low"] <= speedup["value"] <= speedup["high"]
    assert (speedup["n"], speedup["unit"]) == (4, "block")
    assert speedup["predicted"] == pytest.approx((20 / 11) / (0.06 / 0.05 + 3 * 0.01 / 0.05))


def test_how_the_arms_took_turns_is_in_the_metrics(score):
    timing = score()["timing"]
    assert timing["order"] == [["baseline", "speculative", "control"]] * 4 and timing["blocks"] == 4
    assert timing["block_speedups"] == [2, 1, 2, 1] and timing["sign_test"] == 0.5
    assert timing["control"] == {"value": 1, "low": 1, "high": 1, "n": 4} and timing["steady"]
    assert timing["earlier"] == [] and (timing["residency"], timing["peak_memory_gib"]) == ("both", 3.0)


def test_the_last_attempt_counts_and_a_machine_that_was_not_steady_is_warned_of(score, caplog):
    slow = TIMES | {"control": [3 * each for each in SECONDS]}
    with caplog.at_level("WARNING", logger="doubledraft"):
        metrics = score(times=(TIMES, slow))
    assert not metrics["timing"]["steady"] and metrics["timing"]["control"]["value"] == pytest.approx(1 / 3)
    assert [attempt["steady"] for attempt in metrics["timing"]["earlier"]] == [True]
    assert "cod_easy: the machine was not steady" in caplog.text


def test_the_target_alone_has_metrics_of_what_there_is(score, tmp_path):
    metrics = score(arms=["baseline"])
    assert metrics["baseline"]["n"] == 4 and metrics["timing"]["blocks"] == 4
    absent = ("speculative", "speculation", "speedup", "lossless")
    assert {metrics[name] for name in absent} == {None}
    assert metrics["timing"]["speedup"] is metrics["timing"]["steady"] is None
    assert "cod_easy: 4 questions" in (tmp_path / "comparison.txt").read_text()


def test_what_an_engine_tells_of_its_drafts_and_steps_is_in_the_metrics(score, tmp_path):
    classes = {"words": {"drafted": 21, "accepted": 11, "agreed": 14}}
    told = [replace(row, agreed=[[True] * row.drafted]) for row in rows(counters=COUNTERS)]
    metrics = score(speculative=told, speculative_run=info("speculative", token_classes=classes))
    assert metrics["speculation"]["order_independent_agreement"]["value"] == 1
    assert metrics["speculation"]["token_classes"]["words"]["acceptance_rate"] == share(11, 21)
    assert metrics["bandwidth"]["target"]["bytes_per_second"] == pytest.approx(100 / 0.05)
    expected = 4000 * (20 / 11) / (100 + (21 / 11) * 20)
    assert metrics["speculative"]["bound_tokens_per_second"] == pytest.approx(expected)
    assert "past the first rejection" in (tmp_path / "comparison.txt").read_text()


def test_identical_runs_are_lossless(score):
    assert score()["lossless"] == {
        "dtype": "bfloat16",
        "identical_rate": share(4, 4),
        "different": 0,
        "first_difference": None,
        "top2_gap": None,
        "tie_gap": 0.25,
        "ties": 0,
        "bugs": 0,
        "verdicts": {
            "lost": 0,
            "gained": 0,
            "p_value": None,
            "difference": stats.as_json(paired_difference(0, 0, 4)),
        },
        "reason": None,
    }


def test_differences_are_found_by_ids_and_lengths(score):
    ids = [[1, 2, 9, 4, 5, 6, 7], IDS[1], IDS[2], [1]]  # third token differs; last token missing
    counters = [*COUNTERS[:3], (1, 0, 0, [])]
    changed = rows(ids=ids, counters=counters)
    changed[0] = replace(changed[0], top2_gap=0.25, text=TEXTS[3])
    changed[3] = replace(changed[3], top2_gap=0.75)
    lossless = score(speculative=changed)["lossless"]
    assert lossless["identical_rate"] == share(2, 4)
    assert lossless["first_difference"] == {"median": 1.5, "min": 1}
    assert lossless["top2_gap"] == {"median": 0.5, "max": 0.75, "n": 2}
    assert (lossless["ties"], lossless["bugs"]) == (1, 1), "in bfloat16 rounding explains 0.25"
    verdicts = {
        "lost": 1,
        "gained": 0,
        "p_value": 1.0,
        "difference": stats.as_json(paired_difference(1, 0, 4)),
    }
    assert lossless["verdicts"] == verdicts


def test_acceptance_is_broken_down_by_level_and_subject(score):
    levels = ["1", "1", "2", None]
    asked = [replace(question, level=level) for question, level in zip(ASKED, levels, strict=True)]
    found = score(asked=asked)["acceptance_by"]
    drafted, accepted = (sum(row[at] for row in COUNTERS[:2]) for at in (1, 2))
    assert (found["level"]["1"]["value"], found["level"]["1"]["n"]) == (pytest.approx(accepted / drafted), 2)
    assert list(found["level"]) == ["1", "2"]


def test_wrong_answers_count_in_the_cost_of_a_right_one(score):
    metrics = score()
    cost, answers = metrics["cost"]["baseline"], metrics["baseline"]
    right = round(answers["accuracy"]["strict"]["value"] * answers["n"])
    assert 0 < cost["correct"] == right < answers["n"]
    assert cost["tokens"]["value"] == pytest.approx(answers["tokens"]["total"] / right)
    assert cost["seconds"]["value"] == pytest.approx(answers["wall_seconds"] / right)
    assert (cost["joules"], cost["energy_source"]) == (None, None)


def test_joules_are_those_of_the_arm_in_the_last_attempt(score):
    def counted(joules: dict[str, float]) -> dict:
        turns = attempt(TIMES, ["baseline", "speculative"])["turns"]
        return {"turns": [turn | {"joules": joules[turn["arm"]]} for turn in turns]}

    first, last = (
        {"baseline": 9.0, "speculative": 9.0, "control": 9.0},
        {"baseline": 6.0, "speculative": 3.0, "control": 6.0},
    )
    metrics = score(attempts=[counted(first), counted(last)], energy_source="RAPL package-0")
    for name, joules in (("baseline", 6.0), ("speculative", 3.0)):
        cost = metrics["cost"][name]
        assert (
            cost["joules"] == pytest.approx(4 * joules / cost["correct"]) and cost["energy_source"] == "RAPL package-0"
        )


def test_provenance_says_what_made_the_result(score):
    provenance = score()["provenance"]
    assert (provenance["seed"], provenance["config_hash"]) == (17, config_hash(SETTINGS))
    assert provenance["settings"] == SETTINGS
    assert {key: provenance[key] for key in MEASURED} == MEASURED, "of the process that measured"
    assert MEASURED.keys() <= provenance["scored"].keys() and provenance["scored"]["time"] != MEASURED["time"]
    assert provenance["scored"]["settings"] is None, "they stand above"
    assert [run["engine"] for run in provenance["runs"]] == ["vllm 0.32.0"] * 2


def test_limit_scores_the_first_questions_only(score):
    runs = {"baseline_run": info(n=2), "speculative_run": info("speculative", n=2)}
    metrics = score(rows()[:2], rows(counters=COUNTERS)[:2], **runs, limit=2)
    assert (metrics["n"], metrics["baseline"]["accuracy"]["strict"]["n"]) == (2, 2)
    with pytest.raises(ComparisonError, match="'q3' is not among the asked"):
        score(limit=2)


def test_a_run_that_never_drafted_has_null_acceptance(score):
    counters = [(len(ids), 0, 0, []) for ids in IDS]
    metrics = score(speculative=rows(counters=counters))
    assert metrics["speculation"]["acceptance_rate"] is None
    assert metrics["speculation"]["reason"] == "no step drafted a token"
    assert metrics["speedup"]["best_draft_length"] is None


def test_cumulative_counters_are_refused(score, tmp_path):
    total, cumulative = [0, 0, 0, []], []
    for counters in COUNTERS:
        total = [before + now for before, now in zip(total, counters, strict=True)]
        cumulative.append(tuple(total))
    with pytest.raises(CounterError, match="question 'q2'"):
        score(speculative=rows(counters=cumulative))
    assert not (tmp_path / "metrics.json").exists(), "a refused run leaves no result"


def test_different_questions_in_both_runs_are_refused(score):
    with pytest.raises(ComparisonError, match="speculative.jsonl: question 'q4' of .* has no answer"):
        score(speculative=rows(counters=COUNTERS)[:3])


def test_different_concurrency_is_refused(score):
    with pytest.raises(ComparisonError, match="concurrency: 1 and 16"):
        score(speculative_run=info("speculative", concurrency=16))


def test_synthetic_acceptance_is_refused(score):
    with pytest.raises(ComparisonError, match="synthetic"):
        score(speculative_run=info("speculative", job=JOB | {"rejection_sample_method": "synthetic"}))


def test_scoring_twice_gives_the_same_metrics(score):
    first, second = score(), score()
    for metrics in (first, second):
        del metrics["provenance"]
    assert first == second


def untrained(tmp_path, generations, run, rules):
    write_records(tmp_path / "test.jsonl", ASKED)
    (tmp_path / "manifest.json").write_text(json.dumps(MANIFEST))
    for type in rules:
        write_records(tmp_path / f"{type}.jsonl", generations)
        (tmp_path / f"{type}_run.json").write_text(json.dumps(run))
    scoring.score_untrained(
        scenario="easy",
        questions=str(tmp_path / "test.jsonl"),
        manifest=str(tmp_path / "manifest.json"),
        generations=[str(tmp_path / f"{type}.jsonl") for type in rules],
        runs=[str(tmp_path / f"{type}_run.json") for type in rules],
        rules=rules,
        limit=None,
        settings=SETTINGS,
        out_metrics=str(tmp_path / "metrics.json"),
        out_samples=str(tmp_path / "samples.csv"),
        out_comparison=str(tmp_path / "comparison.txt"),
    )
    return json.loads((tmp_path / "metrics.json").read_text())


def test_untrained_scores_every_prompt_without_speculation(tmp_path):
    metrics = untrained(tmp_path, rows(), info("untrained"), {"cot": None, "cod": RULE})
    assert list(metrics["prompts"]) == ["cot", "cod"]
    assert metrics["prompts"]["cot"]["compliance"] is None
    assert metrics["prompts"]["cod"]["compliance"]["n"] == 4
    assert metrics["speculation"] is metrics["speedup"] is metrics["baseline"] is None
    with open(tmp_path / "samples.csv", newline="", encoding="utf-8") as file:
        assert {"cot_strict", "cod_strict"} <= next(csv.DictReader(file)).keys()


def test_a_run_whose_outputs_all_hit_the_cap_is_flagged(tmp_path):
    cut = [replace(row, finish_reason="length", text="<think> let me see") for row in rows()]
    mode = untrained(tmp_path, cut, info("untrained"), {"cot": None})["prompts"]["cot"]
    assert mode["truncated"]["value"] == 1 and mode["truncation_warning"] is True
    assert mode["accuracy"]["strict_finished"] is None, "no row finished: null, not 0"
    assert (mode["unclosed_think"], mode["unparsable"]) == (4, 4)
    assert "!" in (tmp_path / "comparison.txt").read_text()


def test_the_audit_of_the_draft_is_copied_and_shown(score, tmp_path):
    audit = made_up.draft_audit()
    (tmp_path / "draft_audit.json").write_text(json.dumps(audit))
    assert score(audit=str(tmp_path / "draft_audit.json"))["draft_audit"] == audit
    page = (tmp_path / "comparison.txt").read_text()
    assert "the same, replayed  2.66: as both models read the answers ! They should be within 2 %." in page
    assert score()["draft_audit"] is None, "n-grams have no draft model"


def test_several_drawn_answers_to_a_question_are_one_unit_and_need_not_be_the_same(score):
    """Every question was answered twice; the second time the third question is answered like the fourth."""

    def twice(values):
        again = [replace(row, id=f"{row.id}#2", batch=row.batch + len(values)) for row in values]
        again[2] = replace(again[2], text=TEXTS[3], finish_reason="stop")
        return [replace(row, id=f"{row.id}#1") for row in values] + again

    drawn = {"temperature": 0.7, "samples": 2, "n": 2 * len(ASKED)}
    metrics = score(
        twice(rows()),
        twice(rows([1.0, 1.0, 2.0, 1.0], counters=COUNTERS)),
        info(**drawn),
        info("speculative", **drawn),
        samples=2,
    )
    plain = metrics["baseline"]
    assert (metrics["n"], plain["n"], plain["samples"], plain["temperature"]) == (4, 8, 2, 0.7)
    assert plain["accuracy"]["strict"]["n"] == 4, "questions"
    first, second = plain["by_sample"]
    assert plain["accuracy"]["strict"]["value"] == (first["strict"] + second["strict"]) / 2
    assert first["tokens"] == second["tokens"] == 5 and first["tokens_per_step"] is None
    assert [each["acceptance_rate"] for each in metrics["speculative"]["by_sample"]] == [11 / 21, 11 / 21]
    assert metrics["speculation"]["tokens_per_step"] == {**metrics["speculation"]["tokens_per_step"], "n": 4}
    lossless = metrics["lossless"]
    assert "one distribution" in lossless["reason"] and lossless["verdicts"]["lost"] == 0
    assert lossless["identical_rate"] is lossless["different"] is lossless["ties"] is lossless["bugs"] is None
    assert metrics["timing"]["per_token"]
