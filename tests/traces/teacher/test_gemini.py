"""The teacher `gemini`: Google's client against a stand-in server, with every fault.

In the tables of faults the last number is how many jobs the service created: one a batch, whatever happens.
"""

import json
import random
from dataclasses import replace

import pytest

from doubledraft.traces.teacher import ask, gemini, gemini_client, gemini_format, ledger
from doubledraft.traces.teacher.budget import BudgetError
from doubledraft.traces.teacher.messages import Finish, TeacherError
from tests.helpers.gemini_server import Fault, GeminiServer, answer, good_rows, lines
from tests.helpers.gemini_study import GOOD, KEY, POLL_SECONDS, START, Study, finishes


@pytest.fixture
def study(tmp_path):
    with GeminiServer() as server:
        yield Study(tmp_path, server)


def test_replies_are_joined_recorded_and_never_asked_for_again(study):
    replies = study.ask()
    assert [(id, reply.text) for id, reply in replies.items()] == [
        (f"q{n}", f"{n} + 0 = {n}\n#### {n}") for n in range(4)
    ]
    assert {(reply.input_tokens, reply.output_tokens) for reply in replies.values()} == {(30, 15)}, "thoughts are paid"
    account = study.account
    assert account.spent == account.committed == pytest.approx(4 * (30 * 1 + 15 * 10) / 1e6)
    assert study.created == len(study.server.jobs) == 1
    assert study.ask() == replies
    assert study.server.calls["create"] == 1 and study.server.keys == {KEY}
    assert "files/f1" not in study.server.files, "the uploaded file is deleted"


def test_a_request_is_sent_as_the_service_wants_it(study):
    study.ask()
    (job,) = study.server.jobs.values()
    assert json.loads(job["lines"].splitlines()[1]) == {
        "key": study.requests()[1].key,
        "request": {
            "contents": [{"role": "user", "parts": [{"text": "1?"}]}],
            "systemInstruction": {"parts": [{"text": "Reason."}]},
            "generationConfig": {"temperature": 0.0, "maxOutputTokens": 100},
        },
    }


def test_only_what_is_not_in_the_ledger_is_asked_for(study):
    study.ask(study.requests(count=2))
    assert finishes(study.ask()) == GOOD
    assert study.server.asked == [r.key for r in study.requests()]
    assert len(study.server.jobs) == 2


PASSING = {
    "429 on create": ("create", [Fault(429)]),
    "429 on create with Retry-After": ("create", [Fault(429, headers={"Retry-After": "77"})]),
    "503 on create": ("create", [Fault(503)]),
    "503 on create that had succeeded": ("create", [Fault(503, accepted=True)]),
    "no answer to a create that had succeeded": ("create", [Fault(drop=True)]),
    "an answer to create that is no JSON": ("create", [Fault(accepted=True, body=b"<html>")]),
    "503 three times on create": ("create", [Fault(503)] * 3),
    "503 on list after a lost create": ("list", [Fault(503)]),
    "503 on upload": ("start_upload", [Fault(503)]),
    "503 on get": ("get", [Fault(503), Fault(500)]),
    "get that is no JSON": ("get", [Fault(body=b"<html>")]),
    "dropped get": ("get", [Fault(drop=True)]),
    "503 on download": ("download", [Fault(503)]),
    "cut download": ("download", [Fault(cut=300)]),
    "503 on delete": ("delete", [Fault(503)]),
}


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_costs_nothing(study, fault):
    name, faults = PASSING[fault]
    study.server.faults[name] = list(faults)
    if name == "list":
        study.server.faults["create"] = [Fault(drop=True)]
    assert finishes(study.ask()) == GOOD
    assert study.server.faults[name] == [], "the fault was met"
    assert len(study.server.jobs) == study.created == 1


def test_a_timeout_whose_create_had_succeeded_makes_no_second_job(study, monkeypatch):
    monkeypatch.setattr(gemini_client, "TIMEOUT", 1.0)
    study.server.faults["create"] = [Fault(stall=3.0)]
    assert finishes(study.ask()) == GOOD
    assert study.server.calls["create"] == len(study.server.jobs) == 1


@pytest.mark.parametrize("fault", [Fault(accepted=True, body=b'{"name": 5}'), Fault(524, accepted=True)])
def test_a_create_whose_outcome_is_unknown_stops_and_makes_no_second_job(study, fault):
    study.server.faults["create"] = [fault]
    with pytest.raises(TeacherError, match="Gemini, create: "):
        study.ask()
    assert study.account.open, "the intent stays"
    assert finishes(study.ask()) == GOOD
    assert study.server.calls["create"] == len(study.server.jobs) == study.created == 1


def test_a_lost_create_is_called_again_only_when_its_job_would_be_listed(study):
    study.server.faults["create"] = [Fault(503)]
    study.ask()
    calls = [json.loads(line) for line in study.path.read_text().splitlines()]
    first, second = (ledger._seconds(call["time"]) for call in calls if call["event"] == "call")
    assert second - first >= gemini.VISIBLE_SECONDS


def test_a_job_is_found_among_others(study):
    study.server.others = [_other("someone's")] * 3
    study.server.faults["create"] = [Fault(drop=True)]
    assert finishes(study.ask()) == GOOD
    assert study.server.calls["create"] == 1 and study.server.calls["list"] == 4, "a page each"


def test_where_jobs_cannot_be_listed_no_second_one_is_made(study):
    row = {"error": {"code": 13, "message": "?", "details": [{"@type": "x"}]}}
    study.server.others = [_other("someone's", output={"inlinedResponses": {"inlinedResponses": [row]}})]
    study.server.faults["create"] = [Fault(drop=True, accepted=True)]
    for _ in range(2):
        with pytest.raises(TeacherError, match="list: the client cannot read"):
            study.ask()
    study.server.others = []
    assert finishes(study.ask()) == GOOD
    assert study.server.calls["create"] == 1


def _other(name: str, **metadata: object) -> dict:
    """Return a job of another user of the account, as the service lists it."""
    return {"name": "batches/x1", "metadata": {"displayName": name, "state": "BATCH_STATE_SUCCEEDED"} | metadata}


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (Fault(429, headers={"Retry-After": "77"}), 77),
        (Fault(503, headers={"Retry-After": "Fri, 01 Jan 2038 00:00:00 GMT"}), None),
        (Fault(429, details=[{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}]), 34),
    ],
)
def test_the_service_says_how_long_to_wait(study, fault, seconds):
    study.server.faults["get"] = [fault]
    if seconds is None:
        with pytest.raises(TeacherError, match="stays open"):
            study.ask()
        assert study.clock.sleeps == [], "longer than anyone waits"
    else:
        study.ask()
        assert seconds <= study.clock.sleeps[0] <= 1.25 * seconds


def test_tries_are_bounded_and_the_job_stays_open(study):
    study.server.faults["get"] = [Fault(503)] * 20
    with pytest.raises(TeacherError, match="injected 503.*batches/b1 stays open"):
        study.ask()
    assert study.server.calls["get"] == gemini_client.TRIES
    assert study.clock.sleeps[:5] == sorted(study.clock.sleeps[:5]) and max(study.clock.sleeps) <= 75
    study.server.faults["get"] = []
    assert finishes(study.ask()) == GOOD
    assert len(study.server.jobs) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404])
@pytest.mark.parametrize("operation", ["start_upload", "create", "get"])
def test_an_error_that_stays_is_one_call_and_a_clear_message(study, operation, status):
    study.server.faults[operation] = [Fault(status)]
    with pytest.raises(TeacherError, match=f"Gemini, .*{status}.*injected.*(check|may not|no such)") as caught:
        study.ask()
    assert study.server.calls[operation] == 1 and study.clock.sleeps == []
    assert caught.value.__context__ is None or isinstance(caught.value.__context__, TeacherError)
    if (operation, status) != ("get", 404):
        assert finishes(study.ask()) == GOOD, "once it is mended, the same requests are sent"
        assert len(study.server.jobs) == 1


S = "BATCH_STATE_"
# state the job ends in or stays in -> states shown, what comes of it, jobs created
JOBS = {
    "FAILED": ([S + "FAILED"], {}, 1),
    "EXPIRED": ([S + "PENDING", S + "EXPIRED"], {}, 1),
    "CANCELLED by a person": ([S + "RUNNING", S + "CANCELLED"], "was cancelled, and not by this program", 1),
    "PAUSED for a while": ([S + "PAUSED", S + "PAUSED", S + "SUCCEEDED"], GOOD, 1),
    "PAUSED for ever": ([S + "PAUSED"], "is still PAUSED 25.0 h after", 1),
    "UPDATING for a while": (["JOB_STATE_UPDATING", S + "SUCCEEDED"], GOOD, 1),
    "QUEUED for a while": (["JOB_STATE_QUEUED", S + "RUNNING", S + "SUCCEEDED"], GOOD, 1),
    "UNSPECIFIED for a while": ([S + "UNSPECIFIED", S + "SUCCEEDED"], GOOD, 1),
    "PARTIALLY_SUCCEEDED": ([S + "RUNNING", S + "PARTIALLY_SUCCEEDED"], GOOD, 1),
    "an unknown state": ([S + "HIBERNATING"], "does not know, 'HIBERNATING'", 1),
    "PENDING for ever": ([S + "PENDING"], {}, 1),
    "QUEUED for ever": (["JOB_STATE_QUEUED"], {}, 1),
    "RUNNING for ever": ([S + "RUNNING"], "is still RUNNING 25.0 h after.*raise teacher.deadline_hours", 1),
}


@pytest.mark.parametrize("name", JOBS)
@pytest.mark.filterwarnings("ignore:.*is not a valid")
def test_every_state_of_a_job_has_a_decision(study, name):
    study.server.states, outcome, creates = JOBS[name]
    if isinstance(outcome, str):
        with pytest.raises(TeacherError, match=outcome):
            study.ask()
    else:
        assert finishes(study.ask()) == outcome
        assert study.account.counts["missing"] == 4 - len(outcome)
    assert len(study.server.jobs) == study.created == creates
    assert study.server.calls["get"] <= 2 + 25 * 3600 / POLL_SECONDS, "polls are bounded"
    assert study.server.calls["cancel"] == (1 if name in ("PENDING for ever", "QUEUED for ever") else 0)


def test_a_stopped_job_is_gone_on_with_and_not_made_again(study):
    study.server.states = [S + "HIBERNATING"]
    with pytest.raises(TeacherError, match="stays open"):
        study.ask()
    study.server.jobs["batches/b1"]["states"] = [S + "SUCCEEDED"]
    assert finishes(study.ask()) == GOOD
    assert len(study.server.jobs) == 1


def test_a_deadline_is_counted_from_the_start_of_the_job_over_all_runs(study):
    study.server.states = [S + "RUNNING"]
    for hours in (24, 24, 48):
        with pytest.raises(TeacherError, match="RUNNING"):
            study.ask(settings=replace(study.settings, deadline_hours=hours))
    assert study.clock.now - START == pytest.approx(48 * 3600, abs=4 * POLL_SECONDS)
    assert len(study.server.jobs) == 1


def test_rows_of_a_job_that_never_ran_cost_nothing_and_are_asked_for_under_a_new_attempt(study):
    study.server.states = [S + "PENDING"]
    assert study.ask() == {}
    assert study.account.committed == 0
    assert study.ask() == {}, "a rerun asks for nothing under the old attempt"
    study.server.states = [S + "SUCCEEDED"]
    assert finishes(study.ask(study.requests(attempt=2))) == GOOD
    assert len(study.server.jobs) == 2


def test_a_success_without_a_file_may_have_cost_money(study):
    study.server.output = False
    assert study.ask() == {}
    assert study.account.counts == {"missing": 4} and study.account.spent == 0 < study.account.committed
    assert len(study.server.jobs) == 1


def test_results_that_are_gone_stop_once_and_are_asked_for_by_the_next_attempt(study):
    study.server.faults["download"] = [Fault(404)]
    with pytest.raises(TeacherError, match="404.*are gone.*costs as much again"):
        study.ask()
    assert study.server.calls["download"] == 1
    assert study.ask() == {} and study.account.counts == {"missing": 4}
    assert study.account.committed > 0
    assert finishes(study.ask(study.requests(attempt=2))) == GOOD
    assert len(study.server.jobs) == 2


def changed(**candidate):
    """Change the candidate of row 1."""

    def rows(requests):
        rows = good_rows(requests)
        rows[1]["response"]["candidates"][0] |= candidate
        return lines(rows)

    return rows


def edited(edit):
    """Change the list of rows."""

    def rows(requests):
        rows = good_rows(requests)
        return lines(edit(rows) or rows)

    return rows


def cut(data: bytes) -> bytes:
    """Cut within the third of four rows."""
    return data[: 5 * len(data) // 8]


def shuffled(rows):
    random.Random(3).shuffle(rows)


FAILED_ROW = {"error": {"code": 13, "message": "internal"}}
THOUGHT = {"content": {"parts": [{"text": "1 + 1, hm", "thought": True}]}}
# rows -> finish of row 1 (None: no reply), counts in the ledger
ROWS = {
    "SAFETY": (changed(finishReason="SAFETY"), "blocked", {}),
    "RECITATION": (changed(finishReason="RECITATION"), "blocked", {}),
    "an unknown finish reason": (changed(finishReason="BORED"), "blocked", {}),
    "MAX_TOKENS": (changed(finishReason="MAX_TOKENS"), "length", {}),
    "no finish reason, a whole answer": (changed(finishReason=None), "stop", {}),
    "no finish reason, half an answer": (
        changed(finishReason=None, content={"parts": [{"text": "1 + 0 ="}]}),
        "failed",
        {},
    ),
    "no candidates": (edited(lambda rows: rows[1]["response"].pop("candidates") and None), "blocked", {}),
    "no content": (changed(content={}), "failed", {}),
    "thoughts only": (changed(**THOUGHT), "failed", {}),
    "a failed row": (edited(lambda rows: rows[1].pop("response") and rows[1].update(FAILED_ROW)), "failed", {}),
    "a row of an unknown form": (edited(lambda rows: rows[1].update(response=["?"])), "failed", {}),
    "a missing key": (edited(lambda rows: rows.pop(1) and None), None, {"missing": 1}),
    "an unknown key": (edited(lambda rows: rows[1].update(key="q9")), None, {"missing": 1, "unknown": 1}),
    "a key that is no text": (edited(lambda rows: rows[1].update(key=[1])), None, {"missing": 1, "unknown": 1}),
    "shuffled": (edited(shuffled), "stop", {}),
    "a duplicate, same": (edited(lambda rows: rows.append(rows[1])), "stop", {"repeated": 1}),
    "a duplicate, different": (
        edited(lambda rows: rows.append(rows[1] | {"response": answer(7)})),
        "failed",
        {"conflicting": 1},
    ),
    "a line that is no JSON": (
        lambda requests: lines(good_rows(requests)).replace(b'{"key": "q1', b'{key: "q1'),
        None,
        {"missing": 1, "broken": 1},
    ),
    "half a character": (changed(content={"parts": [{"text": "\ud800"}]}), "failed", {}),
    "an HTML line too": (lambda requests: b"<html>\n" + lines(good_rows(requests)), "stop", {"broken": 1}),
}


@pytest.mark.parametrize("name", ROWS)
def test_every_kind_of_row_is_counted_and_costs_no_other_row(study, name):
    study.server.rows, finish, counts = ROWS[name]
    replies = study.ask()
    expected = GOOD | {"q1": finish} if finish else {id: "stop" for id in GOOD if id != "q1"}
    assert finishes(replies) == expected
    for id, reply in replies.items():
        number = id.removeprefix("q")
        assert reply.text == (f"{number} + 0 = {number}\n#### {number}" if reply.finish is Finish.stop else "")
        assert (reply.reason is None) == (reply.finish is Finish.stop)
    assert study.account.counts == counts
    assert len(study.server.jobs) == study.created == 1


@pytest.mark.parametrize("count", [None, -1, "10", 1.5])
def test_a_count_that_is_no_number_of_tokens_leaves_the_text_and_the_money_that_was_set_aside(study, count):
    study.server.rows = edited(lambda rows: rows[1]["response"]["usageMetadata"].update(candidatesTokenCount=count))
    reply = study.ask()["q1"]
    assert (reply.text, reply.input_tokens, reply.output_tokens) == ("1 + 0 = 1\n#### 1", None, None)
    assert study.account.bounds.keys() == {reply.key}, "charged at the most that it can cost"


def test_a_duplicate_that_differs_is_paid_for_twice(study):
    study.server.rows = ROWS["a duplicate, different"][0]
    assert study.ask()["q1"].input_tokens == 60


def test_all_rows_may_fail(study):
    study.server.rows = edited(lambda rows: [{"key": row["key"]} | FAILED_ROW for row in rows])
    replies = study.ask()
    assert finishes(replies) == dict.fromkeys(GOOD, "failed")
    assert replies["q0"].reason == "13: internal"
    assert study.account.committed == 0, "failed rows cost nothing"


@pytest.mark.parametrize(("fetched", "outcome"), [(1, GOOD), (2, {"q0": "stop", "q1": "stop"})])
def test_a_truncated_file_is_fetched_once_more_and_then_gives_its_whole_lines(study, fetched, outcome):
    whole = lines(good_rows([{"key": r.key} for r in study.requests()]))
    study.server.faults["download"] = [Fault(body=cut(whole))] * fetched
    assert finishes(study.ask()) == outcome
    assert study.server.calls["download"] == 2
    assert study.account.counts == ({} if fetched == 1 else {"missing": 2, "broken": 1})


def test_the_order_of_rows_changes_nothing():
    keys = [f"q{n}" for n in range(20)]
    rows = [{"key": key, "response": answer(n)} for n, key in enumerate(keys)]
    expected = gemini_format.read(lines(rows), keys)
    for seed in range(20):
        random.Random(seed).shuffle(rows)
        assert gemini_format.read(lines(rows), keys) == expected


def test_the_budget_refuses_before_anything_is_sent(study):
    with pytest.raises(BudgetError, match=r"teacher\.budget is 0\.00 USD"):
        study.ask(settings=replace(study.settings, budget=0.001))
    assert not study.server.calls


def test_only_what_is_missing_is_asked_for_again_up_to_the_limit(study, monkeypatch):
    """Of four rows one is swapped with another, one is missing: the first is wrong, the second asked for again."""
    monkeypatch.setenv("GOOGLE_API_KEY", KEY)

    def rows(requests):
        rows = good_rows(requests)
        for row in rows:
            row["response"] = answer(int(row["key"][1]))
        if len(rows) == 4:
            rows[0]["response"], rows[1]["response"] = rows[1]["response"], rows[0]["response"]
        return lines([row for row in rows if not row["key"].startswith("q3/")])

    def judge(id: str, text: str) -> ask.Fault | None:
        return None if text.endswith(f"#### {id[1]}") else ask.Fault("wrong answer", again=False)

    study.server.rows, study.server.states = rows, [S + "SUCCEEDED"]
    messages = {f"q{n}": [{"role": "user", "content": f"{n}?"}] for n in range(4)}
    answers = ask.ask(messages, judge, study.path, study.settings)
    assert answers.texts == {"q2": "2 + 0 = 2\n#### 2"}
    assert answers.reasons == {"q0": "wrong answer", "q1": "wrong answer", "q3": "no reply"}
    assert [key.rpartition("/")[0] for key in study.server.asked] == ["q0/1", "q1/1", "q2/1", "q3/1", "q3/2", "q3/3"]
    assert ask.ask(messages, judge, study.path, study.settings) == answers
    assert len(study.server.jobs) == study.settings.attempts == 3
