"""The matrix of drafts by prompts: read whole or refused, seconds for one number of tokens."""

import csv

import numpy as np
import pytest

from doubledraft.records import RecordError
from doubledraft.routing import matrix as matrices
from tests.helpers import made_matrix


@pytest.fixture
def path(tmp_path):
    return made_matrix.build(tmp_path, own=1.5, prompts=4, noise=0)["matrix"]


def rewrite(path, change) -> None:
    """Change the rows of a CSV file."""
    with open(path, newline="") as file:
        rows = change(list(csv.DictReader(file)))
    with open(path, "w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)


def test_rewards_are_tokens_per_second_of_every_draft_and_the_target_alone_stands_apart(path):
    matrix = matrices.read(path)
    assert matrix.drafts == list(made_matrix.DRAFTS) and matrix.seconds.shape == (24, 4, 2)
    code = matrix.take(matrix.domains == "code")
    assert np.allclose(code.reward, [[150, 100, 100, 100]] * 8)
    assert np.allclose(code.advantage.sum(1), 0) and np.allclose(matrix.plain, 40 / 50)


def test_an_answer_of_other_length_counts_by_its_tokens_per_second(path):
    def longer(rows):
        rows[2] |= {"tokens": "80", "seconds": str(2 * float(rows[2]["seconds"]))}  # first prompt, first draft
        return rows

    before = matrices.read(path).reward
    rewrite(path, longer)
    assert np.allclose(matrices.read(path).reward, before)


def test_a_matrix_with_a_hole_is_refused(path):
    rewrite(path, lambda rows: rows[:-1])
    with pytest.raises(RecordError, match=r"1 answers are missing, first \('reasoning-test-0003', 'generic', 1\)"):
        matrices.read(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda rows: [rows[0] | {"seconds": "nan"}], ":2: 40 tokens, 40 steps in nan s cannot be an answer"),
        (lambda rows: [rows[0], rows[1] | {"seconds": "0.0"}], ":3: .* in 0.0 s cannot be an answer"),
        (lambda rows: [rows[0] | {"steps": ""}], ":2: not a row of answers: invalid literal for int"),
        (lambda rows: [row for row in rows if row["draft"] != "none"], ": no answers of the target alone"),
    ],
)
def test_rows_that_cannot_be_answers_are_refused_by_their_line(damage, message, path):
    rewrite(path, damage)
    with pytest.raises(RecordError, match=f"^{path}{message}"):
        matrices.read(path)


def test_a_file_of_other_columns_is_refused(path):
    rewrite(path, lambda rows: [{key: row[key] for key in row if key != "steps"} for row in rows])
    with pytest.raises(RecordError, match="column 'steps' is missing"):
        matrices.read(path)
