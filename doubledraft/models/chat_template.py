"""A model's chat template: tried out in a process with limits when the model is fetched, then rendered in one way.

A template is a program that came with the model. transformers renders it in Jinja's sandbox, which keeps it from
Python's internals and from files but limits neither time nor memory: nested loops can run for years, one
multiplication can fill the machine. So each template of a fetched model renders the kinds of conversation that a study
has, by transformers' own code and with the model's special tokens, in a process with limits on CPU time and memory that
cannot write a file, open a socket or start a program. A template that fails there is refused with the reason. One risk
remains: a template that behaves until it meets a particular question can stall its job.

Some templates write the date of today into the prompt. Training and benchmark would then see different prompts, so
every conversation is rendered as on DATE, which the manifest of such a model records.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from doubledraft.machine import OFFLINE
from doubledraft.models.folder import ModelError
from doubledraft.models.safety import MAX_JSON, read_settings
from doubledraft.process import import_path
from doubledraft.sandbox import address_space, confine

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DATE = datetime(2024, 7, 26)  # the one that Llama 3.2's template falls back to
CLOCK = "strftime_now"  # the function by which transformers lets a template read the clock
MAX_TEMPLATE = 200_000  # characters; the longest in use have some 20,000
MAX_RENDERED = 100_000  # characters that one of the conversations below may become; they are some 300 long
CPU_SECONDS = 5  # for all of them, after the imports; a usual template takes milliseconds
MEMORY_BYTES = 512 << 20  # beyond what the imports take
ASKED = [{"role": "system", "content": "Think."}, {"role": "user", "content": "How many pencils are left?"}]
ANSWERED = [*ASKED, {"role": "assistant", "content": "24 - 4 = 20\n#### 20"}]
CONVERSATIONS = [(ASKED, True), (ANSWERED, False), ([*ANSWERED, *ANSWERED[1:], ASKED[1]], True)]


def render(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Mapping[str, str]], *, prompt: bool, **variables: object
) -> str:
    """Render chat messages as on DATE, with the start of an answer where `prompt`; `variables` are the template's own.

    Raise ModelError where the template cannot render them, or leaves out a system message.
    """
    from jinja2 import TemplateError

    variables = {CLOCK: DATE.strftime} | variables
    try:
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=prompt, tokenize=False, **variables)
    except (TemplateError, ValueError, TypeError) as error:  # ValueError: only named templates; TypeError: no text
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{tokenizer.name_or_path}: its chat template does not render {_said_by(messages)}: {reason:.300}; use "
            "another model"
        ) from None
    if messages[0]["role"] == "system" and messages[0]["content"] not in text:
        raise ModelError(
            f"{tokenizer.name_or_path}: its chat template leaves out the system message, so its instructions would be "
            "lost; use another model, or no prompt file"
        )
    return text


def _said_by(messages: Sequence[Mapping[str, str]]) -> str:
    return " and ".join(dict.fromkeys(f"a {message['role']} message" for message in messages))


def check(folder: str | Path, tokenizer: "PreTrainedTokenizerBase") -> dict[str, str]:
    """Try out the chat templates of a folder; return the date they are rendered with, where one reads the clock.

    Raise ModelError where there is none, none to use by default, or one that does not render within the limits.
    """
    templates = find(Path(folder))
    for where, template in templates:
        if len(template) > MAX_TEMPLATE:
            raise _too_long(where)
        if reason := _try(template, tokenizer.special_tokens_map):
            raise ModelError(f"{where}: the chat template {reason}; use a model with another template")
    try:
        template = tokenizer.get_chat_template()
    except ValueError:
        names = ", ".join(tokenizer.chat_template) if isinstance(tokenizer.chat_template, dict) else "none"
        raise ModelError(
            f"{folder}: no chat template to use by default (named ones: {names}); choose an instruction-tuned model, "
            "or add chat_template.jinja"
        ) from None
    return {"chat_template_date": f"{DATE:%Y-%m-%d}"} if CLOCK in template else {}


def find(folder: Path) -> list[tuple[str, str]]:
    """List (file, text) of every chat template that transformers would take from a model folder."""
    files = [*folder.glob("chat_template.jinja"), *sorted(folder.glob("additional_chat_templates/*.jinja"))]
    templates = [(str(file), _read(file)) for file in files]
    for file in (folder / "tokenizer_config.json", folder / "chat_template.json"):
        named = read_settings(file).get("chat_template") if file.exists() else None
        for template in named if isinstance(named, list) else [named]:
            text = template.get("template") if isinstance(template, dict) else template
            templates += [(str(file), str(text))] if text is not None else []
    return templates


def _read(file: Path) -> str:
    if file.stat().st_size > MAX_JSON:
        raise _too_long(file)
    return file.read_text(encoding="utf-8")


def _too_long(where: object) -> ModelError:
    return ModelError(
        f"{where}: expected a chat template of at most {MAX_TEMPLATE:,} characters; use a model with another template"
    )


def _try(template: str, special: Mapping[str, str]) -> str | None:
    """Return what is wrong with a template, None where it renders; `special` are special tokens by name."""
    worker = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps([template, dict(special)]),
        env=os.environ | OFFLINE | import_path(),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if worker.returncode == -9 or worker.returncode == -24:  # SIGKILL, SIGXCPU
        return f"did not end within {CPU_SECONDS} s"
    if worker.returncode:
        last = worker.stderr.strip().split("\n")[-1]
        raise RuntimeError(f"{__name__} ended with exit status {worker.returncode}: {last:.500}")
    return json.loads(worker.stdout)


def _render(template: str, special: Mapping[str, str]) -> str | None:
    """Render all conversations under limits; return what went wrong."""
    from jinja2 import TemplateError
    from jinja2.exceptions import SecurityError
    from transformers.utils.chat_template_utils import render_jinja_template

    variables = {CLOCK: DATE.strftime} | special
    confine(memory_bytes=address_space() + MEMORY_BYTES, cpu_seconds=CPU_SECONDS)
    try:
        for messages, prompt in CONVERSATIONS:
            (text,), _ = render_jinja_template(
                [messages], chat_template=template, add_generation_prompt=prompt, **variables
            )
            if left_out := [message["role"] for message in messages if message["content"] not in text]:
                return f"leaves out what the {left_out[-1]} says"
            if len(text) > MAX_RENDERED:
                return f"writes more than {MAX_RENDERED:,} characters for a short conversation"
    except SecurityError as error:
        return f"asks for what a template may not have: {error}"
    except MemoryError:
        return f"takes more than {MEMORY_BYTES >> 20} MiB of memory"
    except TemplateError as error:
        return f"does not render a system message, a question and an answer: {error}"
    except Exception as error:  # whatever a template makes of Jinja
        return f"fails: {type(error).__name__}: {error}"
    return None


if __name__ == "__main__":
    reason = _render(*json.loads(sys.stdin.read()))
    sys.stdout.write(json.dumps(reason and reason[:500]))
