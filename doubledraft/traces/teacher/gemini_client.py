"""The calls of Gemini's Batch API that a job needs, by Google's client, and what happens when one of them fails.

The client's own retries are off: a second create would be a second job. Here every call but `create` is retried, with
growing and jittered waits no shorter than the service asks for, for a bounded time; other errors are raised at once.
Errors of the client never leave this module: their frames and responses hold the key.
"""

import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from doubledraft.api_keys import redact
from doubledraft.log import log
from doubledraft.traces.teacher import retry_after
from doubledraft.traces.teacher.messages import TeacherError
from doubledraft.traces.teacher.settings import Settings

SERVICE = "https://generativelanguage.googleapis.com"  # explicit: the client would take another from the environment
API_VERSION = "v1beta"  # where Google documents the batch methods; the client's default is v1
TIMEOUT = 120.0  # seconds of one call
TRIES = 12  # of one call, while its errors are transient
FIRST_WAIT = 2.0  # seconds before the second try; every further wait is twice as long
LONGEST_WAIT = 60.0  # seconds, where the service does not ask for more
PATIENCE = 900.0  # seconds that the tries of one call may wait in all
RETRYABLE = {408, 429, 500, 502, 503, 504}
ADVICE = {
    400: "check teacher.model and the key (Google answers 400 to a wrong key too)",
    401: "check the key in GOOGLE_API_KEY or GEMINI_API_KEY",
    403: "the key in GOOGLE_API_KEY or GEMINI_API_KEY may not do this",
    404: "there is no such model (teacher.model), job or file at teacher.base_url",
    429: "if this persists, the quota is used up or too small for so many requests: run the same command again later",
    503: "if this persists, the service is overloaded or down: run the same command again later",
}
Result = TypeVar("Result")


class ServiceError(TeacherError):
    """A call that failed: its HTTP status (None where no answer came), and whether a later call may succeed."""

    def __init__(self, message: str, code: int | None, retryable: bool, wait: float | None) -> None:
        super().__init__(message)
        self.code, self.retryable, self.wait = code, retryable, wait

    @property
    def refused(self) -> bool:
        """Whether the call certainly had no effect: the service refused it, rather than failed on the way."""
        return not self.retryable and self.code is not None and 400 <= self.code < 500


@dataclass(frozen=True, slots=True)
class BatchJob:
    """A batch job as the service reports it; `state` is without its prefix, `file` names the results."""

    name: str
    batch: str | None  # the display name
    state: str
    file: str | None


class Service:
    """Gemini's Batch API at `settings.base_url`; `sleep` takes seconds."""

    def __init__(self, settings: Settings, key: str, sleep: Callable[[float], None]) -> None:
        from google import genai

        self._model, self._sleep = settings.model, sleep
        options = {
            "base_url": settings.base_url or SERVICE,
            "api_version": API_VERSION,
            "timeout": round(1000 * TIMEOUT),
        }
        self._client = genai.Client(vertexai=False, api_key=key, http_options=options)

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def upload(self, data: bytes, name: str) -> str:
        """Upload request lines and return the service's name of the file."""
        config = {"display_name": name, "mime_type": "jsonl"}
        return self._retried("upload", lambda: self._client.files.upload(file=io.BytesIO(data), config=config)).name

    def create(self, name: str, file: str) -> BatchJob:
        """Create the job of an uploaded file, in exactly one call."""
        config = {"display_name": name}
        return _job(_once("create", lambda: self._client.batches.create(model=self._model, src=file, config=config)))

    def find(self, name: str) -> BatchJob | None:
        """Find a job by its display name."""
        jobs = self._retried("list", lambda: list(self._client.batches.list(config={"page_size": 100})))
        return next((_job(job) for job in jobs if job.display_name == name), None)

    def get(self, name: str) -> BatchJob:
        """Return a job as it is now."""
        return _job(self._retried("get", lambda: self._client.batches.get(name=name)))

    def cancel(self, name: str) -> None:
        """Ask the service to cancel a job."""
        self._retried("cancel", lambda: self._client.batches.cancel(name=name))

    def download(self, file: str) -> bytes:
        """Return the content of a result file."""
        return self._retried("download", lambda: self._client.files.download(file=file))

    def delete(self, file: str) -> None:
        """Delete an uploaded file; the service does so itself after two days, so a failure is only logged."""
        try:
            _once("delete", lambda: self._client.files.delete(name=file))
        except ServiceError as error:
            log.info("%s", error)

    def pause(self, attempt: int, error: ServiceError) -> float:
        """Wait after the failure of an attempt, counted from 1; return the seconds, or raise an error that stays."""
        wait = error.wait if error.wait is not None else min(FIRST_WAIT * 2 ** (attempt - 1), LONGEST_WAIT)
        wait *= random.uniform(1, 1.25)  # never earlier than the service asks for
        if not error.retryable or attempt == TRIES or wait > PATIENCE:
            raise error
        log.warning("%s; try %d of %d in %.0f s", error, attempt + 1, TRIES, wait)
        self._sleep(wait)
        return wait

    def _retried(self, what: str, call: Callable[[], Result]) -> Result:
        waited, attempt = 0.0, 1
        while True:
            try:
                return _once(what, call)
            except ServiceError as error:
                if waited > PATIENCE:
                    raise
                waited += self.pause(attempt, error)
            attempt += 1


def _once(what: str, call: Callable[[], Result]) -> Result:
    """Call the service once; ServiceError is raised without a reference to the client's error."""
    import httpx
    import httpx2
    from google.genai import errors
    from pydantic import ValidationError

    try:
        return call()
    except errors.APIError as error:
        advice = f"; {ADVICE[error.code]}" if error.code in ADVICE else ""
        message = redact(f"Gemini, {what}: {error.code} {error.status}: {error.message}{advice}")
        code, retryable, wait = error.code, error.code in RETRYABLE, _wait(error)
    except (httpx.TransportError, httpx2.TransportError, json.JSONDecodeError) as error:
        message = redact(f"Gemini, {what}: {type(error).__name__}: {error}")
        code, retryable, wait = None, True, None
    except (
        ValidationError
    ) as error:  # by `list` too, where another job of the account has rows that failed in a new way
        message = redact(f"Gemini, {what}: the client cannot read the answer: {error}")
        code, retryable, wait = None, False, None
    raise ServiceError(message, code, retryable, wait)


def _wait(error: Exception) -> float | None:
    """Return the seconds to wait that the header Retry-After or the error's details name, None without them."""
    headers = getattr(error.response, "headers", None) or {}
    value = headers.get("retry-after") or _retry_delay(error.details)
    return retry_after.seconds(value.removesuffix("s")) if value else None


def _retry_delay(details: object) -> str | None:
    """Return `retryDelay` of google.rpc.RetryInfo, a string like 34s."""
    error = details.get("error", details) if isinstance(details, dict) else {}
    infos = error.get("details", []) if isinstance(error, dict) else []
    return next((info["retryDelay"] for info in infos if isinstance(info, dict) and "retryDelay" in info), None)


def _job(job: object) -> BatchJob:
    state = "UNSPECIFIED" if job.state is None else str(job.state.value)
    file = job.dest.file_name if job.dest else None
    return BatchJob(job.name, job.display_name, state.removeprefix("JOB_STATE_").removeprefix("BATCH_STATE_"), file)
