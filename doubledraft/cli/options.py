"""Options that subcommands share: target and draft, prompt, draft length, sampling."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile

from doubledraft.engine.draft_length import LONGEST_DRAFT
from doubledraft.engine.proposers import NGram
from doubledraft.engine.sampling import Sampling
from doubledraft.evaluation import experiments
from doubledraft.inference.load_pair import OptionError, Pair, load_pair

CONFIGURED = (  # options that --config has values for
    "model",
    "draft",
    "ngram",
    "draft_vocabulary",
    "draft_int8",
    "dtype",
    "device",
    "draft_length",
    "prompt_file",
    "few_shot",
    "limit",
    "max_tokens",
    "seed",
)


def add_models(parser: argparse.ArgumentParser) -> None:
    """Add the options for the models and the device."""
    model = {"type": not_empty, "metavar": "FOLDER"}
    parser.add_argument("--model", required=True, help="the target: a folder, or a name on the hub", **model)
    drafting = parser.add_mutually_exclusive_group()
    drafting.add_argument("--draft", help="the draft model: a folder, or a name on the hub", **model)
    drafting.add_argument("--ngram", action="store_true", help="draft by n-gram lookup in the text so far")
    parser.add_argument(
        "--draft-vocabulary",
        nargs="+",
        metavar="FILE",
        help="generations (`distilled.jsonl`): draft only tokens that occur in them; faster, the same answer",
    )
    add_kernels(parser)


def add_kernels(parser: argparse.ArgumentParser) -> None:
    """Add the options of how models are computed."""
    parser.add_argument(
        "--draft-int8", action="store_true", help="round the draft's weights to 8 bits (CPU); faster, the same answer"
    )
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"), help="of weights and caches")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")


def add_prompt_file(parser: argparse.ArgumentParser) -> None:
    """Add the options for the text before a question."""
    parser.add_argument("--prompt-file", metavar="YAML", help="system text and examples, as in config/prompts/cot.yaml")
    parser.add_argument("--few-shot", action="store_true", help="include the examples of the prompt file")


def add_draft_length(parser: argparse.ArgumentParser) -> None:
    """Add the option for the tokens drafted per step."""
    parser.add_argument(
        "--draft-length",
        "--K",
        type=draft_length,
        default=5,
        metavar="K",
        help=f"tokens drafted per step, 1 to {LONGEST_DRAFT}, or `adaptive`; default: 5",
    )


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add --config, from which options of CONFIGURED that are not given are filled in by `filled`; call it last."""
    defaults = {}
    for action in parser._actions:
        if action.dest in CONFIGURED:
            defaults[action.dest] = action.default
            action.default, action.required = argparse.SUPPRESS, False  # so that only what was given is in the options
    parser.set_defaults(defaults=defaults)
    parser.add_argument(
        "--config", metavar="YAML", help="a file of `doubledraft benchmark`: its models and data sets are defaults here"
    )


def filled(options: argparse.Namespace) -> argparse.Namespace:
    """Return the options with what is missing: from the data set `dataset` of --config, then the usual defaults.

    Raise OptionError where there is no target, or no such data set.
    """
    given = vars(options).copy()
    defaults = given.pop("defaults")
    named = _configured(experiments.read_config(options.config), options) if options.config else {}
    if "draft" in given or "ngram" in given:
        of_draft = ("draft", "ngram", "draft_vocabulary", "draft_int8")
        named = {name: value for name, value in named.items() if name not in of_draft}
    known = {name: value for name, value in named.items() if value is not None}
    merged = defaults | known | given | {name: known[name] for name in ("dataset",) if name in known}
    if not merged.get("model"):
        raise OptionError("--model is missing: name the target, or a --config that does")
    return argparse.Namespace(**merged)


def _configured(config: Mapping, options: argparse.Namespace) -> dict[str, object]:
    """Return the values of options that a config holds; the data set is the first one where none is named."""
    name = options.dataset or next(iter(config["data"]))
    if name not in config["data"]:
        raise OptionError(f"--dataset {name}: {options.config} has {', '.join(config['data'])}")
    entry, draft = config["data"][name], experiments.draft_of(config, name)
    return {
        "dataset": entry["file"],
        "prompt_file": entry["prompt_file"],
        "few_shot": entry["few_shot"],
        "limit": entry["limit"],
        "max_tokens": entry["max_tokens"],
        "model": config["target"],
        "draft": config["drafts"].get(draft),
        "ngram": draft == experiments.NGRAM,
        "draft_vocabulary": config["draft_vocabulary"].get(draft),
        "draft_int8": config["int8"] and draft in config["drafts"],
        **{key: config[key] for key in ("draft_length", "dtype", "device", "seed")},
    }


def draft_length(text: str) -> int | str:
    """Parse K or `adaptive`."""
    if text == "adaptive":
        return text
    if not text.isdecimal() or not 1 <= int(text) <= LONGEST_DRAFT:
        raise argparse.ArgumentTypeError(f"expected 1 to {LONGEST_DRAFT}, or adaptive; found {text!r}")
    return int(text)


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """Add the options for sampling."""
    parser.add_argument("--temperature", type=float, default=0.0, help="default: 0, which is greedy")
    parser.add_argument(
        "--top-p", type=float, default=1.0, help="draw from the nucleus of this probability; default: 1"
    )
    parser.add_argument("--top-k", type=int, help="draw from the k most probable tokens; default: all")
    parser.add_argument("--seed", type=seed, default=0, help="of the draws; default: 0")


def as_sampling(options: argparse.Namespace) -> Sampling:
    """Return the sampling that the options ask for; raise OptionError where a value is out of range."""
    try:
        return Sampling(options.temperature, options.top_k, options.top_p)
    except ValueError as error:
        raise OptionError(str(error)) from None


def at_least_zero(text: str) -> int:
    """Parse an integer of 0 or more."""
    return _at_least(0, text)


def at_least_one(text: str) -> int:
    """Parse an integer of 1 or more."""
    return _at_least(1, text)


def at_least_two(text: str) -> int:
    """Parse an integer of 2 or more."""
    return _at_least(2, text)


def _at_least(least: int, text: str) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"expected {least} or more, found {text!r}")
    return int(text)


def seed(text: str) -> int:
    """Parse a seed of torch's generators, an integer of 0 or more in 63 bits."""
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"expected 0 to {2**63 - 1}, found {text!r}")
    return int(text)


def not_empty(text: str) -> str:
    """Parse a name or path of at least one character."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"expected a folder or a name, found {text!r}")
    return text


def standard_input() -> str:
    """Read standard input; raise OptionError where it is closed, or no text."""
    if sys.stdin is None:
        raise OptionError("--prompt -: standard input is closed")
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise OptionError(f"--prompt -: standard input is not {error.encoding} text: {error.reason}") from None


def refuse_unwritable(folder: str) -> None:
    """Make the folder of --out, and raise OptionError where no file can be written into it."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OptionError(f"--out {folder}: no file can be written there: {error.strerror}") from None


def load(options: argparse.Namespace) -> Pair:
    """Load the models that the options name; raise ModelError where they cannot be used together.

    Before that raise OptionError for options that would be ignored.
    """
    _refuse_ignored(options)
    return load_pair(
        options.model,
        NGram() if options.ngram else options.draft,
        dtype=options.dtype,
        device=options.device,
        draft_vocabulary=options.draft_vocabulary or (),
        int8_draft=options.draft_int8,
    )


def _refuse_ignored(options: argparse.Namespace) -> None:
    """Raise OptionError for an option that has no effect beside the others."""
    if options.ngram and options.draft_length == "adaptive":
        raise OptionError("--draft-length adaptive needs the confidence of a draft model, and --ngram has none")
    for name in ("draft_vocabulary", "draft_int8"):
        if getattr(options, name) and not options.draft:
            raise OptionError(f"--{name.replace('_', '-')} needs a draft model: name one with --draft")
    if options.few_shot and not options.prompt_file:
        raise OptionError("--few-shot needs the examples of a prompt file: name one with --prompt-file")
