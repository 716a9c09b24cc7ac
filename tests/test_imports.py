"""The walls of the library: which package may import which, and how large each may grow.

Read from the source, function-level imports included; nothing is imported.
"""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "doubledraft"
MODULES = sorted(file for file in LIBRARY.rglob("*.py") if file.name != "__init__.py")
INITS = sorted(LIBRARY.rglob("__init__.py"))
DOCUMENTED = [*MODULES, *INITS, *sorted((ROOT / "scripts").glob("*.py"))]
MOST_MODULES = 17  # in one folder
MAY_IMPORT = {  # package: those that it may import besides itself, the root, which imports none, and `summaries`
    "": set(),
    "summaries": set(),
    "grading": set(),
    "questions": {"grading"},
    "traces": {"grading", "questions"},
    "models": set(),
    "engine": {"models"},
    "inference": {"models", "engine"},
    "training": {"models", "engine", "inference", "grading"},
    "evaluation": {"grading", "questions", "traces", "models", "engine", "inference"},
    "routing": {"grading", "questions", "traces", "models", "engine", "inference", "training", "evaluation"},
    "report": {"grading", "questions", "traces", "models", "engine", "inference", "evaluation", "routing"},
}
DOORS = {"cli": {"cli", "workflow"}, "workflow": {"workflow"}}  # the doors, and which of them each may use
PACKAGES = sorted({file.parent.relative_to(LIBRARY).parts[0] for file in INITS[1:]})


def package_of(file: Path) -> str:
    """Return the top package of a file of the library, "" for the root."""
    parts = file.relative_to(LIBRARY).parts
    return parts[0] if len(parts) > 1 else ""


@cache
def parsed(file: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(file.read_text())


@cache
def imported(file: Path) -> frozenset[Path]:
    """Return the files of the library that a file imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            own = [alias.name for alias in node.names if alias.name.partition(".")[0] == LIBRARY.name]
            assert not own, (
                f"{file.relative_to(ROOT)}:{node.lineno}: write `from ... import`, which fingerprints follow"
            )
        elif isinstance(node, ast.ImportFrom):
            where = f"{file.relative_to(ROOT)}:{node.lineno}"
            assert not node.level, f"{where}: write the full name, which fingerprints follow"
            assert all(alias.name != "*" for alias in node.names), f"{where}: name what is imported"
            if f"{node.module}.".startswith(f"{LIBRARY.name}."):
                found.update(_file(node.module, alias.name) for alias in node.names)
    return frozenset(found - {LIBRARY / "__init__.py"})  # the version


def _file(module: str, name: str) -> Path:
    folder = ROOT.joinpath(*module.split("."))
    if (submodule := folder / f"{name}.py").exists():
        return submodule
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(LIBRARY)))
def test_imports_run_one_way(file):
    package = package_of(file)
    if package in ("workflow", "cli") or file.name == "__main__.py":  # the doors may use all, and nothing uses them
        refused = {"cli", "workflow"} - DOORS.get(package, {package, "cli"})
    else:
        refused = set(PACKAGES) - {package, "summaries" if package else ""} - MAY_IMPORT[package]
    for other in sorted(imported(file)):
        pair = f"{file.relative_to(ROOT)} imports {other.relative_to(ROOT)}"
        assert package_of(other) not in refused, f"{pair}: imports run the other way"


def test_no_module_imports_itself_by_way_of_others():
    try:
        TopologicalSorter({file: imported(file) for file in MODULES}).prepare()
    except CycleError as error:
        circle = " -> ".join(str(file.relative_to(ROOT)) for file in error.args[1])
        pytest.fail(f"imports in a circle: {circle}")


def test_every_package_has_its_place():
    assert set(MAY_IMPORT) | {"workflow", "cli"} == {"", *PACKAGES}


@pytest.mark.parametrize("init", INITS, ids=lambda file: str(file.parent.relative_to(ROOT)))
def test_a_package_is_small_and_its_init_is_a_docstring_that_names_its_modules(init):
    folder = init.parent
    modules = {file.stem for file in folder.glob("*.py")} - {"__init__", "__main__"}
    assert len(modules) <= MOST_MODULES, f"{folder.relative_to(ROOT)} has {len(modules)} modules"
    tree = parsed(init)
    text = ast.get_docstring(tree)
    if folder != LIBRARY:
        assert len(tree.body) == 1, "an import here would run for every module of the package, and count for none"
        missing = sorted(name for name in modules if name not in text)
        assert not missing, f"{init.relative_to(ROOT)} has no line on {', '.join(missing)}"


def test_no_two_classes_have_one_name():
    found = {}
    for file in MODULES:
        for node in parsed(file).body:
            if isinstance(node, ast.ClassDef):
                other = found.setdefault(node.name, file.relative_to(ROOT))
                assert other == file.relative_to(ROOT), f"{node.name}: {other} and {file.relative_to(ROOT)}"


@pytest.mark.parametrize("file", DOCUMENTED, ids=lambda file: str(file.relative_to(ROOT)))
def test_docstrings_say_what_comes_back(file):
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            word = (ast.get_docstring(node) or "").partition(" ")[0]
            where = f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"
            assert word not in ("Give", "Gives", "Say", "Says", "Tell", "Tells"), f"{where}: begins with {word}"
