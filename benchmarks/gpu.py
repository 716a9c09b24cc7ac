"""Speed of the engine on one GPU at the shapes of Qwen3-14B and Qwen3-0.6B: needs torch, transformers, safetensors.

    python -m benchmarks.gpu --out gpu.json

Weights are random, since speed does not depend on them, but acceptance does: it is IMPOSED. An oracle that exists only
in this file keeps each drafted token with probability `--alpha`, whatever the target says, in our engine and in
Hugging Face's alike. The figures are costs and speeds at that acceptance; nothing here is about a real pair.
This script has run at tiny size on CPU (its test) and not on a GPU yet.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from unittest.mock import patch

from doubledraft import engine, runtime, sampling
from doubledraft.backend import Backend
from doubledraft.graphed import GraphedBackend
from doubledraft.proposers import NoDraft
from doubledraft.records import write_json

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
COPIED = 2**32  # bytes of the copy that measures the bandwidth
PROMPT = 100  # tokens
GOOD, BAD = 7, 8  # tokens that the oracle lets Hugging Face's models say


def main() -> None:
    """Measure and report."""
    options = _options()
    models = {name: _random(shape, options) for name, shape in SHAPES.items()}
    hugging_face = _hugging_face(models["target"], models["draft"], options)
    target, draft = (GraphedBackend(models.pop(name), {}, name) for name in SHAPES)
    ours = _native(target, draft, options)
    copied = copy_bandwidth(options.device)
    step, drafted, verify = ours["step"], ours["draft_step"], ours["verify"]
    report = {
        "acceptance": f"imposed by an oracle: each drafted token is kept with probability {options.alpha}",
        "copy_bytes_per_second": copied,
        "seconds": {"native": ours, "hugging_face": hugging_face},
        "ratios": {
            "plain: bytes/s / copy bandwidth": target.bytes_per_pass / step / copied,
            "draft step / target step": drafted / step,
            f"verify of {options.draft_length + 1} / step of 1": verify / step,
            f"speculative / plain, K = {options.draft_length}": ours["plain"] / ours["speculative"],
            "Hugging Face assisted / generate": hugging_face["plain"] / hugging_face["assisted"],
            "native speculative / Hugging Face assisted": hugging_face["assisted"] / ours["speculative"],
        },
        "options": vars(options),
        "provenance": runtime.provenance(),
    }
    lines = [report["acceptance"], *(f"{name:<48}{ratio:>8.3f}" for name, ratio in report["ratios"].items())]
    sys.stdout.write("\n".join(lines) + "\n")
    if options.out:
        write_json(options.out, report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--alpha", type=float, default=0.88, help="chance that a drafted token is kept")
    parser.add_argument("--draft-length", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=256, help="of each answer")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", help="JSON file")
    return parser.parse_args()


def _random(shape: dict, options: argparse.Namespace):
    """Make a bfloat16 model of a shape, its weights random."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen3Config

    torch.manual_seed(0)
    with torch.device(options.device):
        model = AutoModelForCausalLM.from_config(Qwen3Config(**shape, eos_token_id=None), dtype=torch.bfloat16)
    return model.eval()


def _native(target: Backend, draft: Backend, options: argparse.Namespace) -> dict[str, float]:
    """Give medians: the seconds of an answer, plain and speculative, and of each part of a step."""
    prompt = [list(range(PROMPT))]

    def run(proposer) -> engine.Metrics:
        settings = {"draft_length": options.draft_length}
        return engine.speculative_decode(target, proposer, prompt, options.tokens, **settings)[1]

    _record(target, draft, prompt, options)
    with imposed_acceptance(options.alpha):
        runs = {"plain": [], "speculative": []}
        for _ in range(options.repeats):
            for name, proposer in (("plain", NoDraft()), ("speculative", draft)):
                runs[name].append(run(proposer))
    parts = [found.step_seconds() for found in runs["speculative"]]
    return {
        "plain": median(found.seconds for found in runs["plain"]),
        "speculative": median(found.seconds for found in runs["speculative"]),
        "step": median(found.step_seconds()["target"] for found in runs["plain"]),
        "draft_step": median(part["draft"] for part in parts),
        "verify": median(part["verify"] for part in parts),
    }


def _record(target: Backend, draft: Backend, prompt: list[list[int]], options: argparse.Namespace) -> None:
    """Decode in every shape that the timed runs meet, so that none of them stops to record a graph.

    Near its end an answer takes shorter drafts, so each length is drafted here. A draft reads two tokens after one that
    was kept whole, else one: where all are kept, the first draft reads one and the others two. The shorter the drafts,
    the longer the answer: graphs belong to a cache, so all runs must ask for one of the same size.
    """
    longest = options.draft_length
    ways = [(NoDraft(), longest), *((draft, length) for length in range(1, longest + 1))]
    with imposed_acceptance(1.0):
        for proposer, length in ways:
            tokens = options.tokens + longest - length
            engine.speculative_decode(target, proposer, prompt, tokens, draft_length=length)


@contextmanager
def imposed_acceptance(alpha: float) -> Iterator[None]:
    """Replace the engine's greedy accept rule by an oracle that keeps each drafted token with probability alpha."""
    import torch

    def oracle(best, drafted, lengths) -> sampling.Verdict:
        kept = torch.rand(drafted.shape, device=drafted.device) < alpha
        accepted = sampling.leading(kept, lengths)
        return sampling.Verdict(accepted, best[torch.arange(len(best), device=best.device), accepted], kept)

    with patch.object(engine, "accept_greedy", oracle):
        yield


def _hugging_face(target, draft, options: argparse.Namespace) -> dict[str, float]:
    """Give the median seconds of an answer, plain and assisted; the models say what the oracle lets them say."""
    import torch

    draft.generation_config.num_assistant_tokens = options.draft_length
    draft.generation_config.num_assistant_tokens_schedule = "constant"
    draft.generation_config.assistant_confidence_threshold = 0.0
    ids = torch.arange(PROMPT, device=options.device).unsqueeze(0)
    settings = {"max_new_tokens": options.tokens, "do_sample": False, "attention_mask": torch.ones_like(ids)}
    with ExitStack() as stack:
        for model, chance in ((target, options.alpha), (draft, 1.0)):
            stack.callback(model.get_output_embeddings().register_forward_hook(_said(chance)).remove)
        plain = [_seconds(lambda: target.generate(ids, **settings), options.device) for _ in range(options.repeats + 1)]
        settings |= {"assistant_model": draft}
        assisted = [
            _seconds(lambda: target.generate(ids, **settings), options.device) for _ in range(options.repeats + 1)
        ]
    return {"plain": median(plain[1:]), "assisted": median(assisted[1:])}


def _said(chance: float) -> Callable:
    """Give a hook on a model's head that makes it say GOOD with this chance at each position, and BAD else."""
    import torch

    def hook(module, inputs, logits) -> "torch.Tensor":
        good = torch.rand(logits.shape[:-1], device=logits.device) < chance
        said = torch.where(good, GOOD, BAD).unsqueeze(-1)
        return logits.scatter(-1, said, torch.finfo(logits.dtype).max)

    return hook


def copy_bandwidth(device: str) -> float:
    """Give the bytes per second that the device reads and writes while it copies: the best of 7."""
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


if __name__ == "__main__":
    main()
