"""The analysis of all trace sets of a study, side by side: what the models are trained on, type against type.

Each set is described alone: lengths, the rule of its type, arithmetic, and repetition. Then each type is paired with
`cot`, question by question, so that a difference in length is one of style and not of questions. Two shares measure
whether the content is the same: equal answer lines, and numbers of the other type that are in the CoT trace too. Sets
that the teacher wrote anew, and not from the CoT traces, have lower ones.

A set is complete, but is a sample of what its teacher writes: shares and ratios have 95 % intervals. Repetition has
none, since it depends on the size of the set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from doubledraft import pages
from doubledraft.files import whole_directory, whole_file, write_json
from doubledraft.grading.extract import extract_strict
from doubledraft.log import log
from doubledraft.provenance import provenance
from doubledraft.records import Trace, read_records
from doubledraft.stats import as_json, mean_interval, ratio_interval, wilson
from doubledraft.traces import figures as trace_figures
from doubledraft.traces.audit import CountTokens, has_equation, token_counter
from doubledraft.traces.draft_rule import Rule, compliance, numbers, steps_of
from doubledraft.traces.near_duplicates import SIMILARITY, near_duplicates, templates

BASE = "cot"  # the type that every other one is paired with
SHOWN = 5  # near-duplicates of a set that the page shows


def write(
    *,
    traces: Sequence[str | Path],
    model: str | Path,
    rules: Mapping[str, Mapping[str, int] | None],
    settings: Mapping[str, object],
    out: str | Path,
    page: str | Path,
    figures: str | Path,
) -> None:
    """Analyse files of traces, tokens counted by the tokenizer of a model folder; write JSON, a page and figures.

    `rules` has the rule of every type, None for a type without one. `settings` has the study's `seed` and what the
    traces depend on, for the provenance.
    """
    analysis = analyze(
        [read_records(path, Trace) for path in traces],
        {type: Rule(**rule) if rule else None for type, rule in rules.items()},
        token_counter(model),
        settings["seed"],
    )
    write_json(out, analysis | {"provenance": provenance(settings)})
    with whole_directory(figures) as folder:
        names = trace_figures.draw(analysis, folder)
    with whole_file(page) as file:
        file.write(render(analysis, [f"{Path(figures).name}/{name}" for name in names]))
    log.info("analysed %d trace sets, %d pairs of types", len(analysis["sets"]), len(analysis["pairs"]))


def analyze(
    sets: Sequence[Sequence[Trace]], rules: Mapping[str, Rule | None], count_tokens: CountTokens, seed: int
) -> dict[str, list[dict]]:
    """Describe trace sets and pair every type with `cot` of its scenario, ready for JSON.

    Return `sets`, one entry per set, scenario by scenario, and `pairs`, one per scenario and other type that has both;
    a pair's `points` are (CoT tokens, other tokens) of each question that both answer.
    """
    scenarios = list(dict.fromkeys(traces[0].scenario for traces in sets))
    sets = sorted(sets, key=lambda traces: scenarios.index(traces[0].scenario))  # types of a scenario side by side
    tokens = [{trace.id: count_tokens(trace.text) for trace in traces} for traces in sets]
    named = {(traces[0].type, traces[0].scenario): index for index, traces in enumerate(sets)}
    pairs = [
        _pair(sets[named[BASE, scenario]], sets[index], tokens[named[BASE, scenario]], tokens[index], seed)
        for (type, scenario), index in named.items()
        if type != BASE and (BASE, scenario) in named
    ]
    described = [_describe(traces, rules[traces[0].type], tokens[index], seed) for index, traces in enumerate(sets)]
    return {"sets": described, "pairs": pairs}


def _describe(traces: Sequence[Trace], rule: Rule | None, tokens: Mapping[str, int], seed: int) -> dict:
    """Describe one set: lengths, its rule, steps with an equation, repetition."""
    forms = [compliance(trace.text, rule) for trace in traces]
    steps = [step for trace in traces for step in steps_of(trace.text)]
    return {
        "type": traces[0].type,
        "scenario": traces[0].scenario,
        "teacher": traces[0].teacher,
        "n": len(traces),
        "tokens": _quantiles(list(tokens.values()), seed),
        "steps": _quantiles([form.steps for form in forms], seed),
        "words_per_step": _quantiles([words for form in forms for words in form.words_per_step], seed),
        "rule": asdict(rule) if rule else None,
        "compliant": as_json(wilson(sum(bool(form.compliant) for form in forms), len(forms))) if rule else None,
        "numeric_density": as_json(wilson(sum(map(has_equation, steps)), len(steps))),
        "repetition": _repetition({trace.id: trace.text for trace in traces}),
    }


def _quantiles(values: Sequence[int], seed: int) -> dict | None:
    """Return the mean with its interval, and the 5, 25, 50, 75 and 95 % quantiles."""
    import numpy as np

    if not values:
        return None
    at = (5, 25, 50, 75, 95)
    quantiles = dict(zip((f"p{share}" for share in at), np.percentile(values, at).tolist(), strict=True))
    return {"mean": as_json(mean_interval(values, seed)), **quantiles, "min": min(values), "max": max(values)}


def _repetition(texts: Mapping[str, str]) -> dict:
    groups = templates(texts)
    pairs = near_duplicates(texts)
    return {
        "similarity": SIMILARITY,
        "near_duplicates": len(pairs),
        "templates": len(groups),
        "largest_template": max(map(len, groups.values())),
        "pairs": [asdict(pair) for pair in pairs],
    }


def _pair(
    base: Sequence[Trace], other: Sequence[Trace], base_tokens: Mapping, other_tokens: Mapping, seed: int
) -> dict:
    """Compare a type with CoT on the questions that both answer."""
    by_id = {trace.id: trace for trace in base}
    pairs = [(by_id[trace.id], trace) for trace in other if trace.id in by_id]
    steps = [[len(steps_of(trace.text)) for trace in pair] for pair in pairs]
    points = [[base_tokens[trace.id], other_tokens[trace.id]] for _, trace in pairs]
    shared = [_shared_numbers(first.text, second.text) for first, second in pairs]
    same = sum(extract_strict(first.text) == extract_strict(second.text) for first, second in pairs)
    return {
        "type": other[0].type,
        "scenario": other[0].scenario,
        "n": len(pairs),
        "only_in_cot": len(base) - len(pairs),
        "only_in_other": len(other) - len(pairs),
        "tokens": _ratio(points, seed),
        "steps": _ratio(steps, seed),
        "shorter": as_json(wilson(sum(second < first for first, second in points), len(points))),
        "same_answer": as_json(wilson(same, len(pairs))),
        "numbers_in_cot": _ratio([(total, common) for common, total in shared], seed),
        "points": points,
    }


def _ratio(pairs: Sequence[Sequence[int]], seed: int) -> dict | None:
    """Return the ratio of totals, second over first, with a paired bootstrap interval over questions."""
    return (
        as_json(ratio_interval([second for _, second in pairs], [first for first, _ in pairs], seed)) if pairs else None
    )


def _shared_numbers(base: str, other: str) -> tuple[int, int]:
    """Count the numbers of `other` whose value `base` has too, and all of them."""
    base_numbers, other_numbers = set(numbers(base)), numbers(other)
    return sum(number in base_numbers for number in other_numbers), len(other_numbers)


def render(analysis: Mapping, figures: Sequence[str]) -> str:
    """Write an analysis as a Markdown page with these figures (paths as seen from the page)."""
    return pages.render("traces.md.j2", {**analysis, "figures": figures, "shown": SHOWN, "base": BASE})
