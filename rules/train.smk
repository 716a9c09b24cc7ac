"""Training: needs traces and base models; makes the two adapters of a cell, the distilled set, and merged models."""


rule train_target:
    """Train the target's adapter on a type's traces."""
    input:
        traces="data/{type}/{scenario}/traces.jsonl",
        model=f"data/models/{config['models']['target']}",
        prompt=prompt_file,
    output:
        adapter=directory("results/{type}_{scenario}/target_adapter"),
        loss="results/{type}_{scenario}/target_loss.csv",
    log:
        "results/{type}_{scenario}/logs/train_target.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        checkpoints="results/{type}_{scenario}/checkpoints/target",
        run_name=f"{config['study']}/{{type}}_{{scenario}}/target",
        train=config["train"]["target"],
        report_to=report_to,
        load_in_4bit=config["train"]["load_in_4bit"],
        dtype=config["models"]["dtype"],
        computing_dtype=config["train"]["computing_dtype"],
        seed=config["seed"],
        code=training_code("training.finetune.train_target"),
    script:
        "../scripts/train_target.py"


rule distill:
    """Answer the draft's questions with the trained target, and keep the answers that finish."""
    input:
        questions="data/questions/{scenario}/distill.jsonl",
        model="results/{type}_{scenario}/distill_merged",
        prompt=prompt_file,
    output:
        distilled="results/{type}_{scenario}/distilled.jsonl",
        run="results/{type}_{scenario}/distilled_run.json",
    log:
        "results/{type}_{scenario}/logs/distill.log",
    threads: ALL_CORES
    resources:
        gpu=config["engine"]["tensor_parallel"],
    params:
        progress="results/{type}_{scenario}/progress/distill.jsonl",
        concurrency=config["distill"]["concurrency"],
        max_tokens=lookup("types/{type}/max_tokens", within=config),
        temperature=config["benchmark"]["temperature"],
        keep=config["distill"]["keep"],
        min_yield=config["distill"]["min_yield"],
        computing_dtype=config["train"]["computing_dtype"],
        shared=SHARED,
        code=code("training.distill.run", "inference.vllm_engine", packages=VLLM + GRADING),
    script:
        "../scripts/distill.py"


rule train_draft:
    """Train the draft's adapter on the trained target's own answers."""
    input:
        distilled="results/{type}_{scenario}/distilled.jsonl",
        questions="data/questions/{scenario}/distill.jsonl",
        model=f"data/models/{config['models']['draft']}",
        target="results/{type}_{scenario}/teacher_merged",
        start=draft_start,
        prompt=prompt_file,
        pair="results/pair.json",
    output:
        adapter=directory("results/{type}_{scenario}/draft_adapter"),
        loss="results/{type}_{scenario}/draft_loss.csv",
    log:
        "results/{type}_{scenario}/logs/train_draft.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        checkpoints="results/{type}_{scenario}/checkpoints/draft",
        run_name=f"{config['study']}/{{type}}_{{scenario}}/draft",
        train=settings.without(config["train"]["draft"], "start"),
        report_to=report_to,
        load_in_4bit=config["train"]["load_in_4bit"],
        dtype=config["models"]["dtype"],
        computing_dtype=config["train"]["computing_dtype"],
        seed=config["seed"],
        draft_vocabulary=config["benchmark"]["draft_vocabulary"],
        code=training_code("training.finetune.train_draft"),
    script:
        "../scripts/train_draft.py"


rule prune_start:
    """Cut the draft's first weights from the trained target, with the layers that its base model has."""
    input:
        model="results/{type}_{scenario}/teacher_merged",
        pruned=f"data/models/{config['models']['draft']}",
    output:
        start=temp(directory("results/{type}_{scenario}/draft_start")),
    log:
        "results/{type}_{scenario}/logs/prune_start.log",
    params:
        code=code("models.prune.prune_like"),
    script:
        "../scripts/prune_start.py"


rule merge_target:
    """Merge the target's adapter into its base model: for distilling, for training the draft, and for measuring."""
    input:
        model=f"data/models/{config['models']['target']}",
        adapter="results/{type}_{scenario}/target_adapter",
        questions="data/questions/{scenario}/train.jsonl",
        prompt=prompt_file,
    output:
        # A temporary copy for each use rather than one for all: Snakemake reruns every user of a temporary file that it
        # has to make again, so with one copy a new draft length would distil and train the draft again.
        merged=temp(directory("results/{type}_{scenario}/{use}_merged")),
    log:
        "results/{type}_{scenario}/logs/merge_{use}.log",
    wildcard_constraints:
        use="target|distill|teacher",
    threads: ALL_CORES
    params:
        dtype=config["models"]["dtype"],
        code=code("models.merge.merge_from_files", packages=MERGING),
    script:
        "../scripts/merge_target.py"


use rule merge_target as merge_draft with:
    input:
        model=f"data/models/{config['models']['draft']}",
        adapter="results/{type}_{scenario}/draft_adapter",
        questions="data/questions/{scenario}/train.jsonl",
        prompt=prompt_file,
    output:
        merged=temp(directory("results/{type}_{scenario}/draft_merged")),
    log:
        "results/{type}_{scenario}/logs/merge_draft.log",


rule draw_loss:
    """Draw the loss of a training: a rule of its own, so that a change of the drawing trains nothing again."""
    input:
        loss="results/{type}_{scenario}/{role}_loss.csv",
    output:
        figure=report(
            "results/{type}_{scenario}/{role}_loss.png",
            caption="../report/loss.rst",
            category="Training",
            labels={"type": "{type}", "scenario": "{scenario}", "model": "{role}"},
        ),
    log:
        "results/{type}_{scenario}/logs/draw_loss_{role}.log",
    wildcard_constraints:
        role="target|draft",
    params:
        code=code("training.loss_figure.loss_figure", packages=DRAWING),
    script:
        "../scripts/draw_loss.py"
