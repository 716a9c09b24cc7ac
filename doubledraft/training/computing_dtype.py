"""The type in which a training computes: on a CPU, the faster of bfloat16 and float32, by a step of both.

Processors differ: with AMX or bfloat16 instructions bfloat16 is faster, with AVX-512 alone float32 mostly is, and
without it bfloat16 takes six times as long. The choice is kept with the checkpoints, so that a run that is resumed goes
on in the type that it began in, and recorded in training.json, so that it can be pinned elsewhere.
"""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from doubledraft.log import log
from doubledraft.summaries import json_file
from doubledraft.summaries.training_summary import DtypeSeconds

CHOICE = "computing_dtype.json"  # in the folder of a run's checkpoints
LAYERS, ROWS, TOKENS, REPEATS = 2, 2, 64, 3  # of the step that is measured
CLEARLY = 0.9  # bfloat16, which is less exact, has to take less than this share of float32's time


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The type that a training computes in, and what it was chosen by."""

    computed_in: str
    step_seconds: DtypeSeconds | None = None  # None where it was asked for, or there is a GPU


def choose(base: str | Path, requested: str, dtype: str, folder: Path) -> Choice:
    """Return the type to train the model in folder `base` in.

    `requested` is a type, or auto; `dtype` is that of the study, `folder` that of the run's checkpoints.
    """
    import torch

    if requested != "auto":
        return Choice(computed_in=requested)
    if torch.cuda.is_available() or dtype != "bfloat16":
        return Choice(computed_in=dtype)
    if (file := folder / CHOICE).exists():
        return json_file.read(file, Choice)
    seconds = DtypeSeconds(**{name: round(step_seconds(base, name), 4) for name in ("bfloat16", "float32")})
    faster = "bfloat16" if seconds.bfloat16 < CLEARLY * seconds.float32 else "float32"
    log.info("training computes in %s: a step of %d layers took %s s", faster, LAYERS, asdict(seconds))
    json_file.write(file, choice := Choice(computed_in=faster, step_seconds=seconds))
    return choice


def step_seconds(base: str | Path, dtype: str) -> float:
    """Return the median seconds of a forward and backward pass of a few layers of a model's shapes."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(base)
    config.num_hidden_layers = LAYERS
    config.layer_types = None
    config.vocab_size = 1024  # the head, the same kind of product, is left out
    config.pad_token_id = None
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype)).model
    ids = torch.zeros(ROWS, TOKENS, dtype=torch.long)
    times = []
    for _ in range(1 + REPEATS):
        started = time.perf_counter()
        model(input_ids=ids, use_cache=False).last_hidden_state.float().square().mean().backward()
        times.append(time.perf_counter() - started)
    return median(times[1:])
