"""The form of the rules: documented, logged, one thin script each, and rerun by the library code that it calls."""

import ast
import re
from pathlib import Path

import pytest

from doubledraft.workflow import fingerprint
from tests.helpers.running import ROOT


def rules() -> dict[str, str]:
    """Return the text of every rule but `all` by name."""
    text = "\n\n\n".join(file.read_text() for file in sorted((ROOT / "rules").glob("*.smk")))
    blocks = re.split(r"^rule (\w+):\n", text, flags=re.MULTILINE)
    return {name: block.split("\n\n\n")[0] for name, block in zip(blocks[1::2], blocks[2::2], strict=True)}


RULES = rules()


def directive(rule: str, name: str) -> str:
    """Return what stands under a directive of a rule."""
    match = re.search(rf"^    {name}:\n((?:        .*\n?)+)", RULES[rule], re.MULTILINE)
    return match[1] if match else ""


def names(rule: str, name: str) -> set[str]:
    """Return the names of a rule's inputs, outputs or params."""
    return set(re.findall(r"^        (\w+)=", directive(rule, name), re.MULTILINE))


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_a_docstring_a_log_and_a_script_of_its_name(rule):
    assert re.match(r'    """[A-Z].*\."""\n', RULES[rule]), "the rule should open with one sentence"
    assert directive(rule, "log"), "a failed job should leave a log"
    assert directive(rule, "script").strip() == f'"../scripts/{rule}.py"'
    assert (ROOT / f"scripts/{rule}.py").exists()


def test_every_script_belongs_to_a_rule():
    assert {file.stem for file in (ROOT / "scripts").glob("*.py")} == set(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_script_reads_what_its_rule_declares_and_every_param_of_it(rule):
    script = (ROOT / f"scripts/{rule}.py").read_text()
    for kind, key in (("input", "input"), ("output", "output"), ("params", "params")):
        used = set(re.findall(rf"snakemake\.{kind}\.(\w+)", script)) - {"get"}
        assert used <= names(rule, key), f"the script reads {kind} that the rule does not give"
        if kind == "params":
            assert names(rule, key) - {"code"} <= used, "a param that nothing reads would rerun the rule for nothing"


@pytest.mark.parametrize("rule", sorted(set(RULES) - {"record_study"}))
def test_the_library_code_that_a_script_calls_is_in_its_rule_s_fingerprint(rule):
    named = re.findall(r'"([\w.]+)"', re.search(r"code=\w*code\(([^)]*)\)", RULES[rule])[1].partition("files=")[0])
    missing = called(ROOT / f"scripts/{rule}.py") - fingerprint.reached(*named)
    assert not missing, "an edit of what the script calls would not rerun the rule"


def called(script: Path) -> set[tuple[str, str]]:
    """Return (module, definition) of what a script uses of the library, but for what makes no result."""
    tree, found = ast.parse(script.read_text()), set()
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and re.match(r"doubledraft(?!\.workflow)", node.module):
            package = node.module.removeprefix("doubledraft").removeprefix(".")
            for name in (alias.name for alias in node.names):
                if f"{package}.{name}" in fingerprint.SHOWING:
                    continue
                if fingerprint.PACKAGE.joinpath(*package.split("."), f"{name}.py").exists():
                    found |= {(f"{package}.{name}", use.attr) for use in attributes if ast.unparse(use.value) == name}
                else:
                    found.add((package, name))
    return found
