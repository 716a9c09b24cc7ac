"""Real vLLM on a tiny random model: about two minutes."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from doubledraft import provenance
from doubledraft.evaluation import time_arms
from doubledraft.evaluation.interleave import BASELINE, SPECULATIVE
from doubledraft.evaluation.runs import check_comparable, load
from doubledraft.inference import generate, vllm_engine
from doubledraft.inference.host import Host
from doubledraft.inference.job import Job, JobError
from doubledraft.records import Generation, Question, read_records
from doubledraft.summaries import json_file
from doubledraft.summaries.timing_file import TimingFile
from tests.helpers.distribution import check_distribution
from tests.helpers.small_job import measured, small_job, uses_no_core
from tests.helpers.tiny_models import CHATML, build_tokenizer

ROOT = Path(__file__).parents[2]
MARK = "DOUBLEDRAFT_TEST"  # an environment variable, by which processes of one test are known
K = 3
TOKENS = 40


def altered(rows: list[Generation]) -> list[Generation]:
    """Change one token of the first answer, drop the last one of the second, and leave the others."""
    first, second, *others = rows
    changed = [first.token_ids[0], first.token_ids[1] + 1, *first.token_ids[2:]]
    return [replace(first, token_ids=changed), replace(second, token_ids=second.token_ids[:-1]), *others]


@pytest.fixture(scope="module")
def runs(tiny_model, tiny_draft, repeating_model, tmp_path_factory) -> dict[str, tuple[list[Generation], dict]]:
    """Answer six questions plainly, with a draft model and with n-grams; return the rows and the run file of each.

    The first two take turns, as the arms of a cell do, and leave the file `timing.json`. What was answered with n-grams
    is measured against a baseline of which two answers differ.
    """
    folder = tmp_path_factory.mktemp("runs")
    drafted = {"mode": "speculative", "draft_length": K}
    jobs = {
        "baseline": small_job(folder, tiny_model, "baseline"),
        "draft_model": small_job(
            folder, tiny_model, "draft_model", method="draft_model", draft=str(tiny_draft), **drafted
        ),
        "ngram": small_job(folder, repeating_model, "ngram", method="ngram", **drafted),
    }
    arms = {BASELINE: jobs["baseline"], SPECULATIVE: jobs["draft_model"]}
    time_arms.run(arms, blocks=3, retimes=0, residency="both", out=str(folder / "timing.json"))
    with Host(jobs["ngram"]) as engine:
        measured(jobs["ngram"], engine, baseline_of=altered)
    return {
        name: (read_records(each.out, Generation), json.loads(Path(each.run_out).read_text()))
        for name, each in jobs.items()
    }


def greedy(folder: Path, asked: dict) -> list[list[int]]:
    """Return the answers of transformers to the questions of a job."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, answers = AutoModelForCausalLM.from_pretrained(folder), []
    for question in generate.encode_questions(Job(**asked), AutoTokenizer.from_pretrained(folder)):
        prompt = torch.tensor([question.token_ids])
        mask = torch.ones_like(prompt)
        output = model.generate(prompt, attention_mask=mask, max_new_tokens=TOKENS, do_sample=False)
        answers.append(output[0, prompt.shape[1] :].tolist())
    return answers


@pytest.mark.slow
@pytest.mark.parametrize("method", ["draft_model", "ngram"])
def test_speculation_gives_the_tokens_of_greedy_decoding_elsewhere(runs, method, tiny_model, repeating_model):
    rows, run = runs[method]
    assert sum(row.drafted for row in rows) > sum(row.accepted for row in rows) > 0, "vacuous"
    assert [row.id for row in rows] == [f"q{number}" for number in range(6)]
    model = {"draft_model": tiny_model, "ngram": repeating_model}[method]
    assert [row.token_ids for row in rows] == greedy(model, run["job"])


@pytest.mark.slow
def test_speculation_gives_the_answers_of_plain_decoding(runs):
    baseline, speculative = runs["baseline"][0], runs["draft_model"][0]
    assert [row.token_ids for row in speculative] == [row.token_ids for row in baseline]
    assert [row.text for row in speculative] == [row.text for row in baseline]


@pytest.mark.slow
def test_engines_take_turns_and_leave_runs_that_may_be_compared(runs):
    asked = [Job(**runs[name][1]["job"]) for name in ("baseline", "draft_model")]
    found = json_file.read(Path(asked[0].out).with_name("timing.json"), TimingFile)
    assert [len(turn.seconds) for turn in found.attempts[0].turns] == [1] * 9
    questions = read_records(asked[0].questions, Question)
    check_comparable(*(load(job.out, job.run_out, questions, job.questions) for job in asked))


@pytest.mark.slow
def test_gap_of_the_two_best_tokens_is_noted_where_an_answer_differs_from_the_baseline_s(runs):
    assert [row.top2_gap for row in runs["draft_model"][0]] == [None] * 6
    gaps = [row.top2_gap for row in runs["ngram"][0]]
    assert math.isfinite(gaps[0]) and gaps[0] >= 0
    assert gaps[1:] == [None] * 5, "no other answer has a token that differs, though one is cut"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["draft_model", "ngram"])
def test_accepted_tokens_and_steps_account_for_the_emitted_ones(runs, method):
    for row in runs[method][0]:
        assert 0 <= row.accepted + row.steps - len(row.token_ids) <= K, "more than the last step's trimming"
        assert row.accepted == sum(row.accepted_per_step)
        assert max(row.accepted_per_step, default=0) <= K


@pytest.mark.slow
def test_baseline_takes_one_step_a_token_and_drafts_nothing(runs):
    for row in runs["baseline"][0]:
        assert row.steps == len(row.token_ids)
        assert row.drafted is row.accepted is row.accepted_per_step is None


@pytest.mark.slow
def test_rows_of_a_batch_share_its_time_and_no_request_takes_longer(runs):
    for rows, _ in runs.values():
        assert [row.batch for row in rows] == [0, 0, 1, 1, 2, 2]
        for first, second in zip(rows[::2], rows[1::2], strict=True):
            assert first.batch_seconds == second.batch_seconds
        assert all(0 < row.time_to_first_token <= row.latency <= row.batch_seconds for row in rows)


@pytest.mark.slow
def test_an_answer_that_does_not_end_is_cut_at_the_cap(runs):
    for row in runs["baseline"][0]:
        assert (len(row.token_ids) == TOKENS) == (row.finish_reason == "length")


@pytest.mark.slow
def test_run_file_says_how_the_rows_were_made(runs):
    costs = {method: run["step_seconds"] for method, (_, run) in runs.items()}
    assert costs["baseline"]["target"] > 0
    assert costs["baseline"]["draft"] is costs["baseline"]["verify"] is None
    assert 0 < costs["draft_model"]["draft"] < 1
    assert 0 < costs["draft_model"]["verify"] < 1
    for rows, run in runs.values():
        assert (run["engine"], run["version"], run["n"]) == ("vllm", provenance.vllm_version(), 6)
        assert run["wall_seconds"] == pytest.approx(sum(row.batch_seconds for row in rows) / 2)
        assert run["environment"]["VLLM_NO_USAGE_STATS"] == "1"


@pytest.mark.slow
def test_killed_run_leaves_no_process_and_the_next_one_continues(tiny_model, tmp_path):
    changes = {"resume": True, "concurrency": 1, "warmup": 0, "max_tokens": 200, "max_model_len": 512}
    asked = small_job(tmp_path, tiny_model, "distill", questions=12, **changes)
    script = (
        "import json, sys; from doubledraft.inference import generate, job; "
        "generate.run(job.Job(**json.loads(sys.argv[1])))"
    )
    environment = os.environ | {MARK: str(tmp_path)}
    parent = subprocess.Popen([sys.executable, "-c", script, json.dumps(vars(asked))], cwd=ROOT, env=environment)
    wait_until(lambda: parent.poll() is not None or written(asked.out) >= 2)
    assert parent.poll() is None, "the run was over before it could be killed"
    assert len(marked_processes(tmp_path)) >= 2, "the run and its engine"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not marked_processes(tmp_path))
    before = Path(asked.out).read_bytes()
    assert not Path(asked.run_out).exists(), "the run was over before it was killed"

    generate.run(asked)
    whole = before[: before.rindex(b"\n") + 1]
    assert Path(asked.out).read_bytes().startswith(whole), "answers were made again"
    rows = read_records(asked.out, Generation)
    assert [row.id for row in rows] == [f"q{number}" for number in range(12)]
    assert [row.batch for row in rows] == list(range(12))
    assert json.loads(Path(asked.run_out).read_text())["n"] == 12


def test_a_chat_template_is_told_of_thinking_where_the_job_says_so_and_it_can_be(tmp_path):
    thinks = CHATML + "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
    tokenizer = build_tokenizer(template=thinks)

    def asked(thinking: bool | None) -> str:
        job = small_job(tmp_path, tmp_path, "untrained", questions=1, thinking=thinking)
        return tokenizer.decode(generate.encode_questions(job, tokenizer)[0].token_ids)

    assert asked(None) == asked(True) and asked(False) == asked(True) + "<think></think>"
    with pytest.raises(JobError, match=r"untrained\.thinking.*has no switch for thinking"):
        generate.encode_questions(small_job(tmp_path, tmp_path, "untrained", thinking=True), build_tokenizer())


def test_a_prompt_without_room_for_its_answer_is_refused(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setenv(MARK, str(tmp_path))
    with pytest.raises(JobError, match=r"question 'q0' has \d+ tokens.* raise max_model_len"):
        generate.run(small_job(tmp_path, tiny_model, "baseline", max_model_len=TOKENS + 5))
    assert not marked_processes(tmp_path)


@pytest.mark.slow
def test_sampled_answers_are_distributed_as_the_target_says_and_an_engine_at_rest_uses_no_core(tmp_path, tiny_model):
    sampled = {"temperature": 0.3, "samples": 500, "concurrency": 64, "max_tokens": 4, "warmup": 0}
    own = small_job(tmp_path, tiny_model, "sampled", questions=1, **sampled)
    with Host(own) as engine:
        check_distribution(own, engine)
        assert uses_no_core(engine)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_vllm_samples_with_drafts_on_a_gpu_alone_and_its_drafts_are_drawn_too(tmp_path, monkeypatch, device):
    monkeypatch.setattr(vllm_engine.machine, "device", lambda: device)
    job = small_job(tmp_path, tmp_path, "sampled", temperature=0.3, **DRAFTED)
    if device == "cpu":
        with pytest.raises(JobError, match="temperature 0.3: vLLM's sampling of drafts on CPU does not keep"):
            vllm_engine._drafting(job)
    else:
        assert vllm_engine._drafting(job)["speculative_config"]["draft_sample_method"] == "probabilistic"


DRAFTED = {"method": "draft_model", "draft": "d", "draft_length": 3}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "guess"}, "expected one of none, ngram, draft_model, eagle3, dflash, dspark, found 'guess'"),
        ({"method": "draft_model", "draft_length": 3}, "takes a draft model"),
        ({"method": "ngram", "draft_length": 3, "draft": "d"}, "takes no draft model"),
        ({"method": "ngram"}, "draft_length: 0"),
        ({"draft_length": 3}, "draft_length: 3"),
        ({"draft_length": "adaptive", "method": "ngram"}, "vLLM drafts the same number"),
        ({"temperature": 0.0001}, "temperature 0.0001: expected 0, or at least 0.001"),
        ({"samples": 2}, "samples 2: at temperature 0 every answer"),
        ({"draft_vocabulary": 9, **DRAFTED}, "both a number of tokens and a file of answers"),
        ({"draft_vocabulary": 9, "draft_vocabulary_from": "a", **DRAFTED}, "vLLM computes the whole output head"),
        ({"draft_vocabulary": 9, "draft_vocabulary_from": "a"}, "method none has no output head to cut"),
        ({"int8_draft": True, **DRAFTED}, "int8_draft: expected engine native and a draft model, found vllm"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(tmp_path, changes, message):
    with pytest.raises(JobError, match=message):
        small_job(tmp_path, tmp_path, "baseline", **changes)


def written(path: str) -> int:
    """Count the whole lines of a file that may not be there yet."""
    return Path(path).read_bytes().count(b"\n") if Path(path).exists() else 0


def wait_until(condition, seconds: float = 1800.0) -> None:
    """Wait for a condition; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def marked_processes(mark: Path) -> list[str]:
    """Return the ids of the processes that were started with MARK set to `mark`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = path.read_bytes().split(b"\0")
        except OSError:  # it ended meanwhile
            continue
        if f"{MARK}={mark}".encode() in variables:
            found.append(path.parent.name)
    return found
