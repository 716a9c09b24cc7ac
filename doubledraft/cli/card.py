"""Write the model card of a draft adapter, from measured metrics only.

The card takes metrics from the cell's metrics.json, with interval, n, definition, engine and hardware, and the training
from the adapter's training.json. No card is written where metrics are missing or belong to another adapter; a metric
that is null is left out.
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
        "--license", metavar="ID", help="license of the adapter, as the hub names it, such as apache-2.0; default: none"
    )


def add_adapter(parser: argparse.ArgumentParser) -> None:
    """Add the options for an adapter, its metrics and its card."""
    parser.add_argument(
        "adapter", type=Path, metavar="ADAPTER", help="adapter's folder, such as results/cod_hard/draft_adapter"
    )
    parser.add_argument(
        "--metrics",
        type=Path,
        metavar="FILE",
        help="metrics of its cell; default: metrics.json beside the adapter's folder",
    )
    parser.add_argument(
        "--card",
        type=Path,
        metavar="FILE",
        help="its model card; default: the adapter's folder with .md behind its name",
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
