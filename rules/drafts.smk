"""Recipes of drafts compared, on demand: needs a cell's target and distilled set; makes its leaderboard.

`snakemake results/drafts/cod_hard/leaderboard.html` makes all of it, for the recipes of the section `drafts` of the config.
Each recipe and seed is a job of its own, so a run that stopped continues with what is missing. The merged target and
the draft's start are kept for this: if a temporary file had to be made again, all jobs that use it would run again.
"""


use rule merge_target as merge_compared_target with:
    output:
        merged=directory("results/drafts/{type}_{scenario}/target"),
    log:
        "results/drafts/{type}_{scenario}/logs/merge_compared_target.log",


use rule prune_start as prune_compared_start with:
    input:
        model="results/drafts/{type}_{scenario}/target",
        pruned=f"data/models/{config['models']['draft']}",
    output:
        start=directory("results/drafts/{type}_{scenario}/start"),
    log:
        "results/drafts/{type}_{scenario}/logs/prune_compared_start.log",


rule train_recipe:
    """Train one recipe with one seed, for the minutes that every recipe has."""
    input:
        distilled="results/{type}_{scenario}/distilled.jsonl",
        questions="data/questions/{scenario}/distill.jsonl",
        model=f"data/models/{config['models']['draft']}",
        target="results/drafts/{type}_{scenario}/target",
        start=recipe_start,
        prompt=prompt_file,
        pair="results/pair.json",
    output:
        adapter=directory("results/drafts/{type}_{scenario}/{recipe}/{number}/adapter"),
        loss="results/drafts/{type}_{scenario}/{recipe}/{number}/loss.csv",
    log:
        "results/drafts/{type}_{scenario}/logs/train_recipe_{recipe}_{number}.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        checkpoints="results/drafts/{type}_{scenario}/checkpoints/{recipe}_{number}",
        minutes=config["drafts"]["minutes"],
        learn_from=recipe_answers,
        draft_vocabulary=recipe_vocabulary,
        train=recipe_training,
        load_in_4bit=config["train"]["load_in_4bit"],
        dtype=config["models"]["dtype"],
        computing_dtype=config["train"]["computing_dtype"],
        seed=recipe_seed,
        code=training_code("training.recipes.train_recipe", *GRADING),
    script:
        "../scripts/train_recipe.py"


rule measure_recipe:
    """Answer the test questions with the draft of one recipe and seed, by the native engine."""
    input:
        questions="data/questions/{scenario}/test.jsonl",
        checked="data/questions/{scenario}/train.jsonl",
        distilled="results/{type}_{scenario}/distilled.jsonl",
        target="results/drafts/{type}_{scenario}/target",
        model=f"data/models/{config['models']['draft']}",
        adapter="results/drafts/{type}_{scenario}/{recipe}/{number}/adapter",
        prompt=prompt_file,
    output:
        measured="results/drafts/{type}_{scenario}/{recipe}/{number}/measured.jsonl",
    log:
        "results/drafts/{type}_{scenario}/logs/measure_recipe_{recipe}_{number}.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        dtype=config["models"]["dtype"],
        max_tokens=lookup("types/{type}/max_tokens", within=config),
        draft_length=config["drafts"]["draft_length"],
        timed=config["drafts"]["timed"],
        draft_vocabulary=recipe_vocabulary,
        limit=config["benchmark"]["limit"],
        code=code("evaluation.drafts.measure.measure_recipe", packages=MERGING),
    script:
        "../scripts/measure_recipe.py"


rule compare_drafts:
    """Put all recipes of a cell into one table, figure and page, with the differences that were not found."""
    input:
        adapters=collect("results/drafts/{{type}}_{{scenario}}/{run}/adapter", run=RECIPE_RUNS),
        measured=collect("results/drafts/{{type}}_{{scenario}}/{run}/measured.jsonl", run=RECIPE_RUNS),
    output:
        table="results/drafts/{type}_{scenario}/leaderboard.csv",
        figure="results/drafts/{type}_{scenario}/leaderboard.svg",
        page="results/drafts/{type}_{scenario}/leaderboard.html",
    log:
        "results/drafts/{type}_{scenario}/logs/compare_drafts.log",
    params:
        recipes=list(config["drafts"]["recipes"]),
        cell="{type}_{scenario}",
        draft_length=config["drafts"]["draft_length"],
        minutes=config["drafts"]["minutes"],
        seed=config["seed"],
        code=code(
            "evaluation.drafts.leaderboard.compare",
            files=["templates/leaderboard.html.j2", "templates/page.html.j2", "templates/report.css"],
            packages=DRAWING,
        ),
    script:
        "../scripts/compare_drafts.py"
