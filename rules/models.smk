"""Base models: needs the config only; makes Hugging Face folders with a manifest, and a check that the pair fits.

Their priority puts them before any training, so that a pair that does not fit stops the study at once. The check is no
input of the target's training, which does not depend on the draft.
"""


rule fetch_model:
    """Fetch a base model as safetensors, checked against its digest or pinned revision."""
    input:
        study=ancient("results/study.json"),
        files=model_files,
    output:
        model=directory("data/models/{model}"),
    log:
        "results/logs/fetch_model_{model}.log",
    wildcard_constraints:
        model=one_of(FETCHED),
    priority: EARLY
    params:
        spec=model_spec,
        dtype=config["models"]["dtype"],
        code=code("models.fetch.fetch"),
    script:
        "../scripts/fetch_model.py"


rule prune_model:
    """Cut a draft from a larger model by keeping some of its layers, or the best of a few choices of them."""
    input:
        model=parent_model,
        questions=questions_to_choose_layers,
    output:
        model=directory("data/models/{model}"),
    log:
        "results/logs/prune_model_{model}.log",
    wildcard_constraints:
        model=one_of(PRUNED),
    priority: EARLY
    params:
        layers=lookup("models/sources/{model}/layers", within=config),
        code=code("models.prune.prune"),
    script:
        "../scripts/prune_model.py"


rule check_pair:
    """Refuse a draft whose tokenizer or vocabulary size is not the target's, and models that the engine cannot run."""
    input:
        target=f"data/models/{config['models']['target']}",
        draft=f"data/models/{config['models']['draft']}",
    output:
        pair="results/pair.json",
    log:
        "results/logs/check_pair.log",
    priority: EARLY
    params:
        max_model_len=config["benchmark"]["max_model_len"],
        native=config["benchmark"]["engine"] == "native" or config["train"]["draft"]["held_out"] > 0,  # it chooses the draft
        code=code("models.check_pair.write_pair_check", packages=TOKENIZING),
    script:
        "../scripts/check_pair.py"
