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
    key: str | None = None  # of what it shares with other prompts of its source
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
    prompts: Callable[[Row, str], Iterator[DomainPrompt]]  # of a row and its place
    revision: str  # the commit that is taken where the config names none


def read(spec: Mapping[str, object], domain: str, seed: int, most: int) -> Prompts:
    """Return the prompts of a domain's config entry, from a large source about `most`."""
    match spec["source"]:
        case "stdlib":
            found = [DomainPrompt(text, module) for module, text in python_library.standard_library()]
            return Prompts(found, "PSF-2.0", [{"python": platform.python_version()}])
        case "generated":
            return Prompts(_generated(domain, seed, most), "MIT", [{"generator": "word problems"}])
        case "hub":
            return _hub(spec, domain, most)
    path = Path(spec["path"])
    table = files.read([path])
    found = [prompt for where, row in table.rows for prompt in _of_file(row)(row, where)]
    return Prompts(found, spec.get("licence", "not stated"), [table.origin])


def _of_file(row: Row) -> Callable[[Row, str], Iterator[DomainPrompt]]:
    """Return what reads a row of a file: one of HumanEval, of repositories, or any other."""
    if "entry_point" in row:
        return _human_eval
    return _code_file if row.keys() >= {"content", "repo_name"} else row_prompts


def row_prompts(row: Row, where: str) -> Iterator[DomainPrompt]:
    """Yield the prompt of a row; its gold is `answer`, or what follows `####` there; `group` is what it shares."""
    group, answer = row.get("group"), ""
    if row.get("answer") not in (None, ""):
        answer = sources.text(row, "answer", where, str | int | float)
    asked = sources.asked_text(row, TEXT_FIELDS, where)
    yield DomainPrompt(asked, None if group is None else str(group), extract_strict(answer) or answer)


def _generated(domain: str, seed: int, most: int) -> list[DomainPrompt]:
    """Return questions of all difficulties, whose numbers are those of the generator's training questions."""
    counts = {name: min(most, generate.capacity(name, "train")) for name in generate.TEMPLATES}
    made = (question for name, n in counts.items() for question in generate.generate(name, "train", n, seed, domain))
    return list(map(_asked, made))


def _asked(question: Question) -> DomainPrompt:
    return DomainPrompt(question.question, question.subject, question.answer)


def _hub(spec: Mapping[str, object], domain: str, most: int) -> Prompts:
    name, revision = spec["name"], spec.get("revision")
    if name in ("gsm8k", "math"):
        reader = {"gsm8k": sources.read_gsm8k, "math": sources.read_math}[name]
        pool = reader("train", domain, None, revision)
        return Prompts([DomainPrompt(each.question, None, each.answer) for each in pool.questions], "MIT", pool.origin)
    known = HUB[name]
    table = files.read_hub(known.repository, known.config, f"{known.split}[:{most}]", revision or known.revision)
    found = [prompt for where, row in table.rows for prompt in known.prompts(row, where)]
    return Prompts(found, known.licence, [table.origin])


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
