"""The command line as a user meets it: output, refusals, exit status.  pytest tests/test_cli.py"""

import os
from contextlib import redirect_stdout

import pytest

from doubledraft.cli import COMMANDS, main


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    """Run a subcommand; gives the exit status and what came out on standard output and standard error."""
    try:
        status = main([str(argument) for argument in arguments])
    except SystemExit as exit:  # argparse leaves in this way
        status = exit.code
    return status, *capsys.readouterr()


def run_unread(*arguments: object) -> int:
    """Run a subcommand whose standard output is a pipe that nobody reads any more; gives the exit status."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as pipe, redirect_stdout(pipe):  # by lines, so that the first one fails
        return main([str(argument) for argument in arguments])


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
