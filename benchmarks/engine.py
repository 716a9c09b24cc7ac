"""Speed of the engine beside Hugging Face and vLLM, one request at a time: one run, interleaved, medians, ratios.

    python -m benchmarks.engine --target MODEL --draft MODEL --questions data/questions/*/test.jsonl \\
        --prompt config/prompts/cot.yaml --draft-vocabulary results/cot_*/distilled.jsonl --beside hugging-face vllm

All arms answer each prompt greedily in turn, `--repeats` times, after a warm-up that is not timed. A ratio is one of
tokens per second within a repeat, so that a machine that slows down slows both arms. vLLM's arms are processes that
stay alive and idle while others have their turn. All arms use the same cores, weights, dtype and stop tokens, and no
other setting of generation_config.json. The adaptive arm stands for native speculation in the ratios: to take the best
fixed K would be to choose it after the fact. Results are printed, and written to `--out`.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benchmarks import llama_cpp
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
from doubledraft.evaluation.arms import take_turns
from doubledraft.files import write_json
from doubledraft.inference.bandwidth import read_bandwidth
from doubledraft.inference.host import Host
from doubledraft.inference.hugging_face import HuggingFacePair
from doubledraft.inference.job import EncodedQuestion, Job
from doubledraft.inference.tokenizing import prompt_ids, stop_ids
from doubledraft.models.inspect import load_tokenizer
from doubledraft.records import Question, read_records

PLAIN, ADAPTIVE = "native plain", "native adaptive"
KV_CACHE_GIB = 1
Answered = tuple[list[int], Metrics | None]  # emitted ids, and what our engine reports of them
Answering = Callable[[list[int]], Answered]


def main() -> None:
    """Measure and report."""
    options = _options()
    machine.use_own_cores()
    target = create_backend(options.target, options.dtype, options.device)
    asked, stops = _prompts(options)
    with ExitStack() as stack:
        arms = _native(target, stops, options)
        arms |= _hugging_face(stops, options) if "hugging-face" in options.beside else {}
        arms |= _vllm(stack, asked, options) if "vllm" in options.beside else {}
        arms |= _llama_cpp(stack, asked, options) if options.llama_cpp else {}
        turns = {name: [] for name in arms}
        for name, _, repeat, seconds, (ids, metrics) in take_turns(
            arms, asked, repeats=options.repeats, warmup=len(asked)
        ):
            turns[name].append((repeat, seconds, ids, metrics))
    answers = {name: [ids for _, _, ids, _ in own[-len(asked) :]] for name, own in turns.items()}
    speeds = {name: _speeds(own, options.repeats) for name, own in turns.items()}
    rows = [_row(name, speeds, [run for *_, run in own[-len(asked) :] if run]) for name, own in turns.items()]
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
    parser.add_argument("--draft-vocabulary", nargs="+", help="generations: draft only tokens that occur in them")
    parser.add_argument("--draft-int8", action="store_true", help="round the weights of the native draft to 8 bits")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--questions-asked", type=int, default=2, help="of each file")
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--draft-lengths", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--others-draft-lengths", type=int, nargs="+", default=[3], help="of the others")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--beside", nargs="*", default=["hugging-face"], choices=("hugging-face", "vllm"))
    parser.add_argument("--llama-cpp", help="its source, built: arms of its server (benchmarks/llama_cpp.py)")
    parser.add_argument("--vllm-compiled", action="store_true", help="let vLLM compile its models, which takes minutes")
    parser.add_argument("--vllm-memory", type=float, default=0.3, help="share of the GPU's memory for each vLLM arm")
    parser.add_argument("--out", help="JSON file")
    return parser.parse_args()


def _prompts(options: argparse.Namespace) -> tuple[list[list[int]], set[int]]:
    """Return the prompts, and the tokens that end an answer."""
    tokenizer = load_tokenizer(options.target)
    prompt = prompts.load(options.prompt)
    questions = [
        question for file in options.questions for question in read_records(file, Question)[: options.questions_asked]
    ]
    asked = [
        prompt_ids(tokenizer, prompts.messages(prompt, question.question, few_shot=False)) for question in questions
    ]
    return asked, stop_ids(options.target, tokenizer)


def _speeds(turns: Sequence[tuple[int, float, list[int], Metrics | None]], repeats: int) -> list[float]:
    """Return the tokens per second of an arm, repeat by repeat."""
    emitted, seconds = [0] * repeats, [0.0] * repeats
    for repeat, spent, ids, _ in turns:
        emitted[repeat] += len(ids)
        seconds[repeat] += spent
    return [tokens / spent for tokens, spent in zip(emitted, seconds, strict=True)]


def _native(target: Backend, stops: set[int], options: argparse.Namespace) -> dict[str, Answering]:
    """Return the arms of our engine."""
    allowed = draft_vocabulary.learn_from_files(options.draft_vocabulary) if options.draft_vocabulary else None
    settings = {"dtype": options.dtype, "device": options.device, "int8": options.draft_int8}
    draft = create_backend(options.draft, allowed_tokens=allowed, **settings)
    ways = {PLAIN: (NoDraft(), 1)}
    ways |= {f"native K = {length}": (draft, length) for length in options.draft_lengths}
    ways |= {ADAPTIVE: (draft, AdaptiveLength()), "native n-gram, K = 5": (NGram(), 5)}
    if allowed:
        length = options.draft_lengths[0]
        ways[f"native whole head, K = {length}"] = (create_backend(options.draft, **settings), length)

    def answering(proposer, length) -> Answering:
        def answer(prompt: list[int]) -> Answered:
            settings = {"draft_length": length, "stop_ids": stops}
            [ids], metrics = speculative_decode(target, proposer, [prompt], options.max_tokens, **settings)
            return ids, metrics

        return answer

    return {name: answering(*way) for name, way in ways.items()}


def _hugging_face(stops: set[int], options: argparse.Namespace) -> dict[str, Answering]:
    pair = HuggingFacePair(options.target, options.draft, dtype=options.dtype, device=options.device, stop_ids=stops)

    def answering(length: int) -> Answering:
        return lambda prompt: (pair.generate(prompt, options.max_tokens, length), None)

    assisted = {f"Hugging Face assisted, K = {length}": answering(length) for length in options.others_draft_lengths}
    return {"Hugging Face generate": answering(0)} | assisted


def _vllm(stack: ExitStack, asked: list[list[int]], options: argparse.Namespace) -> dict[str, Answering]:
    """Start vLLM's arms one after another, since each measures the free memory of a GPU when it starts."""

    def answering(length: int) -> Answering:
        host = stack.enter_context(Host(_job(length, max(map(len, asked)), options)))
        host.call("kernel")
        return lambda prompt: (host.call("answer", [EncodedQuestion("", prompt)])[0][0].token_ids, None)

    lengths = {f"vLLM draft model, K = {length}": length for length in options.others_draft_lengths}
    return {name: answering(length) for name, length in ({"vLLM plain": 0} | lengths).items()}


def _llama_cpp(stack: ExitStack, asked: list[list[int]], options: argparse.Namespace) -> dict[str, Answering]:
    def answering(server: llama_cpp.Answering) -> Answering:
        return lambda prompt: (server(prompt, options.max_tokens), None)

    lengths = options.others_draft_lengths
    context = max(map(len, asked)) + options.max_tokens + max(lengths)
    models = (options.target, options.draft)
    servers = llama_cpp.servers(stack, Path(options.llama_cpp), *models, lengths, dtype=options.dtype, context=context)
    return {name: answering(server) for name, server in servers.items()}


def _job(length: int, longest: int, options: argparse.Namespace) -> Job:
    """Return vLLM's job for prompts that come one by one; a draft length of 0 is plain decoding."""
    drafting = {"method": "draft_model", "draft": options.draft, "draft_length": length} if length else {}
    return Job(
        mode="benchmark",
        model=options.target,
        dtype=options.dtype,
        max_tokens=options.max_tokens,
        max_model_len=longest + options.max_tokens + length,
        concurrency=1,
        enforce_eager=not options.vllm_compiled,
        seed=0,
        kv_cache_gib=KV_CACHE_GIB,
        gpu_memory_utilization=options.vllm_memory,
        tensor_parallel=1,
        **drafting,
        **dict.fromkeys(("questions", "prompt", "out", "run_out"), ""),
    )


def _row(name: str, speeds: dict[str, list[float]], runs: list[Metrics]) -> dict:
    """Return the results of one arm; `runs` are our engine's own metrics of the last repeat."""
    found = summary(together(runs)) if runs else {}
    kept = ("tokens_per_step", "acceptance_rate", "order_independent_agreement", "mean_draft_length", "step_seconds")
    return {
        "arm": name,
        "tokens_per_second": _spread(speeds[name]),
        "against_plain": _ratio(speeds[name], speeds[PLAIN]),
        **{key: found.get(key) for key in kept},
        "prefill_seconds": median(run.prefill_seconds for run in runs) if runs else None,
    }


def _ratios(speeds: dict[str, list[float]]) -> dict[str, dict]:
    """Return the ratios of speeds that matter, each under the names of its two arms."""

    def best(*starts: str) -> list[str]:
        found = [name for name in speeds if name.startswith(starts)]
        return sorted(found, key=lambda name: median(speeds[name]))[-1:]

    pairs = [(PLAIN, other) for other in ("Hugging Face generate", "vLLM plain", "llama.cpp plain") if other in speeds]
    drafting = best("Hugging Face assisted", "vLLM draft model", "llama.cpp draft model")
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
