"""The workflow: its dry runs, and what it makes again when something changes."""

import json
import os
import re
import shutil
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import yaml

from tests.helpers.running import ROOT, snakemake

pytestmark = pytest.mark.slow
GRID = {
    "record_study": 1,
    "fetch_questions": 3,
    "fetch_more_questions": 3,
    "write_cot": 3,
    "summarize_cod": 3,
    "audit_traces": 6,
    "analyze_traces": 1,
    "fetch_model": 1,
    "prune_model": 1,
    "check_pair": 1,
    "train_target": 6,
    "merge_target": 18,
    "distill": 6,
    "train_draft": 6,
    "merge_draft": 6,
    "time_arms": 6,
    "generate_untrained": 6,
    "score": 6,
    "score_untrained": 3,
    "draw_loss": 12,
    "audit_draft": 6,
    "cross_acceptance": 6,
    "acceptance_matrix": 1,
    "view_cell": 6,
    "report": 1,
}


def change(file: Path, old: str, new: str) -> None:
    """Replace a piece of a file that stands there once."""
    text = file.read_text()
    assert text.count(old) == 1, f"{file} has {old!r} {text.count(old)} times"
    file.write_text(text.replace(old, new))


# dry runs


@pytest.mark.parametrize("config", ["config.yaml", "qwen3.yaml", "qwen2.5.yaml"])
def test_every_study_plans_the_whole_grid(config, tmp_path):
    outcome = snakemake("-n", "--configfile", str(ROOT / "config" / config), "--directory", str(tmp_path), folder=ROOT)
    assert outcome.code == 0, outcome.text
    own = {"prune_model": 1, "fetch_model": 1} if config == "config.yaml" else {"fetch_model": 2}
    own |= {"generate_untrained": 12} if config == "qwen3.yaml" else {}  # thinking and not
    assert outcome.jobs == Counter({name: n for name, n in GRID.items() if not name.endswith("_model")} | own)
    assert not list(tmp_path.glob("results/**/*.json")), "a dry run makes nothing"


def test_one_cell_plans_nothing_of_another(tmp_path):
    outcome = snakemake("-n", "--directory", str(tmp_path), "results/cod_hard/metrics.json", folder=ROOT)
    assert outcome.values("scenario") == {"hard"}
    assert outcome.values("type", "train_target") == {"cod"}
    assert "generate_untrained" not in outcome.jobs


@pytest.mark.parametrize(("config", "fetched"), [("config.yaml", 1), ("qwen2.5-domains.yaml", 2)])
def test_drafts_by_domain_and_their_router_are_planned_without_the_grid(config, fetched, tmp_path):
    arguments = ("-n", "--configfile", str(ROOT / "config" / config), "--directory", str(tmp_path))
    outcome = snakemake(*arguments, "results/routing/report.html", folder=ROOT)
    assert outcome.code == 0, outcome.text
    made = {"split_domain": 3, "answer_domain": 3, "train_domain_draft": 4, "merge_domain_draft": 4, "write_prompts": 1}
    routed = dict.fromkeys(("collect_matrix", "train_routers", "score_routers", "routing_page"), 1)
    models = {"fetch_model": fetched, "check_pair": 1, "record_study": 1} | ({"prune_model": 1} if fetched == 1 else {})
    assert outcome.jobs == Counter({**made, **routed, **models})


def test_adapters_of_the_generic_draft_are_planned_for_every_domain_and_rank(tmp_path):
    outcome = snakemake("-n", "--directory", str(tmp_path), "results/routing/adapters.html", folder=ROOT)
    assert outcome.code == 0, outcome.text
    assert outcome.jobs["train_domain_adapter"] == 3 * 2 and outcome.jobs["train_domain_draft"] == 4
    assert outcome.jobs["compare_adapters"] == outcome.jobs["adapters_page"] == 1
    assert "collect_matrix" not in outcome.jobs


def test_ngram_needs_no_draft(tmp_path):
    outcome = snakemake(
        "-n",
        "--directory",
        str(tmp_path),
        "results/cod_hard/metrics.json",
        "--config",
        "benchmark={method: ngram}",
        folder=ROOT,
    )
    assert outcome.code == 0, outcome.text
    assert not {"train_draft", "merge_draft", "distill", "check_pair", "prune_model"} & set(outcome.jobs)
    assert outcome.values("model") == {"smollm2-135m"}


def test_drafts_of_others_are_timed_and_scored_on_demand(tmp_path):
    config = str(ROOT / "config/qwen3.yaml")
    targets = [f"results/cod_easy/other_drafts/{name}/metrics.json" for name in ("pard", "eagle3")]
    outcome = snakemake("-n", "--configfile", config, "--directory", str(tmp_path), *targets, folder=ROOT)
    assert outcome.code == 0, outcome.text
    assert outcome.jobs["time_other_draft"] == outcome.jobs["score_other_draft"] == 2
    assert outcome.values("model") == {"qwen3-14b", "pard-0.6b", "eagle3"}
    assert not {"train_draft", "distill"} & set(outcome.jobs)


def test_every_recipe_and_seed_of_a_leaderboard_is_a_job_of_its_own(tmp_path):
    config = str(ROOT / "config/drafts.yaml")
    target = "results/drafts/cod_hard/leaderboard.html"
    outcome = snakemake("-n", "--configfile", config, "--directory", str(tmp_path), target, folder=ROOT)
    assert outcome.code == 0, outcome.text
    assert outcome.jobs["train_recipe"] == outcome.jobs["measure_recipe"] == 21 * 3
    assert outcome.jobs["compare_drafts"] == outcome.jobs["prune_compared_start"] == outcome.jobs["distill"] == 1
    assert outcome.values("number") == {"0", "1", "2"} and "full-merged" in outcome.values("recipe")
    assert "train_draft" not in outcome.jobs


def test_the_target_alone_is_timed_without_a_draft(tmp_path):
    alone = ("--config", "benchmark={arms: [baseline]}")
    outcome = snakemake("-n", "--directory", str(tmp_path), "results/cod_hard/metrics.json", *alone, folder=ROOT)
    assert outcome.code == 0, outcome.text
    assert not {"train_draft", "merge_draft", "distill", "check_pair", "prune_model"} & set(outcome.jobs)
    assert outcome.jobs["time_arms"] == outcome.jobs["score"] == 1
    assert "speculative" not in outcome.text


@pytest.mark.parametrize(("profile", "gpus"), [("default", "0"), ("gpu", "1")])
def test_profile_says_how_many_gpus_a_model_rule_gets(profile, gpus, tmp_path):
    chosen = ("--workflow-profile", "profiles/" + profile)
    outcome = snakemake("-n", *chosen, "--directory", str(tmp_path), "results/cod_hard/target_adapter", folder=ROOT)
    assert outcome.code == 0, outcome.text
    assert set(re.findall(r"resources: .*gpu=(\d+)", outcome.text)) == {gpus}


def test_new_scenario_and_new_type_are_a_config_edit(tmp_path):
    questions = tmp_path / "mine.jsonl"
    questions.write_text('{"question": "1 + 1?", "answer": "2"}\n{"question": "1 + 2?", "answer": "3"}\n')
    added = tmp_path / "mine.yaml"
    added.write_text(
        yaml.safe_dump(
            {
                "study": "mine",
                "scenarios": {"my_own": {"source": "jsonl", "path": str(questions), "train": 1, "test": 1}},
                "types": {
                    "terse": {
                        "prompt": "config/prompts/cod.yaml",
                        "max_tokens": 96,
                        "condense": {"min_steps": 1, "max_steps": 2, "max_words": 4},
                    }
                },
            }
        )
    )
    outcome = snakemake("-n", "--configfile", str(added), "--directory", str(tmp_path), folder=ROOT)
    assert outcome.code == 0, outcome.text
    assert outcome.values("scenario", "score") == {"easy", "medium", "hard", "my_own"}
    assert outcome.values("type", "summarize_cod") == {"cod", "terse"}
    assert outcome.jobs["score"] == 12 and outcome.jobs["score_untrained"] == 4


# what reruns, beside the table of test_reruns.py


def test_nothing_to_do_after_a_whole_run(made):
    outcome = snakemake("-n", folder=made)
    assert not outcome.jobs and "Nothing to be done" in outcome.text


def test_prompt_reruns_its_type_alone(grid):
    change(grid / "config/prompts/cod.yaml", "system:", "# edited\nsystem:")
    assert snakemake("-n", folder=grid).values("type", "train_target") == {"cod"}


def test_new_weights_in_a_model_s_folder_are_fetched_again(grid):
    weights = grid / "mine/model.safetensors"
    weights.parent.mkdir()
    weights.write_text("first")
    draft = "models={draft: mine, sources: {mine: {source: path, path: mine}}}"
    assert snakemake("--config", draft, "--", "results/pair.json", folder=grid).code == 0
    assert not snakemake("-n", "--config", draft, "--", "results/pair.json", folder=grid).jobs
    weights.write_text("second")
    again = snakemake("-n", "--config", draft, "--", "results/pair.json", folder=grid)
    assert again.jobs == {"fetch_model": 1, "check_pair": 1}


def test_draft_learning_rate_merges_no_target_to_distil(grid):
    outcome = snakemake("-n", "--config", "train={draft: {learning_rate: 5e-4}}", folder=grid)
    assert outcome.values("use") == {"target", "teacher"}, "the answers to learn from are there"


def test_method_without_a_draft_measures_again_and_trains_nothing(grid):
    outcome = snakemake("-n", "--config", "benchmark={method: ngram}", folder=grid)
    measured = ("merge_target", "time_arms", "score", "view_cell")
    assert outcome.jobs == dict.fromkeys(measured, 6) | {"report": 1}


def test_thinking_is_a_baseline_more_of_every_prompt(grid):
    outcome = snakemake("-n", "--config", "untrained={thinking: [null, true, false]}", folder=grid)
    assert outcome.jobs == {"generate_untrained": 12, "score_untrained": 3, "report": 1}, "those of before are there"
    assert "results/untrained_hard/cod_thinking_disabled.jsonl" in outcome.text


def test_a_load_grid_is_made_on_demand_and_times_no_cell_again(grid):
    outcome = snakemake("-n", "results/cod_easy/load_grid.json", folder=grid)
    assert outcome.jobs == {"merge_target": 1, "merge_draft": 1, "load_grid": 1}


def test_cross_check_is_made_on_demand_from_the_trained_pair(grid):
    outcome = snakemake("-n", "results/cod_easy/cross_check.json", folder=grid)
    assert outcome.jobs == {"merge_target": 1, "merge_draft": 1, "cross_check": 1}
    assert not list(grid.glob("results/*/cross_check.json")), "the whole grid does without"


def test_one_scenarios_questions_rerun_that_scenario_alone(grid):
    outcome = snakemake("-n", "--config", "scenarios={hard: {test: 61}}", folder=grid)
    assert outcome.values("scenario", "train_target") == {"hard"}
    assert outcome.jobs["fetch_questions"] == 1 and outcome.jobs["train_target"] == 2
    assert not {"fetch_model", "prune_model", "check_pair", "record_study"} & set(outcome.jobs)


def test_comments_and_docstrings_of_the_library_rerun_nothing(grid):
    for module in (grid / "doubledraft").rglob("*.py"):
        module.write_text(module.read_text().replace('"""', '"""Edited. ', 1) + "\n# edited\n")
    outcome = snakemake("-n", folder=grid)
    assert not outcome.jobs, outcome.text


def test_traces_of_one_set_rerun_the_analysis_and_its_texts_nothing_else(grid):
    template = grid / "doubledraft/templates/traces.md.j2"
    template.write_text(template.read_text() + "\nedited\n")
    assert snakemake("-n", folder=grid).jobs == {"analyze_traces": 1}
    changed = snakemake("-n", "--forcerun", "data/cod/hard/traces.jsonl", folder=grid).jobs
    assert changed["summarize_cod"] == 1 and changed["analyze_traces"] == 1


def test_study_copied_to_another_place_reruns_nothing(grid):
    outcome = snakemake("-n", folder=grid)
    assert not outcome.jobs, "paths in the metadata should not depend on where the study lies"


# temporary files, failures, studies


def test_merged_models_are_gone_after_a_run(made):
    assert (made / "results/cod_easy/speculative.jsonl").exists()
    assert not list(made.glob("results/*/*_merged"))


def test_merged_models_are_kept_with_notemp_and_then_draft_length_only_times_again(grid, tmp_path):
    kept = ("--directory", str(tmp_path), "results/cod_easy/metrics.json")
    assert snakemake("--notemp", *kept, folder=grid).code == 0
    found = {path.name for path in tmp_path.glob("results/cod_easy/*_merged")}
    assert found == {"target_merged", "distill_merged", "teacher_merged", "draft_merged"}
    outcome = snakemake("-n", "--notemp", *kept, "--config", "benchmark={draft_length: 4}", folder=grid)
    assert outcome.jobs == {"time_arms": 1, "audit_draft": 1, "score": 1}


def test_pair_that_does_not_fit_stops_before_a_training_that_could_start_at_once(grid):
    (grid / "results/logs/check_pair.log.fail").touch()
    another = ("train={target: {learning_rate: 5e-4}}", "models={sources: {smollm2-135m-4l: {layers: [0, 29]}}}")
    outcome = snakemake("--config", *another, folder=grid)
    assert outcome.code != 0 and "Error in rule check_pair" in outcome.text
    assert "rule train_target:" not in outcome.text


def test_a_missing_compiler_stops_a_run_before_its_first_job_and_no_dry_run(tmp_path):
    for name in ("bash", "which"):
        (tmp_path / name).symlink_to(shutil.which(name))
    bare = {name: value for name, value in os.environ.items() if name != "CXX"} | {"PATH": str(tmp_path)}
    run = partial(snakemake, "--cores", "1", "--directory", str(tmp_path / "study"), folder=ROOT, environment=bare)
    assert run("-n", "results/cod_hard/metrics.json").code == 0
    outcome = run("results/cod_hard/metrics.json")
    assert outcome.code != 0 and "benchmark.int8_draft needs a C++ compiler" in outcome.text
    assert "Traceback" not in outcome.text and not (tmp_path / "study/results/study.json").exists()


def test_failed_cell_stops_no_other_and_the_report_is_made_of_the_rest(grid):
    (grid / "results/cod_hard/logs/time_arms.log.fail").touch()
    (grid / "results/cod_hard/speculative.jsonl").unlink()
    (grid / "results/cod_hard/metrics.json").unlink()
    for cell in ("cot_easy", "untrained_hard"):
        (grid / f"results/{cell}/metrics.json").unlink()
    outcome = snakemake("--keep-going", folder=grid)
    assert outcome.code != 0
    assert (grid / "results/cot_easy/metrics.json").exists() and (grid / "results/untrained_hard/metrics.json").exists()
    assert not (grid / "results/cod_hard/metrics.json").exists()
    report = ("results/report/report.html", "--forcerun", "report")
    assert snakemake("-n", *report, folder=grid).jobs == {"report": 1}
    made = snakemake(*report, folder=grid)
    assert made.code == 0, made.text
    assert "cod_hard/metrics.json" not in made.text


def test_report_takes_results_as_they_stand_when_only_its_rule_is_allowed(grid):
    stale = ("--config", "train={target: {learning_rate: 5e-4}}")
    outcome = snakemake("-n", *stale, "--allowed-rules", "report", "--", "results/report/report.html", folder=grid)
    assert outcome.code == 0, outcome.text
    assert set(outcome.jobs) <= {"report"}


def test_report_of_nothing_says_what_to_ask_for(tmp_path):
    outcome = snakemake("-n", "--directory", str(tmp_path), "results/report/report.html", folder=ROOT)
    assert outcome.code != 0
    assert "no cell has metrics yet" in outcome.text


def test_another_study_is_refused_in_the_same_folder_and_welcome_in_its_own(grid, tmp_path):
    refused = snakemake("-n", "--configfile", "config/qwen3.yaml", folder=grid)
    assert refused.code != 0 and not refused.jobs
    assert "'default'" in refused.text and "'qwen3'" in refused.text and "--directory" in refused.text
    elsewhere = tmp_path / "elsewhere"
    accepted = snakemake("-n", "--configfile", "config/qwen3.yaml", "--directory", str(elsewhere), folder=grid)
    assert accepted.code == 0, accepted.text


def test_scripts_run_from_another_folder(tmp_path):
    outcome = snakemake("--directory", str(tmp_path), "results/study.json", folder=ROOT)
    assert outcome.code == 0, outcome.text
    assert json.loads((tmp_path / "results/study.json").read_text()) == {"study": "default"}
    assert (tmp_path / "results/logs/record_study.log").exists()
