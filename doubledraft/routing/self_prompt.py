"""Prompts that a model writes itself: it is given the header of the user's turn, and continues as the user.

Xu et al. 2024, arXiv:2406.08464 (Magpie), who found that an instruction-tuned model so writes requests like those that
it was tuned on. A text that does not end by itself, is short, or has characters that a user does not type is dropped.
"""

import json
from pathlib import Path

from doubledraft import machine
from doubledraft.engine.decode import decode
from doubledraft.engine.load import create_backend
from doubledraft.engine.sampling import Sampling
from doubledraft.escaping import visible
from doubledraft.files import whole_file
from doubledraft.inference.tokenizing import stop_ids
from doubledraft.log import log
from doubledraft.models import chat_template
from doubledraft.models.folder import ModelError
from doubledraft.models.inspect import load_tokenizer

SAMPLING = Sampling(temperature=0.9, top_p=0.95)  # varied, and still in words
LONGEST = 64  # tokens of a prompt
FEWEST_WORDS = 5
ROUNDS = 8  # batches of the wanted size, at most, before the model is taken to write nothing usable
MARK = "\N{SYMBOL FOR SUBSTITUTE FORM TWO}"  # stands for the user's text; no template has it


def write(model: str | Path, count: int, out: str | Path, *, seed: int, dtype: str, concurrency: int) -> None:
    """Write `count` different prompts, as JSON lines with the field `prompt`; the same ones for the same seed.

    Raise ModelError where the model's chat template has no header, or where it writes too few usable prompts.
    """
    import torch

    machine.use_own_cores()
    tokenizer = load_tokenizer(model)
    header = tokenizer.encode(user_header(tokenizer, model), add_special_tokens=False)
    target, ends = create_backend(model, dtype, machine.device()), stop_ids(model, tokenizer)
    generator = torch.Generator(target.device).manual_seed(seed)
    texts: dict[str, None] = {}
    for _ in range(ROUNDS * -(-count // concurrency)):
        if len(texts) >= count:
            break
        _, metrics = decode(
            target, [header] * concurrency, LONGEST, stop_ids=ends, sampling=SAMPLING, generator=generator
        )
        ended = [answer.token_ids for answer in metrics.answers if answer.finish_reason == "stop"]
        texts |= dict.fromkeys(filter(usable, (tokenizer.decode(ids, skip_special_tokens=True) for ids in ended)))
        log.info("%d of %d prompts written", min(len(texts), count), count)
    if len(texts) < count:
        raise ModelError(f"{model}: wrote {len(texts)} usable prompts of {count}: take a model tuned on instructions")
    with whole_file(out) as file:
        file.writelines(json.dumps({"prompt": text}, ensure_ascii=False) + "\n" for text in list(texts)[:count])


def user_header(tokenizer, model: str | Path) -> str:
    """Return what the chat template writes before the user's text; raise ModelError where it shows no text."""
    header, mark, _ = chat_template.render(tokenizer, [{"role": "user", "content": MARK}], prompt=False).partition(MARK)
    if not (mark and header):
        raise ModelError(f"{model}: its chat template has no header for the user's turn, so it cannot write prompts")
    return header


def around_user(tokenizer) -> tuple[str, str]:
    """Return what the chat template writes before and after the user's only message; both empty without a template."""
    if tokenizer.chat_template is None:
        return "", ""
    before, _, after = chat_template.render(tokenizer, [{"role": "user", "content": MARK}], prompt=True).partition(MARK)
    return before, after


def usable(text: str) -> bool:
    """Return whether a text may stand as a prompt: some words, and nothing that does not print."""
    return len(text.split()) >= FEWEST_WORDS and visible(text) == text and text.isascii()
