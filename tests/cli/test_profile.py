"""`doubledraft profile` shows both ways of decoding and writes what it is asked for."""

import json

import pytest
import yaml

from doubledraft.cli import profile
from doubledraft.inference import bandwidth
from tests.helpers.commands import run, run_unread


@pytest.fixture(autouse=True)
def small_array(monkeypatch):
    monkeypatch.setattr(bandwidth, "ARRAY_BYTES", 2**20)


def test_the_tables_the_trace_and_the_figures_are_of_one_pair(tiny_model, tiny_draft, tmp_path, capsys):
    files = ("--out", tmp_path / "profile.json", "--trace", tmp_path / "trace.json")
    common = ("--model", tiny_model, "--dtype", "float32", "--device", "cpu", "--max-tokens", 12, "--repeats", 1)
    status, out, err = run(capsys, "profile", *common, "--draft", tiny_draft, "--draft-length", 2, *files)
    assert status == 0, err
    found = json.loads((tmp_path / "profile.json").read_text())
    assert list(found["arms"]) == ["baseline", "speculative"] and found["options"]["draft_length"] == 2
    for name, arm in found["arms"].items():
        assert f"{name}: {arm['steps']} steps of " in out
        assert all(row["part"] in out for row in arm["parts"])
    assert "read bandwidth " in out and "\nspeedup " in out
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


def test_a_config_of_the_benchmark_names_models_and_the_questions(tiny_model, tiny_draft, tmp_path, capsys):
    (tmp_path / "q.jsonl").write_text("".join(json.dumps({"prompt": f"{n} + 1 = ?"}) + "\n" for n in range(3)))
    data = {"sums": {"file": f"{tmp_path}/q.jsonl", "max_tokens": 6}}
    config = {"target": str(tiny_model), "drafts": {"near": str(tiny_draft)}, "dtype": "float32", "data": data}
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(config))
    asked = ("profile", "--config", tmp_path / "b.yaml", "--num-samples", 2, "--repeats", 1, "--device", "cpu")
    status, out, err = run(capsys, *asked)
    assert status == 0, err
    assert "baseline: 10 steps" in out and "speculative: " in out, (
        "two questions of six tokens, the first by the prompt"
    )


def test_without_a_draft_plain_decoding_is_profiled_alone(tiny_model, capsys):
    status, out, _ = run(capsys, "profile", "--model", tiny_model, "--max-tokens", 8, "--repeats", 1, "--device", "cpu")
    assert status == 0 and "baseline: 7 steps" in out and "speedup" not in out


def test_a_pipe_that_nobody_reads_loses_no_figures(tiny_model, tmp_path):
    settings = ("--max-tokens", 4, "--repeats", 1, "--device", "cpu", "--out", tmp_path / "profile.json")
    assert run_unread("profile", "--model", tiny_model, *settings) == 0
    assert json.loads((tmp_path / "profile.json").read_text())["arms"]


def test_a_trace_that_fails_loses_no_figures(tiny_model, tmp_path, capsys, monkeypatch):
    def failing(*arguments: object) -> None:
        raise RuntimeError("no profiler here")

    monkeypatch.setattr(profile, "trace", failing)
    files = ("--out", tmp_path / "profile.json", "--trace", tmp_path / "trace.json")
    with pytest.raises(RuntimeError, match="no profiler here"):
        run(capsys, "profile", "--model", tiny_model, "--max-tokens", 4, "--repeats", 1, "--device", "cpu", *files)
    assert json.loads((tmp_path / "profile.json").read_text())["arms"]


def test_a_compressed_trace_is_refused_before_a_model_is_loaded(capsys):
    status, _, err = run(capsys, "profile", "--model", "/nowhere", "--trace", "trace.json.gz")
    assert status == 2 and "--trace trace.json.gz: traces are not compressed" in err


def test_fewer_than_two_tokens_are_no_step_to_profile(capsys):
    status, _, err = run(capsys, "profile", "--model", "none", "--max-tokens", 1)
    assert status == 2 and "expected 2 or more" in err
