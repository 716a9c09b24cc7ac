"""The command line as a user meets it: output, refusals, exit status."""

import pytest

from doubledraft.cli.main import COMMANDS
from tests.helpers.commands import run


def test_help_names_every_subcommand_and_what_it_is_for(capsys):
    status, out, _ = run(capsys, "--help")
    assert status == 0
    for command in COMMANDS:
        assert command.__name__.rpartition(".")[2] in out.split()
        assert " ".join(command.__doc__.split("\n")[0].split()) in " ".join(out.split())


@pytest.mark.parametrize("length", ["0", "17", "-1", "many"])
def test_a_draft_length_out_of_bounds_is_refused_before_a_model_is_loaded(length, capsys):
    status, _, err = run(capsys, "generate", "--model", "/nowhere", "--prompt", "?", f"--draft-length={length}")
    assert status == 2 and "expected 1 to 16, or adaptive" in err
