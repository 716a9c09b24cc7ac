"""Traces: needs questions; makes the teacher's chains of thought, their condensed drafts, an audit of both, a price."""


rule estimate_traces:
    """Estimate what a paid teacher would charge for the traces of a type, without a key and without asking it."""
    input:
        questions="data/questions/{scenario}/train.jsonl",
        prompt=teacher_prompt,
        ledgers=ledgers,
    output:
        estimate="data/{type}/{scenario}/estimate.json",
    log:
        "results/logs/estimate_traces_{type}_{scenario}.log",
    params:
        role=teacher_role,
        rule=lookup("types/{type}/condense", within=config, default=None),
        teacher=config["teacher"],
        code=code("traces.estimate.write"),
    script:
        "../scripts/estimate_traces.py"


rule write_cot:
    """Have the teacher write a chain of thought for every training question, and drop those with a wrong answer."""
    input:
        questions="data/questions/{scenario}/train.jsonl",
        prompt=teacher_prompt,
    output:
        traces="data/cot/{scenario}/traces.jsonl",
        dropped="data/cot/{scenario}/dropped.jsonl",
        asked="data/cot/{scenario}/asked.json",
    log:
        "results/logs/write_cot_{scenario}.log",
    params:
        teacher=teacher_traced,
        limits=teacher_limits,
        ledger="data/ledger/cot_{scenario}.jsonl",
        code=code("traces.write.write_cot", packages=GRADING),
    script:
        "../scripts/write_cot.py"


rule summarize_cod:
    """Condense the same verified chains of thought, by the rule of a type or by the teacher; or have it answer the questions itself."""
    input:
        source=trace_source,
        prompt=teacher_prompt,
    output:
        traces="data/{type}/{scenario}/traces.jsonl",
        dropped="data/{type}/{scenario}/dropped.jsonl",
        asked="data/{type}/{scenario}/asked.json",
    log:
        "results/logs/summarize_{type}_{scenario}.log",
    wildcard_constraints:
        type=one_of(CONDENSED),
    params:
        type="{type}",
        by=lookup("types/{type}/by", within=config, default="rule"),
        rule=lookup("types/{type}/condense", within=config),
        teacher=teacher_traced,
        limits=teacher_limits,
        ledger="data/ledger/{type}_{scenario}.jsonl",
        code=code("traces.write.write_condensed", packages=GRADING),
    script:
        "../scripts/summarize_cod.py"


rule audit_traces:
    """Count traces kept and dropped and why, cost, tokens, steps, words per step, and compliance with the rule."""
    input:
        traces="data/{type}/{scenario}/traces.jsonl",
        dropped="data/{type}/{scenario}/dropped.jsonl",
        asked="data/{type}/{scenario}/asked.json",
        questions="data/questions/{scenario}/train.jsonl",
        model=f"data/models/{config['models']['target']}",
    output:
        audit="data/{type}/{scenario}/audit.json",
        figure=report(
            "data/{type}/{scenario}/audit.png",
            caption="../report/audit.rst",
            category="Traces",
            labels={"type": "{type}", "scenario": "{scenario}"},
        ),
    log:
        "results/logs/audit_traces_{type}_{scenario}.log",
    params:
        rule=lookup("types/{type}/condense", within=config, default=None),
        settings=trace_settings,
        code=code("traces.audit.write", packages=GRADING + TOKENIZING + DRAWING),
    script:
        "../scripts/audit_traces.py"
