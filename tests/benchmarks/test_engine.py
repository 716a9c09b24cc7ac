"""The speed benchmark runs on the tiny pair, reports every arm, and its arms do the same work."""

import json
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks import engine, llama_cpp
from doubledraft.engine.load import create_backend
from doubledraft.records import Generation, Question, write_records
from tests.helpers import faults

ARMS = [
    "native plain",
    "native K = 3",
    "native adaptive",
    "native n-gram, K = 5",
    "native whole head, K = 3",
    "Hugging Face generate",
    "Hugging Face assisted, K = 2",
]
RATIOS = [
    "native plain / Hugging Face generate",
    "native adaptive / native plain",
    "native adaptive / Hugging Face assisted, K = 2",
    "native adaptive / native K = 3",
]
DYING_VLLM = """
class LLM:
    def __init__(self, **settings):
        raise SystemExit("no memory left")
"""
VLLM_WITH_A_CORE = """
import json, multiprocessing, time
from pathlib import Path

class LLM:
    def __init__(self, **settings):
        core = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        core.start()
        with Path(__file__).with_name("started.jsonl").open("a") as file:
            file.write(json.dumps(settings | {"core": core.pid}) + "\\n")
"""


@pytest.fixture
def target(tiny_model, tmp_path) -> Path:
    """Return the folder of the tiny model with a generation setting that no arm may follow."""
    folder = shutil.copytree(tiny_model, tmp_path / "target")
    (folder / "generation_config.json").write_text('{"eos_token_id": 2, "repetition_penalty": 2.0}')
    return folder


@pytest.fixture
def command(target, tiny_draft, tmp_path) -> list[str]:
    """Return a command line of the benchmark."""
    questions, prompt = tmp_path / "test.jsonl", tmp_path / "prompt.yaml"
    asked = [
        Question(id=f"q{index}", scenario="easy", split="test", question="4 * 6 = ?", answer="24", steps=["4 * 6 = 24"])
        for index in range(2)
    ]
    write_records(questions, asked)
    prompt.write_text('system: Solve.\nshots:\n  - {question: "1 + 1 = ?", answer: "#### 2"}\n')
    models = f"engine --target {target} --draft {tiny_draft} --questions {questions} --prompt {prompt}"
    options = "--dtype float32 --max-tokens 12 --draft-lengths 3 --others-draft-lengths 2 --repeats 2"
    return [*models.split(), *options.split()]


@pytest.mark.slow
def test_every_arm_is_timed_and_compared_with_plain_decoding(command, tmp_path, monkeypatch, capsys):
    spoken, out = tmp_path / "spoken.jsonl", tmp_path / "report.json"
    row = Generation(
        id="q", prompt_tokens=1, token_ids=[5, 6], text="", finish_reason="stop", batch=0, batch_seconds=0.1
    )
    write_records(spoken, [row])
    monkeypatch.setattr(sys, "argv", [*command, "--draft-vocabulary", str(spoken), "--out", str(out)])
    engine.main()
    report = json.loads(out.read_text())
    assert [row["arm"] for row in report["arms"]] == ARMS
    assert set(report["against_plain"]) == set(ARMS)
    assert all(found["identical_rate"] == 1 for found in report["against_plain"].values()), "float32 is exact"
    assert report["arms"][0]["against_plain"] == {"median": 1, "min": 1, "max": 1}
    assert list(report["ratios"]) == RATIOS
    assert all(0 < ratio["min"] <= ratio["median"] <= ratio["max"] for ratio in report["ratios"].values())
    assert report["share_of_bandwidth"] > 0
    assert all(arm in capsys.readouterr().out for arm in ARMS[:1])


def test_every_arm_ends_at_the_tokens_that_the_model_names(command, target, monkeypatch):
    monkeypatch.setattr(sys, "argv", command)
    options = engine._options()
    backend = create_backend(target, options.dtype, options.device)
    asked, _ = engine._prompts(options)
    whole, _ = engine._native(backend, set(), options)[engine.PLAIN](asked[0])
    (target / "generation_config.json").write_text(json.dumps({"eos_token_id": [whole[len(whole) // 2]]}))
    _, stops = engine._prompts(options)
    end = next(place for place, token in enumerate(whole, start=1) if token in stops)
    for name, answer in (engine._native(backend, stops, options) | engine._hugging_face(stops, options)).items():
        assert [answer(prompt)[0] for prompt in asked] == [whole[:end]] * 2, name


@pytest.mark.slow
def test_vllm_gets_the_room_that_the_prompts_need_and_leaves_no_process_behind(command, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [*command, "--vllm-memory", "0.4"])
    monkeypatch.setattr(faults, "PATIENCE", 300)
    _pretend_vllm(VLLM_WITH_A_CORE, tmp_path, monkeypatch)
    with ExitStack() as stack:
        arms = engine._vllm(stack, [[5] * 20, [5] * 30], engine._options())
    started = [json.loads(line) for line in (tmp_path / "started.jsonl").read_text().splitlines()]
    assert list(arms) == ["vLLM plain", "vLLM draft model, K = 2"]
    assert [settings["max_model_len"] for settings in started] == [30 + 12, 30 + 12 + 2]
    assert {settings["gpu_memory_utilization"] for settings in started} == {0.4}
    for settings in started:
        faults.ended(settings["core"])


@pytest.mark.slow
def test_a_vllm_that_dies_while_it_starts_is_reported(command, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", command)
    _pretend_vllm(DYING_VLLM, tmp_path, monkeypatch)
    with ExitStack() as stack, pytest.raises(RuntimeError, match="vllm_engine ended with exit status 1"):
        engine._vllm(stack, [[5] * 20], engine._options())


def _pretend_vllm(code: str, folder: Path, monkeypatch) -> None:
    """Put a module in vLLM's place for child processes."""
    (folder / "vllm.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_a_folder_that_is_not_llama_cpp_is_named_with_what_its_converter_said(tiny_model, tmp_path):
    with pytest.raises(RuntimeError, match=r"could not convert .*tiny:\n.*convert_hf_to_gguf.py"):
        llama_cpp.convert(tmp_path, tiny_model, tmp_path / "model.gguf", "bfloat16")
