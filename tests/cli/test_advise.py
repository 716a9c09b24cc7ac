"""Advice on a pair: figures that hang together, files that can be used; a pair that cannot work is refused."""

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from doubledraft.cli import advise, main
from doubledraft.evaluation import experiments
from doubledraft.summaries import json_file
from doubledraft.summaries.advice import Advice
from tests.helpers.commands import run
from tests.helpers.tiny_models import build_model, build_tokenizer

QUICK = ["--num-samples", "3", "--max-tokens", "24", "--dtype", "float32", "--draft-int8"]
UNCERTAIN = "Uncertain, as the machine was not steady. "


@pytest.fixture(scope="module")
def advised(tiny_model, tiny_draft, tmp_path_factory):
    """Advise on a tiny pair; return the folder and the advice."""
    folder = tmp_path_factory.mktemp("advised") / "out"
    arguments = [str(tiny_model), str(tiny_draft), *QUICK, "--price-per-hour", "2", "--out", str(folder)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("doubledraft.machine.own_cores", lambda: [0])  # a second thread only waits for the first
        assert main.main(["advise", *arguments]) == 0
    return folder, json_file.read(folder / "advice.json", Advice)


@pytest.mark.slow
def test_the_best_length_is_that_of_the_largest_speedup_and_sets_the_price(advised):
    _, advice = advised
    assert [one.costs.load for one in advice.loads] == [1, 2, 4, 8, 16]
    for one in advice.loads:
        assert one.best_speedup == max([1.0, *one.speedups.values()])
        assert one.best_draft_length == 0 or one.speedups[str(one.best_draft_length)] == one.best_speedup
        assert one.usd_per_million_tokens == pytest.approx(2 / 3600 / one.tokens_per_second * 1e6)
        assert one.usd_per_million_tokens_drafted == pytest.approx(one.usd_per_million_tokens / one.best_speedup)
    assert advice.acceptance.n == 3
    assert advice.verdict.removeprefix(UNCERTAIN).startswith(("Worth it", "Not worth it"))


@pytest.mark.slow
def test_the_files_serve_and_measure_the_pair(advised, tiny_model, tiny_draft):
    folder, advice = advised
    config = experiments.read_config(folder / "benchmark.yaml")
    assert (config["target"], config["drafts"]) == (str(tiny_model), {"draft": str(tiny_draft)})
    assert (config["dtype"], config["int8"]) == ("float32", True)
    assert len((folder / "questions.jsonl").read_text().splitlines()) == 3
    page = (folder / "advice.html").read_text()
    assert advice.verdict in page and "<script" not in page
    assert advice.verdict.startswith(UNCERTAIN) == ("⚠" in page), "a warning stands out, and leads the verdict"
    assert "Median times in a step, ms" in page
    assert ("Steps in vLLM take other times" in page) == bool(advice.speculative_config)
    if advice.speculative_config:
        assert json.loads((folder / "speculative_config.json").read_text()) == advice.speculative_config
    (folder / "speculative_config.json").write_text("{}")  # of an earlier advice, that drafting pays
    options = argparse.Namespace(prompt_file=None, max_tokens=24, draft_int8=True)
    advise.write(replace(advice, speculative_config=None), [], options, folder)
    assert not (folder / "speculative_config.json").exists()


def refused(capsys, *arguments: object) -> str:
    capsys.readouterr()  # of making the models
    assert main.main(["advise", *map(str, arguments)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_a_draft_of_another_tokenizer_is_refused(tiny_model, tmp_path, capsys):
    other = build_model(tmp_path / "other")
    build_tokenizer(special=["<a>", "<b>", "<c>"]).save_pretrained(other)
    assert "have different tokenizers: token" in refused(capsys, tiny_model, other)


def test_a_model_without_rows_for_its_tokens_is_refused(tiny_model, tmp_path, capsys):
    fewer = build_model(tmp_path / "fewer", rows=300)
    assert "vocab" in (said := refused(capsys, fewer, fewer)) or "rows for 0 to 299 only" in said


def test_a_template_that_renders_nothing_is_refused(tiny_model, tiny_draft, tmp_path, capsys):
    mute = shutil.copytree(tiny_model, tmp_path / "mute")
    settings = json.loads((mute / "tokenizer_config.json").read_text())
    (mute / "chat_template.jinja").write_text("{# nothing #}")
    settings.pop("chat_template", None)
    (mute / "tokenizer_config.json").write_text(json.dumps(settings))
    assert "its chat template renders nothing" in refused(capsys, mute, tiny_draft, *QUICK)


def test_a_draft_with_another_template_is_said(tiny_model, tiny_draft, tmp_path):
    from doubledraft.cli.advise import _notes

    other = shutil.copytree(tiny_draft, tmp_path / "other")
    (other / "chat_template.jinja").write_text("{% for message in messages %}{{ message['content'] }}{% endfor %}")
    assert _notes(tiny_model, tiny_draft) == []
    wide = build_model(tmp_path / "wide", rows=384)
    assert "rows for the same tokens, and vLLM serves only pairs of equal size" in _notes(tiny_model, wide)[0]
    assert "The draft's chat template differs" in _notes(tiny_model, other)[0]


def test_a_draft_with_fewer_positions_is_said(tiny_model, tiny_draft, tmp_path):
    short = Path(shutil.copytree(tiny_draft, tmp_path / "short"))
    config = json.loads((short / "config.json").read_text())
    (short / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 512}))
    assert "The draft has 512 positions and the target 1024" in advise._notes(tiny_model, short)[0]
    assert advise._notes(short, tiny_draft) == []


def test_a_price_of_nothing_is_refused(tiny_model, capsys):
    with pytest.raises(SystemExit):
        main.main(["advise", "a", "b", "--price-per-hour", "0"])
    assert "expected a number above 0, found '0'" in capsys.readouterr().err


def test_a_prompt_without_room_to_time_steps_is_refused_before_it_is_answered(tiny_model, tiny_draft, tmp_path, capsys):
    file = tmp_path / "long.jsonl"
    file.write_text(json.dumps({"question": "z" * 900, "answer": "4"}) + "\n")  # a token a letter, of 1024
    asked = ["advise", str(tiny_model), str(tiny_draft), "--data", str(file), "--max-tokens", "4", "--device", "cpu"]
    status, _, err = run(capsys, *asked)
    assert status == 2 and f"{file}: the prompt of question 'long-1' has " in err and "own answers" not in err
