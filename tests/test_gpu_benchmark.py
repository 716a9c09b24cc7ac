"""The GPU benchmark runs at tiny size, and its oracle imposes what it says.  pytest tests/test_gpu_benchmark.py"""

import json
import sys
from argparse import Namespace

import pytest
import torch

from benchmarks import gpu
from doubledraft import engine, graphed
from doubledraft.graphed import GraphedBackend
from doubledraft.sampling import accept_greedy

TINY = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 512,
}


@pytest.mark.parametrize("alpha", [0.0, 0.8, 1.0])
def test_the_oracle_keeps_each_drafted_token_with_the_given_chance(alpha: float):
    """Of 20,000 tokens the share kept lies within 4 standard deviations: a false alarm in 16,000."""
    torch.manual_seed(0)
    drafted, lengths = torch.zeros(4_000, 5, dtype=torch.long), torch.full((4_000,), 5)
    with gpu.imposed_acceptance(alpha):
        verdict = engine.accept_greedy(torch.ones(4_000, 6, dtype=torch.long), drafted, lengths)
    deviation = 4 * (alpha * (1 - alpha) / drafted.numel()) ** 0.5
    assert abs(verdict.agreed.double().mean() - alpha) <= deviation
    assert (verdict.accepted == verdict.agreed.long().cumprod(-1).sum(-1)).all()
    assert engine.accept_greedy is accept_greedy, "the oracle must not outlive the benchmark"


def test_the_hook_lets_a_model_say_the_good_token_with_the_given_chance():
    torch.manual_seed(0)
    best = gpu._said(0.8)(None, None, torch.randn(1, 20_000, 64)).argmax(-1)
    assert set(best.unique().tolist()) == {gpu.GOOD, gpu.BAD}
    assert abs((best == gpu.GOOD).double().mean() - 0.8) < 4 * (0.16 / 20_000) ** 0.5


def test_all_shapes_of_a_run_are_recorded_before_it_on_the_cache_that_it_takes(monkeypatch):
    monkeypatch.setattr(gpu, "PROMPT", 40)
    monkeypatch.setattr(graphed, "POSITIONS", 16)  # 40 + 22 + 3 is just beyond a multiple: one less is another size
    options = Namespace(device="cpu", draft_length=3, tokens=22, alpha=0.5, repeats=2)
    target, draft = (GraphedBackend(gpu._random(TINY, options), {}, name) for name in ("target", "draft"))
    gpu._record(target, draft, [list(range(40))], options)
    (of_target,), (of_draft,) = target._kept, draft._kept
    drafts, passes = set(of_draft.graphs), set(of_target.graphs)
    assert {(count, read) for _, count, _, read in drafts} == {(count, read) for count in (1, 2, 3) for read in (1, 2)}
    assert passes == {("forward", width) for width in (1, 2, 3, 4)}
    gpu._native(target, draft, options)
    assert (set(of_draft.graphs), set(of_target.graphs)) == (drafts, passes)
    assert len(target._kept) == len(draft._kept) == 1


def test_a_gpu_of_any_number_is_waited_for(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    gpu._seconds(lambda: waited.append("work"), "cuda:1")
    gpu._seconds(lambda: None, "cpu")
    assert waited == ["cuda:1", "work", "cuda:1"]


def test_every_ratio_is_reported_and_labelled_as_imposed(tmp_path, monkeypatch, capsys):
    out = tmp_path / "gpu.json"
    for name, tied in (("target", False), ("draft", True)):
        monkeypatch.setitem(gpu.SHAPES, name, TINY | {"tie_word_embeddings": tied})
    monkeypatch.setattr(gpu, "COPIED", 2**20)
    monkeypatch.setattr(gpu, "PROMPT", 20)
    monkeypatch.setattr(sys, "argv", f"gpu --device cpu --tokens 30 --repeats 1 --out {out}".split())
    gpu.main()
    report = json.loads(out.read_text())
    assert "imposed by an oracle" in report["acceptance"] and "imposed" in capsys.readouterr().out
    assert len(report["ratios"]) == 6 and all(ratio > 0 for ratio in report["ratios"].values())
