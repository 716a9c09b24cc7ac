"""`doubledraft generate` on tiny models: what streams, what is coloured, what is refused."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants
from transformers import AutoTokenizer

from doubledraft.cli.generate import ACCEPTED, PLAIN
from doubledraft.engine.decode import decode
from doubledraft.engine.load import create_backend
from doubledraft.escaping import visible
from doubledraft.inference.tokenizing import prompt_ids, stop_ids
from doubledraft.records import Generation, write_records
from tests.helpers.commands import run
from tests.helpers.tiny_models import build_model

ROOT = Path(__file__).parents[2]
QUESTION = "Nina has 4 boxes with 6 pencils each."
FIGURES = re.compile(
    r"^(\d+) tokens in .* tokens/s · .* tokens per step( · accepted (\d+) of (\d+) drafted tokens .*)?$"
)


@pytest.fixture(scope="module")
def expected(tiny_model) -> str:
    """Return the target's own answer, escaped as for a terminal."""
    target, tokenizer = create_backend(tiny_model, "float32", "cpu"), AutoTokenizer.from_pretrained(tiny_model)
    asked = prompt_ids(tokenizer, [{"role": "user", "content": QUESTION}])
    [ids], _ = decode(target, [asked], 24, stop_ids=stop_ids(tiny_model, tokenizer))
    return visible(tokenizer.decode(ids, skip_special_tokens=True))


def generate(capsys, model, *arguments: object) -> tuple[int, str, str]:
    common = ("--model", model, "--prompt", QUESTION, "--max-tokens", 24, "--dtype", "float32", "--device", "cpu")
    return run(capsys, "generate", *common, *arguments)


@pytest.mark.parametrize("arguments", [(), ("--ngram",), ("--draft", "near"), ("--draft", "near", "adaptive")])
def test_the_answer_is_the_targets_own_whoever_drafts(arguments, tiny_model, tiny_draft, expected, capsys):
    values = [tiny_draft if value == "near" else value for value in arguments if value != "adaptive"]
    length = ("--draft-length", "adaptive") if "adaptive" in arguments else ("--draft-length", 3)
    status, out, err = generate(capsys, tiny_model, *values, *length)
    assert status == 0 and out == f"{expected}\n"
    found = FIGURES.match(err.strip())
    assert found, err
    if "near" in arguments:
        assert 0 < int(found[3]) < int(found[4]), "nothing was kept, or nothing refused"
    if not arguments:
        assert found[2] is None, "nobody drafted"


def test_a_draft_vocabulary_leaves_the_answer_as_it_is(tiny_model, tiny_draft, expected, tmp_path, capsys):
    said = tmp_path / "said.jsonl"
    row = Generation(
        id="q", prompt_tokens=1, token_ids=[5, 6], text="", finish_reason="stop", batch=0, batch_seconds=0.1
    )
    write_records(said, [row])
    status, out, err = generate(capsys, tiny_model, "--draft", tiny_draft, "--draft-vocabulary", said)
    assert status == 0 and out == f"{expected}\n"
    found = FIGURES.match(err.strip())
    assert int(found[3]) < int(found[4]), "a draft of two tokens was not refused"
    status, _, err = generate(capsys, tiny_model, "--draft", tiny_draft, "--draft-vocabulary", tmp_path / "none.jsonl")
    assert status == 2 and "draft vocabulary: " in err and "none.jsonl" in err


def test_a_draft_of_8_bit_weights_leaves_the_answer_as_it_is(tiny_model, tiny_draft, expected, capsys):
    status, out, err = generate(capsys, tiny_model, "--draft", tiny_draft, "--draft-int8")
    assert status == 0 and out == f"{expected}\n"
    found = FIGURES.match(err.strip())
    assert 0 < int(found[3]) < int(found[4])


def test_a_terminal_shows_accepted_tokens_in_colour_unless_told_not_to(
    tiny_model, tiny_draft, expected, capsys, monkeypatch
):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    _, out, err = generate(capsys, tiny_model, "--draft", tiny_draft)
    assert ACCEPTED in out and f"{ACCEPTED}accepted from the draft{PLAIN}" in err
    assert out.replace(ACCEPTED, "").replace(PLAIN, "") == f"{expected}\n"
    assert not out.startswith(ACCEPTED), "the first token is the target's own"
    monkeypatch.setenv("NO_COLOR", "1")
    assert generate(capsys, tiny_model, "--draft", tiny_draft)[1] == f"{expected}\n"


def test_a_draft_of_another_tokenizer_is_refused_and_names_both(tiny_model, tmp_path, capsys):
    other = build_model(tmp_path / "other")
    tokenizer = AutoTokenizer.from_pretrained(other)
    tokenizer.add_tokens(["pencil"])
    tokenizer.save_pretrained(other)
    status, out, err = generate(capsys, tiny_model, "--draft", other)
    assert status == 2 and out == ""
    assert "different tokenizers: token 'pencil'" in err and str(other) in err and "Traceback" not in err


def test_a_padded_vocabulary_and_a_missing_pad_token_do_no_harm(tiny_model, tiny_draft, tmp_path, expected, capsys):
    padded = build_model(tmp_path / "padded", rows=352, seed=5)
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        if (padded / file).exists():
            settings = json.loads((padded / file).read_text())
            settings.pop("pad_token", None)
            (padded / file).write_text(json.dumps(settings))
    assert AutoTokenizer.from_pretrained(padded).pad_token is None
    assert generate(capsys, tiny_model, "--draft", padded)[:2] == (0, f"{expected}\n")
    status, out, err = generate(capsys, padded, "--draft", tiny_draft)
    assert status == 0 and out.strip(), err


def test_a_prompt_longer_than_the_models_positions_is_refused(tiny_model, capsys):
    status, _, err = generate(capsys, tiny_model, "--max-tokens", 2000)
    assert status == 2 and "has 1024 positions" in err


@pytest.mark.parametrize("folder", ["/nowhere/at/all", "results/none"])
def test_a_folder_that_is_not_there_is_refused_by_name(folder, capsys, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    status, _, err = generate(capsys, folder)
    assert status == 2 and f"{folder}: no such folder" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--ngram", "--draft-length", "adaptive"), "--draft-length adaptive needs the confidence of a draft model"),
        (("--draft-vocabulary", "said.jsonl"), "--draft-vocabulary needs a draft model"),
        (("--ngram", "--draft-vocabulary", "said.jsonl"), "--draft-vocabulary needs a draft model"),
        (("--draft-int8",), "--draft-int8 needs a draft model"),
        (("--few-shot",), "--few-shot needs the examples of a prompt file"),
        (("--top-p", 0.9), "--top-p and --top-k need a --temperature above 0"),
    ],
    ids=str,
)
def test_an_option_that_would_be_ignored_is_refused_before_a_model_is_loaded(arguments, message, capsys, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    status, out, err = generate(capsys, "/nowhere", *arguments)
    assert status == 2 and out == "" and message in err


def test_a_folder_that_is_no_model_is_refused_by_name(tmp_path, capsys):
    status, _, err = generate(capsys, tmp_path)
    assert status == 2 and "a model needs config.json" in err
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    status, _, err = generate(capsys, tmp_path / "model.gguf")
    assert status == 2 and "model.gguf: a file: expected a folder with config.json" in err


def test_draws_repeat_with_their_seed_and_a_bad_temperature_is_refused(tiny_model, tiny_draft, capsys):
    settings = ("--draft", tiny_draft, "--temperature", 1, "--top-k", 20, "--top-p", 0.9)
    first, again, other = (generate(capsys, tiny_model, *settings, "--seed", seed)[1] for seed in (3, 3, 4))
    assert first == again != other
    status, _, err = generate(capsys, tiny_model, "--temperature", -1)
    assert status == 2 and "temperature should be 0" in err


@pytest.mark.slow
def test_a_process_of_its_own_prints_the_answer_and_then_its_metrics(tiny_model, expected):
    command = [sys.executable, "-m", "doubledraft", "generate", "--model", tiny_model, "--prompt", QUESTION]
    settings = ["--max-tokens", "24", "--dtype", "float32", "--device", "cpu"]
    shown = subprocess.run([*command, *settings], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stdout) == (0, f"{expected}\n")
    *before, figures = shown.stderr.strip().split("\n")
    assert FIGURES.fullmatch(figures), shown.stderr
    assert not [line for line in before if "torch" in line], "messages of libraries are kept away"
