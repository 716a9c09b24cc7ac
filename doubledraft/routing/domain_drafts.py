"""The draft of a domain: trained on the target's own answers to the domain's prompts, right or wrong.

A draft has to propose what the target says, so nothing is graded. Answers come from the native engine, which also
decodes with the drafts later. The generic draft, the control, is trained on as many answers as each of the others: of n
domains it takes every n-th answer of each.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from doubledraft import machine, prompts
from doubledraft.engine.backend import Backend
from doubledraft.engine.decode import decode
from doubledraft.engine.draft_vocabulary import learn_from_files
from doubledraft.engine.load import create_backend
from doubledraft.inference import resume
from doubledraft.inference.tokenizing import prompt_ids, stop_ids
from doubledraft.log import log
from doubledraft.models.folder import ModelError, weight_files
from doubledraft.models.inspect import load_tokenizer
from doubledraft.models.merge import CHECKED_PROMPTS, merge
from doubledraft.records import Generation, Question, read_records, write_records
from doubledraft.training import finetune
from doubledraft.training.draft_run import DraftRun
from doubledraft.training.rows import rows_from_generations
from doubledraft.training.run import Inputs

GENERIC = "generic"  # name of the draft that learns from all domains


def answer(
    *,
    model: str | Path,
    questions: str | Path,
    out: str | Path,
    progress: str | Path,
    max_tokens: int,
    concurrency: int,
    dtype: str,
) -> None:
    """Write the model's greedy answers to a file of questions; `progress` holds those of a run that was killed."""
    machine.use_own_cores()
    tokenizer = load_tokenizer(model)
    target, ends = create_backend(model, dtype, machine.device()), stop_ids(model, tokenizer)
    tokens = prompt_tokens(tokenizer, target, read_records(questions, Question), max_tokens)
    work = resume.key([questions, *weight_files(Path(model))], [max_tokens, dtype, target.kernel, concurrency])
    rows = {row.id: row for row in resume.resume(progress, work)}
    waiting = sorted(tokens.keys() - rows.keys(), key=lambda id: (len(tokens[id]), id))  # similar lengths: less padding
    for start in range(0, len(waiting), concurrency):
        batch = waiting[start : start + concurrency]
        _, metrics = decode(target, [tokens[id] for id in batch], max_tokens, stop_ids=ends)
        done = [
            answer.as_generation(id, text=tokenizer.decode(answer.token_ids, skip_special_tokens=True))
            for id, answer in zip(batch, metrics.answers, strict=True)
        ]
        resume.append(progress, done)
        rows |= {row.id: row for row in done}
        log.info("%d of %d answered, %.1f tokens/s", len(rows), len(tokens), metrics.tokens_per_second)
    write_records(out, [rows[id] for id in tokens])
    resume.remove(progress)


def prompt_tokens(tokenizer, target: Backend, questions: Iterable[Question], max_tokens: int) -> dict[str, list[int]]:
    """Return the token ids of domains' prompts by id: each the user's only message, in the chat template.

    Raise ModelError naming one that does not fit into the target with its answer.
    """
    tokens = {}
    for question in questions:
        ids = prompt_ids(tokenizer, prompts.messages(None, question.question, few_shot=False))
        if len(ids) + max_tokens > target.max_positions:
            raise ModelError(
                f"prompt {question.id} has {len(ids)} tokens, and {max_tokens} (domains.max_tokens) more do not fit "
                f"into the {target.max_positions} positions of {target.name}: leave it out of its source, where it "
                f"begins with {question.question!r:.60}"
            )
        tokens[question.id] = ids
    return tokens


def train_draft(
    *,
    base: str | Path,
    target: str | Path,
    answers: Sequence[str | Path],
    questions: Sequence[str | Path],
    vocabulary: Sequence[str | Path],
    out: str | Path,
    **settings,
) -> None:
    """Train a draft's adapter on answers to the questions of one domain, or to a share of each of several.

    Files of `answers` and `questions` belong together by place. The draft learns to choose among the tokens that occur
    in the files of `vocabulary`, which are those that it will propose. Other settings are those of
    `training.finetune.train`, which keeps the checkpoint of the most tokens per step on held-out prompts.
    """
    rows = []
    for answer_file, question_file in zip(answers, questions, strict=True):
        generations = read_records(answer_file, Generation)[:: len(answers)]
        rows += rows_from_generations(generations, read_records(question_file, Question), None)
    inputs = Inputs(base=base, rows=rows, target=target, allowed_tokens=learn_from_files(vocabulary))
    finetune.train(inputs, out, run=DraftRun, **settings)


def merge_draft(
    *, base: str | Path, adapter: str | Path, questions: Sequence[str | Path], out: str | Path, dtype: str
) -> None:
    """Merge a draft's adapter into its base model, checked on the first questions."""
    checked = [question for file in questions for question in read_records(file, Question)[:CHECKED_PROMPTS]]
    messages = [prompts.messages(None, question.question, few_shot=False) for question in checked[:CHECKED_PROMPTS]]
    merge(base, adapter, out, dtype=dtype, prompts=messages)
