"""The command line as a user meets it: output, refusals, exit status."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

from doubledraft import cli
from doubledraft.cli.main import COMMANDS
from tests.helpers.commands import run


def test_help_names_every_subcommand_and_what_it_is_for(capsys):
    status, out, _ = run(capsys, "--help")
    assert status == 0
    for name in COMMANDS:
        assert name in out.split()
        title = importlib.import_module(f"doubledraft.cli.{name}").__doc__.split("\n")[0]
        assert " ".join(title.split()) in " ".join(out.split())


def test_every_module_with_a_subcommand_is_one_of_them():
    modules = (module.name for module in pkgutil.iter_modules(cli.__path__))
    assert sorted(COMMANDS) == [
        name for name in modules if hasattr(importlib.import_module(f"doubledraft.cli.{name}"), "add_arguments")
    ]


def test_a_subcommand_is_called_without_what_only_others_import():
    code = (
        "import sys; from doubledraft.cli.main import main; main(['status']); "
        "sys.exit('numpy' in sys.modules or 'doubledraft.cli.generate' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("length", ["0", "17", "-1", "many"])
def test_a_draft_length_out_of_bounds_is_refused_before_a_model_is_loaded(length, capsys):
    status, _, err = run(capsys, "generate", "--model", "/nowhere", "--prompt", "?", f"--draft-length={length}")
    assert status == 2 and "expected 1 to 16, or adaptive" in err
