"""The tokens that a draft may propose: those that occur in the target's answers.

A draft of a few layers spends most of its time on its output head, which has a row for every token of the vocabulary,
while the answers of one task use a few hundred. A head of these rows alone (`create_backend(..., allowed_tokens=...)`)
costs next to nothing. The output is unchanged: a token outside is never proposed, so the target emits it itself; in
sampling, q is the draft's distribution over the remaining tokens. Zhao et al. 2025, arXiv:2502.14856, cut the head of a
draft by frequency in this way. A draft that is trained for it takes its softmax over the same tokens, and lists them in
its folder.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from doubledraft.models.folder import DRAFT_VOCABULARY
from doubledraft.records import Generation, read_records
from doubledraft.summaries import json_file
from doubledraft.summaries.training_summary import DraftVocabulary


def learn(answers: Iterable[Sequence[int]], size: int | None = None) -> list[int]:
    """Return the `size` most frequent tokens of answers, or all that occur, in ascending order.

    Of equally frequent tokens the lower id is first, so the order of the answers does not count. Raise ValueError for
    answers without tokens, and for a size below 1.
    """
    counts = Counter(chain.from_iterable(answers))
    if not counts or (size is not None and size < 1):
        raise ValueError(
            f"expected answers with tokens and a size of at least 1, found {len(counts)} tokens and {size}"
        )
    return sorted(sorted(counts, key=lambda token: (-counts[token], token))[:size])


def learn_from_files(paths: Iterable[str | Path], size: int | None = None) -> list[int]:
    """Learn from files of Generation records, such as the target's answers to training questions (`distilled.jsonl`).

    The token ids that a draft is trained on and proposes: training and engine call this with one file and one size.
    """
    return learn((row.token_ids for path in paths for row in read_records(path, Generation)), size)


def of_draft(folder: str | Path) -> list[int] | None:
    """Return the tokens that the draft in a folder was trained to propose, ascending; None for all.

    Raise RecordError where the file that lists them has something else.
    """
    file = Path(folder) / DRAFT_VOCABULARY
    return json_file.read(file, DraftVocabulary).token_ids if file.exists() else None
