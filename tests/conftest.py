"""Fixtures that several test files share."""

import atexit
import gc
import os
from pathlib import Path

import pytest

from tests.helpers.tiny_models import build_model


def pytest_configure() -> None:
    """Compute with one thread, and keep a worker of pytest-xdist, with all that it starts, to a core of its own.

    Models this small lose more by a second thread than they gain, and engines that share cores wait for each other.
    """
    gc.disable()  # until all is imported, see `pytest_collection_finish`
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run files with slow tests first, so that no worker is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """Leave what is imported out of garbage collections, and collect seldom: a tenth of the processor's time.

    At the end of the process all is collected again, since extension modules complain of what is left.
    """
    gc.freeze()
    gc.set_threshold(20_000)
    gc.enable()
    atexit.register(gc.unfreeze)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """Return the folder of a random two-layer Llama with a tokenizer and a chat template; not to be changed."""
    return build_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def tiny_draft(tiny_model) -> Path:
    """Return the folder of a draft that often agrees with the tiny model: its weights with a little noise."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tiny_model.with_name("tiny_draft")
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.02)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def repeating_model(tmp_path_factory) -> Path:
    """Return the folder of a model that often repeats itself, not always: its layers hardly add to the last token."""
    from transformers import AutoModelForCausalLM

    folder = build_model(tmp_path_factory.mktemp("models") / "repeating", seed=1)
    model = AutoModelForCausalLM.from_pretrained(folder)
    for name, weight in model.named_parameters():
        if "o_proj" in name or "down_proj" in name:
            weight.data.mul_(0.05)
    model.save_pretrained(folder)
    return folder


CRASH_TABLE: dict[str, dict[str, str]] = {}  # rule: point: result


@pytest.fixture(scope="session")
def crash_table() -> dict[str, dict[str, str]]:
    """Return the table of rules and points that is printed at the end."""
    return CRASH_TABLE


def pytest_terminal_summary(terminalreporter) -> None:
    """Print what became of every rule at every point."""
    if CRASH_TABLE:
        columns = list(next(iter(CRASH_TABLE.values())))
        terminalreporter.section("rule x point: what the next run did")
        for name, row in {"": dict(zip(columns, columns, strict=True)), **CRASH_TABLE}.items():
            terminalreporter.write_line(f"{name:22}" + "".join(f"{row[column] or '-':17}" for column in columns))
