"""The analysis over trace sets: lengths, pairs of types, repetition, page, figures."""

import json
import random
import time
from dataclasses import replace

import pytest

from doubledraft.provenance import config_hash
from doubledraft.records import Trace
from doubledraft.traces import analyze as trace_analysis
from doubledraft.traces import figures
from doubledraft.traces.draft_rule import Rule
from doubledraft.traces.near_duplicates import near_duplicates, templates

RULE = Rule(min_steps=2, max_steps=3, max_words=5)
WORDS = [f"word{index}" for index in range(500)]


def trace(number: int, type: str = "cot", scenario: str = "easy", text: str | None = None) -> Trace:
    total = 5 * number
    long = (
        f"Each of the {number} bags holds 5 apples, so {number} * 5 = {total}.\nTake away 1, {total} - 1 = {total - 1}."
    )
    short = f"{number} * 5 = {total}\n{total} - 1 = {total - 1}"
    body = text or (long if type == "cot" else short)
    return Trace(
        id=f"q{number}",
        scenario=scenario,
        type=type,
        question="?",
        answer="1",
        text=f"{body}\n#### {5 * number - 1}",
        teacher="oracle",
    )


def words(text: str) -> int:
    return len(text.split())


def analyze(*sets: list[Trace]) -> dict:
    return trace_analysis.analyze(sets, {"cot": None, "cod": RULE, "terse": RULE}, words, seed=1)


def random_text(chance: random.Random, length: int = 60) -> str:
    return " ".join(chance.choice(WORDS) for _ in range(length))


def test_types_are_paired_by_question_and_only_on_questions_that_both_have():
    found = analyze([trace(n) for n in range(1, 9)], [trace(n, "cod") for n in range(3, 12)])
    (pair,) = found["pairs"]
    assert (pair["n"], pair["only_in_cot"], pair["only_in_other"]) == (6, 2, 3)
    ratio = sum(words(trace(n, "cod").text) for n in range(3, 9)) / sum(words(trace(n).text) for n in range(3, 9))
    assert pair["tokens"]["value"] == pytest.approx(ratio)
    assert pair["tokens"]["low"] <= ratio <= pair["tokens"]["high"]
    assert pair["shorter"]["value"] == 1 and pair["steps"]["value"] == 1
    assert pair["points"][0] == [words(trace(3).text), words(trace(3, "cod").text)]


def test_traces_written_anew_are_told_from_condensed_ones():
    base = [trace(n) for n in range(1, 9)]
    condensed = analyze(base, [trace(n, "cod") for n in range(1, 9)])["pairs"][0]
    anew = analyze(base, [trace(n, "cod", text="77 + 88 = 165") for n in range(1, 9)])["pairs"][0]
    assert condensed["numbers_in_cot"]["value"] == 1 > anew["numbers_in_cot"]["value"]
    wrong = analyze(base, [trace(n + 1, "cod") for n in range(1, 8)])["pairs"][0]
    assert wrong["same_answer"]["value"] == 1


def test_form_is_measured_by_the_rule_of_the_type_and_arithmetic_by_its_equations():
    wordy = trace(1, "cod", text="It is one of the very long lines\n2 * 3 = 6")
    cot, cod = analyze([trace(1)], [wordy, trace(2, "cod")])["sets"]
    assert cot["compliant"] is None and cod["compliant"]["value"] == 0.5
    assert cod["numeric_density"] == pytest.approx(
        {"value": 0.75, "n": 4} | {k: cod["numeric_density"][k] for k in ("low", "high")}
    )
    assert cod["tokens"]["min"] <= cod["tokens"]["p5"] <= cod["tokens"]["p50"] <= cod["tokens"]["max"]


def test_sets_of_a_scenario_stand_together_and_a_type_without_cot_is_not_paired():
    found = analyze([trace(1)], [trace(1, scenario="hard")], [trace(1, "cod")], [trace(1, "cod", "other")])
    assert [(entry["scenario"], entry["type"]) for entry in found["sets"]] == [
        ("easy", "cot"), ("easy", "cod"), ("hard", "cot"), ("other", "cod"),
    ]  # fmt: skip
    assert [(pair["scenario"], pair["type"]) for pair in found["pairs"]] == [("easy", "cod")]


def test_near_duplicates_are_found_with_what_they_repeat_and_others_are_not():
    chance = random.Random(1)
    texts = {f"t{index}": random_text(chance) for index in range(300)}
    texts["copy"] = texts["t7"]
    texts["edited"] = texts["t9"].replace(texts["t9"].split()[30], "another", 1)
    texts["half"] = " ".join(texts["t11"].split()[:30]) + " " + random_text(chance, 30)
    found = {pair.id: pair for pair in near_duplicates(texts)}
    assert set(found) == {"copy", "edited"}
    assert (found["copy"].of, found["copy"].similarity) == ("t7", 1)
    assert found["edited"].of == "t9" and 0.8 <= found["edited"].similarity < 1


def test_a_text_said_a_thousand_times_is_listed_once_a_time_and_costs_linear_time():
    texts = {f"t{index}": "the same words in every one of these many texts" for index in range(1000)}
    start = time.process_time()
    pairs = near_duplicates(texts)
    assert len(pairs) == 999 and {pair.of for pair in pairs} == {"t0"}
    assert time.process_time() - start < 20


def test_short_and_empty_texts_are_compared_too():
    assert [pair.id for pair in near_duplicates({"a": "5", "b": "5", "c": "", "d": "6"})] == ["b"]


def test_numbers_of_a_pair_are_compared_by_value():
    cot, cod = trace(1, text="1,200 / 2 = 600"), trace(1, "cod", text="1200 / 2 = 600.0")
    assert analyze([cot], [cod])["pairs"][0]["numbers_in_cot"]["value"] == 1


def test_templates_are_texts_that_differ_in_numbers_only():
    groups = templates(
        {"a": "3 * 5 = 15 apples", "b": "4 * 5.5 = 22 apples", "c": "3 * 5 = 15 pears", "d": "1,200 apples"}
    )
    assert list(groups.values()) == [["a", "b"], ["c"], ["d"]]


def test_page_and_figures_say_what_was_found(tmp_path):
    sets = [
        [trace(n, type, scenario) for n in range(1, 13)] for scenario in ("easy", "hard") for type in ("cot", "cod")
    ]
    sets[0].append(replace(trace(1), id="copy"))
    found = analyze(*sets)
    names = figures.draw(found, tmp_path)
    assert names == ["lengths.png", "compliance.png", "numeric_density.png", "cod_against_cot.png", "repetition.png"]
    assert all((tmp_path / name).stat().st_size > 5000 for name in names)
    page = trace_analysis.render(found, names)
    assert "| cod hard | oracle | 12 |" in page and "| cot easy | oracle | 13 |" in page
    assert "![lengths.png](lengths.png)" in page
    assert "copy repeats q1 (1.00)." in page and "{{" not in page
    json.dumps(found, allow_nan=False)


def test_one_set_without_a_rule_is_analysed_alone(tmp_path):
    found = analyze([trace(1)])
    assert figures.draw(found, tmp_path) == ["lengths.png", "numeric_density.png", "repetition.png"]
    page = trace_analysis.render(found, [])
    assert "Against cot" not in page and page.rstrip().endswith("None.")


def test_files_are_read_tokens_counted_by_the_models_tokenizer_and_results_written(tmp_path, tiny_model):
    from transformers import AutoTokenizer

    from doubledraft.records import write_records

    sets = {"cot": [trace(n) for n in (1, 2)], "cod": [trace(n, "cod") for n in (1, 2)]}
    for type, traces in sets.items():
        write_records(tmp_path / f"{type}.jsonl", traces)
    trace_analysis.write(
        traces=[tmp_path / f"{type}.jsonl" for type in sets],
        model=tiny_model,
        rules={"cot": None, "cod": {"min_steps": 2, "max_steps": 3, "max_words": 5}},
        settings={"seed": 1, "traces": []},
        out=tmp_path / "analysis.json",
        page=tmp_path / "analysis.md",
        figures=tmp_path / "figures",
    )
    found = json.loads((tmp_path / "analysis.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(str(tiny_model))
    lengths = [len(tokenizer.encode(trace.text, add_special_tokens=False)) for trace in sets["cot"]]
    assert found["sets"][0]["tokens"]["mean"]["value"] == sum(lengths) / 2
    assert found["provenance"]["doubledraft"]
    assert found["provenance"]["config_hash"] == config_hash({"traces": [], "seed": 1})
    assert "(figures/lengths.png)" in (tmp_path / "analysis.md").read_text()
    assert (tmp_path / "figures/lengths.png").exists()
