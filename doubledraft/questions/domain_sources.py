"""Where the prompts of a domain come from: the standard library, the target itself, the generator, a file or the hub.

A source gives prompts with the key of what they share (template, module, repository), its licence and its origin. Rows
of a file or of the hub have their text in `question`, `prompt`, `problem` or `turns`; a list, as in the question files
of MT-Bench and Spec-Bench, counts by its first turn. So a data set of the hub gives the same prompts from a local copy.
"""

import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from doubledraft.grading.extract import extract_strict
from doubledraft.questions import files, python_library, sources
from doubledraft.questions.wordproblems import generate
from doubledraft.records import Question

TEXT_FIELDS = ("question", "prompt", "problem", "turns")
Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class DomainPrompt:
    """What a user asks."""

    text: str
    key: str | None = None  # names what it shares with other prompts of its source
    answer: str = ""  # gold, where there is one


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prompts of a source."""

    prompts: list[DomainPrompt]
    licence: str
    origin: list[dict[str, object]]


@dataclass(frozen=True, slots=True)
class HubSet:
    """A data set of the hub that is known by name."""

    repository: str
    config: str | None
    split: str
    licence: str
    prompts: Callable[[Row, str], Iterator[DomainPrompt]]  # reads a row; its place is for messages
    revision: str  # the commit that is taken where the config names none


def read(spec: Mapping[str, object], domain: str, seed: int, most: int) -> Prompts:
    """Return the prompts of a domain's config entry, of a large source about `most` of them."""
    match spec["source"]:
        case "stdlib":
            prompts = [DomainPrompt(text, module) for module, text in python_library.standard_library()]
            return Prompts(prompts, "PSF-2.0", [{"python": platform.python_version()}])
        case "generated":
            return Prompts(_generated(domain, seed, most), "MIT", [{"generator": "word problems"}])
        case "hub":
            return _hub(spec, domain, most)
    path = Path(spec["path"])
    table = files.read([path])
    prompts = [prompt for where, row in table.rows for prompt in _of_file(row)(row, where)]
    return Prompts(prompts, spec.get("licence", "not stated"), [table.origin])


def _of_file(row: Row) -> Callable[[Row, str], Iterator[DomainPrompt]]:
    """Return the reader of a row by its fields: HumanEval's, those of code in repositories, or any other."""
    if "entry_point" in row:
        return _human_eval
    return _code_file if row.keys() >= {"content", "repo_name"} else row_prompts


def row_prompts(row: Row, where: str) -> Iterator[DomainPrompt]:
    """Yield the prompt of a row; its gold is `answer`, or what follows `####` there; `group` is what it shares."""
    group, answer = row.get("group"), ""
    if row.get("answer") not in (None, ""):
        answer = sources.text(row, "answer", where, str | int | float)
    prompt = sources.asked_text(row, TEXT_FIELDS, where)
    yield DomainPrompt(prompt, None if group is None else str(group), extract_strict(answer) or answer)


def _generated(domain: str, seed: int, most: int) -> list[DomainPrompt]:
    """Return questions of all difficulties, whose numbers are those of the generator's training questions."""
    counts = {name: min(most, generate.capacity(name, "train")) for name in generate.TEMPLATES}
    rows = (question for name, n in counts.items() for question in generate.generate(name, "train", n, seed, domain))
    return list(map(_asked, rows))


def _asked(question: Question) -> DomainPrompt:
    return DomainPrompt(question.question, question.subject, question.answer)


def _hub(spec: Mapping[str, object], domain: str, most: int) -> Prompts:
    name, revision = spec["name"], spec.get("revision")
    if name in ("gsm8k", "math"):
        reader = {"gsm8k": sources.read_gsm8k, "math": sources.read_math}[name]
        pool = reader("train", domain, None, revision)
        return Prompts([DomainPrompt(row.question, None, row.answer) for row in pool.questions], "MIT", pool.origin)
    entry = HUB[name]
    table = files.read_hub(entry.repository, entry.config, f"{entry.split}[:{most}]", revision or entry.revision)
    prompts = [prompt for where, row in table.rows for prompt in entry.prompts(row, where)]
    return Prompts(prompts, entry.licence, [table.origin])


def _human_eval(row: Row, where: str) -> Iterator[DomainPrompt]:
    header = sources.text(row, "prompt", where).strip()
    yield DomainPrompt(f"{python_library.TASK}\n\n```python\n{header}\n```")


def _code_file(row: Row, where: str) -> Iterator[DomainPrompt]:
    for text in python_library.functions(sources.text(row, "content", where)):
        yield DomainPrompt(text, str(row["repo_name"]))


HUB = {
    "humaneval": HubSet(
        sources.HUMANEVAL,
        None,
        "test",
        "MIT",
        _human_eval,
        sources.HUMANEVAL_REVISION,
    ),
    "codeparrot": HubSet(
        "codeparrot/codeparrot-clean-valid",
        None,
        "train",
        "that of each repository, in its rows",
        _code_file,
        "4db92d2ec0c1b4c41eeb439cfae16854511d9dcd",
    ),
    "mt_bench": HubSet(
        "HuggingFaceH4/mt_bench_prompts",
        None,
        "train",
        "Apache-2.0",
        row_prompts,
        "e3a795c5e9a82ee40611c416b8a7786c73198991",
    ),
}
