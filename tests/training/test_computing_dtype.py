"""A training on a CPU computes in the faster type, and goes on in the type that it began in."""

import pytest
import torch

from doubledraft.summaries import json_file
from doubledraft.summaries.training_summary import DtypeSeconds
from doubledraft.training import computing_dtype
from doubledraft.training.computing_dtype import CHOICE, Choice, choose


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({"bfloat16": 0.5, "float32": 1.0}, "bfloat16"),
        ({"bfloat16": 0.95, "float32": 1.0}, "float32"),  # no clear gain: the more exact one
        ({"bfloat16": 6.0, "float32": 1.0}, "float32"),
    ],
)
def test_the_faster_type_is_taken_and_recorded(tmp_path, monkeypatch, seconds, expected):
    monkeypatch.setattr(computing_dtype, "step_seconds", lambda base, dtype: seconds[dtype])
    found = choose("model", "auto", "bfloat16", tmp_path)
    assert found == Choice(computed_in=expected, step_seconds=DtypeSeconds(**seconds))


def test_a_run_goes_on_in_the_type_that_it_began_in(tmp_path, monkeypatch):
    begun = Choice(computed_in="bfloat16", step_seconds=DtypeSeconds(bfloat16=1.0, float32=2.0))
    json_file.write(tmp_path / CHOICE, begun)
    monkeypatch.setattr(computing_dtype, "step_seconds", lambda base, dtype: pytest.fail("measured again"))
    assert choose("model", "auto", "bfloat16", tmp_path) == begun


@pytest.mark.parametrize(
    ("asked", "dtype", "used"), [("bfloat16", "bfloat16", "bfloat16"), ("auto", "float32", "float32")]
)
def test_a_pinned_type_is_not_measured(tmp_path, asked, dtype, used):
    assert choose("model", asked, dtype, tmp_path) == Choice(computed_in=used)
    assert not list(tmp_path.iterdir())


def test_a_step_of_either_type_can_be_measured(tiny_model):
    assert all(computing_dtype.step_seconds(tiny_model, name) > 0 for name in ("bfloat16", "float32"))
