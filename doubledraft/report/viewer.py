"""The token viewer: one HTML file that shows decoding records, and loads nothing from elsewhere.

The page has the records in a short form: tokens are numbers of a table of texts, probabilities whole ten-thousandths.
Its script is allowed by its hash and is the only one that runs, whatever the texts hold.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from doubledraft import pages
from doubledraft.engine.decoding_metrics import token_class
from doubledraft.evaluation import decodings
from doubledraft.files import whole_file
from doubledraft.log import log
from doubledraft.records import write_records
from doubledraft.summaries import json_file
from doubledraft.summaries.decoding_record import DecodingRecord, Lane
from doubledraft.summaries.run_file import RunFile

MOST_BYTES = 1_900_000  # of records in a page; further questions are left out, and the page says how many
CLASSES = ["answer marker", "words", "digits and operators", "space and punctuation"]


def write_cell(*, cell: str, runs: Sequence[str], records: str, page: str, **paths) -> None:
    """Write decoding records and page of a cell; `runs` and `paths` are the arguments of `decodings.of_cell`."""
    rows = decodings.of_cell(runs=runs, **paths)
    write_records(records, rows)
    run = json_file.read(runs[0], RunFile)
    facts = [f"{run.engine} {run.version}", run.dtype, f"{run.concurrency} in flight", str(run.provenance.hardware)]
    write(rows, cell, facts, page)


def write(records: Sequence[DecodingRecord], title: str, facts: Sequence[str], out: str | Path) -> None:
    """Write the page of records, in their order."""
    page, left_out = render(records, title, facts)
    with whole_file(out) as file:
        file.write(page)
    log.info("%s: %d questions, %.2f MB, %d left out", out, len(records) - left_out, len(page) / 1e6, left_out)


def render(records: Sequence[DecodingRecord], title: str, facts: Sequence[str] = ()) -> tuple[str, int]:
    """Return the page, and how many of the last records are left out to keep it below MOST_BYTES."""
    table = _Texts()
    questions, size = [], 0
    for record in records:
        text = _dump(_question(record, table))
        size += len(text)
        if questions and size + table.size > MOST_BYTES:
            break
        questions.append(text)
    left_out = len(records) - len(questions)
    data = _dump({"left_out": left_out, **table.columns()})
    script = script_text()
    values = {
        "title": title,
        "facts": facts,
        "data": f'{data[:-1]},"questions":[{",".join(questions)}]}}',
        "script": script,
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    return pages.render("viewer.html.j2", values), left_out


def script_text() -> str:
    """Return the script of the page."""
    return "".join((pages.TEMPLATES / name).read_text(encoding="utf-8") for name in ("tokens.js", "viewer.js"))


class _Texts:
    """The tokens of a page: each has a number, in the order in which they are first named."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._texts: list[str] = []
        self.size = 0  # bytes that the table takes in the page, about

    def number(self, token: int, record: DecodingRecord) -> int:
        """Return the number of a token of a record."""
        if token not in self._numbers:
            self._numbers[token] = len(self._texts)
            self._texts.append(record.texts[str(token)])
            self.size += len(self._texts[-1]) + 14
        return self._numbers[token]

    def columns(self) -> dict[str, list]:
        """Return text, id and class of every token."""
        classes = [CLASSES.index(token_class(text)) for text in self._texts]
        return {"texts": self._texts, "ids": list(self._numbers), "classes": classes, "class_names": CLASSES}


def _question(record: DecodingRecord, table: _Texts) -> dict[str, object]:
    """Return a record in the short form that `unpack` of viewer.js reads."""

    def numbers(ids: Sequence[int]) -> list[int]:
        return [table.number(token, record) for token in ids]

    def tops(top: Sequence[Sequence[Sequence[float]]]) -> list[list[int]]:
        return [[part for id, p in pairs for part in (table.number(int(id), record), _parts(p))] for pairs in top]

    audit = record.audit
    return {
        "id": record.id,
        "prompt": record.prompt,
        "lanes": [_lane(lane, numbers) for lane in record.lanes],
        "audit": audit
        and {
            "ids": numbers(audit.token_ids),
            "p": list(map(_parts, audit.p)),
            "q": list(map(_parts, audit.q)),
            "overlap": list(map(_parts, audit.overlap)),
            "best": numbers(audit.draft_best),
            "target": tops(audit.target_top),
            "draft": tops(audit.draft_top),
        },
        "others": {name: numbers(best) for name, best in record.other_drafts.items()},
    }


def _lane(lane: Lane, numbers) -> dict[str, object]:
    steps = lane.steps and [
        [step.emitted, step.proposed, step.accepted, _rounded(step.seconds), numbers(step.drafted)]
        for step in lane.steps
    ]
    return {
        "name": lane.name,
        "ids": numbers(lane.token_ids),
        "steps": steps,
        "seconds": _rounded(lane.seconds),
        "first": _rounded(lane.first_token_seconds),
        "difference": lane.first_difference,
        "margin": lane.margin,
        "verdict": lane.verdict,
    }


def _parts(probability: float) -> int:
    """Return a probability in whole ten-thousandths."""
    return round(10_000 * probability)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 5)


def _dump(value: object) -> str:
    """Return JSON that cannot end the element of the page in which it stands."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e")
