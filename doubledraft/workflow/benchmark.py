"""Checks of the section `benchmark` of a config with the engine and the lengths that it has to hold."""

from collections.abc import Iterator

from doubledraft.engine.sampling import COLDEST
from doubledraft.inference.job import NATIVE_ONLY


def problems(config: dict) -> Iterator[str]:
    """Yield what is wrong with the section's keys together, and with those that it must agree with."""
    yield from _of_lengths(config)
    yield from _of_engine(config)
    yield from _of_drafting(config)
    yield from _of_sampling(config)


def _of_lengths(config: dict) -> Iterator[str]:
    room = config["benchmark"]["max_model_len"]
    for name, entry in config["types"].items():
        if entry["max_tokens"] >= room:
            yield (
                f"config key types.{name}.max_tokens is {entry['max_tokens']}: "
                f"expected less than benchmark.max_model_len, {room}, which holds the prompt too"
            )
    if config["untrained"]["max_tokens"] >= room:
        yield (
            f"config key untrained.max_tokens is {config['untrained']['max_tokens']}: "
            f"expected less than benchmark.max_model_len, {room}, which holds the few-shot prompt too"
        )


def _of_engine(config: dict) -> Iterator[str]:
    if config["benchmark"]["residency"] == "sleep" and config["benchmark"]["engine"] != "vllm":
        yield (
            "config key benchmark.residency is 'sleep', which only vLLM supports, but benchmark.engine is "
            f"{config['benchmark']['engine']!r}: expected 'both', 'restart' or 'auto', or benchmark.engine vllm"
        )
    gpus = config["engine"]["tensor_parallel"]
    if config["benchmark"]["engine"] == "native" and gpus > 1:
        yield (
            f"config key benchmark.engine is 'native', which runs on one GPU, but engine.tensor_parallel is {gpus}: "
            "expected 1, or benchmark.engine vllm"
        )


def _of_drafting(config: dict) -> Iterator[str]:
    benchmark = config["benchmark"]
    if benchmark["draft_length"] == "adaptive" and benchmark["method"] == "ngram":
        yield (
            "config key benchmark.draft_length is 'adaptive', but benchmark.method is 'ngram', which copies from the "
            "text: expected a number"
        )
    used = {
        "draft_vocabulary": benchmark["draft_vocabulary"] is not None,
        "draft_length": benchmark["draft_length"] == "adaptive",
    }
    for name, (reason, instead) in NATIVE_ONLY.items():
        key = f"config key benchmark.{name} is {benchmark[name]!r}"
        if used[name] and benchmark["engine"] == "vllm":
            yield f"{key}, but benchmark.engine is 'vllm', and {reason}: expected {instead}, or benchmark.engine native"


def _of_sampling(config: dict) -> Iterator[str]:
    temperature, samples = config["benchmark"]["temperature"], config["benchmark"]["samples"]
    if 0 != temperature < COLDEST:
        yield f"config key benchmark.temperature is {temperature}: expected 0, or at least {COLDEST}"
    if samples > 1 and not temperature:
        yield (
            f"config key benchmark.samples is {samples}, but benchmark.temperature is 0, at which all answers to a "
            "question are the same: expected 1, or a temperature above 0"
        )
