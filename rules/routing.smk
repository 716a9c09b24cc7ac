"""A draft per domain and a router among them, on demand: needs the base models; makes drafts, matrix, router and page.

`snakemake results/routing/report.html` makes all of it. Domains are those of the section `domains` of the config.
"""


rule write_prompts:
    """Have the target write prompts itself, given the header of the user's turn alone."""
    input:
        model=f"data/models/{config['models']['target']}",
    output:
        prompts="data/domains/{domain}/written.jsonl",
    log:
        "results/logs/write_prompts_{domain}.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        wanted=written_prompts,
        concurrency=config["domains"]["concurrency"],
        dtype=config["models"]["dtype"],
        seed=config["seed"],
        code=code("routing.self_prompt.write", packages=NATIVE),
    script:
        "../scripts/write_prompts.py"


rule split_domain:
    """Split a domain's prompts into train, validation and test, which share no template, module or near repetition."""
    input:
        study=ancient("results/study.json"),
        files=domain_files,
    output:
        train="data/domains/{domain}/train.jsonl",
        validation="data/domains/{domain}/validation.jsonl",
        test="data/domains/{domain}/test.jsonl",
        manifest="data/domains/{domain}/manifest.json",
    log:
        "results/logs/split_domain_{domain}.log",
    params:
        spec=domain_spec,
        seed=config["seed"],
        code=code("questions.domains.split_domain", packages=GRADING),
    script:
        "../scripts/split_domain.py"


rule answer_domain:
    """Answer a domain's training prompts with the untrained target: what its draft has to propose."""
    input:
        questions="data/domains/{domain}/train.jsonl",
        model=f"data/models/{config['models']['target']}",
    output:
        answers="results/domains/{domain}/answers.jsonl",
    log:
        "results/domains/{domain}/logs/answer_domain.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        progress="results/domains/{domain}/progress/answers.jsonl",
        max_tokens=config["domains"]["max_tokens"],
        concurrency=config["domains"]["concurrency"],
        dtype=config["models"]["dtype"],
        code=code("routing.domain_drafts.answer", packages=NATIVE),
    script:
        "../scripts/answer_domain.py"


rule train_domain_draft:
    """Train a domain's draft on the target's answers, or the generic one on a share of the answers of all domains."""
    input:
        answers=draft_answers,
        questions=draft_questions,
        vocabulary=draft_answers,
        model=f"data/models/{config['models']['draft']}",
        target=f"data/models/{config['models']['target']}",
        pair="results/pair.json",
    output:
        adapter=directory("results/domains/{draft}/draft_adapter"),
        loss="results/domains/{draft}/draft_loss.csv",
    log:
        "results/domains/{draft}/logs/train_domain_draft.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        checkpoints="results/domains/{draft}/checkpoints",
        run_name=f"{config['study']}/domains/{{draft}}",
        train=settings.without(config["domains"]["train"], "start"),
        report_to=report_to,
        load_in_4bit=config["train"]["load_in_4bit"],
        dtype=config["models"]["dtype"],
        computing_dtype=config["train"]["computing_dtype"],
        seed=config["seed"],
        code=training_code("routing.domain_drafts.train_draft"),
    script:
        "../scripts/train_domain_draft.py"


rule merge_domain_draft:
    """Merge a domain's draft into a model of its own, which is kept."""
    input:
        model=f"data/models/{config['models']['draft']}",
        adapter="results/domains/{draft}/draft_adapter",
        questions=draft_questions,
    output:
        merged=directory("results/domains/{draft}/best"),
    log:
        "results/domains/{draft}/logs/merge_domain_draft.log",
    threads: ALL_CORES
    params:
        dtype=config["models"]["dtype"],
        code=code("routing.domain_drafts.merge_draft", packages=MERGING),
    script:
        "../scripts/merge_domain_draft.py"


rule collect_matrix:
    """Answer every validation and test prompt with every draft in turns, and with the target alone, timed."""
    input:
        target=f"data/models/{config['models']['target']}",
        drafts=collect("results/domains/{draft}/best", draft=DRAFTS),
        prompts=ROUTED_PROMPTS,
        learnt=collect("data/domains/{domain}/train.jsonl", domain=DOMAINS),
    output:
        matrix="results/routing/matrix.csv",
        hidden="results/routing/hidden.safetensors",
    log:
        "results/logs/collect_matrix.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        progress="results/routing/progress/matrix.jsonl",
        max_tokens=config["domains"]["max_tokens"],
        draft_length=config["domains"]["draft_length"],
        turns=config["domains"]["turns"],
        dtype=config["models"]["dtype"],
        seed=config["seed"],
        code=code("routing.collect.collect", packages=NATIVE),
    script:
        "../scripts/collect_matrix.py"


rule train_routers:
    """Train the routers of the config on the validation prompts, and choose one by cross-validation over groups."""
    input:
        matrix="results/routing/matrix.csv",
        hidden="results/routing/hidden.safetensors",
        prompts=ROUTED_PROMPTS,
        target=f"data/models/{config['models']['target']}",
    output:
        routers=directory("results/routing/router"),
    log:
        "results/logs/train_routers.log",
    params:
        routers=config["domains"]["routers"],
        embedding=sentence_encoder,
        seed=config["seed"],
        code=code("routing.train.train", packages=NATIVE),
    script:
        "../scripts/train_routers.py"


rule score_routers:
    """Score every way to choose a draft on the test prompts in tokens per second, with the controls."""
    input:
        matrix="results/routing/matrix.csv",
        hidden="results/routing/hidden.safetensors",
        prompts=ROUTED_PROMPTS,
        routers="results/routing/router",
    output:
        score="results/routing/score.json",
    log:
        "results/logs/score_routers.log",
    params:
        draft_length=config["domains"]["draft_length"],
        settings=routing_settings,
        code=code("routing.score.score", packages=NATIVE),
    script:
        "../scripts/score_routers.py"


rule routing_page:
    """Write the page on drafts by domain and the ways to choose among them."""
    input:
        score="results/routing/score.json",
    output:
        page=report("results/routing/report.html", category="Routing"),
    log:
        "results/logs/routing_page.log",
    localrule: True
    params:
        code=code(
            "routing.page.write", files=["templates/routing.html.j2", "templates/page.html.j2", "templates/report.css"]
        ),
    script:
        "../scripts/routing_page.py"


# a LoRA adapter of the generic draft, of one rank, trained on a domain's answers
use rule train_domain_draft as train_domain_adapter with:
    input:
        answers=["results/domains/{domain}/answers.jsonl"],
        questions=["data/domains/{domain}/train.jsonl"],
        vocabulary=collect("results/domains/{domain}/answers.jsonl", domain=DOMAINS),
        model="results/domains/generic/best",
        target=f"data/models/{config['models']['target']}",
    output:
        adapter=directory("results/domains/{domain}/rank{rank}/adapter"),
        loss="results/domains/{domain}/rank{rank}/loss.csv",
    log:
        "results/domains/{domain}/logs/train_domain_adapter_{rank}.log",
    params:
        checkpoints="results/domains/{domain}/rank{rank}/checkpoints",
        run_name=f"{config['study']}/domains/{{domain}}/rank{{rank}}",
        train=adapter_training,


rule compare_adapters:
    """Compare adapters of the generic draft with a draft for every domain: size, memory, acceptance and speed."""
    input:
        target=f"data/models/{config['models']['target']}",
        drafts=collect("results/domains/{domain}/best", domain=DOMAINS),
        generic="results/domains/generic/best",
        adapters=collect("results/domains/{domain}/rank{rank}/adapter", domain=DOMAINS, rank=RANKS),
        prompts=collect("data/domains/{domain}/test.jsonl", domain=DOMAINS),
    output:
        score="results/routing/adapters.json",
    log:
        "results/logs/compare_adapters.log",
    threads: ALL_CORES
    resources:
        gpu=1,
    params:
        adapters=adapters_by_rank,
        domains=DOMAINS,
        progress="results/routing/progress/adapters.jsonl",
        max_tokens=config["domains"]["max_tokens"],
        draft_length=config["domains"]["draft_length"],
        turns=config["domains"]["turns"],
        dtype=config["models"]["dtype"],
        settings=adapter_settings,
        code=code("routing.compare_adapters.compare", packages=NATIVE),
    script:
        "../scripts/compare_adapters.py"


rule adapters_page:
    """Write the page on adapters in the place of drafts by domain."""
    input:
        score="results/routing/adapters.json",
    output:
        page=report("results/routing/adapters.html", category="Routing"),
    log:
        "results/logs/adapters_page.log",
    localrule: True
    params:
        code=code(
            "routing.adapters_page.write",
            files=["templates/adapters.html.j2", "templates/page.html.j2", "templates/report.css"],
        ),
    script:
        "../scripts/adapters_page.py"
