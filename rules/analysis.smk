"""The analysis of the traces: needs every trace set and the target's tokenizer; makes a page, its numbers and figures."""


rule analyze_traces:
    """Compare the trace sets of all types and scenarios: lengths, form, type against type, and repetition."""
    input:
        traces=collect("data/{type}/{scenario}/traces.jsonl", type=TYPES, scenario=SCENARIOS),
        model=f"data/models/{config['models']['target']}",
    output:
        analysis="results/analysis/analysis.json",
        page="results/analysis/analysis.md",
        figures=report(
            directory("results/analysis/figures"),
            patterns=["{name}.png"],
            caption="../report/analysis.rst",
            category="Traces",
            labels={"type": "all", "scenario": "all", "figure": "{name}"},
        ),
    log:
        "results/logs/analyze_traces.log",
    params:
        rules={type: config["types"][type].get("condense") for type in TYPES},
        settings={
            "seed": config["seed"],
            "traces": [
                settings.trace_settings(config, type, scenario, PROMPTS) for type in TYPES for scenario in SCENARIOS
            ],
        },
        code=code("traces.analyze.write", files=["templates/traces.md.j2"], packages=TOKENIZING + DRAWING),
    script:
        "../scripts/analyze_traces.py"
