"""Which code a rule depends on, as one short hash: editing that code reruns the rule, editing a comment does not.

Snakemake tracks only the script file of a rule, and ours are thin. So the library is parsed (never imported: a dry run
stays light) and followed from what a rule names, definition by definition: `from doubledraft.records import Trace`
depends on the class Trace and on what it uses, not on the other records in that module. A module that is imported as a
module counts whole. Imports inside functions count too. The library imports from itself by `from` and its full name
only (`tests/test_imports.py` holds it), which is what is followed here.
"""

import ast
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from doubledraft.provenance import library_version

PACKAGE = Path(__file__).parents[1]
PREFIX = f"{PACKAGE.name}."
SHOWING = ("log", "training.tracking")  # modules that report progress and change no output
ALL = "*"  # in the place of a name: every definition of a module


def of(*names: str, files: Iterable[str] = (), packages: Iterable[str] = (), compiled: bool = True) -> str:
    """Return a hash of all library code that these names use, of other files, and of the versions of packages.

    A name is that of a definition, "training.finetune.train_target", or of a module with all its definitions. `files`
    are glob patterns of files of the library that the code reads, "templates/*"; `packages` are the distributions that
    decide what the code makes. `compiled` is whether C++ sources count that the code compiles. Raise ValueError for the
    name of a package of the library, whose modules would be missed, and FileNotFoundError for a name or pattern that
    stands for nothing.
    """
    digest, definitions = hashlib.sha256(), sorted(reached(*names))
    for module, name in definitions:
        for statement in _parsed(module).statements.get(name, ()):
            digest.update(f"{module} {name}\n{''.join(_code(statement).parts)}\n".encode())
    for module in sorted({module for module, _ in definitions if compiled}):
        if (source := _file(module).with_suffix(".cpp")).exists():
            digest.update(source.read_bytes())
    for pattern in files:
        if not (paths := sorted(PACKAGE.glob(pattern))):
            raise FileNotFoundError(f"{PACKAGE / pattern}: the library has no such file")
        for path in paths:
            digest.update(f"{path.name}\n".encode() + path.read_bytes())
    for package in sorted(packages):
        digest.update(f"{package} {library_version(package)}\n".encode())
    return digest.hexdigest()[:12]


def reached(*names: str) -> set[tuple[str, str]]:
    """Return (module, definition) of all code that these names use, directly or not.

    The definition "" stands for the statements of a module that define nothing, which run whenever it is imported.
    """
    definitions, queue = set(), [definition for name in names for definition in _named(name)]
    while queue:
        if (definition := queue.pop()) not in definitions and definition[0] not in SHOWING:
            definitions.add(definition)
            queue += _uses(*definition)
    return definitions


def _named(name: str) -> list[tuple[str, str]]:
    if PACKAGE.joinpath(*name.split(".")).is_dir():
        raise ValueError(f"{name} is a package of the library: name what the rule uses of it")
    if _file(name).exists():
        return _whole(name)
    module, _, definition = name.rpartition(".")
    if module and _file(module).exists() and definition in _parsed(module).statements:
        return [(module, definition)]
    raise FileNotFoundError(f"{name}: the library has no such module or definition")


@dataclass
class _Module:
    statements: dict[str, list[ast.stmt]] = field(default_factory=lambda: defaultdict(list))  # by the name they define
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)  # local name: module and name in it, "*" for all


@cache
def _parsed(module: str) -> _Module:
    parsed, tree = _Module(), ast.parse(_file(module).read_text(encoding="utf-8"))
    for statement in tree.body[ast.get_docstring(tree) is not None :]:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            for local, alone, target in _imported(statement):
                if target:
                    parsed.imported[local] = target
                else:
                    parsed.statements[local].append(alone)
        else:
            parsed.statements[_defined(statement)].append(statement)
    parsed.statements.setdefault("", [])
    return parsed


def _defined(statement: ast.stmt) -> str:
    """Return the one name that a top-level statement defines; "" where it does anything else."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return statement.name
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
    return ""


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, ast.stmt, tuple[str, str] | None]]:
    """Yield for each name that a statement imports: the local name, its import alone, and what it is of the library."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.asname or alias.name.partition(".")[0], ast.Import([alias]), None
        return
    package = f"{node.module}.".removeprefix(PREFIX)
    for alias in node.names:
        target = None
        if f"{node.module}.".startswith(PREFIX):
            submodule = _file(package + alias.name).exists()
            target = (package + alias.name, ALL) if submodule else (package[:-1], alias.name)
        yield alias.asname or alias.name, ast.ImportFrom(node.module, [alias], 0), target


@cache
def _uses(module: str, name: str) -> frozenset[tuple[str, str]]:
    parsed = _parsed(module)
    definitions = {(module, ""), *_definitions(parsed.imported.get(name))}
    for code in map(_code, parsed.statements.get(name, ())):
        for identifier in code.names:
            local = (module, identifier) if identifier in parsed.statements else None
            definitions.update(_definitions(local or parsed.imported.get(identifier)))
        for _, _, target in (entry for node in code.imports for entry in _imported(node)):
            definitions.update(_definitions(target))
    return frozenset(definitions)


def _definitions(target: tuple[str, str] | None) -> list[tuple[str, str]]:
    if target is None or not target[0]:  # not of the library, or its version
        return []
    return _whole(target[0]) if target[1] == ALL else [target]


def _whole(module: str) -> list[tuple[str, str]]:
    return [(module, name) for name in _parsed(module).statements]


@dataclass
class _Code:
    parts: list[str] = field(default_factory=list)  # the text to hash
    names: set[str] = field(default_factory=set)
    imports: list[ast.Import | ast.ImportFrom] = field(default_factory=list)

    def add(self, value: object) -> None:
        """Append a node and its children without docstrings, text and names in one pass: dry runs wait for it."""
        if isinstance(value, ast.AST):
            if isinstance(value, ast.Name):
                self.names.add(value.id)
            elif isinstance(value, ast.Import | ast.ImportFrom):
                self.imports.append(value)
            self.parts.append(f"{type(value).__name__}(")
            for key in value._fields:
                if key != "ctx":  # load or store, which follows from the position
                    self.add(_without_docstring(value) if key == "body" else getattr(value, key, None))
            self.parts.append(")")
        elif isinstance(value, list):
            self.parts.append("[")
            for item in value:
                self.add(item)
            self.parts.append("]")
        else:
            self.parts.append(f"{value!r},")


def _without_docstring(node: ast.AST) -> object:
    documented = isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    return node.body[1:] if documented and ast.get_docstring(node, clean=False) is not None else node.body


@cache
def _code(statement: ast.stmt) -> _Code:
    """Return a top-level statement as text without comments, layout, docstrings and optional fields of a dataclass.

    A field that is None unless somebody fills it changes no output by itself: the code that fills or reads it does, and
    counts in the fingerprint of every rule that runs it. Otherwise one more field in a record would rerun everything.
    """
    code = _Code()
    if isinstance(statement, ast.ClassDef) and any("dataclass" in ast.dump(mark) for mark in statement.decorator_list):
        optional = [part for part in statement.body if _optional_field(part)]
        required = [part for part in statement.body if part not in optional]
        code.add(optional)  # for the names only
        code.parts.clear()
        statement = ast.ClassDef(**dict(ast.iter_fields(statement)) | {"body": required})
    code.add(statement)
    return code


def _optional_field(part: ast.stmt) -> bool:
    return isinstance(part, ast.AnnAssign) and isinstance(part.value, ast.Constant) and part.value.value is None


def _file(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
