"""Turns prompt files into chat messages: the only place that builds prompts for the models under study.

A prompt file is YAML with two keys: `system` asks for the style and the answer line, `shots` are worked examples.
Trained models get the system text and the question only, since training taught them the style; untrained ones get the
shots too, as turns of the conversation. Training and inference build their prompts with the same function.
"""

from dataclasses import dataclass
from pathlib import Path

from doubledraft import yaml_files


class PromptError(ValueError):
    """A prompt file that cannot be used; the message is `path: key: what was expected`."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One worked example."""

    question: str
    answer: str  # reasoning lines, then "#### answer"


@dataclass(frozen=True, slots=True)
class Prompt:
    """How a model is asked for one style of reasoning."""

    system: str
    shots: tuple[Shot, ...]


def load(path: str | Path) -> Prompt:
    """Read a prompt file; raises PromptError naming the file and the key that is wrong."""
    try:
        value = yaml_files.read(path)
    except yaml_files.YamlError as error:
        raise PromptError(str(error)) from None
    except OSError as error:
        raise PromptError(f"{path}: cannot be read: {error.strerror}") from None
    top = _mapping(value, ("system", "shots"), f"{path}: the file")
    if not isinstance(top["shots"], list):
        raise PromptError(f"{path}: key 'shots': expected a list of question and answer, found {top['shots']!r:.60}")
    shots = []
    for number, item in enumerate(top["shots"], start=1):
        where = f"{path}: key 'shots', item {number}"
        shot = _mapping(item, ("question", "answer"), where)
        shots.append(Shot(_text(shot["question"], f"{where}, 'question'"), _text(shot["answer"], f"{where}, 'answer'")))
    return Prompt(_text(top["system"], f"{path}: key 'system'"), tuple(shots))


def messages(prompt: Prompt | None, question: str, *, few_shot: bool) -> list[dict[str, str]]:
    """Return the chat messages of one question: the prompt's system text, its shots if `few_shot`, the question.

    Without a prompt (None) the question is the only message.
    """
    turns = [{"role": "system", "content": prompt.system}] if prompt else []
    for shot in prompt.shots if prompt and few_shot else ():
        turns.append({"role": "user", "content": shot.question})
        turns.append({"role": "assistant", "content": shot.answer})
    turns.append({"role": "user", "content": question})
    return turns


def _mapping(value: object, keys: tuple[str, ...], where: str) -> dict[str, object]:
    expected = " and ".join(f"'{key}'" for key in keys)
    if not isinstance(value, dict):
        raise PromptError(f"{where}: expected the keys {expected}, found {value!r:.60}")
    for key in value:
        if key not in keys:
            raise PromptError(f"{where}: unknown key {key!r}; it takes {expected}")
    for key in keys:
        if key not in value:
            raise PromptError(f"{where}: key {key!r} is missing; it takes {expected}")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise PromptError(f"{where}: expected text, found {value!r:.60}; put quotes round it if it looks like a number")
    return value.strip()
