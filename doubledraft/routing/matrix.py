"""The matrix of drafts by prompts as arrays, from the file with a row for every answer.

All drafts emit the target's text, so a prompt has one number of tokens; where rounding breaks a tie differently in one
of the answers, seconds and steps are scaled to the mean number, which leaves each answer's tokens per second unchanged.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np

from doubledraft.records import RecordError

PLAIN = "none"  # in the place of a draft: the target alone


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRow:
    """One answer: a prompt, what drafted for it, and what it took."""

    prompt: str  # id
    domain: str
    split: str  # validation | test
    group: str
    draft: str  # name; "none" is the target alone
    turn: int  # from 0: each draft answers each prompt so many times
    tokens: int
    steps: int  # target passes
    drafted: int
    accepted: int
    seconds: float
    score_seconds: float | None  # that the draft takes to be scored on the whole answer; test prompts, first turn


@dataclass(frozen=True, slots=True)
class DraftMatrix:
    """Prompts p by drafts d by turns t."""

    prompts: list[str]
    domains: np.ndarray  # [p] names
    splits: np.ndarray  # [p] names
    groups: np.ndarray  # [p] names
    drafts: list[str]
    tokens: np.ndarray  # [p], the mean of the prompt's answers
    seconds: np.ndarray  # [p, d, t] for so many tokens
    plain: np.ndarray  # [p, t] the target alone
    steps: np.ndarray  # [p, d] target passes for so many tokens
    scoring: np.ndarray  # [p, d] seconds that scoring a draft takes, 0 where it was not measured

    def take(self, chosen: np.ndarray) -> Self:
        """Return the matrix of some prompts: `chosen` [p] is true at each of them."""
        at = np.flatnonzero(chosen)
        rows = {name: getattr(self, name)[at] for name in ARRAYS}
        return type(self)(prompts=[self.prompts[place] for place in at], drafts=self.drafts, **rows)

    @property
    def reward(self) -> np.ndarray:
        """Tokens per second [p, d], all turns together."""
        return self.tokens[:, None] / self.seconds.mean(2)

    @property
    def advantage(self) -> np.ndarray:
        """Logarithm of the reward [p, d], less its mean over the drafts: what routers learn."""
        logs = np.log(self.reward)
        return logs - logs.mean(1, keepdims=True)


ARRAYS = ("domains", "splits", "groups", "tokens", "seconds", "plain", "steps", "scoring")


def read(path: str | Path) -> DraftMatrix:
    """Read a matrix; raise RecordError where an answer is missing: the oracle would choose among fewer drafts.

    Also where a row is cut, or has no tokens, steps or seconds.
    """
    rows = _rows(path)
    prompts = list(dict.fromkeys(row.prompt for row in rows))
    names = list(dict.fromkeys(row.draft for row in rows))
    turns = 1 + max(row.turn for row in rows)
    by_key = {(row.prompt, row.draft, row.turn): row for row in rows}
    keys = [(prompt, draft, turn) for prompt in prompts for draft in names for turn in range(turns)]
    if missing := [key for key in keys if key not in by_key]:
        raise RecordError(f"{path}: {len(missing)} answers are missing, first {missing[0]}: collect the matrix again")
    shape = (len(prompts), len(names), turns)

    def grid(name: str) -> np.ndarray:
        return np.array([getattr(by_key[key], name) or 0 for key in keys], dtype=float).reshape(shape)

    tokens, first = grid("tokens"), [by_key[prompt, names[0], 0] for prompt in prompts]
    mean = tokens.mean((1, 2))
    seconds, steps = (grid(name) / tokens * mean[:, None, None] for name in ("seconds", "steps"))
    at = [place for place, name in enumerate(names) if name != PLAIN]
    return DraftMatrix(
        prompts=prompts,
        **{f"{name}s": np.array([getattr(row, name) for row in first]) for name in ("domain", "split", "group")},
        drafts=[names[place] for place in at],
        tokens=mean,
        seconds=seconds[:, at],
        plain=seconds[:, names.index(PLAIN)],
        steps=steps[:, at].mean(2),
        scoring=grid("score_seconds")[:, at, 0],
    )


def _rows(path: str | Path) -> list[MatrixRow]:
    kinds = {field.name: field.type for field in fields(MatrixRow)}
    with open(path, newline="", encoding="utf-8") as file:
        table = csv.DictReader(file)
        if unlike := set(kinds) ^ set(table.fieldnames or ()):
            raise RecordError(f"{path}:1: column {sorted(unlike)[0]!r} is missing or unknown: collect the matrix again")
        rows = [_row(row, kinds, f"{path}:{table.line_num}") for row in table]
    if PLAIN not in {row.draft for row in rows}:
        raise RecordError(f"{path}: no answers of the target alone: collect the matrix again")
    return rows


def _row(row: Mapping[str, str | None], kinds: Mapping[str, object], where: str) -> MatrixRow:
    try:
        answer = MatrixRow(**{name: _value(row[name], kind) for name, kind in kinds.items()})
    except (TypeError, ValueError) as error:
        raise RecordError(f"{where}: not a row of answers: {error}: collect the matrix again") from None
    if not (answer.tokens > 0 and answer.steps > 0 and 0 < answer.seconds < float("inf")):
        values = f"{answer.tokens} tokens, {answer.steps} steps in {answer.seconds} s"
        raise RecordError(f"{where}: {values} cannot be an answer: collect the matrix again")
    return answer


def _value(text: str, kind: object) -> object:
    if kind in (str, int, float):
        return kind(text)
    return float(text) if text else None
