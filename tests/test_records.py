"""Record files are whole, typed and unambiguous, or refused with their line."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from doubledraft import files, records
from doubledraft.records import Generation, Question, RecordError, read_records, to_line, write_records

QUESTION = Question(
    id="a", scenario="easy", split="train", question="2 + 2?\u2028yes", answer="4", steps=["2 + 2 = 4"], level="1"
)
LINE = to_line(QUESTION).encode()


def test_records_come_back_as_they_went(tmp_path):
    path = tmp_path / "deep" / "q.jsonl"
    write_records(path, [QUESTION])
    assert read_records(path, Question) == [QUESTION], "U+2028 inside a string must not split the line"


def test_optional_numbers_and_lists_come_back(tmp_path):
    row = Generation(
        id="a",
        prompt_tokens=3,
        token_ids=[1, 2],
        text="x",
        finish_reason="stop",
        batch=0,
        batch_seconds=1,
        accepted_per_step=[1],
    )
    write_records(tmp_path / "g.jsonl", [row])
    assert read_records(tmp_path / "g.jsonl", Generation) == [row]


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (LINE[:-1], 1, "is cut"),
        (LINE + b"\xff\xfe\n", 2, "not JSON"),
        (b"\xef\xbb\xbf" + LINE, 1, "not JSON"),
        (b"<html>\n", 1, "not JSON"),
        (b"version https://git-lfs.github.com/spec/v1\n", 1, "not JSON"),
        (b"[]\n", 1, "expected an object"),
        (b"\n" + LINE, 1, "not JSON"),
        (LINE + LINE, 2, "occurs twice"),
        (LINE.replace(b'"id": "a"', b'"id": "a", "id": "b"'), 1, "a key occurs twice"),
        (LINE.replace(b'"level": "1"', b'"level": NaN'), 1, "NaN is not JSON"),
        (LINE.replace(b'"answer": "4"', b'"answer": 4'), 1, "field 'answer' should be"),
        (LINE.replace(b'["2 + 2 = 4"]', b"[7]"), 1, "field 'steps' should be"),
        (LINE.replace(b'"answer": "4", ', b""), 1, "field 'answer' of Question is missing"),
        (LINE.replace(b'"level"', b'"levle"'), 1, "has no field 'levle'"),
    ],
)
def test_a_line_that_cannot_be_trusted_is_refused_by_number(tmp_path, content, line, reason):
    path = tmp_path / "q.jsonl"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=f":{line}: .*{reason}"):
        read_records(path, Question)


def test_only_an_appended_log_may_drop_a_torn_last_line(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_bytes(LINE + LINE.replace(b'"id": "a"', b'"id": "b"')[:40])
    assert read_records(path, Question, appended=True) == [QUESTION]
    path.write_bytes(LINE[:40] + b"\n" + LINE)
    with pytest.raises(RecordError, match=":1: "):
        read_records(path, Question, appended=True)


def test_an_error_while_writing_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "q.jsonl"
    write_records(path, [QUESTION])
    with pytest.raises(ValueError), files.whole_file(path) as file:
        file.write("half")
        raise ValueError
    assert os.listdir(tmp_path) == ["q.jsonl"]
    assert path.read_bytes() == LINE


def test_a_kill_while_writing_leaves_no_file_at_the_final_path(tmp_path):
    code = (
        "import os, sys, signal; from doubledraft.files import whole_file, whole_directory\n"
        "with whole_directory(sys.argv[1] + '/d') as d, whole_file(sys.argv[1] + '/f') as f:\n"
        "    (d / 'half').touch(); f.write('half'); f.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert result.returncode == -signal.SIGKILL
    assert not (tmp_path / "f").exists() and not (tmp_path / "d").exists()


def test_a_folder_takes_its_name_when_complete_and_replaces_the_old_one(tmp_path):
    path = tmp_path / "model"
    for name in ("one", "two"):
        with files.whole_directory(path) as folder:
            (folder / name).touch()
            assert not (path / name).exists()
    assert os.listdir(path) == ["two"]
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_full_disk_or_a_limit_is_named_with_the_path_and_nothing_half_written_stays(tmp_path, kind):
    code = (
        "import resource, signal, sys; from pathlib import Path; from doubledraft.files import *\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "if sys.argv[1] == 'file':\n"
        "    with whole_file('results/out') as file: file.write('x' * 100_000)\n"
        "with whole_directory('results/out') as folder: (folder / 'weights').write_text('x' * 100_000)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    result = subprocess.run(
        [sys.executable, "-c", code, kind], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1 and "results/out could not be written" in result.stderr, result.stderr
    assert "bytes are free" in result.stderr and "same command again" in result.stderr
    assert os.listdir(tmp_path / "results") == []


def test_json_without_a_number_for_it_is_refused(tmp_path):
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "m.json", {"rate": float("nan")})
    assert os.listdir(tmp_path) == []
    files.write_json(tmp_path / "m.json", {"rate": None})
    assert json.loads((tmp_path / "m.json").read_text()) == {"rate": None}


@pytest.mark.parametrize(
    ("first", "second", "position"),
    [([1, 2], [1, 2], None), ([1, 2], [1, 3], 1), ([1, 2], [1, 2, 3], 2), ([], [1], 0), ([], [], None)],
)
def test_first_difference_sees_ids_and_lengths(first, second, position):
    assert records.first_difference(first, second) == position
    assert records.first_difference(second, first) == position
