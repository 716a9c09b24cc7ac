"""The command line: one subcommand for each module in COMMANDS.

A subcommand is a module with two functions, `add_arguments(parser)` and `run(options)`; the first line of its docstring
is what `--help` shows. It raises one of the refusals for what the user can correct: one line on standard error and exit
status 2, as for a misspelt option. Any other exception is a bug, and keeps its traceback.

Modules take most of a second to import, so a subcommand is imported when it is called, and refusals when one is raised.
"""

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence

from doubledraft.files import NO_ROOM, NOT_OURS

COMMANDS = (
    *("generate", "demo", "advise", "benchmark", "profile", "evaluate"),
    *("view", "card", "push", "check", "status"),
)
REFUSED, STOPPED = 2, 130  # exit status; 130 is that of shells after Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand, by default that of the process's arguments; return the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if reason := _unusable(arguments):
        if sys.stderr:
            sys.stderr.write(f"doubledraft: {reason}\n")
        return REFUSED
    called = [name for name in arguments[:1] if name in COMMANDS]
    try:
        options = _parser(called or COMMANDS).parse_args(arguments)
        options.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return STOPPED
    except BrokenPipeError:  # the reader closed the pipe
        _drop_output()
    except _refusals() as refusal:
        sys.stderr.write(f"doubledraft {options.command}: {refusal}\n")
        return REFUSED
    except OSError as error:
        if error.errno in NO_ROOM:
            _drop_output()
        elif error.errno not in NOT_OURS:
            raise
        notes = "; ".join([str(error), *getattr(error, "__notes__", [])])
        sys.stderr.write(f"doubledraft {options.command}: {notes}\n")
        return REFUSED
    return 0


def _unusable(arguments: Sequence[str]) -> str | None:
    """Return why nothing can be printed or understood; make the streams replace what a terminal cannot show."""
    if sys.stdout is None or sys.stderr is None:
        return "standard output or standard error is closed: redirect it to a file or to /dev/null"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    undecoded = next((argument for argument in arguments if not argument.isascii() and _undecodable(argument)), None)
    return None if undecoded is None else f"the argument {ascii(undecoded)} is not {sys.getfilesystemencoding()} text"


def _undecodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # Python keeps bytes of other encodings as lone surrogates
        return True
    return False


def _drop_output() -> None:
    """Drop what Python still buffers, which it would try to write once more at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refusals() -> tuple[type[Exception], ...]:
    """Return the exceptions whose message is all that the user needs."""
    from doubledraft.api_keys import MissingKey
    from doubledraft.engine.kv_cache import CacheFull
    from doubledraft.evaluation.experiments import ExperimentError
    from doubledraft.inference.load_pair import OptionError
    from doubledraft.models.folder import ModelError
    from doubledraft.prompts import PromptError
    from doubledraft.records import RecordError
    from doubledraft.report.hub import HubError
    from doubledraft.report.tables import ReportError
    from doubledraft.sandbox import UnconfinedError

    return (
        *(CacheFull, ExperimentError, HubError, MissingKey, ModelError),
        *(OptionError, PromptError, RecordError, ReportError, UnconfinedError),
    )


def _parser(names: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """Return the parser that knows some subcommands, by default all."""
    parser = argparse.ArgumentParser(
        prog="doubledraft", description="Lossless speculative decoding: answer, measure, publish."
    )
    subcommands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name in names:
        command = importlib.import_module(f"doubledraft.cli.{name}")
        subparser = subcommands.add_parser(name, help=command.__doc__.split("\n")[0], description=command.__doc__)
        subparser.formatter_class = argparse.RawDescriptionHelpFormatter
        subparser.set_defaults(run=command.run)
        command.add_arguments(subparser)
    return parser
