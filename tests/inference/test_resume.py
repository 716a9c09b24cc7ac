"""Rows that an interrupted run leaves for the next."""

from doubledraft.inference import resume
from doubledraft.records import Generation, read_records


def row(id: str) -> Generation:
    """Return an answer to a question."""
    return Generation(id=id, prompt_tokens=1, token_ids=[1], text=id, finish_reason="stop", batch=0, batch_seconds=1.0)


def test_rows_of_the_same_work_are_continued_without_a_cut_last_line(tmp_path):
    path = tmp_path / "progress" / "rows.jsonl"
    assert resume.resume(path, "work") == []
    resume.append(path, [row("a"), row("b")])
    with open(path, "a") as file:
        file.write('{"id": "c", "prom')
    assert resume.resume(path, "work") == [row("a"), row("b")]
    resume.append(path, [row("c")])
    assert read_records(path, Generation) == [row("a"), row("b"), row("c")]


def test_rows_of_other_work_are_never_continued(tmp_path):
    path = tmp_path / "rows.jsonl"
    resume.resume(path, "work")
    resume.append(path, [row("a")])
    assert resume.resume(path, "other work") == []
    assert resume.resume(path, "work") == []
    resume.append(path, [row("a")])
    resume.remove(path)
    assert resume.resume(path, "work") == []


def test_key_changes_with_files_and_settings(tmp_path):
    (tmp_path / "a").write_text("one")
    (tmp_path / "b").write_text("two")
    first = resume.key([tmp_path / "a"], {"x": 1})
    assert first == resume.key([tmp_path / "a"], {"x": 1})
    assert len({first, resume.key([tmp_path / "b"], {"x": 1}), resume.key([tmp_path / "a"], {"x": 2})}) == 3
