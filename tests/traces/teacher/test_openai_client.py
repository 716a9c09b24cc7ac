"""The teacher `openai`, its real client against a server of ours."""

import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from email.utils import formatdate
from pathlib import Path

import pytest

from doubledraft.traces.teacher import ledger as ledgers
from doubledraft.traces.teacher import openai_client
from doubledraft.traces.teacher.budget import BudgetError
from doubledraft.traces.teacher.ledger import Ledger
from doubledraft.traces.teacher.messages import Finish, TeacherError, request
from doubledraft.traces.teacher.settings import Settings
from tests.helpers.openai_server import Fault, Server, completion

ROOT = Path(__file__).parents[3]
KEY = "sk-sentinel-0123456789"
SETTINGS = Settings(
    name="openai",
    model="tiny",
    base_url=None,
    temperature=0.7,
    max_output_tokens=50,
    concurrency=4,
    attempts=3,
    pending_hours=None,
    deadline_hours=1.0,
    input_price=1.0,
    output_price=10.0,
    budget=1.0,
)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(openai_client, "FIRST_WAIT", 0.01)


def echo(messages: list[dict]) -> str:
    return f"reply to {messages[-1]['content']}"


def requests(count: int, settings: Settings) -> list:
    return [request(f"q{n}", 1, [{"role": "user", "content": f"question {n}"}], settings) for n in range(count)]


def ask(server: Server, folder: Path, count: int, **changes) -> list:
    settings = replace(SETTINGS, base_url=server.url, **changes)
    with Ledger(folder / "ledger/cot_easy.jsonl") as ledger:
        return openai_client.ask(requests(count, settings), ledger, settings, KEY)


def test_every_request_gets_its_own_reply_and_what_is_sent_is_what_was_set(tmp_path):
    with Server(echo) as server:
        replies = ask(server, tmp_path, 10)
    assert [reply.text for reply in replies] == [f"reply to question {n}" for n in range(10)]
    assert {(reply.finish, reply.input_tokens, reply.output_tokens) for reply in replies} == {(Finish.stop, 100, 20)}
    sent = server.asked[0]
    assert (sent["model"], sent["temperature"], sent["max_completion_tokens"]) == ("tiny", 0.7, 50)
    assert server.keys == {f"Bearer {KEY}"}


def test_no_more_requests_are_in_flight_than_allowed_and_as_many_when_there_are(tmp_path):
    together = threading.Barrier(3)

    def answer(messages: list[dict]) -> str:  # the first request goes alone, the other 12 by threes
        if messages[-1]["content"] != "question 0":
            together.wait(60)
        return echo(messages)

    with Server(answer, seconds=0.05) as server:  # time in which a fourth would be seen
        ask(server, tmp_path, 13, concurrency=3)
    assert server.most == 3


@pytest.mark.parametrize(
    "fault",
    [Fault(429), Fault(500), Fault(503), Fault(408)]
    + [Fault(kind=kind) for kind in ("reset", "garbage", "page")]
    + [Fault(body=body) for body in ("[]", '"hello"', '{"error": {"message": "provider down", "code": 502}}')],
    ids=lambda fault: fault.kind or fault.body or str(fault.status),
)
def test_an_error_that_may_pass_is_tried_again(fault, tmp_path):
    with Server(echo, [fault, fault]) as server:
        (reply,) = ask(server, tmp_path, 1)
    assert (reply.finish, len(server.asked)) == (Finish.stop, 3)


def test_a_reply_that_does_not_come_in_time_is_asked_for_again(tmp_path, monkeypatch):
    monkeypatch.setattr(openai_client, "REPLY_SECONDS", 1.0)
    with Server(echo, [Fault(kind="hang")]) as server:
        (reply,) = ask(server, tmp_path, 1)
    assert reply.finish is Finish.stop and len(server.asked) >= 2


@pytest.mark.parametrize("value", ["1.2", lambda: formatdate(time.time() + 2, usegmt=True)], ids=["seconds", "date"])
def test_the_server_says_how_long_to_wait(value, tmp_path):
    with Server(echo, [Fault(429, {"Retry-After": value})]) as server:
        ask(server, tmp_path, 1)
    assert 0.9 < server.times[1] - server.times[0] < 30, "its own first wait would be 0.01 s"


def test_a_wait_beyond_the_deadline_is_not_begun(tmp_path):
    with Server(echo, [Fault(503, {"Retry-After": "7200"})]) as server, pytest.raises(TeacherError) as error:
        ask(server, tmp_path, 1)
    assert "teacher.deadline_hours is over" in str(error.value) and len(server.asked) == 1


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        (Fault(401), "check the key in OPENAI_API_KEY"),
        (Fault(403), "may not"),
        (Fault(404), "check teacher.model and teacher.base_url"),
        (Fault(400), "check section teacher"),
        (Fault(429, code="insufficient_quota"), "no credit is left"),
    ],
)
def test_an_error_that_stays_costs_one_call_and_says_what_to_do_without_the_key(fault, advice, tmp_path, capfd):
    with Server(echo, [fault] * 9) as server, pytest.raises(TeacherError, match=advice) as error:
        ask(server, tmp_path, 20)
    assert len(server.asked) == 1
    assert KEY not in str(error.value) and KEY not in "".join(capfd.readouterr())
    assert error.value.__cause__ is None and (error.value.__context__ is None or error.value.__suppress_context__)


def test_a_reply_with_half_a_character_failed_and_is_paid_for(tmp_path):
    with Server(lambda messages: "4 \ud800\n#### 4") as server:
        (reply,) = ask(server, tmp_path, 1)
    assert (reply.finish, reply.text, reply.input_tokens) == (Finish.failed, "", 100)
    assert "half a character" in reply.reason


@pytest.mark.parametrize(
    ("fault", "finish", "reason"),
    [
        (Fault(kind="length"), Finish.length, "length"),
        (Fault(kind="content_filter"), Finish.blocked, "content_filter"),
        (Fault(400, code="content_filter"), Finish.blocked, "content_filter"),
        (Fault(kind="tool_calls"), Finish.failed, "tool_calls"),
    ],
)
def test_a_reply_that_did_not_end_by_itself_says_how_and_is_kept_in_the_ledger(fault, finish, reason, tmp_path):
    with Server(echo, [fault]) as server:
        first, second = ask(server, tmp_path, 2)
        assert (first.finish, first.reason, second.finish) == (finish, reason, Finish.stop)
        assert ask(server, tmp_path, 2) == [first, second]
        assert len(server.asked) == 2


SOLVED = "2 + 2 = 4\n#### 4"
THOUGHTS = {"type": "thinking", "thinking": [{"type": "text", "text": "let me see"}], "closed": True}


def with_message(message: object, finish: str | None = "stop") -> dict:
    return completion("", choices=[{"index": 0, "finish_reason": finish, "message": message}])


def with_content(content: object, finish: str | None = "stop", **fields: object) -> dict:
    return with_message({"role": "assistant", "content": content} | fields, finish)


SHAPES = {  # case: (body, finish, text)
    "content is parts, one of them thoughts": (
        with_content([THOUGHTS, {"type": "text", "text": SOLVED}]),
        Finish.stop,
        SOLVED,
    ),
    "content is one part": (with_content({"type": "text", "text": SOLVED}), Finish.stop, SOLVED),
    "content is a number": (with_content(4), Finish.failed, ""),
    "content is null beside reasoning": (with_content(None, reasoning_content="hm"), Finish.failed, ""),
    "content is null, cut while thinking": (with_content(None, "length", reasoning_content="hm"), Finish.length, ""),
    "message is null": (with_message(None, "content_filter: OTHER"), Finish.blocked, ""),
    "message is missing": (completion("", choices=[{"index": 0, "finish_reason": "stop"}]), Finish.failed, ""),
    "choices are empty": (completion("", choices=[]), Finish.failed, ""),
    "choices are null": (completion("", choices=None), Finish.failed, ""),
    "choice is null": (completion("", choices=[None]), Finish.failed, ""),
    "refusal": (with_content(None, refusal="I cannot"), Finish.blocked, ""),
    **{
        f"finish_reason {finish}": (completion(SOLVED, finish), Finish.stop, SOLVED)
        for finish in ("eos", "eos_token", "end", "end_turn", "STOP", "stop_sequence", None, "done", "tool_calls")
    },
    "finish_reason MAX_TOKENS": (completion(SOLVED, "MAX_TOKENS"), Finish.length, SOLVED),
    "finish_reason unknown, no answer line": (completion("2 + 2 =", "done"), Finish.failed, "2 + 2 ="),
    "finish_reason null, no answer line": (completion("2 + 2 =", None), Finish.failed, "2 + 2 ="),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_completion_of_any_shape_is_one_paid_reply_in_the_ledger(name, tmp_path):
    body, finish, text = SHAPES[name]
    with Server(echo, [Fault(body=json.dumps(body))]) as server:
        (reply,) = ask(server, tmp_path, 1)
        assert (reply.finish, reply.text, reply.input_tokens, reply.output_tokens) == (finish, text, 100, 20)
        assert (reply.reason is None) == (finish is Finish.stop)
        assert ask(server, tmp_path, 1) == [reply] and len(server.asked) == 1, "it was paid for once"


def test_a_stream_that_was_not_asked_for_is_a_failed_reply_of_unknown_cost(tmp_path):
    with Server(echo, [Fault(body='data: {"choices": []}\n\ndata: [DONE]\n\n')]) as server:
        (reply,) = ask(server, tmp_path, 1)
    assert (reply.finish, reply.input_tokens) == (Finish.failed, None) and "stream" in reply.reason


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens": 100, "completion_tokens": None},
        {"prompt_tokens": 100},
        {"completion_tokens": 20},
        {"prompt_tokens": 100, "completion_tokens": -1},
        {"prompt_tokens": "100", "completion_tokens": "20"},
        {"prompt_tokens": 100, "completion_tokens": 20.5},
        [],
    ],
    ids=str,
)
def test_a_reply_without_usable_usage_keeps_its_text_and_what_was_set_aside_for_it(usage, tmp_path, caplog):
    path = tmp_path / "ledger/cot_easy.jsonl"
    with Server(echo, [Fault(body=json.dumps(completion(SOLVED, usage=usage)))]) as server:
        replies = ask(server, tmp_path, 2)
        assert "1 replies came without usable usage" in caplog.text
        assert [reply.text for reply in replies] == [SOLVED, "reply to question 1"]
        assert [reply.input_tokens for reply in replies] == [None, 100]
        account = ledgers.read(path)
        assert account.spent == pytest.approx((100 * 1.0 + 20 * 10.0) / 1e6), "only what is known is booked"
        assert account.bounds.keys() == {replies[0].key} and account.committed > account.spent
        assert ask(server, tmp_path, 2) == replies and len(server.asked) == 2


def test_counts_written_as_floats_are_whole_numbers(tmp_path):
    usage = {"prompt_tokens": 100.0, "completion_tokens": 20.0}
    with Server(echo, [Fault(body=json.dumps(completion(SOLVED, usage=usage)))]) as server:
        (reply,) = ask(server, tmp_path, 1)
    assert (reply.input_tokens, reply.output_tokens) == (100, 20)


def test_what_gets_no_answer_is_told_and_asked_for_by_the_next_run(tmp_path, monkeypatch):
    monkeypatch.setattr(openai_client, "TRIES", 2)
    with Server(echo, [Fault(500)] * 2) as server:
        replies = ask(server, tmp_path, 5, concurrency=1)
        assert [reply.finish for reply in replies] == [Finish.failed, *[Finish.stop] * 4]
        assert "500" in replies[0].reason
        assert {reply.finish for reply in ask(server, tmp_path, 5, concurrency=1)} == {Finish.stop}
    assert len(server.asked) == 2 + 4 + 1


def test_a_server_that_is_gone_stops_the_step_early(tmp_path, monkeypatch):
    monkeypatch.setattr(openai_client, "TRIES", 2)
    with Server(echo) as server:
        gone = server.url
    settings = replace(SETTINGS, base_url=gone)
    with Ledger(tmp_path / "ledger/x.jsonl") as ledger, pytest.raises(TeacherError, match="in a row got no answer"):
        openai_client.ask(requests(100, settings), ledger, settings, KEY)


def test_replies_in_flight_are_kept_when_another_request_is_refused(tmp_path):
    def slow(messages: list[dict]) -> str:
        time.sleep(0.2)
        return "slow"

    with Server(slow) as server:
        server.faults.extend([Fault(), Fault(), Fault(), Fault(404)])
        with pytest.raises(TeacherError, match="404"):
            ask(server, tmp_path, 40, concurrency=3)
        asked = len(server.asked)
        assert asked < 10
        with Ledger(tmp_path / "ledger/cot_easy.jsonl") as ledger:
            assert len(ledger.replies) == asked - 1


def test_money_that_is_not_there_is_refused_before_the_first_call(tmp_path):
    with Server(echo) as server, pytest.raises(BudgetError, match=r"teacher\.budget"):
        ask(server, tmp_path, 10, budget=0.001)
    assert not server.asked


def test_a_server_that_ignores_the_cap_on_tokens_is_left_after_one_reply_which_is_kept(tmp_path):
    with Server(echo) as server, pytest.raises(TeacherError, match="a reply has 20 tokens, and .* is 19"):
        ask(server, tmp_path, 10, max_output_tokens=19)
    assert len(server.asked) == 1
    with Ledger(tmp_path / "ledger/cot_easy.jsonl") as ledger:
        assert len(ledger.replies) == 1


RUN = """
import json, sys
from doubledraft.traces.teacher import openai_client
from doubledraft.traces.teacher.ledger import Ledger
from doubledraft.traces.teacher.messages import request
from doubledraft.traces.teacher.settings import Settings
settings = Settings(**json.loads(sys.argv[1]))
requests = [request(f"q{n}", 1, [{"role": "user", "content": f"question {n}"}], settings) for n in range(60)]
with Ledger(sys.argv[2]) as ledger:
    openai_client.ask(requests, ledger, settings, "no-key")
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_and_asks_again_only_what_was_in_flight(tmp_path):
    path = tmp_path / "ledger/cot_easy.jsonl"
    killed = threading.Event()

    def held(messages: list[dict]) -> str:  # from the 21st on, so that nothing is on its way when the run is killed
        if int(messages[-1]["content"].split()[-1]) >= 20:
            killed.wait(300)
        return echo(messages)

    with Server(held) as server:
        settings = asdict(replace(SETTINGS, base_url=server.url))
        command = [sys.executable, "-c", RUN, json.dumps(settings), str(path)]
        child = subprocess.Popen(command, cwd=ROOT)
        while len(server.asked) < 20 + SETTINGS.concurrency:
            assert child.poll() is None
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
        killed.set()
        with Ledger(path) as ledger:
            before = len(ledger.replies)
        assert before == 20
        first = len(server.asked)
        subprocess.run(command, cwd=ROOT, check=True, timeout=300)
        assert (first, len(server.asked) - first) == (20 + SETTINGS.concurrency, 40)
    with Ledger(path) as ledger:
        assert len(ledger.replies) == 60
        assert ledger.spent == pytest.approx(60 * (100 * 1.0 + 20 * 10.0) / 1e6)
