"""Files of questions: layouts that are read, and bad input that is refused by path, line and reason.

Run:
"""

import hashlib
import json
import logging
import os
from pathlib import Path

import pytest

from doubledraft.questions import files
from doubledraft.questions.sources import read_gsm8k, read_own
from doubledraft.records import RecordError

ROWS = [
    {"question": f"Ann has {n} pens and buys 2. How many?", "answer": f"{n}+2=<<{n}+2={n + 2}>>{n + 2}\n#### {n + 2}"}
    for n in range(1, 5)
]
LINES = [json.dumps(row).encode() + b"\n" for row in ROWS]
GOOD = b"".join(LINES)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 4166206\n"


def with_line(number: int, line: bytes) -> bytes:
    """Return the good file with one line replaced, line feed and all."""
    return b"".join(line if place == number else good for place, good in enumerate(LINES, start=1))


def question(text: str) -> bytes:
    """Return a line whose question is this JSON text."""
    return b'{"question": ' + text.encode() + b', "answer": "1\\n#### 1"}\n'


@pytest.fixture
def read(tmp_path):
    """Return a function that reads bytes as the training file of GSM8K and returns its questions."""

    def reader(content: bytes) -> list:
        path = tmp_path / "rows.jsonl"
        path.write_bytes(content)
        return read_gsm8k("train", "s", {"train": path, "test": path}).questions

    return reader


REFUSED = {  # fault: content, line of the message, reason in it
    "cut last line": (GOOD[:-20], 4, "not JSON: Unterminated string"),
    "not UTF-8": (with_line(2, LINES[1].replace(b"pens", "stylos d'été".encode("latin-1"))), 2, "'utf-8' codec"),
    "UTF-16": (GOOD.decode().encode("utf-16"), 1, "'utf-8' codec"),
    "NUL byte": (with_line(3, LINES[2].replace(b"pens", b"pe\0ns")), 3, "Invalid control character"),
    "NUL as an escape": (
        with_line(2, question(r'"pe\u0000ns?"')),
        2,
        "field 'question' holds a character that no text",
    ),
    "tail of NUL after a crash": (GOOD + b"\0" * 64, 5, "not JSON"),
    "half a surrogate pair": (
        with_line(2, question(r'"pe\ud800ns?"')),
        2,
        "field 'question' holds a character that no",
    ),
    "line of 50 MB": (with_line(2, question('"' + "x" * 50_000_000 + '"')), 2, "longer than 1,000,000 bytes"),
    "deep nesting": (with_line(2, question("[" * 400_000)), 2, "maximum recursion depth"),
    "NaN": (with_line(2, question("NaN")), 2, "NaN is not JSON"),
    "doubled key": (with_line(2, question('"a", "question": "b"')), 2, "a key occurs twice"),
    "no object": (with_line(2, b'["a", "b"]\n'), 2, "expected an object, found list"),
    "one array of rows": (json.dumps(ROWS).encode(), 1, "a JSON array; write one object per line"),
    "missing column": (with_line(2, b'{"question": "a"}\n'), 2, "field 'answer' should be text"),
    "empty question": (with_line(2, question('" "')), 2, "field 'question' should be text that is not empty"),
    "number for text": (with_line(2, question("7")), 2, "field 'question' should be text that is not empty, found 7"),
    "no gold": (with_line(2, b'{"question": "a", "answer": "2"}\n'), 2, "one '#### gold', found 0"),
    "two golds": (with_line(2, b'{"question": "a", "answer": "#### 2\\n#### 3"}\n'), 2, "one '#### gold', found 2"),
    "gold that is no number": (
        with_line(2, b'{"question": "a", "answer": "#### 1,23"}\n'),
        2,
        "a number, found '1,23'",
    ),
    "empty file": (b"", 1, "the file has no rows"),
    "blank lines only": (b"\n \r\n", 1, "the file has no rows"),
    "Git LFS pointer": (POINTER, 1, "a Git LFS pointer, not the data; fetch the data with `git lfs pull`"),
    "HTML error page": (b"\n<!doctype html>\n<title>404</title>".lstrip(), 1, "this is an HTML page"),
}
READ = {  # harmless: content
    "as it is": GOOD,
    "byte order mark": b"\xef\xbb\xbf" + GOOD,
    "Windows line ends": GOOD.replace(b"\n", b"\r\n"),
    "blank lines": GOOD.replace(b"\n", b"\n\n"),
    "whole last line without line feed": GOOD[:-1],
    "columns of another release": GOOD.replace(b'{"q', b'{"source": "x", "q'),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_bad_file_is_refused_by_path_line_and_reason(fault, read, tmp_path):
    content, line, reason = REFUSED[fault]
    with pytest.raises(RecordError) as error:
        read(content)
    assert str(error.value).startswith(f"{tmp_path / 'rows.jsonl'}:{line}: ")
    assert reason in str(error.value)
    assert len(str(error.value)) < 500, "a message that shows a whole line hides its reason"


@pytest.mark.parametrize("harmless", READ)
def test_what_changes_no_row_is_read(harmless, read):
    assert [(row.question, row.answer) for row in read(READ[harmless])] == [
        (row["question"], row["answer"].rpartition(" ")[2]) for row in ROWS
    ]


def test_a_line_separator_inside_text_ends_no_line(read):
    rows = read(with_line(2, question('"one\u2028two\u0085three"')))
    assert len(rows) == 4 and rows[1].question == "one\u2028two\u0085three"


def test_an_id_that_stands_twice_is_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": "x", "question": "a", "answer": 1}\n\n{"id": "x", "question": "b", "answer": 2}\n')
    with pytest.raises(RecordError, match=r"rows.jsonl:3: id 'x' occurs twice"):
        read_own("train", "s", path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RecordError, match=r"none.jsonl: cannot be read: No such file"):
        files.read([tmp_path / "none.jsonl"])


# Layouts


def layouts(folder: Path) -> dict[str, Path]:
    """Write the rows in every layout; return the folders."""
    from pyarrow import Table
    from pyarrow.parquet import write_table

    shards = folder / "hub/main"
    shards.mkdir(parents=True)
    for place in range(2):
        write_table(Table.from_pylist(ROWS[2 * place : 2 * place + 2]), shards / f"train-0000{place}-of-00002.parquet")
    for name in ("hub_lines/main/train.jsonl", "release/train.jsonl"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(GOOD)
    singles = folder / "single/train/main"
    singles.mkdir(parents=True)
    for number, row in zip((2, 3, 10, 11), ROWS, strict=True):  # by number, not by name
        (singles / f"{number}.json").write_text(json.dumps(row, indent=4))
    return {name: folder / name for name in ("hub", "hub_lines", "release", "single")}


@pytest.mark.parametrize("layout", ["hub", "hub_lines", "release", "single"])
def test_every_layout_gives_the_same_rows(layout, tmp_path, caplog):
    folder = layouts(tmp_path)[layout]
    with caplog.at_level(logging.WARNING, logger="doubledraft"):
        pool = read_gsm8k("train", "s", folder)
    assert [row.question for row in pool.questions] == [row["question"] for row in ROWS]
    assert "the local copy has 4 rows, the released one 7473" in caplog.text


def test_parquet_file_of_a_split_is_read(tmp_path):
    shard = layouts(tmp_path)["hub"] / "main/train-00000-of-00002.parquet"
    pool = read_gsm8k("train", "s", {"train": shard, "test": shard})
    assert len(pool.questions) == 2
    digest = hashlib.sha256(shard.read_bytes()).hexdigest()
    assert pool.origin == [{"path": str(shard), "files": 1, "sha256": digest}]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(POINTER, ":1: this is a Git LFS pointer"), (b"PAR1 and then nothing", ":1: not a parquet file")],
)
def test_a_bad_parquet_file_is_refused(content, reason, tmp_path):
    path = tmp_path / "train.parquet"
    path.write_bytes(content)
    with pytest.raises(RecordError) as error:
        files.read([path])
    assert str(error.value).startswith(f"{path}{reason}")


def test_a_row_of_parquet_is_named_by_its_number(tmp_path):
    from pyarrow import Table
    from pyarrow.parquet import write_table

    write_table(Table.from_pylist([ROWS[0], {"question": "a", "answer": None}]), tmp_path / "train.parquet")
    with pytest.raises(RecordError, match=r"train.parquet row 2: field 'answer' should be text"):
        read_gsm8k("train", "s", {"train": tmp_path / "train.parquet"})


def test_a_folder_without_the_split_says_where_it_looked(tmp_path):
    with pytest.raises(ValueError, match=r"has no test rows of 'main'; looked for main/test-\*.parquet, data"):
        files.local_files(layouts(tmp_path)["hub"], ["main"], "test")


def test_a_folder_that_holds_a_split_twice_is_refused(tmp_path):
    (tmp_path / "main").mkdir()
    for name in ("main/train.jsonl", "train.jsonl"):
        (tmp_path / name).write_bytes(GOOD)
    with pytest.raises(ValueError, match=r"train rows of 'main' twice, as main/train.jsonl and as train.jsonl"):
        files.local_files(tmp_path, ["main"], "train")


def test_a_path_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is not a folder; give a folder, or one file a split"):
        files.local_files(tmp_path / "rows.jsonl", ["main"], "train")


@pytest.mark.parametrize("layout", ["main/train-0.parquet", "data/train-00000-of-00001.parquet", "train-0.parquet"])
def test_parquet_is_found_as_the_hub_lays_it_out(tmp_path, layout):
    import pyarrow
    from pyarrow import parquet

    (tmp_path / layout).parent.mkdir(exist_ok=True)
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / layout)
    assert [question.answer for question in read_gsm8k("train", "s", tmp_path).questions] == ["3", "4", "5", "6"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("rows.jsonl.gz", b"\x1f\x8b\x08", r"\.gz files are not read"),
        ("rows.jsonl", b"\x1f\x8b\x08", "a compressed file; unpack it"),
        ("rows.csv", b"question,answer\n1+1,2\n", r"\.csv files are not read"),
        ("rows.jsonl", b'[{"question": "1+1?", "answer": "2"}]', "a JSON array; write one object per line"),
        ("rows.json", b'[{"question": "1+1?", "answer": "2"}]', "a JSON array; write one object per line"),
    ],
)
def test_another_format_is_refused_with_those_that_are_read(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecordError, match=rf"{name}.*{reason}.*expected JSON lines \(\.jsonl\), one JSON object"):
        files.read([tmp_path / name])


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "rows.jsonl")
    with pytest.raises(RecordError, match=r"rows\.jsonl: not a regular file; expected JSON lines"):
        read_own("test", "s", tmp_path / "rows.jsonl")
