"""Whether three engines do the same on one pair and its questions: ours, vLLM, and Hugging Face's assisted generation.

Greedy, the same K, one request at a time, in float32, where rounding is too small to hide a fault. What they emit is
held against the target alone, by Hugging Face's `generate`: every answer that differs is named with its position and
with how close the target's two best tokens are there. A tie of roundings may go either way; anything else is a bug.

Tokens per step are emitted tokens / target passes, the prompt's pass counted, and must agree within TOLERANCE. Ours and
vLLM read the prompt in a pass that drafts nothing and emits one token. Hugging Face drafts before it has read the
prompt, so its drafts would begin one token earlier, and one pass fewer would count. It is therefore given the prompt
with the answer's first token, which counts as a pass, as it is one in the others: then all draft at the same places.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from tempfile import TemporaryDirectory

from doubledraft import machine, provenance
from doubledraft.files import write_json
from doubledraft.inference import generate
from doubledraft.inference.job import Asked, Job
from doubledraft.inference.tokenizing import load_tokenizer, stop_ids
from doubledraft.log import log
from doubledraft.records import Generation, first_difference, read_records
from doubledraft.stats import as_json, wilson
from doubledraft.summaries import json_file
from doubledraft.summaries.run_file import RunFile

TOLERANCE = 0.02  # of tokens per step, between the engine with the most and that with the fewest
TIE = 1e-3  # log-probability; engines whose passes differ only in the order of float32 sums are much closer
DEFINITION = (
    "emitted tokens / target passes, the prompt's pass counted; Hugging Face is given the answer's first token, "
    "counted as a pass, since it would draft before it has read the prompt"
)


@dataclass(frozen=True, slots=True)
class Difference:
    """An answer that is not that of the target alone."""

    id: str
    position: int  # of the first token that differs, from 0
    expected: int | None  # token id of the target alone; None where its answer has ended
    found: int | None
    top2_gap: float | None  # log-probability gap of the target's two best tokens there; None where an answer has ended
    verdict: str  # "tie" where the two best tokens are those two and nearly equal, else "bug"


def run(job: Job, settings: Mapping[str, object], out: str) -> None:
    """Let three engines answer the questions of a job, whose engine and outputs are not looked at; write the check.

    `settings` is what the cell depends on (`study.cell_settings`), for the provenance.
    """
    tokenizer = load_tokenizer(job.model)
    asked = generate.ask(job, tokenizer)
    with TemporaryDirectory() as folder:
        engines = dict(_answered(replace(job, engine=name), folder) for name in ("native", "vllm"))
    peer = HuggingFace(job, stop_ids(job.model, tokenizer))
    alone = [peer.alone(question) for question in asked]
    engines[peer.name] = [peer.assisted(question, ids[0]) for question, ids in zip(asked, alone, strict=True)]
    found = compare(asked, alone, engines, peer.best_two)
    log.info("%s", json.dumps({key: found[key] for key in ("identical", "ties", "bugs", "tokens_per_step")}))
    used = {key: getattr(job, key) for key in ("dtype", "draft_length", "max_tokens", "model", "draft")}
    write_json(out, {"n": len(asked), "settings": used, **found, "provenance": provenance.provenance(settings)})


def _answered(job: Job, folder: str) -> tuple[str, list[Generation]]:
    """Give name and rows of the job's engine, which runs in a process of its own."""
    job = replace(job, out=f"{folder}/{job.engine}.jsonl", run_out=f"{folder}/{job.engine}.json")
    generate.run(job)
    version = json_file.read(job.run_out, RunFile).version
    return f"{job.engine} {version}", read_records(job.out, Generation)


class HuggingFace:
    """A pair of models as transformers decodes them."""

    def __init__(self, job: Job, stop_ids: set[int]) -> None:
        """Load both; generation settings of the models are replaced by greedy decoding with a constant draft length."""
        import torch
        import transformers
        from transformers import AutoModelForCausalLM, GenerationConfig

        machine.use_own_cores()
        self.name = f"transformers {transformers.__version__}"
        self._job, self._stop_ids = job, stop_ids
        dtype, device = getattr(torch, job.dtype), machine.device()
        self._target, self._draft = (
            AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device) for folder in (job.model, job.draft)
        )
        pad = min(stop_ids, default=0)  # never read: there is one prompt at a time
        self._target.generation_config = GenerationConfig(
            do_sample=False, eos_token_id=sorted(stop_ids) or None, pad_token_id=pad
        )
        self._draft.generation_config = GenerationConfig(
            do_sample=False,
            num_assistant_tokens=job.draft_length,
            num_assistant_tokens_schedule="constant",
            assistant_confidence_threshold=0.0,  # else a draft ends where the draft model is unsure
            pad_token_id=pad,
        )

    def alone(self, question: Asked) -> list[int]:
        """Give the answer of the target alone."""
        return self._generate(question.token_ids, self._job.max_tokens)

    def assisted(self, question: Asked, first: int) -> Generation:
        """Give the answer with drafts, which goes on from its first token."""
        passes = _Passes()
        ids, limit = [first], self._job.max_tokens
        if limit > 1 and first not in self._stop_ids:
            prompt = [*question.token_ids, first]
            ids += self._generate(prompt, limit - 1, assistant_model=self._draft, streamer=passes)
        return Generation(
            id=question.id,
            prompt_tokens=len(question.token_ids),
            token_ids=ids,
            text="",
            finish_reason="stop" if ids[-1] in self._stop_ids else "length",
            batch=0,
            batch_seconds=0.0,
            steps=1 + passes.count,
        )

    def best_two(self, text: Sequence[int]) -> list[tuple[int, float]]:
        """Give the target's two best next tokens with their log-probabilities, up to one constant."""
        import torch

        with torch.inference_mode():
            logits = self._target(torch.tensor([text], device=self._target.device)).logits[0, -1]
        best = logits.float().topk(2)
        return list(zip(best.indices.tolist(), best.values.tolist(), strict=True))

    def _generate(self, prompt: Sequence[int], limit: int, **assistance) -> list[int]:
        import torch

        ids = torch.tensor([prompt], device=self._target.device)
        output = self._target.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=limit, **assistance)
        return output[0, len(prompt) :].tolist()


class _Passes:
    """A streamer: `generate` hands it the prompt, and then what each pass of the target emitted."""

    def __init__(self) -> None:
        self.count = -1

    def put(self, tokens) -> None:
        """Count a pass."""
        self.count += 1

    def end(self) -> None:
        """Do nothing: the answer is whole."""


def compare(
    asked: Sequence[Asked],
    alone: Sequence[list[int]],
    engines: Mapping[str, Sequence[Generation]],
    best_two: Callable[[Sequence[int]], list[tuple[int, float]]],
) -> dict[str, object]:
    """Hold every engine's rows against the answers of the target alone, and their tokens per step against each other.

    `best_two` gives the target's two best tokens after a text, each with its log-probability.
    """
    found = {name: _compared(asked, alone, rows, best_two) for name, rows in engines.items()}
    rates = [engine["tokens_per_step"] for engine in found.values()]
    spread = max(rates) / min(rates) - 1
    verdicts = [difference["verdict"] for engine in found.values() for difference in engine["differences"]]
    return {
        "identical": not verdicts,
        "ties": verdicts.count("tie"),
        "bugs": verdicts.count("bug"),
        "tokens_per_step": {
            "definition": DEFINITION,
            "spread": spread,
            "tolerance": TOLERANCE,
            "agree": spread <= TOLERANCE,
        },
        "engines": found,
    }


def _compared(asked, alone, rows: Sequence[Generation], best_two) -> dict[str, object]:
    differences = []
    for question, expected, row in zip(asked, alone, rows, strict=True):
        position = first_difference(expected, row.token_ids)
        if position is not None:
            differences.append(_difference(question, expected, row.token_ids, position, best_two))
    emitted, steps = sum(len(row.token_ids) for row in rows), sum(row.steps for row in rows)
    return {
        "emitted": emitted,
        "steps": steps,
        "tokens_per_step": emitted / steps,
        "identical_rate": as_json(wilson(len(rows) - len(differences), len(rows))),
        "differences": [asdict(difference) for difference in differences],
    }


def _difference(question: Asked, expected: list[int], found: list[int], position: int, best_two) -> Difference:
    one, other = (ids[position] if position < len(ids) else None for ids in (expected, found))
    if None in (one, other):
        return Difference(question.id, position, one, other, None, "bug")
    (best, first), (second, last) = best_two([*question.token_ids, *expected[:position]])
    tie = {best, second} == {one, other} and first - last <= TIE
    return Difference(question.id, position, one, other, first - last, "tie" if tie else "bug")
