"""What drafts are worth: on the targets' own answers, without an engine; and, on demand, at several loads.

Adapters are merged in memory rather than taken from merged folders: those are temporary, and Snakemake would time a cell
again whenever it had to make them again.
"""


rule audit_draft:
    """Let target and draft read the target's answers, and replay speculation along them for every draft length."""
    input:
        questions="data/questions/{scenario}/test.jsonl",
        generations="results/{type}_{scenario}/speculative.jsonl",
        run="results/{type}_{scenario}/speculative_run.json",
        prompt=prompt_file,
        target=f"data/models/{config['models']['target']}",
        target_adapter="results/{type}_{scenario}/target_adapter",
        draft=f"data/models/{config['models']['draft']}",
        draft_adapter="results/{type}_{scenario}/draft_adapter",
        vocabulary=vocabulary_answers,
    output:
        audit="results/{type}_{scenario}/draft_audit.json",
        answers="results/{type}_{scenario}/draft_audit.jsonl",
    log:
        "results/{type}_{scenario}/logs/audit_draft.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        rule=lookup("types/{type}/condense", within=config, default=None),
        max_tokens=lookup("types/{type}/max_tokens", within=config),
        dtype=config["models"]["dtype"],
        settings=cell_settings,
        code=code("evaluation.audit.draft_audit.audit", packages=MERGING + GRADING),
    script:
        "../scripts/audit_draft.py"


rule cross_acceptance:
    """Let every draft of the study, and the one before training, read the answers of one target."""
    input:
        questions="data/questions/{scenario}/test.jsonl",
        generations="results/{type}_{scenario}/speculative.jsonl",
        run="results/{type}_{scenario}/speculative_run.json",
        prompt=prompt_file,
        target=f"data/models/{config['models']['target']}",
        target_adapter="results/{type}_{scenario}/target_adapter",
        draft=f"data/models/{config['models']['draft']}",
        adapters=collect("results/{cell}/draft_adapter", cell=TRAINED),
    output:
        row="results/{type}_{scenario}/acceptance_row.json",
    log:
        "results/{type}_{scenario}/logs/cross_acceptance.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        cell="{type}_{scenario}",
        cells=TRAINED,
        dtype=config["models"]["dtype"],
        settings=cell_settings,
        code=code("evaluation.audit.matrix.write_row", packages=MERGING),
    script:
        "../scripts/cross_acceptance.py"


rule acceptance_matrix:
    """Put every target with every draft into one table, and draw it."""
    input:
        rows=collect("results/{cell}/acceptance_row.json", cell=TRAINED),
    output:
        table="results/analysis/acceptance_matrix.csv",
        figure=report(
            "results/analysis/acceptance_matrix.png",
            caption="../report/matrix.rst",
            category="Report",
        ),
    log:
        "results/logs/acceptance_matrix.log",
    params:
        code=code("evaluation.audit.matrix.write_matrix", packages=DRAWING),
    script:
        "../scripts/acceptance_matrix.py"


rule load_grid:
    """Time draft lengths at several numbers of requests in flight, in turns, beside the cost model; on demand."""
    input:
        questions="data/questions/{scenario}/test.jsonl",
        model="results/{type}_{scenario}/target_merged",
        draft="results/{type}_{scenario}/draft_merged",
        vocabulary=vocabulary_answers,
        prompt=prompt_file,
    output:
        grid="results/{type}_{scenario}/load_grid.json",
        figure=report(
            "results/{type}_{scenario}/load_grid.png",
            caption="../report/load_grid.rst",
            category="Benchmark",
            labels={"type": "{type}", "scenario": "{scenario}"},
        ),
    log:
        "results/{type}_{scenario}/logs/load_grid.log",
    threads: ALL_CORES
    resources:
        gpu=config["engine"]["tensor_parallel"],
    params:
        grid=config["load_grid"],
        residency=config["benchmark"]["residency"],
        drafting=settings.native_drafting(config),
        max_tokens=lookup("types/{type}/max_tokens", within=config),
        engine=config["benchmark"]["engine"],
        shared=SHARED,
        code=code("evaluation.load.grid.run", ENGINE_MODULE, *CLOCK_MODULES, packages=ENGINE + DRAWING),
    script:
        "../scripts/load_grid.py"


rule served_load:
    """Send requests to vLLM's own server at stated rates, without and with the draft; on demand."""
    input:
        questions="data/questions/{scenario}/test.jsonl",
        model="results/{type}_{scenario}/target_merged",
        draft="results/{type}_{scenario}/draft_merged",
        prompt=prompt_file,
    output:
        served="results/{type}_{scenario}/served_load.json",
        figure=report(
            "results/{type}_{scenario}/served_load.png",
            caption="../report/served_load.rst",
            category="Benchmark",
            labels={"type": "{type}", "scenario": "{scenario}"},
        ),
    log:
        "results/{type}_{scenario}/logs/served_load.log",
    threads: ALL_CORES
    resources:
        gpu=config["engine"]["tensor_parallel"],
    params:
        served=config["served_load"],
        limit=config["benchmark"]["limit"],
        max_tokens=lookup("types/{type}/max_tokens", within=config),
        shared=SHARED,
        code=code("evaluation.load.served.run", packages=VLLM + DRAWING),
    script:
        "../scripts/served_load.py"
