"""How fast a decoding step could be: the bytes of weights that it reads, and how fast this machine reads memory.

With one request at a time a decoding step does little but read the weights once, so its bytes per second, beside the
read bandwidth, show how near the engine is to the hardware's limit. Keys and values are left out: for short answers
they are a hundredth of the weights.
"""

import ctypes
import math
import time
from collections.abc import Callable
from pathlib import Path

from doubledraft.engine import compiler

SOURCE = Path(__file__).with_suffix(".cpp")
ARRAY_BYTES = 2**29  # of the array that is summed: far more than any cache holds
ITEM_BYTES = {"int8": 1, "bfloat16": 2, "float16": 2, "float32": 4}


def read_bandwidth(device: str) -> float:
    """Return the bytes per second at which the device reads memory: the best of 5 sums of a large array, in each way.

    On some processors torch's own sum waits for memory; on CPU, compiled code that prefetches is tried as well.
    """
    import torch

    numbers = torch.ones(ARRAY_BYTES // 8, dtype=torch.long, device=device)
    ways = [lambda: numbers.sum().item()]
    if device == "cpu" and (code := library()):
        ways.append(lambda: code.sum_of(numbers.data_ptr(), len(numbers), torch.get_num_threads()))
    return ARRAY_BYTES / min(_seconds(way) for way in ways for _ in range(5))


def library() -> ctypes.CDLL | None:
    """Return the compiled sum; None where it cannot be compiled here."""
    code = compiler.load(SOURCE)
    if code is not None:
        code.sum_of.argtypes, code.sum_of.restype = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64], ctypes.c_int64
    return code


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def bytes_per_pass(folder: str | Path, dtype: str, head_rows: int | None = None) -> int:
    """Return the bytes of weights that a forward pass reads in `dtype`: all but an embedding that is not the head.

    `head_rows` is the number of tokens that the output head was cut to; None stands for a whole head.
    """
    shapes = _shapes(Path(folder))
    embedding = shapes.pop("model.embed_tokens.weight")  # of which a pass reads the rows of a few tokens
    rows, size = shapes.pop("lm_head.weight", embedding)  # the head may be the embedding
    return ITEM_BYTES[dtype] * (sum(map(math.prod, shapes.values())) + (head_rows or rows) * size)


def _shapes(folder: Path) -> dict[str, list[int]]:
    from safetensors import safe_open

    shapes = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="np") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (not a dict)
                shapes[name] = tensors.get_slice(name).get_shape()
    return shapes
