"""The teacher `gemini`: one batch job for all questions, at half price and within a day.

A job costs money once it exists, so a kill at any moment must not make a second one. The job's display name is a digest
of its requests. The ledger records the intent, then every call that may create the job, then the job's name. Where the
outcome of a call is unknown (a timeout, a kill), the display name is searched for before another job is made. The
results of a job are recorded before it is closed, and a key is sent once only: the caller asks for missing rows under a
new attempt.

The client treats only four states as final and does not know future ones, so DECISIONS lists them here.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum

from doubledraft.log import log
from doubledraft.traces.teacher import budget, gemini_format
from doubledraft.traces.teacher.gemini_client import TIMEOUT, TRIES, BatchJob, Service, ServiceError
from doubledraft.traces.teacher.gemini_format import Rows
from doubledraft.traces.teacher.ledger import Batch, Ledger
from doubledraft.traces.teacher.messages import Reply, Request, TeacherError
from doubledraft.traces.teacher.settings import Settings

VISIBLE_SECONDS = TIMEOUT + 60.0  # from a call until its job is listed; not documented, usual are seconds after its end
CANCEL_SECONDS = 3600.0  # longest wait for a job to end that we cancelled
LOG_SECONDS = 600.0


class Decision(StrEnum):
    """What to do about a job in some state."""

    start = "start"  # wait; after teacher.pending_hours cancel, which costs nothing; the rows are asked for anew
    wait = "wait"  # wait; after teacher.deadline_hours stop, and the same command goes on waiting: rows are paid for
    gather = "gather"  # read the rows that are there; the others have no reply


DECISIONS = {
    "UNSPECIFIED": Decision.start,
    "QUEUED": Decision.start,
    "PENDING": Decision.start,
    "RUNNING": Decision.wait,
    "UPDATING": Decision.wait,
    "PAUSED": Decision.wait,  # by a person, who can let it go on
    "CANCELLING": Decision.wait,
    "SUCCEEDED": Decision.gather,  # also with no file, or with every row failed
    "PARTIALLY_SUCCEEDED": Decision.gather,
    "FAILED": Decision.gather,  # why, the client does not tell
    "EXPIRED": Decision.gather,
    "CANCELLED": Decision.gather,  # and stop, where it was not us: a person may want to spend no more
}  # any other state: stop with its name; the job stays open


def ask(
    requests: Sequence[Request],
    ledger: Ledger,
    settings: Settings,
    key: str,
    *,
    poll_seconds: float = 30.0,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Reply]:
    """Return the reply to every request that has one, in order, from the ledger or by one batch job for all others.

    Jobs that an earlier run left open are ended first. A request without a reply came back missing: ask for it under
    its next attempt. Raise BudgetError before anything is sent, and TeacherError where a job cannot be followed on.
    """
    if ledger.open or _never_asked(requests, ledger):
        with Service(settings, key, sleep) as service:
            run = _Run(ledger, settings, service, poll_seconds, sleep)
            for batch in list(ledger.open.values()):
                run.resume(batch)
            if new := _never_asked(requests, ledger):
                run.submit(new)
    return [ledger.replies[request.key] for request in requests if request.key in ledger.replies]


def _never_asked(requests: Sequence[Request], ledger: Ledger) -> list[Request]:
    """List the requests that were in no job yet; those that came back missing were in one."""
    return [request for request in requests if request.key not in ledger.replies.keys() | ledger.ended]


class _Run:
    """Jobs of one ledger, from intent to end."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        service: Service,
        poll_seconds: float,
        sleep: Callable[[float], None],
    ) -> None:
        self._ledger, self._settings, self._service = ledger, settings, service
        self._poll_seconds, self._sleep = poll_seconds, sleep

    def submit(self, requests: Sequence[Request]) -> None:
        """Ask for these in one new job."""
        budget.reserve(requests, self._ledger, self._settings)
        lines = gemini_format.write(requests, self._settings)
        name = f"doubledraft-{hashlib.sha256(lines).hexdigest()[:16]}"
        file = self._service.upload(lines, name)
        self._ledger.add("intent", batch=name, keys=[request.key for request in requests], file=file)
        batch = self._ledger.open[name]
        self._create(batch)
        self._end(batch)

    def resume(self, batch: Batch) -> None:
        """End a job that an earlier run left open, or drop the intent where no job was created."""
        if batch.job or self._found(batch):
            log.info("going on with %s, %d requests", batch.job, len(batch.keys))
            self._end(batch)
        else:
            self._abandon(batch)

    def _create(self, batch: Batch) -> None:
        """Create the job; search for it before each retry, since a call that failed may have created it."""
        for attempt in range(1, TRIES + 1):
            self._ledger.add("call", batch=batch.name)
            try:
                job = self._service.create(batch.name, batch.file)
            except ServiceError as error:
                if error.refused:
                    self._abandon(batch)
                    raise
                if error.code == 429:
                    self._ledger.add("refused", batch=batch.name)
                self._service.pause(attempt, error)
                if self._found(batch):
                    return
            else:
                self._ledger.add("job", batch=batch.name, job=job.name)
                log.info("%s: %d requests", job.name, len(batch.keys))
                return

    def _found(self, batch: Batch) -> bool:
        """Search for the job of a call whose outcome is unknown, until it would certainly be listed."""
        while batch.called is not None:
            if job := self._service.find(batch.name):
                self._ledger.add("job", batch=batch.name, job=job.name)
                return True
            remaining = batch.called + VISIBLE_SECONDS - self._ledger.clock()
            if remaining <= 0:
                break
            self._sleep(max(1.0, min(self._poll_seconds, remaining)))
        return False

    def _abandon(self, batch: Batch) -> None:
        """Drop an intent that created no job, so that its keys may be asked for again."""
        self._ledger.add("abandon", batch=batch.name)
        self._service.delete(batch.file)

    def _end(self, batch: Batch) -> None:
        """Wait for a job to end, record its replies, and close it."""
        job = self._job_at_end(batch)
        rows = self._rows(batch, job) if job.file else Rows(counts=Counter(missing=len(batch.keys)))
        recorded = self._ledger.replies
        self._ledger.record_all([reply for reply in rows.replies if reply.key not in recorded], self._settings)
        self._close(batch, rows.counts, ran=bool(job.file) or "SUCCEEDED" in job.state)
        summary = ", ".join(f"{count} {name}" for name, count in sorted(rows.counts.items())) or "all keys once"
        log.info(
            "%s is %s: %d replies to %d requests, %s", job.name, job.state, len(rows.replies), len(batch.keys), summary
        )
        if job.state == "CANCELLED" and batch.cancelled is None:
            raise TeacherError(
                f"{job.name} was cancelled, and not by this program; what it gave is in {self._ledger.path}. "
                "The same command asks for the rest again"
            )

    def _close(self, batch: Batch, counts: Counter, ran: bool) -> None:
        self._ledger.add("end", batch=batch.name, counts=dict(counts), ran=ran)
        self._service.delete(batch.file)

    def _job_at_end(self, batch: Batch) -> BatchJob:
        """Poll a job until its rows can be gathered, by DECISIONS."""
        last_logged = self._ledger.clock()
        while True:
            job = self._look(batch)
            now = self._ledger.clock()
            if job.state != batch.state or now - last_logged >= LOG_SECONDS:
                last_logged = now
                log.info("%s is %s, %.2f h after its start", job.name, job.state, (now - batch.created) / 3600)
            if job.state != batch.state:
                self._ledger.add("state", batch=batch.name, state=job.state)
            if DECISIONS.get(job.state) is Decision.gather:
                return job
            self._check_patience(batch, job, now)
            self._sleep(self._poll_seconds)

    def _check_patience(self, batch: Batch, job: BatchJob, now: float) -> None:
        """Cancel a job that does not start in time; raise TeacherError where waiting longer makes no sense."""
        age = now - batch.created
        advice = "the job stays open, and the same command continues with it"
        if job.state not in DECISIONS:
            raise TeacherError(f"{job.name} is in a state that this version does not know, {job.state!r}; {advice}")
        if batch.cancelled is not None:
            if now - batch.cancelled > CANCEL_SECONDS:
                raise TeacherError(f"{job.name} is still {job.state} an hour after it was cancelled; {advice}")
        elif DECISIONS[job.state] is Decision.start:
            if age > 3600 * self._settings.pending_hours:
                log.warning("%s did not start in %g h: cancelling it", job.name, self._settings.pending_hours)
                self._service.cancel(job.name)
                self._ledger.add("cancel", batch=batch.name)
        elif age > 3600 * self._settings.deadline_hours:
            raise TeacherError(
                f"{job.name} is still {job.state} {age / 3600:.1f} h after its start (teacher.deadline_hours is "
                f"{self._settings.deadline_hours:g}); {advice}: raise teacher.deadline_hours to wait longer"
            )

    def _look(self, batch: Batch) -> BatchJob:
        try:
            return self._service.get(batch.job)
        except ServiceError as error:
            raise self._gone(batch, error) from None

    def _rows(self, batch: Batch, job: BatchJob) -> Rows:
        """Fetch and read the results; a line that cannot be read is fetched once more, as a transfer may cut it."""
        try:
            rows = gemini_format.read(self._service.download(job.file), batch.keys)
            if rows.counts["broken"]:
                rows = gemini_format.read(self._service.download(job.file), batch.keys)
            return rows
        except ServiceError as error:
            raise self._gone(batch, error) from None

    def _gone(self, batch: Batch, error: ServiceError) -> TeacherError:
        """Return the error to raise; close a job that the service no longer has, else no later run could continue."""
        if error.code != 404:
            return TeacherError(f"{error}; {batch.job} stays open, and the same command continues with it")
        self._close(batch, Counter(missing=len(batch.keys)), ran=True)
        return TeacherError(
            f"{error}; {batch.job} or its results are gone, and what it cost is unknown. "
            "The same command asks for its requests again, which costs as much again"
        )
