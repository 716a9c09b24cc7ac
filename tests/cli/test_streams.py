"""What shells, terminals and disks do to a command ends in one line and an exit status, never in a traceback."""

import io
import json
import sys
from contextlib import redirect_stdout

import pytest

from doubledraft.cli import generate
from doubledraft.cli import main as command_line
from tests.helpers.commands import run

ASK = ("generate", "--prompt", "4 + 6?", "--max-tokens", 3, "--dtype", "float32")


def one_line(err: str) -> str:
    [line] = err.strip().split("\n")
    return line


def test_an_argument_that_is_no_text_is_named(capsys):
    status, out, err = run(capsys, "generate", "--model", "m", "--prompt", "4 \udcff 6")
    assert (status, out) == (2, "") and one_line(err) == r"doubledraft: the argument '4 \udcff 6' is not utf-8 text"


def test_closed_standard_output_is_told(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert command_line.main(["generate", "--model", "m", "--prompt", "4"]) == 2
    monkeypatch.undo()
    assert "standard output or standard error is closed" in one_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (None, "standard input is closed"),
        (io.TextIOWrapper(io.BytesIO(b"caf\xe9"), encoding="utf-8"), "standard input is not utf-8 text"),
    ],
)
def test_standard_input_that_cannot_be_read_is_told_before_a_model_is_loaded(capsys, monkeypatch, stream, reason):
    monkeypatch.setattr(sys, "stdin", stream)
    status, _, err = run(capsys, "generate", "--model", "/nowhere", "--prompt", "-")
    assert status == 2 and one_line(err).startswith(f"doubledraft generate: --prompt -: {reason}")


def test_a_full_device_is_told_in_one_line(capsys, tiny_model):
    with open("/dev/full", "w") as full, redirect_stdout(full):
        status = command_line.main([str(part) for part in (*ASK, "--model", tiny_model)])
    assert status == 2
    assert capsys.readouterr().err.strip().split("\n")[-1] == "doubledraft generate: [Errno 28] No space left on device"


def test_a_terminal_that_is_not_utf_8_shows_replacements(tiny_model):
    shown = io.BytesIO()
    with io.TextIOWrapper(shown, encoding="ascii") as terminal:
        with redirect_stdout(terminal):
            assert command_line.main([str(part) for part in (*ASK, "--model", tiny_model)]) == 0
            terminal.write("\N{MULTIPLICATION SIGN}")
        terminal.flush()
        assert shown.getvalue().endswith(b"?")


@pytest.mark.parametrize("command", ["evaluate", "profile"])
def test_a_place_that_cannot_be_written_is_told_before_the_work(capsys, tmp_path, command):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "data.jsonl").write_text('{"question": "4 * 6", "answer": "24"}\n')
    data = ("--data", tmp_path / "data.jsonl") if command == "evaluate" else ()
    for out in (tmp_path / "file" / "below", "/proc/nowhere/below"):
        status, _, err = run(capsys, command, "--model", "/nowhere", *data, "--out", out)
        assert status == 2 and "no file can be written there" in one_line(err)


@pytest.mark.parametrize("option", ["--out", "--trace"])
def test_a_folder_in_place_of_a_file_is_told_before_the_work(capsys, tmp_path, option):
    status, _, err = run(capsys, "profile", "--model", "/nowhere", option, tmp_path)
    assert status == 2 and one_line(err) == f"doubledraft profile: {option} {tmp_path}: this is a folder: name a file"


def test_what_may_not_be_read_or_written_and_an_early_ctrl_c_are_no_traceback(capsys, monkeypatch):
    def stopped(names: object) -> None:
        raise KeyboardInterrupt

    def forbidden(options: object) -> None:
        raise PermissionError(13, "Permission denied", "model/config.json")

    monkeypatch.setattr(generate, "run", forbidden)
    status, _, err = run(capsys, *ASK, "--model", "m")
    assert status == 2 and one_line(err) == "doubledraft generate: [Errno 13] Permission denied: 'model/config.json'"
    monkeypatch.setattr(command_line, "_parser", stopped)
    assert run(capsys, *ASK, "--model", "m") == (command_line.STOPPED, "", "\n")


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [("--seed", 10**22, "expected 0 to 9223372036854775807"), ("--seed", -1, "expected 0 to"), ("--model", "", "name")],
)
def test_an_option_out_of_range_is_refused(capsys, option, value, reason):
    status, _, err = run(capsys, "generate", "--model", "m", "--prompt", "4", f"{option}={value}")
    assert status == 2 and reason in err.strip().split("\n")[-1]


def test_a_template_that_renders_nothing_and_a_token_without_a_row_are_told_in_one_line(capsys, tmp_path, tiny_model):
    import shutil

    from transformers import AutoTokenizer

    copy = shutil.copytree(tiny_model, tmp_path / "copy")
    tokenizer = AutoTokenizer.from_pretrained(copy)
    tokenizer.add_tokens(["<extra>"])
    tokenizer.save_pretrained(copy)
    status, _, err = run(capsys, *ASK, "--model", copy, "--prompt", "4 <extra> 4?")
    assert status == 2 and "token ids from 0 to" in err.strip().split("\n")[-1]
    (copy / "chat_template.jinja").write_text("{# nothing #}")
    status, _, err = run(capsys, *ASK, "--model", copy)
    assert status == 2 and err.strip().split("\n")[-1].endswith("its chat template renders nothing: use another model")


def test_half_a_character_in_data_and_prompt_files_is_told_by_line(capsys, tmp_path):
    (tmp_path / "data.jsonl").write_text('{"question": "4 \\ud83d 6", "answer": "4"}\n')
    (tmp_path / "prompt.yaml").write_text('system: "Solve \\uD83D"\nshots: []\n')
    status, _, err = run(capsys, "evaluate", "--model", "/nowhere", "--data", tmp_path / "data.jsonl")
    assert status == 2 and "data.jsonl:1: field 'question' holds a character" in one_line(err)
    assert json.loads((tmp_path / "data.jsonl").read_text())["answer"] == "4"
