"""Speed of the engine on one GPU at the shapes of Qwen3-14B and Qwen3-0.6B: needs torch, transformers, safetensors.

    python -m benchmarks.gpu --out gpu.json

Weights are random, since speed does not depend on them, but acceptance does: it is IMPOSED. An oracle that exists only
in this file keeps each drafted token with probability `--alpha`, whatever the target computes, in our engine and in
Hugging Face's alike. The results are costs and speeds at that acceptance; nothing here is about a real pair.

There are three parts: our engine (`native`), one step of white-box distillation (`distillation`), and Hugging Face's
generation (`hugging_face`). What is measured is printed and written at once, so that a run that is cut off leaves it.
All values are seconds unless their names say otherwise. docs/explanation/cuda.md has the results of one H200.
"""

import argparse
import gc
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import TYPE_CHECKING
from unittest.mock import patch

from benchmarks import gpu_distillation
from doubledraft.engine import cuda_graphs, sampling
from doubledraft.engine import decode as decoding
from doubledraft.engine.backend import Backend
from doubledraft.engine.cuda_graphs import GraphedBackend
from doubledraft.engine.decoding_metrics import Metrics
from doubledraft.engine.proposers import NoDraft, Proposer
from doubledraft.files import write_json
from doubledraft.provenance import provenance

if TYPE_CHECKING:
    import torch

Run = tuple[float, Metrics]  # wall seconds of an answer, and what its decoding did

SHARED = {"vocab_size": 151936, "head_dim": 128, "num_key_value_heads": 8, "max_position_embeddings": 40960}
SHAPES = {  # config.json of Qwen/Qwen3-14B and Qwen/Qwen3-0.6B
    "target": SHARED
    | {
        "hidden_size": 5120,
        "intermediate_size": 17408,
        "num_hidden_layers": 40,
        "num_attention_heads": 40,
        "tie_word_embeddings": False,
    },
    "draft": SHARED
    | {
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "tie_word_embeddings": True,
    },
}
DTYPE = "bfloat16"
COPIED = 2**32  # bytes of the copy that measures the bandwidth
PROMPT = 100  # tokens
WARM = 16  # tokens of the answer of Hugging Face's that is not timed
GOOD, BAD = 7, 8  # tokens that the oracle lets Hugging Face's models emit


def main() -> None:
    """Measure part after part."""
    import torch

    options = _options()
    report = Report(options)
    for part in options.parts:
        PARTS[part](options, report)
        gc.collect()  # graphs and their backend hold each other
        torch.cuda.empty_cache()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--parts", type=_parts, default=list(PARTS), help=f"of {','.join(PARTS)}; default: all")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--alpha", type=float, default=0.88, help="chance that a drafted token is kept")
    parser.add_argument(
        "--draft-length", type=_lengths, default=[5], help="or several: 5,3,8; Hugging Face takes the first"
    )
    parser.add_argument("--tokens", type=int, default=256, help="of each answer")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=4, help="texts of a distillation step")
    parser.add_argument("--length", type=int, default=512, help="tokens of each of these texts")
    parser.add_argument("--chunk", type=int, default=256, help="positions whose logits are there at a time")
    parser.add_argument("--out", help="JSON file")
    return parser.parse_args()


def _parts(text: str) -> list[str]:
    """Return the chosen parts in the order in which they run."""
    chosen = text.split(",")
    if unknown := sorted(set(chosen) - PARTS.keys()):
        raise argparse.ArgumentTypeError(f"expected some of {','.join(PARTS)}, found {unknown[0]!r}")
    return [part for part in PARTS if part in chosen]


def _lengths(text: str) -> list[int]:
    return list(map(int, text.split(",")))


class Report:
    """What has been measured so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options, self._began = options, time.perf_counter()
        self._values = {
            "acceptance": f"imposed by an oracle: each drafted token is kept with probability {options.alpha}",
            "results": {},
            "ratios": {},
            "options": vars(options),
            "provenance": provenance(),
        }
        self._print(self._values["acceptance"])

    def add(self, part: str, **results: float | None) -> None:
        """Add results of a part, print them and their ratios, and write the whole file again."""
        found, before = self._values["results"], self._values["ratios"]
        found.setdefault(part, {}).update(results)
        self._values["ratios"] = _ratios(found, self._options.draft_length)
        self._print(f"{part}: {_shown(results)}")
        for name, ratio in self._values["ratios"].items():
            if name not in before:
                self._print(f"    {name:<48}{ratio:>8.3f}")
        if self._options.out:
            write_json(self._options.out, self._values)

    def _print(self, line: str) -> None:
        sys.stdout.write(f"{time.perf_counter() - self._began:7.1f} s  {line}\n")
        sys.stdout.flush()


def _shown(results: Mapping[str, float | None]) -> str:
    return ", ".join(
        f"{name} {'unknown' if value is None else format(value, '.6g')}" for name, value in results.items()
    )


def _ratios(found: Mapping[str, Mapping[str, float]], lengths: Sequence[int]) -> dict[str, float]:
    """Return the ratios whose results are there."""
    native, hugging_face, ratios = found.get("native", {}), found.get("hugging_face", {}), {}
    if "step" in native:
        speed = native["bytes_per_pass"] / native["step"]
        ratios["plain: bytes/s / copy bandwidth"] = speed / native["copy_bytes_per_second"]
    for length in lengths:
        if ours := found.get(_at(length)):
            ratios |= {
                f"draft step / target step, K = {length}": ours["draft_step"] / native["step"],
                f"verify of {length + 1} / step of 1": ours["verify"] / native["step"],
                f"speculative / plain, K = {length}": native["plain"] / ours["speculative"],
            }
    if "assisted" in hugging_face:
        ratios["Hugging Face assisted / generate"] = hugging_face["plain"] / hugging_face["assisted"]
        if ours := found.get(_at(lengths[0])):
            ratios["native speculative / Hugging Face assisted"] = hugging_face["assisted"] / ours["speculative"]
    return ratios


def _at(length: int) -> str:
    return f"native, K = {length}"


def _random(shape: dict, options: argparse.Namespace):
    """Make a model of a shape, its weights random."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen3Config

    torch.manual_seed(0)
    with torch.device(options.device):
        model = AutoModelForCausalLM.from_config(Qwen3Config(**shape, eos_token_id=None), dtype=getattr(torch, DTYPE))
    return model.eval()


def _models(part: str, options: argparse.Namespace, report: Report, kind: Callable = lambda model, name: model) -> list:
    """Make target and draft, each as `kind` has it, and report how long that took."""
    made = []

    def make() -> None:
        made.extend(kind(_random(shape, options), name) for name, shape in SHAPES.items())

    report.add(part, loading=_seconds(make, options.device))
    return made


def _native(options: argparse.Namespace, report: Report) -> None:
    """Measure our engine."""
    target, draft = _models("native", options, report, lambda model, name: GraphedBackend(model, {}, name))
    report.add("native", copy_bytes_per_second=copy_bandwidth(options.device), bytes_per_pass=target.bytes_per_pass)
    with _recordings(options.device) as spent:
        warming = _seconds(lambda: _record(target, draft, options), options.device)
    report.add("native", warming=warming, recording=sum(spent), graphs=len(spent))
    plain, *speculative = _timed_runs(target, draft, options)
    steps = [metrics.step_seconds()["target"] for _, metrics in plain]
    report.add("native", plain=_wall(plain), step=median(steps), host_per_step=_host(plain))
    for length, runs in zip(options.draft_length, speculative, strict=True):
        parts = [metrics.step_seconds() for _, metrics in runs]
        results = {"draft_step": median(part["draft"] for part in parts), "verify": median(p["verify"] for p in parts)}
        report.add(_at(length), speculative=_wall(runs), **results, host_per_step=_host(runs))


def _timed_runs(target: Backend, draft: Backend, options: argparse.Namespace) -> list[list[Run]]:
    """Return the runs of plain decoding, then those of each draft length; they take turns, as the GPU warms up."""
    ways = [(NoDraft(), max(options.draft_length)), *((draft, length) for length in options.draft_length)]
    runs = [[] for _ in ways]
    with imposed_acceptance(options.alpha):
        for _ in range(options.repeats):
            for (proposer, length), of_way in zip(ways, runs, strict=True):
                of_way.append(_answer(target, proposer, options.tokens, length))
    return runs


def _answer(target: Backend, proposer: Backend | Proposer, tokens: int, length: int) -> Run:
    began = time.perf_counter()
    _, metrics = decoding.speculative_decode(target, proposer, [list(range(PROMPT))], tokens, draft_length=length)
    return time.perf_counter() - began, metrics


def _wall(runs: Sequence[Run]) -> float:
    return median(wall for wall, _ in runs)


def _host(runs: Sequence[Run]) -> float:
    """Return the median seconds per step that lie outside the steps: the host's own.

    A step lasts on the device's clock until its tokens are there, so what it waits for the host within counts as its.
    """
    return median((wall - metrics.seconds) / len(metrics.times) for wall, metrics in runs)


@contextmanager
def _recordings(device: str) -> Iterator[list[float]]:
    """Note the seconds that each recording of a graph takes."""
    spent = []

    class Timed(cuda_graphs._Graph):
        def __init__(self, *recorded) -> None:
            spent.append(_seconds(lambda: super(Timed, self).__init__(*recorded), device))

    with patch.object(cuda_graphs, "_Graph", Timed):
        yield spent


def _record(target: Backend, draft: Backend, options: argparse.Namespace) -> None:
    """Decode in every shape that the timed runs meet, so that none of them stops to record a graph.

    Near its end an answer takes shorter drafts, so each length is drafted here. A draft reads two tokens after one that
    was kept whole, else one: where all are kept, the first draft reads one and the others two. The shorter the drafts,
    the longer the answer: graphs belong to a cache, so all runs must ask for one of the same size.
    """
    with imposed_acceptance(1.0):
        for longest in options.draft_length:
            ways = [(NoDraft(), longest), *((draft, length) for length in range(1, longest + 1))]
            for proposer, length in ways:
                _answer(target, proposer, options.tokens + longest - length, length)


@contextmanager
def imposed_acceptance(alpha: float) -> Iterator[None]:
    """Replace the engine's greedy accept rule by an oracle that keeps each drafted token with probability alpha."""
    import torch

    def oracle(best, drafted, lengths) -> sampling.Acceptance:
        kept = torch.rand(drafted.shape, device=drafted.device) < alpha
        accepted = sampling.leading(kept, lengths)
        return sampling.Acceptance(accepted, best[torch.arange(len(best), device=best.device), accepted], kept)

    with patch.object(decoding, "accept_greedy", oracle):
        yield


def _distillation(options: argparse.Namespace, report: Report) -> None:
    """Measure a step of white-box distillation."""
    target, draft = _models("distillation", options, report)
    report.add("distillation", **gpu_distillation.measure(target, draft, options))


def _hugging_face(options: argparse.Namespace, report: Report) -> None:
    """Measure Hugging Face's generation, plain and assisted, with the oracle's tokens."""
    import torch

    target, draft = _models("hugging_face", options, report)
    draft.generation_config.num_assistant_tokens = options.draft_length[0]
    draft.generation_config.num_assistant_tokens_schedule = "constant"
    draft.generation_config.assistant_confidence_threshold = 0.0
    ids = torch.arange(PROMPT, device=options.device).unsqueeze(0)
    settings = {"do_sample": False, "attention_mask": torch.ones_like(ids)}

    def answer(tokens: int, **more) -> float:
        return _seconds(lambda: target.generate(ids, max_new_tokens=tokens, **settings, **more), options.device)

    with ExitStack() as stack:
        for model, chance in ((target, options.alpha), (draft, 1.0)):
            stack.callback(model.get_output_embeddings().register_forward_hook(_imposed_tokens(chance)).remove)
        for name, more in (("plain", {}), ("assisted", {"assistant_model": draft})):
            answer(WARM, **more)
            report.add("hugging_face", **{name: median(answer(options.tokens, **more) for _ in range(options.repeats))})


def _imposed_tokens(chance: float) -> Callable:
    """Return a hook on a model's head that makes GOOD the best token with this chance at each position, else BAD."""
    import torch

    def hook(module, inputs, logits) -> "torch.Tensor":
        good = torch.rand(logits.shape[:-1], device=logits.device) < chance
        token = torch.where(good, GOOD, BAD).unsqueeze(-1)
        return logits.scatter(-1, token, torch.finfo(logits.dtype).max)

    return hook


def copy_bandwidth(device: str) -> float:
    """Return the bytes per second that the device reads and writes while it copies: the best of 7."""
    import torch

    source = torch.ones(COPIED, dtype=torch.uint8, device=device)
    copy = torch.empty_like(source)
    return 2 * COPIED / min(_seconds(lambda: copy.copy_(source), device) for _ in range(7))


def _seconds(work: Callable[[], object], device: str) -> float:
    import torch

    def wait() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)

    wait()
    began = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - began


PARTS = {"native": _native, "distillation": _distillation, "hugging_face": _hugging_face}  # in this order

if __name__ == "__main__":
    main()
