"""Prompt files of paid teachers: a system and a user text with placeholders such as `{question}`.

Only the placeholders named here are filled, in one pass, so braces of LaTeX stay as they are and a placeholder inside a
question is not filled.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from doubledraft import yaml_files
from doubledraft.prompts import PromptError

NEEDED = {"solve": ("question",), "condense": ("question", "solution"), "independent": ("question",)}  # by role
PLACE = re.compile(r"\{(question|solution|min_steps|max_steps|max_words)\}")


@dataclass(frozen=True, slots=True)
class TeacherPrompt:
    """A teacher's prompt with its placeholders."""

    system: str
    user: str


def load(path: str | Path, role: str) -> TeacherPrompt:
    """Read the prompt file of a role (solve, condense, independent); raise PromptError naming the file and the key."""
    try:
        value = yaml_files.read(path)
    except yaml_files.YamlError as error:
        raise PromptError(str(error)) from None
    if not isinstance(value, dict) or value.keys() != {"system", "user"}:
        raise PromptError(f"{path}: expected the keys 'system' and 'user', found {value!r:.60}")
    for key, text in value.items():
        if not isinstance(text, str) or not text.strip():
            raise PromptError(f"{path}: key {key!r}: expected text, found {text!r:.60}")
    for place in NEEDED[role]:
        if f"{{{place}}}" not in value["user"]:
            raise PromptError(f"{path}: key 'user': expected {{{place}}}, where the {place} goes")
    return TeacherPrompt(value["system"].strip(), value["user"].strip())


def messages(prompt: TeacherPrompt, values: Mapping[str, object]) -> list[dict[str, str]]:
    """Build the chat messages of one request; placeholders without a value stay as they are."""

    def filled(text: str) -> str:
        return PLACE.sub(lambda place: str(values.get(place[1], place[0])), text)

    return [{"role": "system", "content": filled(prompt.system)}, {"role": "user", "content": filled(prompt.user)}]
