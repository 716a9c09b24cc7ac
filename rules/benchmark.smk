"""Measuring: needs merged models and test questions; makes raw generations and the metrics of every cell."""


rule time_arms:
    """Answer the test questions with the target alone and with the draft in turns, block by block, timed."""
    input:
        questions="data/questions/{scenario}/test.jsonl",
        model="results/{type}_{scenario}/target_merged",
        draft=draft_model,
        vocabulary=vocabulary_answers,
        prompt=prompt_file,
    output:
        generations=collect("results/{{type}}_{{scenario}}/{arm}.jsonl", arm=ARMS),
        runs=collect("results/{{type}}_{{scenario}}/{arm}_run.json", arm=ARMS),
        timing="results/{type}_{scenario}/timing.json",
    log:
        "results/{type}_{scenario}/logs/time_arms.log",
    threads: ALL_CORES
    resources:
        gpu=config["engine"]["tensor_parallel"],
    params:
        drafting=DRAFTING,
        sampling=SAMPLING,
        blocks=config["benchmark"]["blocks"],
        retimes=config["benchmark"]["retimes"],
        residency=config["benchmark"]["residency"],
        limit=config["benchmark"]["limit"],
        concurrency=config["benchmark"]["concurrency"],
        warmup=config["benchmark"]["warmup"],
        max_tokens=lookup("types/{type}/max_tokens", within=config),
        engine=config["benchmark"]["engine"],
        shared=SHARED,
        code=code("evaluation.time_arms.run", ENGINE_MODULE, *CLOCK_MODULES, packages=ENGINE),
    script:
        "../scripts/time_arms.py"


# Drafts that others trained for the target, on demand: as a cell's own draft, each beside the target alone.
use rule time_arms as time_other_draft with:
    input:
        questions="data/questions/{scenario}/test.jsonl",
        model="results/{type}_{scenario}/target_merged",
        draft=other_draft,
        vocabulary=[],
        prompt=prompt_file,
    output:
        generations=collect(
            "results/{{type}}_{{scenario}}/other_drafts/{{other}}/{arm}.jsonl", arm=["baseline", "speculative"]
        ),
        runs=collect(
            "results/{{type}}_{{scenario}}/other_drafts/{{other}}/{arm}_run.json", arm=["baseline", "speculative"]
        ),
        timing="results/{type}_{scenario}/other_drafts/{other}/timing.json",
    log:
        "results/{type}_{scenario}/logs/time_other_draft_{other}.log",
    params:
        drafting=other_drafting,


rule generate_untrained:
    """Answer the test questions with the base target and few-shot examples of the type, with enough tokens to finish."""
    input:
        questions="data/questions/{scenario}/test.jsonl",
        model=f"data/models/{config['models']['target']}",
        prompt=prompt_file,
    output:
        generations="results/untrained_{scenario}/{type}{thinking}.jsonl",
        run="results/untrained_{scenario}/{type}{thinking}_run.json",
    log:
        "results/untrained_{scenario}/logs/generate_untrained_{type}{thinking}.log",
    threads: ALL_CORES
    resources:
        gpu=config["engine"]["tensor_parallel"],
    params:
        limit=config["benchmark"]["limit"],
        concurrency=config["untrained"]["concurrency"],
        max_tokens=config["untrained"]["max_tokens"],
        thinking=thinking_switch,
        shared=SHARED,
        code=code("inference.generate.run", "inference.vllm_engine", packages=VLLM),
    script:
        "../scripts/generate_untrained.py"


rule cross_check:
    """Compare three engines on the trained pair of a cell, in float32; on demand. It fails where they do not agree."""
    input:
        questions="data/questions/{scenario}/test.jsonl",
        model="results/{type}_{scenario}/target_merged",
        draft="results/{type}_{scenario}/draft_merged",
        prompt=prompt_file,
    output:
        check="results/{type}_{scenario}/cross_check.json",
    log:
        "results/{type}_{scenario}/logs/cross_check.log",
    threads: ALL_CORES
    resources:
        gpu=config["engine"]["tensor_parallel"],
    params:
        draft_length=config["benchmark"]["draft_length"],
        limit=config["cross_check"]["limit"],
        max_tokens=lookup("types/{type}/max_tokens", within=config),
        shared=SHARED | {"dtype": "float32"},
        settings=cell_settings,
        code=code("evaluation.cross_check.run", "inference.native_engine", "inference.vllm_engine", packages=VLLM),
    script:
        "../scripts/cross_check.py"


rule view_cell:
    """Record token by token what a cell decoded, and make the page that shows it."""
    input:
        questions="data/questions/{scenario}/test.jsonl",
        generations=collect("results/{{type}}_{{scenario}}/{arm}.jsonl", arm=ARMS),
        runs=collect("results/{{type}}_{{scenario}}/{arm}_run.json", arm=ARMS),
        model=f"data/models/{config['models']['target']}",
        audit=audited_answers,
    output:
        records="results/{type}_{scenario}/decoding.jsonl",
        page=report(
            "results/{type}_{scenario}/viewer.html",
            caption="../report/viewer.rst",
            category="Benchmark",
            labels={"type": "{type}", "scenario": "{scenario}"},
        ),
    log:
        "results/{type}_{scenario}/logs/view_cell.log",
    params:
        cell="{type}_{scenario}",
        code=code(
            "report.viewer.write_cell",
            files=["templates/viewer.*", "templates/tokens.*"],
            packages=TOKENIZING,
        ),
    script:
        "../scripts/view_cell.py"


rule score:
    """Grade the runs of a cell and compute its metrics, each with its interval."""
    input:
        questions="data/questions/{scenario}/test.jsonl",
        manifest="data/questions/{scenario}/manifest.json",
        generations=collect("results/{{type}}_{{scenario}}/{arm}.jsonl", arm=ARMS),
        runs=collect("results/{{type}}_{{scenario}}/{arm}_run.json", arm=ARMS),
        timing="results/{type}_{scenario}/timing.json",
        audit=draft_audit,
    output:
        metrics="results/{type}_{scenario}/metrics.json",
        samples="results/{type}_{scenario}/samples.csv",
        comparison=report(
            "results/{type}_{scenario}/comparison.txt",
            caption="../report/comparison.rst",
            category="Benchmark",
            labels={"type": "{type}", "scenario": "{scenario}"},
        ),
    log:
        "results/{type}_{scenario}/logs/score.log",
    params:
        report_to=report_to,
        run_name=f"{config['study']}/{{type}}_{{scenario}}/benchmark",
        rule=lookup("types/{type}/condense", within=config, default=None),
        limit=config["benchmark"]["limit"],
        samples=config["benchmark"]["samples"],
        settings=cell_settings,
        code=code("evaluation.score.score_cell", packages=GRADING),
    script:
        "../scripts/score.py"


use rule score as score_other_draft with:
    input:
        questions="data/questions/{scenario}/test.jsonl",
        manifest="data/questions/{scenario}/manifest.json",
        generations=rules.time_other_draft.output.generations,
        runs=rules.time_other_draft.output.runs,
        timing=rules.time_other_draft.output.timing,
        audit=[],
    output:
        metrics="results/{type}_{scenario}/other_drafts/{other}/metrics.json",
        samples="results/{type}_{scenario}/other_drafts/{other}/samples.csv",
        comparison="results/{type}_{scenario}/other_drafts/{other}/comparison.txt",
    log:
        "results/{type}_{scenario}/logs/score_other_draft_{other}.log",
    params:
        run_name=f"{config['study']}/{{type}}_{{scenario}}/{{other}}",
        settings=other_draft_settings,


rule score_untrained:
    """Grade the base target's answers and compute its metrics, for each type and thinking mode."""
    input:
        questions="data/questions/{scenario}/test.jsonl",
        manifest="data/questions/{scenario}/manifest.json",
        generations=collect("results/untrained_{{scenario}}/{asked}.jsonl", asked=ASKED),
        runs=collect("results/untrained_{{scenario}}/{asked}_run.json", asked=ASKED),
    output:
        metrics="results/untrained_{scenario}/metrics.json",
        samples="results/untrained_{scenario}/samples.csv",
        comparison=report(
            "results/untrained_{scenario}/comparison.txt",
            caption="../report/comparison.rst",
            category="Benchmark",
            labels={"type": "untrained", "scenario": "{scenario}"},
        ),
    log:
        "results/untrained_{scenario}/logs/score_untrained.log",
    params:
        rules={asked: config["types"][type].get("condense") for asked, type in ASKED.items()},
        limit=config["benchmark"]["limit"],
        settings=cell_settings,
        code=code("evaluation.score.score_untrained", packages=GRADING),
    script:
        "../scripts/score_untrained.py"
