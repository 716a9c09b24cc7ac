"""Which code a step uses, as one short hash: an edit of the library reruns what uses it, an edit of a comment does not.

Snakemake tracks a rule's script file only, and those are thin. Modules are parsed, never imported, so that a dry run
stays light; what a module imports from the library counts, wherever in it the import stands.
"""

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
PREFIX = f"{PACKAGE.name}."


def of(*modules: str, files: Iterable[str] = ()) -> str:
    """Hash the code of library modules and of the library modules they import, comments and docstrings left out.

    Modules are named below the package, as in "teacher.oracle". `files` are glob patterns of other files of the package
    that the code reads, "templates/*". A name that stands for nothing raises FileNotFoundError.
    """
    digest = hashlib.sha256()
    for name in sorted(reached(*modules)):
        digest.update(f"{name}\n{_code(name)}\n".encode())
        if (source := _file(name).with_suffix(".cpp")).exists():  # that the module compiles
            digest.update(source.read_bytes())
    for pattern in files:
        if not (paths := sorted(PACKAGE.glob(pattern))):
            raise FileNotFoundError(f"{PACKAGE / pattern}: no file of the library is named so")
        for path in paths:
            digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def reached(*modules: str) -> set[str]:
    """Give library modules together with all library modules that they import, directly or not."""
    found, queue = set(), list(modules)
    while queue:
        if (name := queue.pop()) not in found:
            found.add(name)
            queue.extend(_imports(name))
    return found


@cache
def _imports(module: str) -> frozenset[str]:
    named = set()
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            named.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            named.add(node.module)
            named.update(f"{node.module}.{alias.name}" for alias in node.names)
    below = (name.removeprefix(PREFIX) for name in named if name.startswith(PREFIX))
    return frozenset(name for name in below if _file(name).exists())


@cache
def _code(module: str) -> str:
    tree = _tree(module)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            del node.body[0]
    return ast.dump(tree)


def _tree(module: str) -> ast.Module:
    return ast.parse(_file(module).read_text(encoding="utf-8"))


def _file(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
