"""Speed of the engine beside Hugging Face generate, one request at a time: one process, interleaved, medians, ratios.

    python -m benchmarks.engine --target MODEL --draft MODEL --questions data/questions/easy/test.jsonl \\
        --prompt config/prompts/cod.yaml

Every arm answers the same prompts greedily, `--repeats` times in turn, after one turn that does not count. A ratio is
taken within a turn, so that a machine that slows down slows both. The figures are printed, and written to `--out`.
"""

import argparse
import sys
import time
from collections.abc import Callable
from statistics import median

from doubledraft import prompts, runtime
from doubledraft.backend import create_backend
from doubledraft.decoding_metrics import Metrics, together
from doubledraft.draft_length import AdaptiveLength
from doubledraft.engine import decode, speculative_decode
from doubledraft.exactness import differences
from doubledraft.proposers import NGram
from doubledraft.records import Question, read_records, write_json

READ_BYTES = 2**29  # of the array whose sum measures the read bandwidth: far more than any cache holds
Arm = Callable[[list[int]], list[int]]


def main() -> None:
    """Measure and report."""
    options = _options()
    runtime.use_own_cores()
    target, draft = (
        create_backend(folder, options.dtype, options.device) for folder in (options.target, options.draft)
    )
    asked, stop = _prompts(options)
    arms, metrics = _native(target, draft, stop, options)
    arms |= _hugging_face(stop, options)
    seconds, answers = {name: [] for name in arms}, {}
    for turn in range(options.repeats + 1):
        for name, answer in arms.items():
            began = time.perf_counter()
            answers[name] = [answer(ids) for ids in asked]
            if turn:
                seconds[name].append(time.perf_counter() - began)
    rows = [_row(name, seconds, answers, metrics) for name in arms]
    bandwidth = read_bandwidth(options.device)
    used = target.bytes_per_pass / rows[0]["step_seconds"]["target"]
    report = {
        "arms": rows,
        "read_bytes_per_second": bandwidth,
        "target_bytes_per_second": used,
        "share_of_bandwidth": used / bandwidth,
        "against_plain": {name: differences(target, asked, answers["plain"], answers[name]) for name in arms},
        "options": vars(options),
        "provenance": runtime.provenance(),
    }
    _show(report)
    if options.out:
        write_json(options.out, report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("target", "draft", "questions", "prompt"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--questions-asked", type=int, default=2)
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--draft-lengths", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--without-assisted", action="store_true", help="leave out Hugging Face assisted generation")
    parser.add_argument("--out", help="JSON file")
    return parser.parse_args()


def _prompts(options: argparse.Namespace) -> tuple[list[list[int]], int]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(options.target)
    prompt = prompts.load(options.prompt)
    asked = []
    for question in read_records(options.questions, Question)[: options.questions_asked]:
        messages = prompts.messages(prompt, question.question, few_shot=False)
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        asked.append(tokenizer.encode(text, add_special_tokens=False))
    return asked, tokenizer.eos_token_id


def _native(target, draft, stop: int, options: argparse.Namespace) -> tuple[dict[str, Arm], dict[str, list[Metrics]]]:
    """Give the engine's arms, and the lists that their metrics go to."""
    ways = {"plain": None} | {f"draft model, K = {length}": (draft, length) for length in options.draft_lengths}
    ways |= {"draft model, adaptive": (draft, AdaptiveLength()), "n-gram, K = 5": (NGram(), 5)}
    metrics: dict[str, list[Metrics]] = {name: [] for name in ways}

    def arm(name: str) -> Arm:
        def answer(ids: list[int]) -> list[int]:
            if ways[name] is None:
                emitted, found = decode(target, [ids], options.max_tokens, stop_ids={stop})
            else:
                proposer, length = ways[name]
                emitted, found = speculative_decode(
                    target, proposer, [ids], options.max_tokens, draft_length=length, stop_ids={stop}
                )
            metrics[name].append(found)
            return emitted[0]

        return answer

    return {name: arm(name) for name in ways}, metrics


def _hugging_face(stop: int, options: argparse.Namespace) -> dict[str, Arm]:
    import torch
    from transformers import AutoModelForCausalLM

    target, draft = (
        AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, options.dtype)).to(options.device)
        for folder in (options.target, options.draft)
    )
    draft.generation_config.num_assistant_tokens = options.draft_lengths[0]
    draft.generation_config.num_assistant_tokens_schedule = "constant"
    draft.generation_config.assistant_confidence_threshold = 0.0

    def arm(**assistant) -> Arm:
        def answer(ids: list[int]) -> list[int]:
            inputs = torch.tensor([ids], device=options.device)
            settings = {"max_new_tokens": options.max_tokens, "do_sample": False, "eos_token_id": stop}
            output = target.generate(inputs, attention_mask=torch.ones_like(inputs), **settings, **assistant)
            return output[0, len(ids) :].tolist()

        return answer

    assisted = {f"Hugging Face assisted, K = {options.draft_lengths[0]}": arm(assistant_model=draft)}
    return {"Hugging Face generate": arm()} | ({} if options.without_assisted else assisted)


def _row(name: str, seconds: dict[str, list[float]], answers: dict[str, list], metrics: dict[str, list]) -> dict:
    """Give the figures of one arm; what the engine says of itself is of its last turn."""
    emitted = {arm: sum(map(len, answer)) for arm, answer in answers.items()}
    speeds = [emitted[name] / turn for turn in seconds[name]]
    ratios = [
        own / (emitted["plain"] / plain) for own, plain in zip(speeds, seconds["plain"], strict=True)
    ]  # tokens/s, since a bfloat16 answer may have another length
    figures = together(metrics[name][-len(answers[name]) :]).figures() if name in metrics else {}
    kept = ("tokens_per_step", "acceptance_rate", "order_independent_agreement", "mean_draft_length", "step_seconds")
    return {
        "arm": name,
        "tokens_per_second": {"median": median(speeds), "min": min(speeds), "max": max(speeds)},
        "against_plain": {"median": median(ratios), "min": min(ratios), "max": max(ratios)},
        **{key: figures.get(key) for key in kept},
    }


def read_bandwidth(device: str) -> float:
    """Give the bytes per second at which the device reads memory: the best of 5 sums of a large array."""
    import torch

    numbers = torch.ones(READ_BYTES // 4, device=device)
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        numbers.sum().item()
        seconds.append(time.perf_counter() - began)
    return READ_BYTES / min(seconds)


def _show(report: dict) -> None:
    lines = [f"{'arm':<30}{'tokens/s':>9}{'min':>7}{'max':>7}{'/ plain':>9}{'tok/step':>9}{'accepted':>9}  step, ms"]
    for row in report["arms"]:
        speed, ratio = row["tokens_per_second"], row["against_plain"]
        steps = {name: value for name, value in (row["step_seconds"] or {}).items() if value}
        lines.append(
            f"{row['arm']:<30}{speed['median']:>9.1f}{speed['min']:>7.1f}{speed['max']:>7.1f}{ratio['median']:>9.2f}"
            f"{_number(row['tokens_per_step']):>9}{_number(row['acceptance_rate']):>9}  "
            + ", ".join(f"{name} {1000 * value:.1f}" for name, value in steps.items())
        )
    same = {name: found["identical_rate"] for name, found in report["against_plain"].items()}
    lines += [
        f"plain reads {report['target_bytes_per_second'] / 1e9:.1f} GB/s of "
        f"{report['read_bytes_per_second'] / 1e9:.1f}: {report['share_of_bandwidth']:.0%}",
        "answers identical to plain: " + ", ".join(f"{name} {rate:.0%}" for name, rate in same.items()),
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    main()
