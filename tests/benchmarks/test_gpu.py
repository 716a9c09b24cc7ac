"""The GPU benchmark runs at tiny size, and its oracle imposes the acceptance that it reports."""

import copy
import json
import sys
from argparse import Namespace

import pytest
import torch

from benchmarks import gpu, gpu_distillation
from doubledraft.engine import cuda_graphs
from doubledraft.engine import decode as decoding
from doubledraft.engine.cuda_graphs import GraphedBackend
from doubledraft.engine.decoding_metrics import Metrics, StepTime
from doubledraft.engine.sampling import accept_greedy

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
        acceptance = decoding.accept_greedy(torch.ones(4_000, 6, dtype=torch.long), drafted, lengths)
    deviation = 4 * (alpha * (1 - alpha) / drafted.numel()) ** 0.5
    assert abs(acceptance.agreed.double().mean() - alpha) <= deviation
    assert (acceptance.accepted == acceptance.agreed.long().cumprod(-1).sum(-1)).all()
    assert decoding.accept_greedy is accept_greedy, "the oracle must not outlive the benchmark"


def test_the_hook_lets_a_model_say_the_good_token_with_the_given_chance():
    torch.manual_seed(0)
    best = gpu._imposed_tokens(0.8)(None, None, torch.randn(1, 20_000, 64)).argmax(-1)
    assert set(best.unique().tolist()) == {gpu.GOOD, gpu.BAD}
    assert abs((best == gpu.GOOD).double().mean() - 0.8) < 4 * (0.16 / 20_000) ** 0.5


def test_all_shapes_of_a_run_are_recorded_before_it_on_the_cache_that_it_takes(monkeypatch):
    monkeypatch.setattr(gpu, "PROMPT", 40)
    monkeypatch.setattr(cuda_graphs, "POSITIONS", 16)  # 40 + 22 + 3 is just beyond a multiple: one less is another size
    options = Namespace(device="cpu", draft_length=[3, 2], tokens=22, alpha=0.5, repeats=2)
    target, draft = (GraphedBackend(gpu._random(TINY, options), {}, name) for name in ("target", "draft"))
    with gpu._recordings("cpu") as spent:
        gpu._record(target, draft, options)
    passes, drafts = ([set(kept.graphs) for kept in backend._pool] for backend in (target, draft))
    for longest, of_target, of_draft in zip(options.draft_length, passes, drafts, strict=True):
        lengths = range(1, longest + 1)
        assert {(count, read) for _, count, _, read in of_draft} == {
            (count, read) for count in lengths for read in (1, 2)
        }
        assert of_target == {("forward", width) for width in range(1, longest + 2)}
    assert len(spent) == sum(map(len, passes + drafts)) and min(spent) > 0
    gpu._timed_runs(target, draft, options)
    assert passes == [set(kept.graphs) for kept in target._pool]
    assert drafts == [set(kept.graphs) for kept in draft._pool]


def test_the_hosts_time_is_what_the_steps_leave_of_the_wall_time():
    metrics = Metrics([], 1.0, [StepTime(0, 0.0, 2.0)] * 2)
    assert gpu._host([(6.0, metrics)] * 3) == pytest.approx(0.5)


def test_a_gpu_of_any_number_is_waited_for(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    gpu._seconds(lambda: waited.append("work"), "cuda:1")
    gpu._seconds(lambda: None, "cpu")
    assert waited == ["cuda:1", "work", "cuda:1"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs the benchmark at tiny size, and what finds its report."""
    for name, tied in (("target", False), ("draft", True)):
        monkeypatch.setitem(gpu.SHAPES, name, TINY | {"tie_word_embeddings": tied})
    monkeypatch.setattr(gpu, "COPIED", 2**20)
    monkeypatch.setattr(gpu, "PROMPT", 20)
    out = tmp_path / "gpu.json"
    sizes = "--device cpu --tokens 30 --repeats 1 --batch 2 --length 9 --chunk 4"

    def run(options: str = "") -> None:
        monkeypatch.setattr(sys, "argv", f"gpu {sizes} --out {out} {options}".split())
        gpu.main()

    run.report = lambda: json.loads(out.read_text())
    return run


@pytest.mark.slow
def test_every_ratio_is_reported_and_labelled_as_imposed(run, capsys):
    run("--draft-length 3,2")
    report, printed = run.report(), capsys.readouterr().out
    assert "imposed by an oracle" in report["acceptance"] and "imposed" in printed
    assert len(report["ratios"]) == 9 and all(ratio > 0 for ratio in report["ratios"].values())
    assert all(printed.count(name) == 1 for name in report["ratios"])
    assert list(report["results"]) == ["native", "native, K = 3", "native, K = 2", "distillation", "hugging_face"]
    assert report["results"]["distillation"].pop("peak_bytes") is None
    assert all(figure > 0 for results in report["results"].values() for figure in results.values())


def test_the_parts_of_a_distillation_step_make_up_the_step(run):
    run("--parts distillation")
    assert list(run.report()["results"]) == ["distillation"] and run.report()["ratios"] == {}
    found = run.report()["results"]["distillation"]
    parts = [found[name] for name in ("target_forward", "draft_forward_backward", "optimizer")]
    assert found["step"] == pytest.approx(sum(parts)) and found["tokens_per_second"] == pytest.approx(
        18 / found["step"]
    )


def test_chosen_parts_run_in_their_order_and_others_are_refused(run, monkeypatch, capsys):
    ran = []
    for part in gpu.PARTS:
        monkeypatch.setitem(gpu.PARTS, part, lambda options, report, part=part: ran.append(part))
    run("--parts hugging_face,native")
    assert ran == ["native", "hugging_face"]
    with pytest.raises(SystemExit):
        run("--parts native,vllm")
    assert "found 'vllm'" in capsys.readouterr().err


def test_a_run_that_is_cut_off_leaves_what_it_measured(run, monkeypatch, capsys):
    def cut(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(gpu, "_imposed_tokens", cut)
    with pytest.raises(KeyboardInterrupt):
        run()
    report = run.report()
    assert list(report["results"]) == ["native", "native, K = 5", "distillation", "hugging_face"]
    assert list(report["results"]["hugging_face"]) == ["loading"] and len(report["ratios"]) == 4
    assert "distillation: step " in capsys.readouterr().out


def test_the_report_is_written_anew_with_every_figure(tmp_path):
    options = Namespace(alpha=0.5, draft_length=[5], out=str(tmp_path / "gpu.json"))
    report = gpu.Report(options)
    for count in (1, 2):
        report.add("distillation", **{f"figure {count}": 1.0})
        assert len(json.loads((tmp_path / "gpu.json").read_text())["results"]["distillation"]) == count


def pair() -> tuple:
    """Return a target and a draft of other weights, its head tied to its embedding."""
    options = Namespace(device="cpu")
    target, draft = (gpu._random(TINY | {"tie_word_embeddings": tied}, options) for tied in (False, True))
    with torch.no_grad():
        for weight in [*target.parameters(), *draft.parameters()]:
            weight.add_(torch.randn_like(weight), alpha=0.1)
    return target, draft


def gradient(target, draft, ids: torch.Tensor, chunk: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the loss and the draft's gradient."""
    draft.zero_grad()
    loss = gpu_distillation.add_gradient(target, draft, ids, chunk, lambda name: None)
    return loss, {name: weight.grad for name, weight in draft.named_parameters()}


IDS = torch.arange(18).view(2, 9)


def test_models_that_are_equal_have_no_divergence_and_no_gradient():
    target, _ = pair()
    loss, found = gradient(target, copy.deepcopy(target), IDS, 4)
    assert loss == 0 and all(grad.abs().max() < 1e-6 for grad in found.values())
    assert all(weight.grad is None for weight in target.parameters())


@pytest.mark.parametrize("chunk", [1, 4, 18, 256])
def test_the_gradient_in_chunks_is_that_of_the_whole_loss(chunk: int, monkeypatch):
    monkeypatch.setattr(gpu, "DTYPE", "float32")
    target, draft = pair()
    loss, found = gradient(target, draft, IDS, chunk)
    draft.zero_grad()
    log_q, log_p = (model(IDS).logits.log_softmax(-1).flatten(0, 1) for model in (draft, target))
    whole = torch.nn.functional.kl_div(log_q, log_p.detach(), reduction="batchmean", log_target=True)
    whole.backward()
    assert loss > 0.01
    torch.testing.assert_close(loss, whole.detach())
    torch.testing.assert_close(found, {name: weight.grad for name, weight in draft.named_parameters()})


def test_steps_of_distillation_bring_the_draft_nearer():
    target, draft = pair()
    optimizer = torch.optim.AdamW(draft.parameters(), lr=1e-3)
    before, _ = gradient(target, draft, IDS, 4)
    draft.zero_grad()
    for _ in range(5):
        gpu_distillation.distillation_step(target, draft, optimizer, IDS, 4)
    assert gradient(target, draft, IDS, 4)[0] < before
