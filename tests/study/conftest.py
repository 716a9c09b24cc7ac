"""A finished study for tests of what Snakemake makes again: the whole default grid, made by stand-ins."""

import shutil
from pathlib import Path

import pytest

from tests.helpers.running import copy_workflow, put_stand_ins, snakemake


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """Return the folder of the finished study; a test leaves it as it was."""
    folder = copy_workflow(tmp_path_factory.mktemp("made"))
    put_stand_ins(folder)
    (folder / "trackio").mkdir()
    (folder / "trackio/__init__.py").touch()  # a config that names a package which is not there is refused
    first = snakemake(folder=folder)
    assert first.code == 0, first.text[-3000:]
    return folder


@pytest.fixture
def grid(made, tmp_path) -> Path:
    """Return a copy of the finished study that a test may change; times of files are kept."""
    return shutil.copytree(made, tmp_path / "grid", symlinks=True)
