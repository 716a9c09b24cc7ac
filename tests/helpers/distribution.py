"""Whether sampled answers are distributed as the target says, against probabilities that are computed exactly."""

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from doubledraft.inference import generate
from doubledraft.inference.host import Host, Local
from doubledraft.inference.job import Job
from doubledraft.inference.tokenizing import stop_ids
from doubledraft.models.inspect import load_tokenizer
from doubledraft.records import Generation, read_records

FALSE_ALARM = 1e-6  # chance that a right engine fails; draws are seeded, so it fails always or never
FEWEST = 5  # answers that must be due for a sequence to be counted on its own, as the chi-square test asks for


def check_distribution(job: Job, engine: Host | Local) -> list[Generation]:
    """Hold the answers of a job of one question, sampled often, against the target; return its rows."""
    from scipy.stats import chisquare

    tokenizer = load_tokenizer(job.model)
    [prompt] = {tuple(question.token_ids) for question in generate.encode_questions(job, tokenizer)}
    generate.answer(job, engine)
    rows = read_records(job.out, Generation)
    assert len(rows) == job.samples
    assert job.method == "none" or 0 < sum(row.accepted for row in rows) < sum(row.drafted for row in rows)
    exact = common_answers(job, prompt, stop_ids(job.model, tokenizer))
    assert len(exact) >= 5 and sum(exact.values()) > 0.1, "vacuous"
    counts = Counter(tuple(row.token_ids) for row in rows)
    seen, due = [counts[answer] for answer in exact], [share * len(rows) for share in exact.values()]
    others = [len(rows) - sum(seen)], [len(rows) - sum(due)]
    assert chisquare(seen + others[0], due + others[1]).pvalue > FALSE_ALARM
    return rows


def common_answers(job: Job, prompt: Sequence[int], stops: Collection[int]) -> dict[tuple[int, ...], float]:
    """Return the probability of every answer that is due FEWEST times among the samples, by transformers' own pass."""
    answers = {(): 1.0}
    for _ in range(job.max_tokens):
        ended = {answer: share for answer, share in answers.items() if answer and answer[-1] in stops}
        open_ones = [answer for answer in answers if answer not in ended]
        longer = _next_tokens(job.model, [[*prompt, *answer] for answer in open_ones], job.temperature)
        answers = ended | {
            (*answer, token): answers[answer] * chance
            for answer, chances in zip(open_ones, longer, strict=True)
            for token, chance in enumerate(chances)
            if answers[answer] * chance * job.samples >= FEWEST
        }
    return answers


def _next_tokens(model: str | Path, texts: Sequence[Sequence[int]], temperature: float) -> list[list[float]]:
    import torch
    from transformers import AutoModelForCausalLM

    if not texts:
        return []
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(model)(torch.tensor(texts)).logits[:, -1]
    return (logits.double() / temperature).softmax(-1).tolist()
