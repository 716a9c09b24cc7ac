"""Speed of the engine beside Hugging Face and vLLM, one request at a time: one run, interleaved, medians, ratios.

    python -m benchmarks.engine --target MODEL --draft MODEL --questions data/questions/*/test.jsonl \\
        --prompt config/prompts/cot.yaml --says results/cot_*/distilled.jsonl --beside hugging-face vllm

Every arm answers the same prompts greedily, `--repeats` times in turn, after one turn that does not count. A ratio is
one of tokens per second, taken within a turn, so that a machine that slows down slows both. vLLM's arms are processes
that stay alive and idle while others have their turn. All arms use the same cores, weights, dtype and stop tokens, and
no other setting of generation_config.json. The adaptive arm stands for native speculation in the ratios: to take the
best fixed K would be to choose it after the fact.
The figures are printed, and written to `--out`.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from statistics import median

from benchmarks.vllm_arm import VllmArm
from doubledraft import machine, prompts, provenance
from doubledraft.engine import draft_vocabulary
from doubledraft.engine.backend import Backend
from doubledraft.engine.decode import speculative_decode
from doubledraft.engine.decoding_metrics import Metrics, together
from doubledraft.engine.draft_length import AdaptiveLength
from doubledraft.engine.load import create_backend
from doubledraft.engine.lossless import differences
from doubledraft.engine.proposers import NGram, NoDraft
from doubledraft.evaluation.acceptance import summary
from doubledraft.files import write_json
from doubledraft.inference.bandwidth import read_bandwidth
from doubledraft.inference.tokenizing import load_tokenizer, prompt_ids, stop_ids
from doubledraft.records import Question, read_records

PLAIN, ADAPTIVE = "native plain", "native adaptive"
Arm = Callable[[list[list[int]]], list[list[int]]]


def main() -> None:
    """Measure and report."""
    options = _options()
    machine.use_own_cores()
    target = create_backend(options.target, options.dtype, options.device)
    asked, stops = _prompts(options)
    with ExitStack() as stack:
        arms, metrics = _native(target, stops, options)
        arms |= _hugging_face(stops, options) if "hugging-face" in options.beside else {}
        arms |= _vllm(stack, asked, options) if "vllm" in options.beside else {}
        seconds, answers = _take_turns(arms, asked, options.repeats)
    emitted = {name: sum(map(len, rows)) for name, rows in answers.items()}
    speeds = {name: [emitted[name] / turn for turn in turns] for name, turns in seconds.items()}
    rows = [_row(name, speeds, len(asked), metrics.get(name, [])) for name in arms]
    bandwidth = read_bandwidth(options.device)
    used = target.bytes_per_pass / rows[0]["step_seconds"]["target"]
    report = {
        "kernel": target.kernel,
        "arms": rows,
        "ratios": _ratios(speeds),
        "read_bytes_per_second": bandwidth,
        "target_bytes_per_second": used,
        "share_of_bandwidth": used / bandwidth,
        "against_plain": {name: differences(target, asked, answers[PLAIN], answers[name]) for name in arms},
        "options": vars(options),
        "provenance": provenance.provenance(),
    }
    _show(report)
    if options.out:
        write_json(options.out, report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("target", "draft", "prompt"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--questions", required=True, nargs="+", help="files; several make a mixed run")
    parser.add_argument("--says", nargs="+", help="generations that the draft's tokens are learnt from; default: all")
    parser.add_argument("--int8-draft", action="store_true", help="round the weights of the native draft to 8 bits")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--questions-asked", type=int, default=2, help="of each file")
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--draft-lengths", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--others-draft-lengths", type=int, nargs="+", default=[3], help="of Hugging Face and vLLM")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--beside", nargs="*", default=["hugging-face"], choices=("hugging-face", "vllm"))
    parser.add_argument("--vllm-compiled", action="store_true", help="let vLLM compile its models, which takes minutes")
    parser.add_argument("--vllm-memory", type=float, default=0.3, help="share of the GPU's memory for each vLLM arm")
    parser.add_argument("--out", help="JSON file")
    return parser.parse_args()


def _prompts(options: argparse.Namespace) -> tuple[list[list[int]], set[int]]:
    """Give the prompts, and the tokens that end an answer."""
    tokenizer = load_tokenizer(options.target)
    prompt = prompts.load(options.prompt)
    questions = [
        question for file in options.questions for question in read_records(file, Question)[: options.questions_asked]
    ]
    asked = [
        prompt_ids(tokenizer, prompts.messages(prompt, question.question, few_shot=False)) for question in questions
    ]
    return asked, stop_ids(options.target, tokenizer)


def _take_turns(
    arms: dict[str, Arm], asked: list[list[int]], repeats: int
) -> tuple[dict[str, list[float]], dict[str, list[list[int]]]]:
    """Give the seconds of each arm's turns, the first one left out, and its last answers."""
    seconds, answers = {name: [] for name in arms}, {}
    for turn in range(repeats + 1):
        for name, answer in arms.items():
            began = time.perf_counter()
            answers[name] = answer(asked)
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return seconds, answers


def _native(
    target: Backend, stops: set[int], options: argparse.Namespace
) -> tuple[dict[str, Arm], dict[str, list[Metrics]]]:
    """Give the engine's arms, and the lists that their metrics go to."""
    says = draft_vocabulary.learn_from_files(options.says) if options.says else None
    settings = {"dtype": options.dtype, "device": options.device, "int8": options.int8_draft}
    draft = create_backend(options.draft, says=says, **settings)
    ways = {PLAIN: (NoDraft(), 1)}
    ways |= {f"native K = {length}": (draft, length) for length in options.draft_lengths}
    ways |= {ADAPTIVE: (draft, AdaptiveLength()), "native n-gram, K = 5": (NGram(), 5)}
    if says:
        length = options.draft_lengths[0]
        ways[f"native whole head, K = {length}"] = (create_backend(options.draft, **settings), length)
    metrics: dict[str, list[Metrics]] = {name: [] for name in ways}

    def arm(name: str) -> Arm:
        proposer, length = ways[name]

        def answer(asked: list[list[int]]) -> list[list[int]]:
            settings = {"draft_length": length, "stop_ids": stops}
            runs = [speculative_decode(target, proposer, [ids], options.max_tokens, **settings) for ids in asked]
            metrics[name] += [found for _, found in runs]
            return [emitted[0] for emitted, _ in runs]

        return answer

    return {name: arm(name) for name in ways}, metrics


def _hugging_face(stops: set[int], options: argparse.Namespace) -> dict[str, Arm]:
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    target, draft = (
        AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, options.dtype)).to(options.device)
        for folder in (options.target, options.draft)
    )
    pad = min(stops, default=0)  # never read: there is one prompt at a time
    # The models' own settings may penalise repetition, which no other arm does.
    target.generation_config = GenerationConfig(do_sample=False, eos_token_id=sorted(stops) or None, pad_token_id=pad)
    draft.generation_config = GenerationConfig(
        do_sample=False,
        num_assistant_tokens_schedule="constant",
        assistant_confidence_threshold=0.0,  # else a draft ends where the draft model is unsure
        pad_token_id=pad,
    )

    def arm(length: int) -> Arm:
        assistance = {"assistant_model": draft} if length else {}

        def answer(asked: list[list[int]]) -> list[list[int]]:
            draft.generation_config.num_assistant_tokens = length or None
            answers = []
            for ids in asked:
                inputs = torch.tensor([ids], device=options.device)
                output = target.generate(
                    inputs, attention_mask=torch.ones_like(inputs), max_new_tokens=options.max_tokens, **assistance
                )
                answers.append(output[0, len(ids) :].tolist())
            return answers

        return answer

    assisted = {f"Hugging Face assisted, K = {length}": arm(length) for length in options.others_draft_lengths}
    return {"Hugging Face generate": arm(0)} | assisted


def _vllm(stack: ExitStack, asked: list[list[int]], options: argparse.Namespace) -> dict[str, Arm]:
    arms = {}
    longest = max(map(len, asked))
    for length in (0, *options.others_draft_lengths):
        arm = VllmArm(
            target=options.target,
            draft=options.draft,
            draft_length=length,
            dtype=options.dtype,
            max_tokens=options.max_tokens,
            max_model_len=longest + options.max_tokens + length,
            memory=options.vllm_memory,
            eager=not options.vllm_compiled,
        )
        stack.callback(arm.close)
        arms[f"vLLM draft model, K = {length}" if length else "vLLM plain"] = arm
    return arms


def _row(name: str, speeds: dict[str, list[float]], prompts_asked: int, runs: list[Metrics]) -> dict:
    """Give the figures of one arm; what the engine says of itself is of its last turn."""
    figures = summary(together(runs[-prompts_asked:])) if runs else {}
    kept = ("tokens_per_step", "acceptance_rate", "order_independent_agreement", "mean_draft_length", "step_seconds")
    return {
        "arm": name,
        "tokens_per_second": _spread(speeds[name]),
        "against_plain": _ratio(speeds[name], speeds[PLAIN]),
        **{key: figures.get(key) for key in kept},
        "prefill_seconds": median(run.prefill_seconds for run in runs) if runs else None,
    }


def _ratios(speeds: dict[str, list[float]]) -> dict[str, dict]:
    """Give the ratios that say how fast the engine is, each under the names of its two arms."""

    def best(*starts: str) -> list[str]:
        found = [name for name in speeds if name.startswith(starts)]
        return sorted(found, key=lambda name: median(speeds[name]))[-1:]

    pairs = [(PLAIN, other) for other in ("Hugging Face generate", "vLLM plain") if other in speeds]
    drafting = best("Hugging Face assisted", "vLLM draft model")
    pairs += [(ADAPTIVE, other) for other in (PLAIN, *drafting, *best("native K"))]
    return {f"{one} / {other}": _ratio(speeds[one], speeds[other]) for one, other in pairs}


def _ratio(own: Sequence[float], other: Sequence[float]) -> dict[str, float]:
    return _spread([one / two for one, two in zip(own, other, strict=True)])


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": median(values), "min": min(values), "max": max(values)}


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
    for name, ratio in report["ratios"].items():
        lines.append(f"{name:<62}{ratio['median']:>6.2f}  ({ratio['min']:.2f} to {ratio['max']:.2f})")
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
