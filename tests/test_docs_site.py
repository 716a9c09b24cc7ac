"""The site: builds without a broken link, loads nothing from elsewhere, and its reference lacks nothing of the code."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs import hooks
from doubledraft.cli import main
from tests.helpers.running import ROOT

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Return the site, built as `make docs` builds it: any broken link is an error."""
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(build, cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(list((ROOT / "docs").rglob("*.md")))
    for page in pages:
        for tag in re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", page.read_text()):
            assert not re.search(r'\b(?:src|href)="?(?:https?:)?//', tag), f"{page}: {tag}"


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: the search was not tried in a browser")
def test_search_finds_a_page_where_the_site_is_opened_as_files(site):
    browser = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000", "--dump-dom"]
    shown = subprocess.run([*browser, f"file://{site}/index.html?q=truncated"], text=True, capture_output=True).stdout
    assert re.search(r'class="md-search-result__item".*?explanation/definitions\.html', shown, re.DOTALL)


def test_config_reference_has_every_key():
    text = hooks.config_page()
    keys = re.findall(r"^ +(?!items)(\w+): .*description:", (ROOT / "config/schema.yaml").read_text(), re.MULTILINE)
    assert keys and not [key for key in keys if not re.search(rf"`(?:[\w.]+\.)?{key}`", text)]
    assert "| `distill.concurrency` | integer, at least 1 | `128` | requests in flight |" in text


def test_command_reference_has_every_option(capsys):
    text = hooks.commands_page()
    for name in main.COMMANDS:
        with pytest.raises(SystemExit):
            main.main([name, "--help"])
        options = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out)) - {"--help"}
        section = text.partition(f"## doubledraft {name}\n")[2].partition("\n## ")[0]
        assert section and options <= set(re.findall(r"--[a-z][a-z-]+", section))


def test_rule_reference_has_every_rule_and_what_it_makes():
    text = hooks.rules_page()
    for file in (ROOT / "rules").glob("*.smk"):
        for rule in re.findall(r"^rule (\w+):", file.read_text(), re.MULTILINE):
            section = text.partition(f"### {rule}\n")[2].partition("\n##")[0]
            assert re.search(r"^\* `(?:data|results)/", section, re.MULTILINE), rule


def test_schema_reference_has_every_field_of_every_file():
    text = hooks.schemas_page()
    schemas = sorted((ROOT / "docs/schemas").glob("*.schema.json"))
    assert len(schemas) >= 4
    for file in schemas:
        schema = json.loads(file.read_text())
        name = file.name.removesuffix(".schema.json")
        section = text.partition(f"## {name if name.endswith('.jsonl') else f'{name}.json'}\n")[2].partition("\n## ")[0]
        assert all(f"| `{field}` |" in section for field in schema["properties"])
        for name, part in schema["$defs"].items():
            section = text.partition(f"### {name}\n")[2].partition("\n##")[0]
            assert all(f"| `{field}` |" in section for field in part["properties"])
