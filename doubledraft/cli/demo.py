"""Serve a page where a prompt is answered twice, with and without the draft, side by side.

Both answers stream, token by token. Needs the extra `demo`. The page listens on this machine alone unless --host names
another address; it has no login, so open it to others only where they may use the machine.
"""

import argparse
import socket
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from doubledraft.cli import demo_page
from doubledraft.cli import options as shared
from doubledraft.engine.proposers import NGram, Proposer
from doubledraft.inference.load_pair import OptionError, Pair, load_draft, load_pair

NGRAM = "n-grams of the text"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this subcommand."""
    shared.add_target(parser)
    parser.add_argument(
        "--draft",
        nargs="+",
        default=[],
        type=shared.not_empty,
        metavar="FOLDER",
        help="drafts to choose from, each a folder or a name on the hub; n-gram lookup can always be chosen",
    )
    shared.add_device(parser)
    shared.add_prompt_file(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; default: 127.0.0.1")
    parser.add_argument(
        "--port", type=shared.at_least_one, default=7860, metavar="N", help="port to listen on; default: 7860"
    )


def run(options: argparse.Namespace) -> None:
    """Load the models, answer once with each draft so that nothing is compiled later, and serve the page."""
    shared.refuse_few_shot_alone(options)
    _refuse_unservable(options.host, options.port)
    pair = load_pair(options.model, dtype=options.dtype, device=options.device)
    pairs = {name: replace(pair, proposer=proposer) for name, proposer in _drafts(pair, options.draft).items()}
    demo = demo_page.Demo(pair, pairs, options.prompt_file, options.few_shot)
    demo.warm_up()
    sys.stdout.write(f"http://{options.host}:{options.port}\n")
    sys.stdout.flush()
    demo_page.serve(demo, options.host, options.port)


def _refuse_unservable(host: str, port: int) -> None:
    """Raise OptionError where no page can be served, before models are loaded."""
    if find_spec("gradio") is None:
        raise OptionError("the page needs Gradio, the extra `demo` of this package: pip install gradio")
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except (OSError, OverflowError) as error:
        raise OptionError(f"--host {host} --port {port}: cannot listen there: {error}; take another --port") from None


def _drafts(pair: Pair, folders: list[str]) -> dict[str, Proposer]:
    """Return what may draft, by the name that the page shows."""
    names = [Path(folder).absolute().name for folder in folders]
    unique = len(set(names)) == len(names)
    drafts = {
        name if unique else folder: load_draft(folder, pair.target) for name, folder in zip(names, folders, strict=True)
    }
    return drafts | {NGRAM: NGram()}
