"""The functions of `cpu_pass.cpp`, declared to ctypes."""

import ctypes
from functools import cache
from pathlib import Path

from doubledraft.engine import compiler

SOURCE = Path(__file__).with_suffix(".cpp")


class Matrix(ctypes.Structure):
    """`Matrix` of cpu_pass.cpp."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("weight", "scale", "bias")),
        *((name, ctypes.c_int64) for name in ("rows", "columns")),
    ]


class Layer(ctypes.Structure):
    """`Layer` of cpu_pass.cpp."""

    _fields_ = [
        ("attention_norm", ctypes.c_void_p),
        ("query_key_value", Matrix),
        ("head_norm", ctypes.c_void_p),
        ("attention_out", Matrix),
        ("mlp_norm", ctypes.c_void_p),
        ("gate_up", Matrix),
        ("down", Matrix),
    ]


class Model(ctypes.Structure):
    """`Model` of cpu_pass.cpp."""

    _fields_ = [
        ("blocks", ctypes.POINTER(Layer)),
        *((name, ctypes.c_int64) for name in ("layers", "vocabulary", "size", "heads", "key_heads", "head_dim")),
        *((name, ctypes.c_float) for name in ("epsilon", "rotary_scale")),
        *((name, ctypes.c_void_p) for name in ("frequencies", "embedding", "norm")),
    ]


class Pass(ctypes.Structure):
    """`Pass` of cpu_pass.cpp."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("ids", "lengths")),
        *((name, ctypes.c_int64) for name in ("rows", "tokens", "capacity")),
        *((name, ctypes.c_void_p) for name in ("keys", "values", "out")),
    ]


@cache
def library() -> ctypes.CDLL | None:
    """Return the compiled pass; None, after a warning, where it cannot be compiled here."""
    code = compiler.load(SOURCE)
    return None if code is None else _declared(code)


def _declared(code: ctypes.CDLL) -> ctypes.CDLL:
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    for run in (code.pass_float32, code.pass_bfloat16, code.pass_int8_float32, code.pass_int8_bfloat16):
        run.argtypes, run.restype = [ctypes.POINTER(Model), ctypes.POINTER(Pass), number], number
    for project in (code.project_float32, code.project_bfloat16, code.project_int8):
        project.argtypes, project.restype = [ctypes.POINTER(Matrix), pointer, number, pointer, number], None
    return code
