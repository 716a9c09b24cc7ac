"""Fingerprints of library code: an edit of code changes them, an edit of words does not."""

import pytest

from doubledraft.workflow import fingerprint


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Give a small package in the place of the library: top imports middle imports low."""
    folder = tmp_path / "doubledraft"
    (folder / "sub").mkdir(parents=True)
    (folder / "__init__.py").write_text('VERSION = "1"\n')
    (folder / "sub/__init__.py").write_text("")
    (folder / "sub/low.py").write_text('"""Low."""\n\n\ndef low():\n    """Say."""\n    return 1  # one\n')
    (folder / "middle.py").write_text("def middle():\n    from doubledraft.sub import low\n\n    return low.low()\n")
    (folder / "top.py").write_text("import json\n\nfrom doubledraft import VERSION, middle\n")
    (folder / "other.py").write_text("from doubledraft.middle import middle\n")
    (folder / "page.txt").write_text("page")
    monkeypatch.setattr(fingerprint, "PACKAGE", folder)
    clear()
    yield folder
    clear()


def clear() -> None:
    fingerprint._imports.cache_clear()
    fingerprint._code.cache_clear()


def edit(file, old: str, new: str) -> None:
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    clear()


def test_code_counts_wherever_in_the_imports_it_stands(package):
    before = fingerprint.of("top")
    edit(package / "sub/low.py", "return 1", "return 2")
    assert fingerprint.of("top") != before


def test_what_a_module_compiles_counts_with_it(package):
    (package / "sub/low.cpp").write_text("int low() { return 1; }")
    before = fingerprint.of("top")
    edit(package / "sub/low.cpp", "return 1", "return 2")
    assert fingerprint.of("top") != before


def test_comments_docstrings_and_layout_do_not_count(package):
    before = fingerprint.of("top")
    edit(package / "sub/low.py", "# one", "# another")
    edit(package / "sub/low.py", "Say.", "Say so.")
    edit(package / "sub/low.py", "return 1", "return (\n        1\n    )")
    assert fingerprint.of("top") == before


def test_version_and_modules_that_are_not_imported_do_not_count(package):
    before = fingerprint.of("top")
    edit(package / "__init__.py", "1", "2")
    edit(package / "other.py", "import middle", "import middle as other")
    assert fingerprint.of("top") == before


def test_imports_are_followed_and_packages_outside_are_not(package):
    assert fingerprint.reached("top") == {"top", "middle", "sub", "sub.low"}


def test_other_files_count_as_they_stand(package):
    before = fingerprint.of("top", files=["*.txt"])
    edit(package / "page.txt", "page", "Page")
    assert fingerprint.of("top", files=["*.txt"]) != before


def test_name_that_stands_for_nothing_is_an_error(package):
    with pytest.raises(FileNotFoundError, match="nope"):
        fingerprint.of("nope")
    with pytest.raises(FileNotFoundError, match="named so"):
        fingerprint.of("top", files=["nope/*"])


def test_every_module_of_the_library_can_be_fingerprinted_without_importing_it():
    for file in fingerprint.PACKAGE.rglob("*.py"):
        name = ".".join(file.relative_to(fingerprint.PACKAGE).with_suffix("").parts)
        if not name.endswith("__init__"):
            assert len(fingerprint.of(name)) == 12
