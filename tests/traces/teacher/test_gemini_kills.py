"""The teacher `gemini` killed by SIGKILL at every step pays for no job twice."""

import multiprocessing
import multiprocessing.connection
import os
import signal

import pytest

from doubledraft.traces.teacher import gemini
from doubledraft.traces.teacher.gemini_client import Service
from doubledraft.traces.teacher.ledger import Ledger
from tests.helpers.gemini_server import Fault, GeminiServer
from tests.helpers.gemini_study import GOOD, START, Clock, Study


@pytest.fixture
def study(tmp_path):
    with GeminiServer() as server:
        yield Study(tmp_path, server)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_around(owner, name: str, when: str, event: str | None = None) -> None:
    """Kill this process before or after a call (of `event`, where it is a call of Ledger.add)."""
    real = getattr(owner, name)

    def call(self, *args, **kwargs):
        hit = event is None or args[:1] == (event,)
        if hit and when == "before":
            _die()
        result = real(self, *args, **kwargs)
        if hit:
            _die()
        return result

    setattr(owner, name, call)


def _die_within_write(nth: int) -> None:
    """Kill this process when half of its nth event is on disk."""
    real, calls = os.write, []

    def write(file, data):
        calls.append(data)
        if len(calls) == nth:
            real(file, data[: len(data) // 2])
            _die()
        return real(file, data)

    os.write = write


KILLS = {
    "before upload": (Service, "upload", "before"),
    "after upload": (Service, "upload", "after"),
    "after the intent": (Ledger, "add", "after", "intent"),
    "before create is sent": (Service, "create", "before"),
    "after create was answered": (Service, "create", "after"),
    "after the name was recorded": (Ledger, "add", "after", "job"),
    "between polls": (Ledger, "add", "after", "state"),
    "before the download": (Service, "download", "before"),
    "after the download": (Service, "download", "after"),
    "after the replies were recorded": (Ledger, "record_all", "after"),
    "after the end was recorded": (Ledger, "add", "after", "end"),
    "before the file is deleted": (Service, "delete", "before"),
}


def _killed(study: Study, hook, *args) -> None:
    hook(*args)
    study.ask()


def _run_killed(study: Study, hook, *args) -> None:
    """Ask in a process of its own, which the hook kills."""
    child = multiprocessing.get_context("fork").Process(target=_killed, args=(study, hook, *args), daemon=True)
    child.start()
    child.join(600)
    assert child.exitcode == -signal.SIGKILL


def _rerun(study: Study) -> None:
    study.clock = Clock(START + 5)
    replies = study.ask()
    assert [reply.text for reply in replies.values()] == [f"{n} + 0 = {n}\n#### {n}" for n in range(4)]
    assert len(study.server.jobs) == study.created == 1
    assert study.account.committed == pytest.approx(4 * (30 * 1 + 15 * 10) / 1e6)


@pytest.mark.slow
@pytest.mark.parametrize("point", KILLS)
def test_a_kill_at_any_step_makes_no_second_job(study, point):
    _run_killed(study, _die_around, *KILLS[point])
    _rerun(study)


@pytest.mark.slow
@pytest.mark.parametrize("nth", range(1, 9))  # reserve, intent, call, job, three states, replies
def test_a_kill_within_the_write_of_any_event_makes_no_second_job(study, nth):
    _run_killed(study, _die_within_write, nth)
    _rerun(study)


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["create", "download"])
def test_a_kill_while_the_service_answers_makes_no_second_job(study, operation):
    process = multiprocessing.get_context("fork").Process(target=_killed, args=(study, lambda: None), daemon=True)

    def kill() -> None:  # in the server's thread, which may not reap: one waitpid of two gets no exit code
        process.kill()
        multiprocessing.connection.wait([process.sentinel], timeout=600)

    study.server.faults[operation] = [Fault(cut=100, then=kill)]
    process.start()
    process.join(600)
    assert process.exitcode == -signal.SIGKILL
    _rerun(study)


@pytest.mark.slow
def test_an_intent_that_created_nothing_is_forgotten_when_the_questions_have_changed(study):
    _run_killed(study, _die_around, Service, "create", "before")
    study.clock = Clock(START + 5)
    changed = study.requests(count=2)
    assert set(study.ask(changed)) == {"q0", "q1"}
    assert study.server.asked == [r.key for r in changed]
    assert study.clock.now >= START + gemini.VISIBLE_SECONDS, "no job of the intent was listed for long enough"


def test_a_job_that_was_created_is_gathered_when_the_questions_have_changed(study):
    _run_killed(study, _die_around, Service, "create", "after")
    study.clock = Clock(START + 5)
    assert set(study.ask(study.requests(count=5))) == {*GOOD, "q4"}
    assert study.server.asked == [r.key for r in study.requests(count=5)], "nothing twice"
    assert len(study.server.jobs) == 2
