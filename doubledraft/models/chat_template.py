"""A model's chat template is a program that came with the model: tried out in a process that can be killed.

transformers renders it in Jinja's sandbox, which keeps it from Python's insides and from files, and says nothing of
time and memory: two nested loops run for years, one multiplication fills the machine. So when a model is fetched, each
of its templates renders the kinds of conversation that a study has, by transformers' own code, in a process with limits
on CPU time and memory and no way to write a file, open a socket or start a program. A template that fails there is
refused with the reason. What stays: one that behaves until it meets a particular question, which can stall its job,
and no more.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from doubledraft.machine import OFFLINE
from doubledraft.models.folder import ModelError
from doubledraft.models.safety import MAX_JSON, read_settings
from doubledraft.sandbox import address_space, confine

MAX_TEMPLATE = 200_000  # characters; the longest in use have some 20,000
MAX_RENDERED = 100_000  # characters that the conversations below may become; they are some 300 long
CPU_SECONDS = 5  # for all of them, after the imports; an honest template takes milliseconds
MEMORY_BYTES = 512 << 20  # beyond what the imports take
ASKED = [{"role": "system", "content": "Think."}, {"role": "user", "content": "How many pencils are left?"}]
ANSWERED = [*ASKED, {"role": "assistant", "content": "24 - 4 = 20\n#### 20"}]
CONVERSATIONS = [(ASKED, True), (ANSWERED, False), ([*ANSWERED, *ANSWERED[1:], ASKED[1]], True)]


def refuse_hostile(folder: str | Path) -> None:
    """Raise ModelError naming the file of a chat template that does not render, or not within the limits."""
    for where, template in find(Path(folder)):
        if len(template) > MAX_TEMPLATE:
            raise ModelError(f"{where}: expected a chat template of at most {MAX_TEMPLATE:,} characters")
        if reason := _try(template):
            raise ModelError(f"{where}: the chat template {reason}; use a model with another template")


def find(folder: Path) -> list[tuple[str, str]]:
    """Give (where it stands, text) of every chat template that transformers would take from a model folder."""
    files = [*folder.glob("chat_template.jinja"), *sorted(folder.glob("additional_chat_templates/*.jinja"))]
    found = [(str(file), _read(file)) for file in files]
    for file in (folder / "tokenizer_config.json", folder / "chat_template.json"):
        named = read_settings(file).get("chat_template") if file.exists() else None
        for template in named if isinstance(named, list) else [named]:
            text = template.get("template") if isinstance(template, dict) else template
            found += [(str(file), str(text))] if text is not None else []
    return found


def _read(file: Path) -> str:
    if file.stat().st_size > MAX_JSON:
        raise ModelError(f"{file}: expected a chat template of at most {MAX_TEMPLATE:,} characters")
    return file.read_text(encoding="utf-8")


def _try(template: str) -> str | None:
    """Give what is wrong with a template, None where it renders."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    worker = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps(template),
        env=os.environ | OFFLINE | {"PYTHONPATH": path},
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


def _render(template: str) -> str | None:
    """Render all conversations under limits; give what went wrong."""
    from jinja2 import TemplateError
    from jinja2.exceptions import SecurityError
    from transformers.utils.chat_template_utils import render_jinja_template

    confine(memory_bytes=address_space() + MEMORY_BYTES, cpu_seconds=CPU_SECONDS)
    try:
        for messages, prompt in CONVERSATIONS:
            (text,), _ = render_jinja_template([messages], chat_template=template, add_generation_prompt=prompt)
            if messages[-1]["content"] not in text:
                return "leaves out what was said last"
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
    reason = _render(json.loads(sys.stdin.read()))
    sys.stdout.write(json.dumps(reason and reason[:500]))
