"""Upload a draft adapter and its card to the Hugging Face hub.

The repository is private unless --public is given. The token is HF_TOKEN, from the environment or `.env`. With
--dry-run nothing is sent and no token is needed: the files are listed with their sizes.
"""

import argparse
import sys

from doubledraft.cli.card import add_adapter, fill_in
from doubledraft.report import card, hub


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this subcommand."""
    add_adapter(parser)
    help_text = "repository on the hub; created if missing"
    parser.add_argument("--repo", required=True, type=repository, metavar="OWNER/NAME", help=help_text)
    parser.add_argument("--public", action="store_true", help="make the repository public; default: private")
    parser.add_argument("--dry-run", action="store_true", help="list the files and send nothing")


def repository(text: str) -> str:
    """Parse the name of a repository on the hub."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(text)
    except HFValidationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if "/" not in text:
        raise argparse.ArgumentTypeError(f"expected OWNER/NAME, found {text!r}")
    return text


def run(options: argparse.Namespace) -> None:
    """List the files and, unless it is a dry run, upload them."""
    fill_in(options)
    uploads = hub.plan(options.adapter, options.card, card.base_repository(options.metrics))
    sys.stdout.write(f"{options.repo} ({'public' if options.public else 'private'})\n")
    for upload in uploads:
        sys.stdout.write(f"{upload.size:>14,}  {upload.name}\n")
    if options.dry_run:
        sys.stdout.write("Nothing was sent.\n")
    else:
        sys.stdout.write(f"{hub.push(uploads, options.repo, public=options.public)}\n")
