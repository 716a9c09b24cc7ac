"""Settings of a paid teacher, and a reply of it."""

from doubledraft.traces.teacher.messages import Finish, Reply
from doubledraft.traces.teacher.settings import Settings

SETTINGS = Settings(
    name="gemini",
    model="m",
    base_url=None,
    temperature=0.0,
    max_output_tokens=100,
    concurrency=1,
    attempts=3,
    pending_hours=1,
    deadline_hours=2,
    input_price=1.0,
    output_price=10.0,
    budget=1.0,
)


def reply(key: str, finish: Finish = Finish.stop, input_tokens: int = 100, output_tokens: int = 20) -> Reply:
    """Return a reply to a request."""
    return Reply(key=key, finish=finish, text="4", reason=None, input_tokens=input_tokens, output_tokens=output_tokens)
