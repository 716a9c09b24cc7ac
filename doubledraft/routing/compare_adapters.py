"""A LoRA adapter for every domain over the generic draft, against a draft for every domain: size, memory, acceptance.

All ways to draft take turns at each test prompt of a domain, as when the matrix is collected; the adapter is put into
the shared draft's weights before every answer; the time for this counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from doubledraft import machine
from doubledraft.engine import clock
from doubledraft.engine.adapters import SharedDraft
from doubledraft.engine.backend import Backend
from doubledraft.engine.load import create_backend
from doubledraft.engine.proposers import DraftModel, NoDraft, Proposer
from doubledraft.inference import resume
from doubledraft.inference.load_pair import load_draft
from doubledraft.inference.tokenizing import stop_ids
from doubledraft.models.folder import weight_files
from doubledraft.models.inspect import load_tokenizer
from doubledraft.models.merge import ADAPTER
from doubledraft.records import Generation, Question, read_records
from doubledraft.routing.collect import answer_all
from doubledraft.routing.domain_drafts import prompt_tokens
from doubledraft.routing.matrix import PLAIN
from doubledraft.stats import Interval, ratio_interval, totals
from doubledraft.summaries import json_file
from doubledraft.summaries.adapter_score import AdaptedDomain, AdapterScore, AdapterSize
from doubledraft.summaries.provenance import recorded

OWN, SHARED = "own draft", "generic draft"
SWITCHES = 5  # timed switches to every adapter


@dataclass(frozen=True, slots=True)
class Loaded:
    """All drafts in memory."""

    domain_drafts: dict[str, DraftModel]  # by domain
    generic: DraftModel
    shared: dict[int, SharedDraft]  # by rank: the generic draft once more, with an adapter for every domain

    def arms(self, domain: str) -> dict[str, Proposer]:
        """Return the ways to draft for a domain, plain decoding first."""
        adapted = {arm_name(rank): draft.proposers()[domain] for rank, draft in self.shared.items()}
        return {PLAIN: NoDraft(), OWN: self.domain_drafts[domain], SHARED: self.generic, **adapted}


def arm_name(rank: int) -> str:
    """Return the name of adapters of a rank in the results."""
    return f"adapter, rank {rank}"


def compare(
    *,
    target: str | Path,
    drafts: Mapping[str, str | Path],
    generic: str | Path,
    adapters: Mapping[int, Mapping[str, str | Path]],
    prompts: Mapping[str, str | Path],
    progress: str | Path,
    max_tokens: int,
    draft_length: int,
    turns: int,
    dtype: str,
    settings: Mapping[str, object],
    out: str | Path,
) -> None:
    """Write adapters.json: `drafts` and `prompts` are by domain, `adapters` by rank and domain."""
    machine.use_own_cores()
    tokenizer, model = load_tokenizer(target), create_backend(target, dtype, machine.device())
    loaded = Loaded(
        {domain: load_draft(folder, model) for domain, folder in drafts.items()},
        load_draft(generic, model),
        {rank: SharedDraft(load_draft(generic, model).draft, by_domain) for rank, by_domain in adapters.items()},
    )
    questions = {domain: read_records(path, Question) for domain, path in prompts.items()}
    weights = [file for folder in (target, generic, *drafts.values()) for file in weight_files(Path(folder))]
    weights += [Path(folder) / ADAPTER for by_domain in adapters.values() for folder in by_domain.values()]
    work = resume.key([*weights, *prompts.values()], [max_tokens, draft_length, turns, dtype, model.kernel])
    done = resume.resume(progress, work)
    decoding = {"max_new_tokens": max_tokens, "draft_length": draft_length, "stop_ids": stop_ids(target, tokenizer)}
    domains, seed = [], settings["seed"]
    for domain, domain_questions in questions.items():
        ids = prompt_tokens(tokenizer, model, domain_questions, max_tokens)
        domain_rows = [row for row in done if row.id.partition("|")[0] in ids]
        rows = answer_all(model, loaded.arms(domain), ids, domain_rows, progress, turns, seed, decoding)
        domains += _on_domain(domain, domain_questions, rows, seed)
    score = AdapterScore(
        domains=domains,
        sizes=_sizes(loaded, drafts, generic, adapters),
        test_prompts=sum(map(len, questions.values())),
        draft_length=draft_length,
        turns=turns,
        provenance=recorded(settings),
    )
    json_file.write(out, score)
    resume.remove(progress)


def _on_domain(
    domain: str, prompts: Sequence[Question], rows: Mapping[tuple, Generation], seed: int
) -> list[AdaptedDomain]:
    """Return what each way to draft was worth on a domain, from the rows by prompt, arm and turn."""
    groups = [prompt.subject for prompt in prompts]
    sums: dict[str, dict[str, list[float]]] = {}
    for name in dict.fromkeys(arm for _, arm, _ in rows):
        answers = [[row for (id, arm, _), row in rows.items() if (id, arm) == (prompt.id, name)] for prompt in prompts]
        values = {
            "tokens": [sum(len(row.token_ids) for row in turns) for turns in answers],
            "steps": [sum(row.steps for row in turns) for turns in answers],
            "seconds": [sum(row.batch_seconds for row in turns) for turns in answers],
        }
        sums[name] = {key: totals(groups, numbers) for key, numbers in values.items()}

    def ratio(above: tuple[str, str], below: tuple[str, str]) -> Interval:
        return ratio_interval(sums[above[0]][above[1]], sums[below[0]][below[1]], seed)

    return [
        AdaptedDomain(
            domain=domain,
            draft=name,
            tokens_per_step=ratio((name, "tokens"), (name, "steps")),
            tokens_per_second=ratio((name, "tokens"), (name, "seconds")),
            speedup=ratio((PLAIN, "seconds"), (name, "seconds")),
            against_own=ratio((OWN, "steps"), (name, "steps")),
        )
        for name in sums
        if name != PLAIN
    ]


def _sizes(
    loaded: Loaded,
    drafts: Mapping[str, str | Path],
    generic: str | Path,
    adapters: Mapping[int, Mapping[str, str | Path]],
) -> list[AdapterSize]:
    """Return what each way to draft takes on disk for a domain, and in memory for all of them."""
    own_memory = sum(_held(draft.draft) for draft in loaded.domain_drafts.values())
    sizes = [
        _size(OWN, _on_disk(next(iter(drafts.values()))), own_memory),
        _size(SHARED, _on_disk(generic), _held(loaded.generic.draft)),
    ]
    for rank, shared in loaded.shared.items():
        memory = _held(shared.draft) + shared.copied_bytes + shared.adapter_bytes
        [size, *_] = (Path(folder, ADAPTER).stat().st_size for folder in adapters[rank].values())
        sizes.append(_size(arm_name(rank), size, memory, _time_switches(shared, list(adapters[rank]))))
    return sizes


def _size(name: str, disk: int, memory: int, switches: Sequence[float] = ()) -> AdapterSize:
    return AdapterSize(
        draft=name,
        file_bytes=disk,
        memory_bytes=memory,
        switch_milliseconds=1000 * median(switches) if switches else None,
        slowest_switch=1000 * max(switches) if switches else None,
        switches=len(switches),
    )


def _on_disk(folder: str | Path) -> int:
    return sum(file.stat().st_size for file in weight_files(Path(folder)))


def _held(draft: Backend) -> int:
    """Return the bytes of a draft's weights: those that a pass reads, with the head's own rows, and the embedding."""
    return draft.bytes_per_pass + draft.vocabulary * draft.size * draft.item_bytes


def _time_switches(shared: SharedDraft, names: Sequence[str]) -> list[float]:
    """Return the seconds of each switch from one adapter to the next; a first round warms up and is not timed."""
    seconds = []
    for turn in range(1 + SWITCHES):
        for name in names:
            if shared.name == name:  # the only one
                shared.use(None)
            began = clock.now(shared.draft.device)
            shared.use(name)
            elapsed = clock.seconds(began, clock.now(shared.draft.device))
            seconds += [elapsed] if turn else []
    return seconds
