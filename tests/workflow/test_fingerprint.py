"""Fingerprints of library code: an edit of code changes them, an edit of words does not."""

import pytest

from doubledraft.workflow import fingerprint


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a small package in the place of the library: top imports middle imports low."""
    folder = tmp_path / "doubledraft"
    (folder / "sub").mkdir(parents=True)
    (folder / "__init__.py").write_text('VERSION = "1"\n')
    (folder / "sub/__init__.py").write_text("")
    (folder / "sub/low.py").write_text(LOW)
    (folder / "middle.py").write_text("def middle():\n    from doubledraft.sub import low\n\n    return low.low()\n")
    (folder / "top.py").write_text("import json\n\nfrom doubledraft import VERSION, middle\n\nprint(middle, json)\n")
    (folder / "one.py").write_text("from doubledraft.again import Record\n\n\ndef one():\n    return Record(1)\n")
    (folder / "again.py").write_text("from doubledraft.sub.low import Record\n")
    (folder / "page.txt").write_text("page")
    monkeypatch.setattr(fingerprint, "PACKAGE", folder)
    clear()
    yield folder
    clear()


LOW = '''"""Low."""

import os
import sys
from dataclasses import dataclass

SIZE = 3
sys.path += []


@dataclass(frozen=True)
class Record:
    """A record."""

    id: int
    more: float | None = None
    size: int = SIZE

    def text(self):
        return str(self.id)


def low():
    """Low."""
    return os.sep  # one
'''


def clear() -> None:
    for function in (fingerprint._parsed, fingerprint._uses, fingerprint._code):
        function.cache_clear()


def changed_by(file, old: str, new: str, *modules: str, **more) -> bool:
    """Return whether an edit changes the fingerprint of modules."""
    before = fingerprint.of(*modules, **more)
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))
    clear()
    return fingerprint.of(*modules, **more) != before


def test_code_counts_wherever_in_the_imports_it_stands(package):
    assert changed_by(package / "sub/low.py", "os.sep", "os.linesep", "top")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("id: int", "id: str"),
        ("SIZE = 3", "SIZE = 4"),
        ("str(self.id)", "repr(self.id)"),
        ("@dataclass(frozen=True)", "@dataclass"),
        ("from dataclasses import dataclass", "from attrs import dataclass"),
        ("sys.path += []", "sys.path += ['x']"),
        ("    more: float | None = None\n", "    more: float | None = 1.0\n"),
    ],
)
def test_an_imported_definition_counts_with_all_that_it_uses_and_what_its_module_runs(package, old, new):
    assert changed_by(package / "sub/low.py", old, new, "one")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("os.sep", "os.linesep"),
        ("import os", "import posix as os"),
        ("SIZE = 3\n", "SIZE = 3\nOTHER = 4\n"),
        ("    more: float | None = None\n", ""),
        ("    id: int\n", "    id: int\n    another: str | None = None\n"),
    ],
)
def test_other_definitions_of_its_module_and_optional_fields_do_not_count(package, old, new):
    assert not changed_by(package / "sub/low.py", old, new, "one")


def test_a_rule_may_name_one_definition(package):
    assert changed_by(package / "sub/low.py", "os.sep", "os.linesep", "sub.low.low")
    assert not changed_by(package / "sub/low.py", "os.linesep", "os.sep", "sub.low.Record")


def test_what_a_module_compiles_counts_with_it(package):
    (package / "sub/low.cpp").write_text("int low() { return 1; }")
    assert changed_by(package / "sub/low.cpp", "return 1", "return 2", "top")
    assert not changed_by(package / "sub/low.cpp", "return 2", "return 3", "top", compiled=False)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# one", "# another"),
        ('"""Low."""\n\nimport', '"""Lower."""\n\nimport'),
        ("return os.sep", "return (\n  os.sep)"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(package, old, new):
    assert not changed_by(package / "sub/low.py", old, new, "top")


def test_version_and_modules_that_are_not_imported_do_not_count(package):
    assert not changed_by(package / "__init__.py", "1", "2", "top")
    assert not changed_by(package / "one.py", "Record(1)", "Record(2)", "top")


def test_imports_are_followed_and_packages_outside_are_not(package):
    assert {module for module, _ in fingerprint.reached("top")} == {"top", "middle", "sub.low"}
    assert ("sub.low", "low") not in fingerprint.reached("one")


def test_other_files_count_as_they_stand(package):
    assert changed_by(package / "page.txt", "page", "Page", "top", files=["*.txt"])


def test_versions_of_packages_count_and_so_does_that_one_is_missing(package, monkeypatch):
    found = set()
    for version in ("1.0", "1.1", None):
        monkeypatch.setattr(fingerprint, "library_version", {"vllm": version}.get)
        found.add(fingerprint.of("top", packages=["vllm"]))
    assert len(found) == 3


def test_a_name_without_a_file_is_an_error_and_so_is_that_of_a_package(package):
    for name in ("nope", "sub.nope", "sub.low.nope", "top.low"):
        with pytest.raises(FileNotFoundError, match=f"{name}: the library has no such module or definition"):
            fingerprint.of(name)
    with pytest.raises(FileNotFoundError, match="no such file"):
        fingerprint.of("top", files=["nope/*"])
    with pytest.raises(ValueError, match="sub is a package"):
        fingerprint.of("top", "sub")


def test_every_module_of_the_library_can_be_fingerprinted_without_importing_it():
    for file in fingerprint.PACKAGE.rglob("*.py"):
        name = ".".join(file.relative_to(fingerprint.PACKAGE).with_suffix("").parts)
        if not name.endswith("__init__"):
            assert len(fingerprint.of(name)) == 12
