"""Rows that an interrupted run leaves for the next.  pytest tests/test_progress.py"""

from doubledraft import progress
from doubledraft.records import Generation, read_records


def row(id: str) -> Generation:
    """Give an answer to a question."""
    return Generation(id=id, prompt_tokens=1, token_ids=[1], text=id, finish_reason="stop", batch=0, batch_seconds=1.0)


def test_rows_of_the_same_work_are_continued_without_a_cut_last_line(tmp_path):
    path = tmp_path / "progress" / "rows.jsonl"
    assert progress.resume(path, "work") == []
    progress.append(path, [row("a"), row("b")])
    with open(path, "a") as file:
        file.write('{"id": "c", "prom')
    assert progress.resume(path, "work") == [row("a"), row("b")]
    progress.append(path, [row("c")])
    assert read_records(path, Generation) == [row("a"), row("b"), row("c")]


def test_rows_of_other_work_are_never_continued(tmp_path):
    path = tmp_path / "rows.jsonl"
    progress.resume(path, "work")
    progress.append(path, [row("a")])
    assert progress.resume(path, "other work") == []
    assert progress.resume(path, "work") == []
    progress.append(path, [row("a")])
    progress.remove(path)
    assert progress.resume(path, "work") == []


def test_key_changes_with_files_and_settings(tmp_path):
    (tmp_path / "a").write_text("one")
    (tmp_path / "b").write_text("two")
    first = progress.key([tmp_path / "a"], {"x": 1})
    assert first == progress.key([tmp_path / "a"], {"x": 1})
    assert len({first, progress.key([tmp_path / "b"], {"x": 1}), progress.key([tmp_path / "a"], {"x": 2})}) == 3
