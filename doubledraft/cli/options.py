"""Options that subcommands share: target and draft, prompt, questions, draft length, sampling; and their parsing."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile

from doubledraft.engine.draft_length import LONGEST_DRAFT, by_setting
from doubledraft.engine.proposers import NGram, NoDraft
from doubledraft.engine.sampling import Sampling
from doubledraft.evaluation import experiments
from doubledraft.evaluation.arms import Arm
from doubledraft.evaluation.interleave import SPECULATIVE
from doubledraft.inference.load_pair import OptionError, Pair, load_pair

OF_DRAFT = ("draft", "ngram", "draft_vocabulary", "draft_int8")  # options of a draft, which belong together


def add_models(parser: argparse.ArgumentParser) -> None:
    """Add the options for the models and how they are computed."""
    add_target(parser)
    drafting = parser.add_mutually_exclusive_group()
    help_text = "draft model: a folder, or a name on the Hugging Face hub; default: no draft, the target alone"
    drafting.add_argument("--draft", type=not_empty, metavar="FOLDER", help=help_text)
    drafting.add_argument("--ngram", action="store_true", help="draft with n-gram lookup in the text so far")
    parser.add_argument(
        "--draft-vocabulary",
        nargs="+",
        metavar="FILE",
        help="files of answers (`distilled.jsonl`): draft only tokens that occur in them; faster, same answer",
    )
    add_int8(parser)
    add_device(parser)


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add the option for the target."""
    help_text = "target model: a folder, or a name on the Hugging Face hub"
    parser.add_argument("--model", required=True, type=not_empty, metavar="FOLDER", help=help_text)


def add_int8(parser: argparse.ArgumentParser) -> None:
    """Add the option for 8-bit weights of the draft."""
    help_text = "round the draft's weights to 8 bits (CPU): faster, same answer"
    parser.add_argument("--draft-int8", action="store_true", help=help_text)


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the options for dtype and device."""
    dtypes = ("bfloat16", "float32")
    parser.add_argument(
        "--dtype", default=dtypes[0], choices=dtypes, help="data type of weights and caches; default: bfloat16"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is a GPU, otherwise cpu")


def add_prompt_file(parser: argparse.ArgumentParser) -> None:
    """Add the options for the text before a question."""
    help_text = "file with the system message and few-shot examples, like config/prompts/cot.yaml"
    parser.add_argument("--prompt-file", metavar="YAML", help=help_text)
    parser.add_argument("--few-shot", action="store_true", help="put the prompt file's examples before the question")


def add_data_set(parser: argparse.ArgumentParser, without: str) -> None:
    """Add the option for questions; `without` says what is asked where it is not given."""
    help_text = f"humaneval, gsm8k or math, from the hub; or a file of JSON lines or parquet{without}"
    parser.add_argument("--dataset", "--data", metavar="NAME", help=help_text)


def add_num_samples(parser: argparse.ArgumentParser, default: int) -> None:
    """Add the option for the number of questions."""
    help_text = f"the first N questions of the data set; default: {default}"
    parser.add_argument("--num-samples", "--limit", type=at_least_one, default=default, metavar="N", help=help_text)


def add_max_tokens(parser: argparse.ArgumentParser, default: int, parse: Callable[[str], int]) -> None:
    """Add the option for the cap on the tokens of an answer."""
    help_text = f"cap on the tokens of an answer; default: {default}"
    parser.add_argument("--max-tokens", type=parse, default=default, metavar="N", help=help_text)


def add_draft_length(parser: argparse.ArgumentParser) -> None:
    """Add the option for the tokens drafted per step."""
    help_text = f"tokens drafted per step, 1 to {LONGEST_DRAFT}, or `adaptive`; default: 5"
    parser.add_argument("--draft-length", "--K", type=draft_length, default=5, metavar="K", help=help_text)


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add --config, from which `filled` takes options that are not given; call it after all other options."""
    defaults = {}
    for action in parser._actions:
        if action.dest != "help":
            defaults[action.dest] = action.default
            action.default, action.required = argparse.SUPPRESS, False  # so that only what was given is in the options
    parser.set_defaults(defaults=defaults)
    help_text = (
        "config of `doubledraft benchmark`: supplies the options that are not given; --dataset then names one of its "
        "data sets"
    )
    parser.add_argument("--config", metavar="YAML", help=help_text)


def filled(options: argparse.Namespace) -> argparse.Namespace:
    """Return the options, missing ones filled in from the data set `dataset` of --config, then from their defaults.

    Raise OptionError where there is no target, or no such data set.
    """
    given = vars(options).copy()
    defaults, configured = given.pop("defaults"), {}
    if options.config:
        configured = _configured(options.config, given.pop("dataset", None))
    if "draft" in given or "ngram" in given:
        configured = {name: value for name, value in configured.items() if name not in OF_DRAFT}
    merged = defaults | {name: value for name, value in configured.items() if value is not None} | given
    if not merged["model"]:
        raise OptionError("--model is missing: name the target, or a --config that does")
    return argparse.Namespace(**merged)


def _configured(path: str, data_set: str | None) -> dict[str, object]:
    """Return the options that a config file has values for, None where it names none; by default of its first data set.

    `dataset` is the file of the data set in place of its name.
    """
    config = experiments.read_config(path)
    name = data_set or next(iter(config["data"]))
    if name not in config["data"]:
        raise OptionError(f"--dataset {name}: {path} has only {', '.join(config['data'])}")
    entry, draft = config["data"][name], experiments.draft_of(config, name)
    return {
        "dataset": entry["file"],
        "model": config["target"],
        "draft": config["drafts"].get(draft),
        "ngram": draft == experiments.NGRAM,
        "draft_vocabulary": config["draft_vocabulary"].get(draft),
        "draft_int8": config["int8"] and draft in config["drafts"],
        **{key: entry[key] for key in ("prompt_file", "few_shot", "limit", "max_tokens")},
        **{key: config[key] for key in ("draft_length", "dtype", "device", "seed")},
    }


def as_json(options: argparse.Namespace) -> dict[str, object]:
    """Return the options for the record of a run, ready for JSON."""
    return {name: value for name, value in vars(options).items() if name != "run"}


def draft_length(text: str) -> int | str:
    """Parse K or `adaptive`."""
    if text == "adaptive":
        return text
    if not text.isdecimal() or not 1 <= int(text) <= LONGEST_DRAFT:
        raise argparse.ArgumentTypeError(f"expected 1 to {LONGEST_DRAFT}, or adaptive; found {text!r}")
    return int(text)


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """Add the options for sampling."""
    help_text = "sampling temperature; default: 0, greedy decoding"
    parser.add_argument("--temperature", type=float, default=0.0, metavar="T", help=help_text)
    help_text = "draw from the most probable tokens, up to a total probability of P; default: 1"
    parser.add_argument("--top-p", type=float, default=1.0, metavar="P", help=help_text)
    parser.add_argument("--top-k", type=int, metavar="K", help="draw from the k most probable tokens; default: all")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="seed of the sampling; default: 0")


def as_sampling(options: argparse.Namespace) -> Sampling:
    """Return the sampling that the options ask for; raise OptionError where a value is out of range, or ignored."""
    if options.temperature == 0 and (options.top_k is not None or options.top_p != 1):
        raise OptionError("--top-p and --top-k need a --temperature above 0: greedy decoding draws nothing")
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


def refuse_unwritable(folder: str | Path, option: str = "--out") -> None:
    """Make the folder of an option, and raise OptionError where no file can be written into it."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OptionError(f"{option} {folder}: no file can be written there: {error.strerror}") from None


def refuse_unwritable_file(file: str | Path, option: str) -> None:
    """Make the folder of an option's file, and raise OptionError where that file cannot be written into it."""
    if Path(file).is_dir():
        raise OptionError(f"{option} {file}: this is a folder: name a file")
    refuse_unwritable(Path(file).parent, option)


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


def speculative_arm(pair: Pair, options: argparse.Namespace) -> Arm | None:
    """Return the arm that decodes with the pair's draft at the draft length of the options; None without a draft."""
    if isinstance(pair.proposer, NoDraft):
        return None
    return Arm(SPECULATIVE, pair.proposer, by_setting(options.draft_length))


def _refuse_ignored(options: argparse.Namespace) -> None:
    """Raise OptionError for an option that has no effect beside the others."""
    if options.ngram and options.draft_length == "adaptive":
        raise OptionError("--draft-length adaptive needs the confidence of a draft model, and --ngram has none")
    for name in ("draft_vocabulary", "draft_int8"):
        if getattr(options, name) and not options.draft:
            raise OptionError(f"--{name.replace('_', '-')} needs a draft model: name one with --draft")
    refuse_few_shot_alone(options)


def refuse_few_shot_alone(options: argparse.Namespace) -> None:
    """Raise OptionError for --few-shot without --prompt-file."""
    if options.few_shot and not options.prompt_file:
        raise OptionError("--few-shot needs the examples of a prompt file: name one with --prompt-file")
