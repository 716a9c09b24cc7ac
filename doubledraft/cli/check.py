"""Check that config files from elsewhere are plain values, before Snakemake reads them.

Snakemake runs Python code in a config that sets `__use_yte__`, and expands aliases, before the workflow can check it.
Every run, dry runs (`snakemake -n`) included, checks the keys and values themselves.
"""

import argparse
import sys
from pathlib import Path

from doubledraft import config_schema
from doubledraft.inference.load_pair import OptionError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this subcommand."""
    parser.add_argument("config", nargs="+", type=Path, metavar="CONFIG", help="a YAML file, as for --configfile")


def run(options: argparse.Namespace) -> None:
    """Print the files that are plain values; raise OptionError where one is not."""
    for file in options.config:
        if not file.is_file():
            raise OptionError(f"{file}: expected a file")
        if problems := config_schema.file_problems(file):
            raise OptionError("\n".join(problems))
        sys.stdout.write(f"{file}: plain values\n")
