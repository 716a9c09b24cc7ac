"""The speed benchmark runs on the tiny pair and reports every arm.  pytest tests/test_engine_benchmark.py"""

import json
import sys

from benchmarks import engine
from doubledraft.records import Generation, Question, write_records

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


def test_every_arm_is_timed_and_compared_with_plain_decoding(tiny_model, tiny_draft, tmp_path, monkeypatch, capsys):
    questions, prompt, out = tmp_path / "test.jsonl", tmp_path / "prompt.yaml", tmp_path / "report.json"
    asked = [
        Question(id=f"q{index}", scenario="easy", split="test", question="4 * 6 = ?", answer="24", steps=["4 * 6 = 24"])
        for index in range(2)
    ]
    write_records(questions, asked)
    prompt.write_text('system: Solve.\nshots:\n  - {question: "1 + 1 = ?", answer: "#### 2"}\n')
    command = f"engine --target {tiny_model} --draft {tiny_draft} --questions {questions} --prompt {prompt} --out {out}"
    spoken = tmp_path / "spoken.jsonl"
    row = Generation(
        id="q", prompt_tokens=1, token_ids=[5, 6], text="", finish_reason="stop", batch=0, batch_seconds=0.1
    )
    write_records(spoken, [row])
    options = "--dtype float32 --max-tokens 12 --draft-lengths 3 --others-draft-lengths 2 --repeats 2"
    monkeypatch.setattr(sys, "argv", [*command.split(), *options.split(), "--says", str(spoken)])
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
