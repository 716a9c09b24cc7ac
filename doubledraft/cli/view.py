"""Show token by token what was drafted, accepted and rejected, as one HTML file.

FILE is `decoding.jsonl` of a cell or of `doubledraft benchmark`, or holds answers of vLLM's server, as JSON or JSON
lines: start the server with `--per-request-spec-decode-metrics detailed`, and send requests with `return_token_ids`.
"""

import argparse
import sys
from pathlib import Path

from doubledraft.cli import options as shared
from doubledraft.evaluation.decodings import token_text, with_other_drafts
from doubledraft.models.inspect import load_tokenizer
from doubledraft.records import RecordError, read_records
from doubledraft.report import viewer, vllm_answers
from doubledraft.summaries.decoding_record import DecodingRecord
from doubledraft.summaries.draft_audit import AuditedAnswer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this subcommand."""
    parser.add_argument("file", metavar="FILE", help="decoding.jsonl, or answers of vLLM's server")
    parser.add_argument("--out", metavar="HTML", help="page to write; default: FILE with the ending .html")
    parser.add_argument("--title", metavar="TEXT", help="title of the page; default: the name of FILE's folder")
    parser.add_argument(
        "--also",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "AUDIT"),
        help="show one more draft: a name for it, and its draft_audit.jsonl of the same answers; may be repeated",
    )
    parser.add_argument(
        "--tokenizer",
        type=shared.not_empty,
        metavar="FOLDER",
        help="tokenizer that turns token ids into text, for vLLM's answers and for --also",
    )


def run(options: argparse.Namespace) -> None:
    """Write the page, and its path to standard output."""
    path, names = Path(options.file), [name for name, _ in options.also]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise RecordError(f"--also: the name {repeated[0]!r} occurs twice: give every draft a name of its own")
    text_of = token_text(load_tokenizer(options.tokenizer)) if options.tokenizer else None
    try:
        served = vllm_answers.is_answers(path)
        answers = vllm_answers.read(path, text_of) if served else read_records(path, DecodingRecord)
        others = {name: read_records(audit, AuditedAnswer) for name, audit in options.also}
    except OSError as error:
        raise RecordError(f"{error.filename}: cannot be read: {error.strerror}") from None
    if not answers:
        raise RecordError(f"{path}: it holds no answers: benchmark the cell, or ask the server, again")
    out = options.out or path.with_suffix(".html")
    shared.refuse_unwritable_file(out, "--out")
    records = with_other_drafts(answers, others, text_of)
    viewer.write(records, options.title or path.absolute().parent.name, [path.name], out)
    sys.stdout.write(f"{out}\n")
