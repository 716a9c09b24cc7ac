"""Two models read the same answers: what each would have chosen at every position, given the tokens before.

One pass over an answer gives all its positions at once (teacher forcing), so acceptance is known without decoding.
Under greedy decoding it is exact: a draft is only ever judged after tokens that the target emitted, and those are the
tokens read here. transformers runs the pass, as it knows every architecture. On a CPU it computes in float32, whatever
type the weights are stored in: that is the fast type there, and where both types choose different tokens, rounding
decides, as often for the draft as against it.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from doubledraft import machine
from doubledraft.engine.draft_vocabulary import of_draft
from doubledraft.models.folder import ModelError
from doubledraft.models.inspect import load_model
from doubledraft.models.safety import refuse_unsafe
from doubledraft.summaries.draft_audit import AuditedAnswer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

BATCH_BYTES = 2**29  # of the logits that a batch of answers may take
TOP = 5  # most likely tokens that are kept of each model
DIGITS = 6  # of a probability that is written


class GivenAnswer(NamedTuple):
    """An answer to read, and the prompt that it was given to."""

    id: str  # of the question
    prompt: Sequence[int]  # token ids
    token_ids: Sequence[int]

    @property
    def length(self) -> int:
        """Tokens of both together."""
        return len(self.prompt) + len(self.token_ids)


def force(target_folder: str | Path, draft_folder: str | Path, answers: Sequence[GivenAnswer]) -> list[AuditedAnswer]:
    """Let two models, each in a folder, read answers; return what both would have chosen, in the order of the answers.

    The draft chooses among the tokens that its folder lists (`draft_vocabulary.json`), or all. The models must share a
    tokenizer (`check_pair`). Raise ModelError where one is unsafe, incomplete or damaged.
    """
    machine.use_own_cores()
    [audited] = force_drafts(load(target_folder), [(load(draft_folder), of_draft(draft_folder))], answers)
    return audited


def load(folder: str | Path) -> "PreTrainedModel":
    """Load a model of a folder to read answers; raise ModelError where it is unsafe or incomplete."""
    refuse_unsafe(folder)
    return ready(load_model(folder))


def ready(model: "PreTrainedModel") -> "PreTrainedModel":
    """Return a model on this machine's device, in the type that it computes in there."""
    device = machine.device()
    return (model.float() if device == "cpu" else model).to(device).eval()


def force_drafts(
    target: "PreTrainedModel",
    drafts: "Sequence[tuple[PreTrainedModel, Sequence[int] | None]]",
    answers: Sequence[GivenAnswer],
) -> list[list[AuditedAnswer]]:
    """Let a target read answers once, and each draft too; return the answers as audited with each of the drafts.

    Models are as `load` returns them; beside each draft stand the token ids that it may propose, None for all. Raise
    ModelError where a model computes NaN or infinity.
    """
    import torch

    audits: list[dict[str, AuditedAnswer]] = [{} for _ in drafts]
    with torch.inference_mode():
        for batch in _batches(answers, target):
            by_target = _distributions(target, batch)
            for (draft, allowed), audited in zip(drafts, audits, strict=True):
                for answer, p, q in zip(batch, by_target, _distributions(draft, batch, allowed), strict=True):
                    audited[answer.id] = _audited(answer, p, q)
    return [[audited[answer.id] for answer in answers] for audited in audits]


def _batches(answers: Sequence[GivenAnswer], model: "PreTrainedModel") -> Iterator[list[GivenAnswer]]:
    """Yield answers of similar length together, as many as fit into BATCH_BYTES, at least one."""
    per_position = model.config.vocab_size * model.dtype.itemsize
    batch: list[GivenAnswer] = []
    for answer in sorted(answers, key=lambda answer: answer.length):
        if batch and (len(batch) + 1) * answer.length * per_position > BATCH_BYTES:
            yield batch
            batch = []
        batch.append(answer)
    if batch:
        yield batch


def _distributions(
    model: "PreTrainedModel", batch: Sequence[GivenAnswer], allowed: Sequence[int] | None = None
) -> "list[torch.Tensor]":
    """Return the probabilities [tokens, vocabulary] at every token of each answer."""
    import torch

    last_id = model.config.vocab_size - 1  # a draft may lack the padding rows at the end of the target's vocabulary
    texts = [[min(token, last_id) for token in (*prompt, *answer[:-1])] for _, prompt, answer in batch]
    width = max(map(len, texts))
    ids = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts], device=model.device)
    mask = torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in texts], device=model.device)
    first = min(len(prompt) for _, prompt, _ in batch) - 1  # position that predicts the first token of an answer
    logits = model(ids, attention_mask=mask, logits_to_keep=width - first, use_cache=False).logits
    rows = []
    for row, (id, prompt, answer) in zip(logits, batch, strict=True):
        start = len(prompt) - 1 - first
        answer_logits = row[start : start + len(answer)].float()
        if not answer_logits.isfinite().all():
            raise ModelError(
                f"{model.name_or_path}: logits are NaN or infinite in the answer to {id!r}: weights are damaged, or "
                f"exceed the range of {model.dtype}; fetch or make the model again, or use another"
            )
        rows.append((answer_logits if allowed is None else _only(answer_logits, allowed)).softmax(-1))
    return rows


def _only(logits: "torch.Tensor", allowed: Sequence[int]) -> "torch.Tensor":
    import torch

    ids = torch.tensor(allowed, device=logits.device)
    return torch.full_like(logits, -float("inf")).index_copy_(-1, ids, logits[:, ids])


def _audited(answer: GivenAnswer, p: "torch.Tensor", q: "torch.Tensor") -> AuditedAnswer:
    """Compare two models' probabilities [tokens, vocabulary] at an answer; the target may have more padding columns."""
    import torch

    q = torch.nn.functional.pad(q, (0, p.shape[1] - q.shape[1]))
    emitted = torch.tensor(answer.token_ids, device=p.device).unsqueeze(1)
    return AuditedAnswer(
        id=answer.id,
        token_ids=list(answer.token_ids),
        target_best=p.argmax(-1).tolist(),
        draft_best=q.argmax(-1).tolist(),
        p=_rounded(p.gather(1, emitted).squeeze(1)),
        q=_rounded(q.gather(1, emitted).squeeze(1)),
        overlap=_rounded(torch.minimum(p, q).sum(-1)),
        target_entropy=_rounded(torch.special.entr(p).sum(-1)),
        draft_entropy=_rounded(torch.special.entr(q).sum(-1)),
        target_top=_top(p),
        draft_top=_top(q),
    )


def _rounded(values: "torch.Tensor") -> list[float]:
    return [round(value, DIGITS) for value in values.tolist()]


def _top(probabilities: "torch.Tensor") -> list[list[list[float]]]:
    best = probabilities.topk(min(TOP, probabilities.shape[1]))
    return [
        [[token, round(value, DIGITS)] for token, value in zip(tokens, values, strict=True)]
        for tokens, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def answer_alone(
    model: "PreTrainedModel",
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    stop_ids: Collection[int],
    allowed_tokens: Sequence[int] | None = None,
) -> list[list[int]]:
    """Return a model's own greedy answers to prompts of token ids, the token that ends each included.

    It chooses among `allowed_tokens`, None for all.
    """
    import torch
    from transformers import GenerationConfig

    width, pad = max(map(len, prompts)), min(stop_ids, default=0)  # padding is masked, whatever its id
    ids = torch.tensor([[pad] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=model.device)
    others = sorted(set(range(model.config.vocab_size)) - set(allowed_tokens)) if allowed_tokens else None
    settings = GenerationConfig(
        do_sample=False,
        max_new_tokens=max_tokens,
        eos_token_id=sorted(stop_ids) or None,
        pad_token_id=pad,
        suppress_tokens=others,
    )
    model.generation_config = settings  # that of its folder may have penalties
    with torch.inference_mode():
        output = model.generate(ids, attention_mask=mask, generation_config=settings)
    return [_ended(row, stop_ids) for row in output[:, width:].tolist()]


def _ended(tokens: list[int], stop_ids: Collection[int]) -> list[int]:
    """Cut what follows the first token that ends an answer."""
    return tokens[: next((at + 1 for at, token in enumerate(tokens) if token in stop_ids), len(tokens))]


def simulated_steps(agreed: Sequence[bool], draft_length: int) -> list[int]:
    """Return the accepted tokens of every drafting step of greedy speculation along one answer, replayed exactly.

    `agreed` has for each token of the answer whether the draft would have proposed it. The prompt's pass emits the
    first token; then each step drafts `draft_length` tokens, keeps those before the first that is not the target's, and
    emits the target's own token after them. Drafts end where the answer does.
    """
    accepted, at = [], 1
    while at < len(agreed):
        draft = agreed[at : at + draft_length]
        accepted.append(next((place for place, right in enumerate(draft) if not right), len(draft)))
        at += accepted[-1] + 1
    return accepted


def simulated_tokens_per_step(agreed: Sequence[bool], draft_length: int) -> float:
    """Return emitted tokens / target passes of greedy speculation along one answer, its prompt's pass included."""
    return len(agreed) / (1 + len(simulated_steps(agreed, draft_length)))
