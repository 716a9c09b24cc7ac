"""README, docs and CONTRIBUTING: commands work or are marked, and paths and links lead somewhere.

A page is read as a session in a fresh clone: a block with a title is written to the file of that name, and each command
of an `sh` block is given to the check of its first word. Snakemake plans its targets without running them, options of
`doubledraft` go through its own parser, and so on. What no check can try is marked in the page, MARK behind it.
"""

import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from doubledraft.cli import main
from doubledraft.questions.sources import read_own
from tests.helpers.running import ROOT, copy_workflow, snakemake
from tests.test_imports import MAY_IMPORT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
MARK = "# not run by a test"
FENCE = re.compile(r"^```(\w*)(?: title=\"([^\"\n]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TESTED_ELSEWHERE = {  # commands that need what an earlier run made
    "snakemake --cores 1 --allowed-rules report -- results/report/report.html": (
        "tests/study/test_workflow.py",
        "test_report_takes_results_as_they_stand_when_only_its_rule_is_allowed",
    ),
}


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """Return language, title and text of the fenced blocks of a page."""
    return FENCE.findall(page.read_text())


def commands(page: Path) -> list[str]:
    """Return the commands in the `sh` blocks of a page, a line each, with the comments behind them."""
    code = "".join(text for language, _, text in blocks(page) if language == "sh").replace("\\\n", " ")
    return [line for line in code.splitlines() if line.strip() and not line.lstrip().startswith("#")]


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """Return a copy of the workflow in which the pages' commands run."""
    return copy_workflow(tmp_path_factory.mktemp("docs") / "doubledraft")


def words(command: str, folder: Path) -> list[str]:
    """Return the words of a command as the shell expands them."""
    printed = subprocess.run(["bash", "-c", f"printf '%s\\n' {command}"], cwd=folder, text=True, stdout=subprocess.PIPE)
    return printed.stdout.splitlines()


def plan(command: str, folder: Path) -> None:
    """Let Snakemake plan what a command would run."""
    outcome = snakemake("--dry-run", *words(command, folder)[1:], folder=folder)
    assert outcome.code == 0, outcome.text[-2000:]


def parse(command: str, folder: Path) -> None:
    """Give the options to the parser of `doubledraft`; `check` needs no model, so it runs."""
    options = main._parser().parse_args(words(command, folder)[1:])
    named = [options.config] if options.command == "benchmark" else [getattr(options, "prompt_file", None)]
    assert all((ROOT / path).exists() for path in filter(None, named)), f"{command}: no such file"
    if options.command == "check":
        assert main.main(words(command, folder)[1:]) == 0


def make(command: str, folder: Path) -> None:
    """Let make print what it would run."""
    done = subprocess.run([*words(command, folder), "--dry-run"], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def python(command: str, folder: Path) -> None:
    """Run a module that shows its options."""
    arguments = words(command, folder)[1:]
    assert arguments[0] == "-m" and arguments[-1] == "--help", f"{command}: only --help is run here"
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def shell(command: str, folder: Path) -> None:
    """Run a command that makes a folder or a file."""
    subprocess.run(["bash", "-ec", command], cwd=folder, check=True)


CHECKS = {"snakemake": plan, "doubledraft": parse, "make": make, "python": python, "mkdir": shell}


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.stem)
def test_every_command_of_a_page_works_or_is_marked(page, clone, monkeypatch):
    monkeypatch.chdir(ROOT)
    for _, title, text in blocks(page):
        if title:
            (clone / title).write_text(text)
    with ThreadPoolExecutor(2) as pool:  # planning takes seconds, and most of a page's commands plan
        for done in [pool.submit(check, command, clone) for command in commands(page)]:
            done.result()


def check(command: str, folder: Path) -> None:
    """Try a command in a folder, unless it is marked or another test runs it."""
    if MARK in command:
        return
    if command in TESTED_ELSEWHERE:
        file, test = TESTED_ELSEWHERE[command]
        assert f"def {test}(" in (ROOT / file).read_text(), f"{file} has no {test} any more"
        return
    program = Path(shlex.split(command)[0]).name
    assert program in CHECKS, f"write a check for {command!r}, or mark it with {MARK!r}"
    CHECKS[program](command, folder)


def test_questions_that_a_page_shows_are_read_as_they_stand(tmp_path):
    files = [
        (title, text)
        for language, title, text in blocks(ROOT / "docs/tutorials/own-questions.md")
        if language == "json"
    ]
    for name, text in files:
        (tmp_path / name).write_text(text)
    assert [len(read_own("train", "invoices", tmp_path / name).questions) for name, _ in files] == [2, 1]


@pytest.mark.slow
def test_a_command_that_does_not_work_is_found(clone):
    with pytest.raises(AssertionError):
        plan("snakemake --cores 1 results/cod_hard/metrix.json", clone)
    with pytest.raises(SystemExit):
        parse("doubledraft generate --model X --promt Y", clone)
    with pytest.raises(AssertionError):
        make("make everything", clone)
    with pytest.raises(AssertionError, match="write a check"):
        check("curl https://example.org", clone)


def test_messages_that_a_page_explains_are_those_of_the_code():
    page = (ROOT / "docs/how-to/when-something-breaks.md").read_text().partition("## Results that look wrong")[0]
    seen = re.findall(r"^\| (.*?) \|", page, re.MULTILINE)
    symptoms = re.findall(r"`(.*?)`", "\n".join(seen))
    folders = (ROOT / name for name in ("doubledraft", "rules", "envs"))
    files = [file for folder in folders for file in folder.rglob("*") if file.suffix in (".py", ".smk", ".sh")]
    code = re.sub(
        r"\{[\w .,/!()\[\]'=-]*\}", "…", re.sub(r'"\s+f?"', "", "\n".join(file.read_text() for file in files))
    )
    fragments = [part.strip(" :") for symptom in symptoms for part in symptom.split("…")]
    assert len(symptoms) > 8
    assert not [part for part in fragments if len(part) > 4 and part not in code]


def test_readme_fits_on_few_screens():
    assert (ROOT / "README.md").stat().st_size <= 12_000


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "docs/explanation/architecture.md"], ids=lambda page: page.stem
)
def test_every_package_is_listed(page):
    packages = {file.parent.name for file in (ROOT / "doubledraft").glob("*/__init__.py")}
    assert packages <= set(re.findall(r"^\W*(\w+)/", page.read_text(), re.MULTILINE))


def test_imports_that_a_page_shows_are_those_that_a_test_allows():
    page = (ROOT / "docs/explanation/architecture.md").read_text()
    shown = re.findall(r"^\| `(\w+)/` \|.*\| ?([\w, ]*) \|$", page, re.MULTILINE)
    allowed = {package: ", ".join(sorted(names)) for package, names in MAY_IMPORT.items() if package}
    assert {package: names.strip() for package, names in shown} == allowed | {"workflow": "all", "cli": "all"}


def test_python_of_readme_is_that_of_the_page_whose_lines_are_run():
    """In tests/inference/test_load_pair.py; those of the router are run in tests/routing/test_adaptive.py."""
    pages = (ROOT / "README.md", ROOT / "docs/python.md")
    [ours], [theirs, *_] = ([text for kind, _, text in blocks(page) if kind == "python"] for page in pages)
    assert ours == theirs


def test_every_line_of_the_tree_in_readme_names_what_there_is():
    [tree] = [text for language, _, text in blocks(ROOT / "README.md") if not language]
    made = {"data", "results"}
    for line in tree.splitlines():
        names = re.split(r",? {1,}", re.split(r" {2,}", line.strip())[0])
        folder = ROOT / "doubledraft" if line.startswith(" ") else ROOT
        for name in names:
            assert list(folder.glob(name.rstrip("/"))) or name.rstrip("/") in made, f"{name} is not there: {line}"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "data/README.md"], ids=lambda page: page.stem)
def test_paths_of_the_repository_that_a_page_names_are_there(page):
    named = re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|smk|yaml|json|md|txt|in|j2|sh))`", page.read_text())
    made = ("data/", "results/")
    missing = [
        path
        for path in named
        if not path.startswith(made) and not any((base / path).exists() for base in (ROOT, ROOT / "doubledraft"))
    ]
    assert not missing


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md"])
def test_links_outside_the_site_lead_somewhere(name):
    page = ROOT / name
    for link in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        assert link.startswith("https://") or (page.parent / link).exists(), link
