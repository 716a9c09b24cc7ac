"""The report builds from what exists, says what is missing, and shows text as text.

All metrics here are made up (tests/helpers/made_up.py).
"""

import csv
import json
import re
from dataclasses import asdict, fields
from functools import reduce
from html.parser import HTMLParser
from operator import getitem
from pathlib import Path

import pytest

from doubledraft.evaluation import score
from doubledraft.evaluation.runs import SAME_IN_JOB
from doubledraft.files import write_json
from doubledraft.provenance import config_hash
from doubledraft.records import Generation, Question, write_records
from doubledraft.report import build as report
from doubledraft.report import comparisons, images, tables
from doubledraft.report.tables import ReportError
from doubledraft.summaries import json_file
from doubledraft.summaries.cell_metrics import AttemptMetrics
from doubledraft.summaries.provenance import recorded
from doubledraft.summaries.run_file import PassBytes, RunFile, StepSeconds
from tests.helpers import made_up
from tests.helpers.build_report import build

HOSTILE = "</script><img src=x onerror=alert(1)>|`[a](http://evil.example)"


class Page(HTMLParser):
    """Tags with attributes, and text, of an HTML page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


ATTEMPT = [field.name for field in fields(AttemptMetrics)]


def read_table(out: Path) -> dict[tuple[str, str], dict[str, str]]:
    with open(out / "table.csv", encoding="utf-8", newline="") as file:
        return {(row["cell"], row["type"]): row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    return build(folder, made_up.write_grid(folder), drawn=True)


def test_all_cells_are_in_the_table_and_on_both_pages(whole):
    assert len(read_table(whole)) == 6 + 3 * 2, "a row a trained cell, and one a prompt of an untrained cell"
    for page in (Page(whole / "report.html").text, (whole / "report.md").read_text()):
        assert all(cell in page for cell in made_up.EXPECTED)
        assert "Missing:" not in page
    assert {path.name for path in (whole / "figures").iterdir()} == set(images.CAPTIONS)


def test_what_a_paid_teacher_cost_is_on_both_pages_and_nothing_where_none_was_paid(tmp_path):
    nothing = {"input_tokens": 0, "output_tokens": 0, "usd": 0.0, "usd_set_aside": 0.0, "usd_per_kept": None}
    rounds = [{"asked": 40, "kept": 30, "reasons": {}}, {"asked": 10, "kept": 5, "reasons": {}}]
    paid = {"input_tokens": 1234, "output_tokens": 5678, "usd": 0.7, "usd_set_aside": 0.0, "usd_per_kept": 0.02}
    asked = {"cot": nothing | {"rounds": []}, "cod": paid | {"rounds": rounds}}
    paths = [tmp_path / type / "easy" / "asked.json" for type in asked]
    for path, entry in zip(paths, asked.values(), strict=True):
        write_json(path, entry)
    out = build(tmp_path, made_up.write_grid(tmp_path, ["cod_easy"]), asked=paths)
    row = "| cod easy | 35 | 50 | 1234 + 5678 | 0.7000 | 0.020000 | 0.0000 |"
    markdown = (out / "report.md").read_text()
    assert row in markdown and "cot easy" not in markdown
    assert all(text in Page(out / "report.html").text for text in ("cod easy", "1234 + 5678", "0.020000"))
    assert "traces cost" not in (build(tmp_path, made_up.write_grid(tmp_path, ["cod_easy"])) / "report.md").read_text()


def test_metrics_of_other_settings_are_named_and_not_shown(tmp_path):
    old = made_up.trained("cod", "hard") | {"provenance": made_up.provenance(config_hash="before")}
    paths = [*made_up.write_grid(tmp_path, ["cot_hard"]), made_up.write_cell(tmp_path, old)]
    out = build(tmp_path, paths)
    with open(out / "table.csv", newline="", encoding="utf-8") as file:
        assert [row["cell"] for row in csv.DictReader(file)] == ["cot_hard"]
    assert "**cod_hard**: cod_hard/metrics.json was made with other settings" in (out / "report.md").read_text()


def test_untrained_rows_say_what_the_model_was_told_of_thinking(tmp_path):
    metrics = made_up.untrained("easy")
    prompts = metrics["prompts"]
    metrics["prompts"] = {"cot": prompts["cot"], "cod_thinking_disabled": prompts["cod"]}
    paths = [made_up.write_cell(tmp_path, metrics)]
    rows = tables.read_rows(paths, made_up.EXPECTED)
    assert [(row.type, row.thinking) for row in rows] == [("cot", ""), ("cod", "thinking disabled")]
    out = build(tmp_path, paths)
    assert "untrained_easy, cod prompt, thinking disabled" in (out / "report.md").read_text()
    assert "cod prompt, thinking disabled" in Page(out / "report.html").text
    with open(out / "table.csv", newline="", encoding="utf-8") as file:
        assert [row["thinking"] for row in csv.DictReader(file)] == ["", "thinking disabled"]


def test_scenarios_keep_the_order_of_the_config_whatever_exists(tmp_path):
    paths = made_up.write_grid(tmp_path, ["cot_hard", "cod_easy", "cod_hard"])
    rows = tables.read_rows(paths, made_up.EXPECTED)
    assert [row.cell for row in rows] == ["cod_easy", "cot_hard", "cod_hard"]


def test_a_scenario_that_ends_like_another_keeps_its_place(tmp_path):
    expected = ["cod_very_hard", "cod_hard"]
    paths = [
        made_up.write_cell(
            tmp_path, made_up.trained("cod", "hard") | {"cell": cell, "scenario": cell.removeprefix("cod_")}
        )
        for cell in reversed(expected)
    ]
    assert [row.cell for row in tables.read_rows(paths, expected)] == expected


def test_accuracy_is_broken_down_where_questions_differ_and_groups_are_large_enough(whole):
    row = tables.read_rows([whole.parent / "cod_hard/metrics.json"], made_up.EXPECTED)[0]
    level, subject = tables.breakdowns([row])
    assert [(value, share.n) for value, share in level.groups] == [("3", 40), ("4", 20)] and level.small == 0
    assert [value for value, _ in subject.groups] == ["algebra"] and subject.small == 2
    line = "| cod_hard | subject | algebra: 67 % (52–79, n 45); 2 more with fewer than 10 questions |"
    assert line in (whole / "report.md").read_text()
    assert "algebra: 67 %" in Page(whole / "report.html").text


def test_one_level_or_small_groups_alone_are_not_broken_down(tmp_path):
    metrics = made_up.trained("cod", "easy")
    metrics["baseline"]["accuracy_by"] = {
        "level": {"easy": made_up.halves(30, 60)},
        "subject": {f"template {place}": made_up.halves(1, 6) for place in range(10)},
    }
    out = build(tmp_path, [made_up.write_cell(tmp_path, metrics)])
    assert "accuracy by level" not in (out / "report.md").read_text() + Page(out / "report.html").text


def test_a_scenario_with_fewer_questions_than_asked_for_is_named_with_both_numbers(whole):
    for page in (Page(whole / "report.html").text, (whole / "report.md").read_text()):
        sentences = re.findall(r"(\w+):? (\d+) (train|test) questions, where the config asks for (\d+)", page)
        assert sentences == [("hard", "400", "train", "480")], "once, whatever the number of its cells"


def test_csv_gives_back_every_figure_with_interval_and_n(whole):
    row, metrics = read_table(whole)["cod_hard", "cod"], made_up.trained("cod", "hard")
    for name, interval in {
        "speedup": metrics["speedup"],
        "acceptance_rate": metrics["speculation"]["acceptance_rate"],
        "accuracy_strict": metrics["baseline"]["accuracy"]["strict"],
        "speculative_tokens": metrics["speculative"]["tokens"]["mean"],
        "accepted_at_3": metrics["speculation"]["per_position_acceptance"][2],
    }.items():
        found = [float(row[column]) for column in (name, f"{name}_low", f"{name}_high", f"{name}_n")]
        assert found == [interval[part] for part in ("value", "low", "high", "n")], name
    assert row["seed"] == "17" and row["config_hash"] == made_up.CONFIG_HASH


def test_every_quantity_in_the_table_has_n(whole):
    for row in read_table(whole).values():
        for column in [name.removesuffix("_low") for name in row if name.endswith("_low")]:
            assert bool(row[column]) == bool(row[f"{column}_n"]), f"{row['cell']}: {column}"


def test_combined_gain_is_brevity_times_speculation_with_an_interval(whole):
    row = read_table(whole)["cod_hard", "cod"]
    combined, brevity, speedup = (float(row[name]) for name in ("combined_gain", "brevity_gain", "speedup"))
    assert combined == pytest.approx(brevity * speedup, rel=1e-6)
    assert float(row["combined_gain_low"]) <= combined <= float(row["combined_gain_high"])
    assert int(row["combined_gain_n"]) == made_up.QUESTIONS
    assert not read_table(whole)["cot_hard", "cot"]["combined_gain"], "CoT is what the others are compared with"


def test_a_cell_that_was_not_steady_says_so_on_both_pages_and_in_the_table(tmp_path):
    slowed = made_up.trained("cod", "easy") | {"timing": made_up.timing(1.3, control=0.91)}
    slowed["timing"]["earlier"] = [{key: slowed["timing"][key] for key in ATTEMPT}]
    out = build(tmp_path, [made_up.write_cell(tmp_path, slowed), *made_up.write_grid(tmp_path, ["cot_easy"])])
    said = "cod_easy: the machine was not steady. The target alone, timed twice in turns, took 0.91"
    for page in ("report.md", "report.html"):
        text = " ".join((out / page).read_text().split()).replace("\\_", "_")
        assert said in text and "the last of 2 attempts" in text and "cot_easy: the machine" not in text
    rows = read_table(out)
    assert (rows["cod_easy", "cod"]["steady"], rows["cod_easy", "cod"]["attempts"]) == ("False", "2")
    assert rows["cod_easy", "cod"]["control"] == "0.91" and rows["cot_easy", "cot"]["steady"] == "True"


def test_a_cell_of_the_target_alone_is_in_the_report_without_a_speedup(tmp_path):
    alone = made_up.trained("cod", "easy")
    alone |= dict.fromkeys(("speculative", "speculation", "speedup", "bandwidth", "lossless"))
    alone["timing"] |= dict.fromkeys(("speedup", "block_speedups", "sign_test", "control", "autocorrelation", "steady"))
    out = build(tmp_path, [made_up.write_cell(tmp_path, alone, generations=False)])
    assert "cod_easy: the machine" not in (out / "report.md").read_text()
    row = read_table(out)["cod_easy", "cod"]
    assert row["accuracy_strict"] and not row.get("speedup")


def test_ratios_between_cells_have_no_interval_without_the_generations(tmp_path):
    paths = [made_up.write_cell(tmp_path, made_up.trained(type, "easy"), generations=False) for type in ("cot", "cod")]
    ((cot, cod),) = comparisons.compared_cells(tables.read_rows(paths, made_up.EXPECTED))
    gain = comparisons.gain(cot, cod)
    assert gain.combined.low is None and gain.combined.value > 1 and comparisons.draft_change(cot, cod) is None
    assert "no interval, n 60" in (build(tmp_path, paths) / "report.md").read_text()


@pytest.mark.parametrize(
    ("place", "change"),
    [
        (("baseline",), {"concurrency": 8}),
        (("provenance",), {"hardware": {"processor": "Another CPU", "cores": 2, "gpu": None}}),
        (("provenance", "runs", 0), {"engine": "vllm 0.19.1"}),
        (("provenance", "runs", 0), {"dtype": "float32"}),
        (("provenance", "runs", 0), {"kernel": "torch"}),
        (("provenance", "settings"), {"target": "another"}),
        ((), {"questions_hash": "other questions of the same names"}),
    ],
)
def test_cells_measured_unlike_are_not_compared(tmp_path, caplog, place, change):
    changed = made_up.trained("cod", "easy")
    reduce(getitem, place, changed).update(change)
    paths = [made_up.write_cell(tmp_path, metrics) for metrics in (made_up.trained("cot", "easy"), changed)]
    assert comparisons.compared_cells(tables.read_rows(paths, made_up.EXPECTED)) == []
    assert f"cot_easy and cod_easy differ in {next(iter(change))}" in caplog.text


def test_a_part_builds_and_says_of_what_is_missing_why(tmp_path):
    there = ["cod_hard", "untrained_easy"]
    missing = dict.fromkeys(set(made_up.EXPECTED) - set(there), "it was not started")
    missing["cot_easy"] = "train_target failed: MemoryError: <b>9 GiB</b>; read results/cot_easy/logs/train_target.log"
    out = build(tmp_path, made_up.write_grid(tmp_path, there), missing=missing)
    shown = Page(out / "report.html").text
    assert missing["cot_easy"] in shown, "text of an error is shown as text"
    for page in (shown, (out / "report.md").read_text()):
        assert "Missing: 7 of 9 cells" in page
        assert "train_target failed: MemoryError" in page and "train_target.log" in page
        assert "it was not started" in page
        assert "Not measured yet: it needs a CoT cell and a cell of a shorter type" in page
    assert len(read_table(out)) == 3


def test_nothing_builds_too_and_says_so(tmp_path):
    out = build(tmp_path, [])
    for page in (Page(out / "report.html").text, (out / "report.md").read_text()):
        assert "Nothing is measured yet, so there is nothing to conclude." in page
        assert "Missing: 9 of 9 cells" in page
    assert read_table(out) == {}


def nothing_known(value: object) -> object:
    """Return metrics with null for every interval that may be null."""
    known = ("speedup", "truncated", "p50", "difference")
    if isinstance(value, dict):
        return {key: None if isinstance(item, dict) and "low" in item and key not in known else nothing_known(item)
                for key, item in value.items()}  # fmt: skip
    return [nothing_known(item) for item in value] if isinstance(value, list) else value


def test_null_is_shown_as_not_measured_and_never_as_nan(tmp_path):
    metrics = nothing_known(made_up.trained("cod", "easy") | {"draft_audit": None})
    metrics["baseline"]["latency"] = metrics["speculative"]["latency"] = None
    metrics["speculation"]["per_position_acceptance"] = [None, None, None]
    metrics["speedup"] |= {"low": None, "high": None, "predicted": None}
    empty = made_up.untrained("easy")
    empty["prompts"] = {"cot": nothing_known(empty["prompts"]["cot"])}
    out = build(tmp_path, [made_up.write_cell(tmp_path, metrics), made_up.write_cell(tmp_path, empty)])
    for page in (Page(out / "report.html").text, (out / "report.md").read_text(), (out / "table.csv").read_text()):
        assert not re.search(r"\b(nan|NaN|None|inf)\b", page)
    assert "not measured" in Page(out / "report.html").text
    assert read_table(out)["cod_easy", "cod"]["acceptance_rate"] == ""


def test_what_only_our_engine_tells_is_shown_with_its_definition_and_else_not_measured(tmp_path):
    plain, told = made_up.trained("cot", "easy"), made_up.trained("cod", "easy")
    told["speculation"] |= {
        "engine": "native 0.1.0",
        "order_independent_agreement": made_up.share(84, 100),
        "agreement_definition": "agreed/drafted, past the first rejection too, native 0.1.0",
        "token_classes": {
            "words": {
                "drafted": 50,
                "acceptance_rate": made_up.share(31, 50),
                "order_independent_agreement": made_up.share(44, 50),
            }
        },
    }
    out = build(tmp_path, [made_up.write_cell(tmp_path, metrics) for metrics in (plain, told)])
    for page in (Page(out / "report.html").text, (out / "report.md").read_text()):
        assert "agree 88 %, n 50" in page and "62 %" in page and "past the first rejection too, native 0.1.0" in page
        assert "13.4 GB/s" in page and "72 % of the machine’s" in page
        assert "not measured" in page
    table = read_table(out)
    assert table["cod_easy", "cod"]["order_independent_agreement"] == "0.84"
    assert table["cot_easy", "cot"]["order_independent_agreement"] == ""


def test_page_loads_nothing_and_runs_nothing(whole):
    source, page = (whole / "report.html").read_text(), Page(whole / "report.html")
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "form", "base", "img"}
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), f"{tag} has {name}"
            if name in ("src", "href", "xlink:href", "action", "srcset"):
                assert value.startswith("#"), f"{tag} loads {value}"
    assert not re.search(r"url\((?!#)|@import", source)
    policies = [tag["content"] for name, tag in page.tags if name == "meta" and "http-equiv" in tag]
    assert policies and policies[0].startswith("default-src 'none';")


def test_ids_in_the_page_are_unique_and_every_reference_resolves(whole):
    source = (whole / "report.html").read_text()
    ids = re.findall(r'\bid="([^"]+)"', source)
    assert len(ids) == len(set(ids))
    assert {*re.findall(r'href="#([^"]+)"', source), *re.findall(r"url\(#([^)]+)\)", source)} <= set(ids)


def test_hostile_text_stays_text(tmp_path):
    def page_of(text: str, folder: Path) -> tuple[Page, str]:
        metrics = made_up.trained("cod", "easy") | {"cell": f"{text}_{text}", "scenario": text, "type": text}
        metrics["speculation"]["acceptance_definition"] = metrics["speculation"]["method"] = text
        metrics["provenance"] = made_up.provenance(commit=text, libraries={text: text})
        path = folder / "metrics.json"
        write_json(path, metrics)
        empty = folder / f"gone_{text}".replace("/", "")
        assert not empty.exists()
        out = build(folder, [path], expected=[metrics["cell"], f"gone_{text}"], study=text, drawn=True)
        return Page(out / "report.html"), (out / "report.md").read_text()

    plain, _ = page_of("benign", tmp_path / "a")
    hostile, markdown = page_of(HOSTILE, tmp_path / "b")

    def shape(page: Page) -> list[tuple[str, list[str]]]:
        return [(tag, sorted(attributes)) for tag, attributes in page.tags if tag not in ("use", "path", "g", "defs")]

    assert shape(hostile) == shape(plain), "hostile text must not add an element or an attribute"
    assert HOSTILE in hostile.text
    assert "<img" not in markdown and "[a](http" not in markdown


def test_control_and_direction_characters_are_made_visible(tmp_path):
    metrics = made_up.trained("cod", "easy")
    metrics["provenance"]["commit"] = "a\u202eb\x1b[31m"
    out = build(tmp_path, [made_up.write_cell(tmp_path, metrics)])
    assert "a\\u202eb\\x1b[31m" in Page(out / "report.html").text


def test_a_cell_that_a_spreadsheet_would_run_is_guarded(tmp_path):
    metrics = made_up.trained("cod", "easy")
    metrics["provenance"]["commit"] = "=cmd|' /C calc'!A0"
    out = build(tmp_path, [made_up.write_cell(tmp_path, metrics)])
    assert read_table(out)["cod_easy", "cod"]["commit"].startswith("'=")


def test_truncation_is_marked_beside_the_accuracy_it_spoils(whole):
    suspect = [
        attributes["data-label"]
        for tag, attributes in Page(whole / "report.html").tags
        if attributes.get("class") == "suspect" and "data-label" in attributes
    ]
    suspect = [label for label in suspect if label.startswith("accuracy, ") or label == "cut at the cap"]
    assert len(suspect) == 2 * 3, "two rows are over the limit, three cells each"
    assert "Do not trust the accuracy of untrained_medium, cot prompt (27 %)" in (whole / "report.md").read_text()


def test_acceptances_of_different_definitions_are_never_in_one_table(whole):
    source = (whole / "report.html").read_text()
    for table in re.findall(r"<table>.*?</table>", source, re.DOTALL):
        theirs, ours = "82–89 %" in table, re.search(r'data-label="acceptance rate"', table)
        assert not theirs, "order-independent agreement has no column"
        assert not (ours and "theirs" in table)
    assert "order-independent agreement" in Page(whole / "report.html").text


def test_the_published_figures_say_how_they_were_defined(whole):
    published = json.loads(Path(report.__file__).with_name("published.json").read_text(encoding="utf-8"))
    for page in (Page(whole / "report.html").text, (whole / "report.md").read_text()):
        assert all(definition in page for definition in published["definitions"].values())


def test_provenance_that_differs_between_cells_names_the_cells(tmp_path):
    other = made_up.trained("cod", "easy") | {"provenance": made_up.provenance(commit="another")}
    out = build(tmp_path, [made_up.write_cell(tmp_path, m) for m in (made_up.trained("cot", "easy"), other)])
    assert "commit: made-up (cot_easy); another (cod_easy)" in (out / "report.md").read_text()


GOOD = made_up.trained("cod", "easy")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ('{"cell": NaN}', "NaN is not JSON"),
        ("[]", "expected an object"),
        ('{"type": "cod"}', "field 'cell' of CellMetrics is missing"),
        (json.dumps(GOOD | {"speed": 2}), "CellMetrics has no field 'speed'"),
        (json.dumps(GOOD | {"speedup": {"value": 2}}), "field 'speedup.low' of Speedup is missing"),
        (json.dumps(GOOD | {"n": "60"}), "field 'n' should be int, found '60'"),
        (json.dumps(GOOD | {"cell": "cod_moon"}), "'cod_moon' is not of this study"),
        (json.dumps(GOOD | {"type": "cot"}), "should be 'cot_easy'"),
        (json.dumps(GOOD | {"baseline": None}), "field 'baseline' is null"),
    ],
)
def test_bad_metrics_name_the_file_and_leave_no_report(tmp_path, text, message):
    path = tmp_path / "metrics.json"
    path.write_text(text)
    with pytest.raises(ReportError, match=message) as caught:
        build(tmp_path, [path])
    assert str(path) in str(caught.value)
    assert not (tmp_path / "report").exists()


def test_a_cell_given_twice_is_refused(tmp_path):
    path = made_up.write_cell(tmp_path, made_up.trained("cod", "easy"))
    with pytest.raises(ReportError, match="was already read"):
        build(tmp_path, [path, path])


def test_same_metrics_give_the_same_bytes(whole, tmp_path):
    again = build(tmp_path, made_up.write_grid(tmp_path), drawn=True)
    for name in ("table.csv", "report.md", "report.html", *(f"figures/{figure}" for figure in images.CAPTIONS)):
        assert (again / name).read_bytes() == (whole / name).read_bytes(), name


def test_report_reads_what_the_benchmark_writes(tmp_path):
    """The one test on metrics that are computed, not made up, so that both sides keep one shape."""
    asked = [
        Question(id=f"q{index}", scenario="easy", split="test", question=f"{index}?", answer="5", steps=["s"])
        for index in range(3)
    ]
    questions = tmp_path / "questions.jsonl"
    write_records(questions, asked)
    manifest = tmp_path / "manifest.json"
    write_json(manifest, {"splits": {"train": {"asked": 9, "got": 9}, "test": {"asked": 5, "got": 3}}})
    common = {
        "questions": questions,
        "manifest": manifest,
        "limit": None,
        "settings": {"seed": 1, "target": "made-up"},
    }
    for type in ("cot", "cod"):
        folder = tmp_path / f"{type}_easy"
        for mode, seconds in (("baseline", 2.0), ("speculative", 1.0)):
            write_run(folder / f"{mode}.jsonl", folder / f"{mode}_run.json", asked, mode, seconds)
        modes = ("baseline", "speculative")
        made = {"residency": "both", "peak_memory_gib": 3.0, "provenance": asdict(recorded())}
        seconds = {"baseline": 2.0, "speculative": 1.0, "control": 2.0}
        turns = [
            {"block": block, "arm": arm, "seconds": [took], "tokens": [3]}
            for block in range(len(asked))
            for arm, took in seconds.items()
        ]
        write_json(folder / "timing.json", made | {"attempts": [{"turns": turns}]})
        runs = {
            "generations": [folder / f"{mode}.jsonl" for mode in modes],
            "runs": [folder / f"{mode}_run.json" for mode in modes],
            "audit": "",
            "samples": 1,
            "timing": folder / "timing.json",
        }
        rule = made_up.RULE if type == "cod" else None
        score.score_cell(type=type, scenario="easy", rule=rule, **runs, **common, **outputs(folder))
    folder = tmp_path / "untrained_easy"
    write_run(folder / "cot.jsonl", folder / "cot_run.json", asked, "untrained", 3.0)
    sources = {"generations": [folder / "cot.jsonl"], "runs": [folder / "cot_run.json"]}
    score.score_untrained(
        scenario="easy",
        rules={"cot": None},
        **sources,
        **common,
        **outputs(folder),
    )
    expected = ["cot_easy", "cod_easy", "untrained_easy"]
    metrics = [tmp_path / cell / "metrics.json" for cell in expected]
    out = build(tmp_path, metrics, expected, made=config_hash(common["settings"]))
    row = read_table(out)["cod_easy", "cod"]
    assert (row["speedup"], row["combined_gain"], row["tokens_of_cot"], row["acceptance_rate_n"]) == (
        "2.0",
        "2.0",
        "1.0",
        "3",
    )


def outputs(folder: Path) -> dict[str, Path]:
    names = {"out_metrics": "metrics.json", "out_samples": "samples.csv", "out_comparison": "comparison.txt"}
    return {key: folder / name for key, name in names.items()}


def write_run(path: Path, run: Path, asked: list[Question], mode: str, seconds: float) -> None:
    drafted = {"steps": 2, "drafted": 3, "accepted": 2, "accepted_per_step": [2]} if mode == "speculative" else {}
    rows = [
        Generation(
            id=question.id, prompt_tokens=9, token_ids=[1, 2, 3, 4], text="2 + 3\n= 5\n#### 5", finish_reason="stop",
            batch=index, batch_seconds=seconds, time_to_first_token=0.1, latency=seconds, **drafted,
        )
        for index, question in enumerate(asked)
    ]  # fmt: skip
    write_records(path, rows)
    steps = StepSeconds(draft=0.01, verify=0.06) if drafted else StepSeconds(target=0.05)
    method = "draft_model" if drafted else "none"
    info = RunFile(
        engine="vllm",
        version="0",
        kernel="vllm",
        dtype="bfloat16",
        method=method,
        draft_length=3 if drafted else None,
        concurrency=1,
        step_seconds=steps,
        bytes_per_pass=PassBytes(target=100, draft=20),
        read_bytes_per_second=4000.0,
        token_classes=None,
        mode=mode,
        n=len(rows),
        wall_seconds=seconds * len(rows),
        emitted_tokens=4 * len(rows),
        peak_memory_gib=1.0,
        job=dict.fromkeys(SAME_IN_JOB, 1),
        environment={},
        provenance=recorded(),
    )
    json_file.write(run, info)


def test_figures_come_before_the_tables_of_the_sections_and_empty_columns_are_left_out(whole):
    page = (whole / "report.html").read_text()
    assert page.index('id="figures"') < page.index('id="speed"') < page.index('id="published"')
    cost = page[page.index('id="cost"') :].partition("</section>")[0]
    assert "tokens, seconds</caption>" in cost and "no price" not in cost and 'data-label="joules"' not in cost
