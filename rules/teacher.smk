"""Traces: needs questions; gives the teacher's chains of thought, their condensed drafts, and an audit of both."""


rule write_cot:
    """Let the teacher write a chain of thought for every training question, and drop those that end in a wrong answer."""
    input:
        questions="data/questions/{scenario}/train.jsonl",
    output:
        traces="data/cot/{scenario}/traces.jsonl",
        dropped="data/cot/{scenario}/dropped.jsonl",
    log:
        "results/logs/write_cot_{scenario}.log",
    params:
        teacher=config["teacher"],
        code=code("traces"),
    script:
        "../scripts/write_cot.py"


rule summarize_cod:
    """Condense the same verified chains of thought by the rule of a type, without another call to the teacher."""
    input:
        traces="data/cot/{scenario}/traces.jsonl",
    output:
        traces="data/{type}/{scenario}/traces.jsonl",
        dropped="data/{type}/{scenario}/dropped.jsonl",
    log:
        "results/logs/summarize_{type}_{scenario}.log",
    wildcard_constraints:
        type=one_of(CONDENSED),
    params:
        type="{type}",
        rule=lookup("types/{type}/condense", within=config),
        code=code("traces"),
    script:
        "../scripts/summarize_cod.py"


rule audit_traces:
    """Count what was kept and dropped and why, tokens, steps, words a step, and the share that keeps the type's rule."""
    input:
        traces="data/{type}/{scenario}/traces.jsonl",
        dropped="data/{type}/{scenario}/dropped.jsonl",
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
        code=code("audit"),
    script:
        "../scripts/audit_traces.py"
