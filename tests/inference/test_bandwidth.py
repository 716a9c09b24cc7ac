"""Bytes that a pass reads, and how fast memory gives them."""

import pytest
import torch

from doubledraft.engine.load import create_backend
from doubledraft.inference.bandwidth import ARRAY_BYTES, bytes_per_pass, library, read_bandwidth
from tests.helpers.tiny_models import build_model


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_pass_reads_the_stored_weights_but_not_an_embedding_of_its_own(tmp_path, tied: bool, dtype: str):
    folder = build_model(tmp_path / "model", tied=tied)
    assert bytes_per_pass(folder, dtype) == create_backend(folder, dtype, "cpu").bytes_per_pass
    assert bytes_per_pass(folder, "float32") == 2 * bytes_per_pass(folder, "bfloat16")


@pytest.mark.parametrize("tied", [True, False])
def test_of_a_cut_head_the_kept_rows_are_read(tmp_path, tied: bool):
    folder = build_model(tmp_path / "model", tied=tied)
    cut = create_backend(folder, "float32", "cpu", allowed_tokens=[3, 5, 9])
    assert bytes_per_pass(folder, "float32", head_rows=3) == cut.bytes_per_pass < bytes_per_pass(folder, "float32")


def test_an_embedding_of_its_own_adds_nothing(tmp_path):
    tied, own = (bytes_per_pass(build_model(tmp_path / str(tied), tied=tied), "float32") for tied in (True, False))
    assert tied == own


def test_the_compiled_sum_reads_every_number():
    numbers = torch.randint(-1000, 1000, (1003,))
    for threads in (1, 2, 3):
        assert library().sum_of(numbers.data_ptr(), len(numbers), threads) == numbers.sum()


def test_memory_is_read_at_a_speed_that_hardware_has():
    assert 1e8 < read_bandwidth("cpu") < 1e13, f"a sum of {ARRAY_BYTES} bytes"
