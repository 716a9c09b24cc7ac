"""Run subcommands as a terminal would, or one whose pipe nobody reads."""

import os
from contextlib import redirect_stdout

from doubledraft.cli.main import main


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    """Run a subcommand; return the exit status and what came out on standard output and standard error."""
    try:
        status = main([str(argument) for argument in arguments])
    except SystemExit as exit:  # argparse leaves in this way
        status = exit.code
    return status, *capsys.readouterr()


def run_unread(*arguments: object) -> int:
    """Run a subcommand whose standard output is a pipe that nobody reads any more; return the exit status."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as pipe, redirect_stdout(pipe):  # by lines, so that the first one fails
        return main([str(argument) for argument in arguments])
