"""Questions: needs the config only; makes the questions of every scenario: to train on, to test with, to distil."""


rule record_study:
    """Write the name of the study that the folders belong to into each of them."""
    output:
        results="results/study.json",
        data="data/study.json",
    log:
        "results/logs/record_study.log",
    localrule: True
    params:
        study=config["study"],
    script:
        "../scripts/record_study.py"


rule fetch_questions:
    """Write a scenario's questions, split so that no test question is trained on, and which were left out for that."""
    input:
        study=ancient("results/study.json"),
        files=question_files,
    output:
        train="data/questions/{scenario}/train.jsonl",
        test="data/questions/{scenario}/test.jsonl",
        overlap="data/questions/{scenario}/overlap.jsonl",
        manifest="data/questions/{scenario}/manifest.json",
    log:
        "results/logs/fetch_questions_{scenario}.log",
    params:
        spec=question_spec,
        seed=config["seed"],
        code=code("questions.fetch.fetch", packages=GRADING),
    script:
        "../scripts/fetch_questions.py"


rule fetch_more_questions:
    """Write the questions that the trained target answers for its draft, none of them a test question."""
    input:
        train="data/questions/{scenario}/train.jsonl",
        test="data/questions/{scenario}/test.jsonl",
        files=question_files,
    output:
        questions="data/questions/{scenario}/distill.jsonl",
        manifest="data/questions/{scenario}/distill_manifest.json",
    log:
        "results/logs/fetch_more_questions_{scenario}.log",
    priority: EARLY
    params:
        fewest=fewest_questions,
        spec=question_spec,
        wanted=config["distill"]["questions"],
        seed=config["seed"],
        code=code("questions.fetch.fetch_more", packages=GRADING),
    script:
        "../scripts/fetch_more_questions.py"
