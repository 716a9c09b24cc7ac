"""Kept fingerprints are those that would be computed, and an edit of the library or another version finds none."""

import pytest

from doubledraft.workflow import fingerprint, kept_fingerprints
from doubledraft.workflow.kept_fingerprints import KeptFingerprints


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Return a library of one module and one other file; nothing of it is kept yet."""
    folder = tmp_path / "doubledraft"
    folder.mkdir()
    (folder / "top.py").write_text("def top():\n    return 1  # one\n")
    (folder / "page.txt").write_text("page")
    monkeypatch.setattr(fingerprint, "PACKAGE", folder)
    monkeypatch.setattr(kept_fingerprints, "FOLDER", tmp_path / "kept")
    return folder


def computed(monkeypatch) -> list[tuple]:
    """Return a list that gets the names of every fingerprint that is computed from here on."""
    names, of = [], fingerprint.of

    def counted(*args, **more):
        names.append(args)
        return of(*args, **more)

    monkeypatch.setattr(fingerprint, "of", counted)
    return names


def test_what_is_kept_is_what_would_be_computed_and_is_not_computed_again(library, monkeypatch):
    first = KeptFingerprints()
    value = first.of("top", files=["page.txt"], packages=["numpy"])
    assert value == fingerprint.of("top", files=["page.txt"], packages=["numpy"]) != first.of("top")
    first.keep()
    names = computed(monkeypatch)
    assert KeptFingerprints().of("top", files=["page.txt"], packages=["numpy"]) == value and not names


@pytest.mark.parametrize(("file", "old", "new"), [("top.py", "return 1", "return 2"), ("page.txt", "page", "pages")])
def test_an_edit_of_any_file_finds_nothing_kept(library, monkeypatch, file, old, new):
    first = KeptFingerprints()
    first.of("top", files=["page.txt"])
    first.keep()
    (library / file).write_text((library / file).read_text().replace(old, new))
    names = computed(monkeypatch)
    KeptFingerprints().of("top", files=["page.txt"])
    assert names == [("top",)]


def test_of_many_edits_the_latest_are_kept(library, monkeypatch):
    monkeypatch.setattr(kept_fingerprints, "LIBRARIES", 2)
    for number in range(4):
        (library / "page.txt").write_text(str(number))
        kept = KeptFingerprints()
        kept.of("top")
        kept.keep()
    assert len(list(kept_fingerprints.FOLDER.iterdir())) == 2
    names = computed(monkeypatch)
    KeptFingerprints().of("top")
    assert not names, "that of the last edit is among them"


def test_another_version_of_a_package_finds_nothing_kept(library, monkeypatch):
    values = set()
    for version in ("1", "2", None):
        monkeypatch.setattr(kept_fingerprints, "_version", lambda _, version=version: version)
        monkeypatch.setattr(fingerprint, "library_version", lambda _, version=version: version)
        kept = KeptFingerprints()
        values.add(kept.of("top", packages=["vllm"]))
        kept.keep()
    assert len(values) == 3


@pytest.mark.parametrize("hindrance", ["half of a file", "no folder to write to"])
def test_what_cannot_be_read_or_written_is_computed(library, monkeypatch, hindrance):
    first = KeptFingerprints()
    value = first.of("top")
    if hindrance == "half of a file":
        first.keep()
        [file] = kept_fingerprints.FOLDER.iterdir()
        file.write_text(file.read_text()[:9])
    else:
        kept_fingerprints.FOLDER.write_text("a file")
        first.keep()
    names = computed(monkeypatch)
    assert KeptFingerprints().of("top") == value and names == [("top",)]
