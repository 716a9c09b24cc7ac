"""Write the model card of a draft adapter, from measured metrics only.

Metrics come from the metrics.json of the cell, with interval, n, definition, engine and hardware; training from the
adapter's training.json. Metrics that are missing or of another adapter are refused; a value that is null is left out.
"""

import argparse
import sys
from pathlib import Path

from doubledraft.cli import options as shared
from doubledraft.report import card


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this subcommand."""
    add_adapter(parser)
    parser.add_argument(
        "--license", metavar="ID", help="of the adapter, as the hub writes it: apache-2.0; default: none"
    )


def add_adapter(parser: argparse.ArgumentParser) -> None:
    """Add the options for an adapter, its metrics and its card."""
    parser.add_argument("adapter", type=Path, metavar="ADAPTER", help="folder: results/cod_hard/draft_adapter")
    parser.add_argument(
        "--metrics", type=Path, metavar="FILE", help="default: metrics.json beside the adapter's folder"
    )
    parser.add_argument(
        "--card", type=Path, metavar="FILE", help="default: draft_adapter.md beside the adapter's folder"
    )


def fill_in(options: argparse.Namespace) -> None:
    """Fill in the default paths."""
    options.metrics = options.metrics or options.adapter.with_name("metrics.json")
    options.card = options.card or options.adapter.with_name(f"{options.adapter.name}.md")


def run(options: argparse.Namespace) -> None:
    """Write the card and print its path."""
    fill_in(options)
    shared.refuse_unwritable_file(options.card, "--card")
    card.write(options.adapter, options.metrics, options.card, license=options.license)
    sys.stdout.write(f"{options.card}\n")
