"""The config section `teacher`: which of its keys a teacher uses, and which of them its traces depend on.

`oracle` uses its name only, so what the section says of paid teachers reruns nothing of a study without one. Of a paid
one, limits (money, time, requests in flight, the yield) decide whether traces are made and not what is in them: a
changed limit makes nothing again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

TRACED = ("name", "model", "base_url", "temperature", "max_output_tokens", "attempts")
LIMITS = ("concurrency", "pending_hours", "deadline_hours", "price", "budget", "min_yield")
UNUSED = {"gemini": {"concurrency"}, "openai": {"pending_hours"}}  # of a paid teacher
NEEDED = ("model", "price.input", "price.output", "budget")  # null in the default study
ROLES = {"teacher": "condense", "independent": "independent"}  # by a type's `by`: the prompt that it needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a paid teacher is asked, what it costs, and when to give up (config key `teacher`)."""

    name: str  # gemini | openai
    model: str
    base_url: str | None  # of the service; None is the service's own
    temperature: float
    max_output_tokens: int  # cap on tokens per reply, thoughts included
    concurrency: int  # openai: requests in flight
    attempts: int  # times a question is asked at most: missing, refused and unusable replies are asked for again
    pending_hours: float  # gemini: longest wait for a job to start
    deadline_hours: float  # longest wait for a job to end
    input_price: float  # USD per million tokens, as this service and mode charge them
    output_price: float  # USD per million tokens, thoughts included
    budget: float  # USD of this study's ledgers; a request that could pass it is refused


def used(teacher: Mapping) -> dict:
    """Give the keys that mean something to the teacher that the section names."""
    if teacher["name"] == "oracle":
        return {"name": "oracle"}
    return {key: value for key, value in teacher.items() if key not in UNUSED[teacher["name"]]}


def role(config: Mapping, type: str) -> str | None:
    """Give the prompt (a key of teacher.prompts) by which a paid teacher writes a type; None where none is asked."""
    if config["teacher"]["name"] == "oracle":
        return None
    return "solve" if type == "cot" else ROLES.get(config["types"][type].get("by"))


def roles(config: Mapping, type: str) -> list[str]:
    """Give all prompts of a paid teacher that a type's traces come from: its own, and that of what it condenses."""
    own = role(config, type)
    first = role(config, "cot") if own != "independent" else None
    return [name for name in dict.fromkeys((first, own)) if name]


def traced(teacher: Mapping) -> dict:
    """Give what traces depend on, of a checked section."""
    return {key: teacher[key] for key in TRACED if key in teacher}


def limits(teacher: Mapping) -> dict:
    """Give what may change without making traces again, of a checked section."""
    return {key: teacher[key] for key in LIMITS if key in teacher}


def settings(teacher: Mapping) -> Settings:
    """Give what a paid teacher is asked with, of its `traced` keys and `limits` together."""
    flat = dict.fromkeys(field.name for field in fields(Settings))
    flat |= {key: value for key, value in teacher.items() if key in flat}
    return Settings(**flat | {"input_price": teacher["price"]["input"], "output_price": teacher["price"]["output"]})


def problems(config: Mapping) -> Iterator[str]:
    """Say what makes no sense in the section, and in what types want of it."""
    teacher = config["teacher"]
    for key in NEEDED if teacher["name"] != "oracle" else ():
        parent, _, child = key.rpartition(".")
        if (teacher[parent] if parent else teacher)[child] is None:
            yield f"config key teacher.{key} is null: teacher {teacher['name']} needs it"
    for name, entry in config["types"].items():
        by = entry.get("by", "rule")
        if name == "cot" and "by" in entry:
            yield "config key types.cot.by cannot be: cot is the teacher's own trace"
        elif by != "rule" and teacher["name"] == "oracle":
            yield (
                f"config key types.{name}.by is {by!r}: teacher oracle only has the questions' own solutions; expected "
                "rule, or gemini or openai as teacher.name"
            )
