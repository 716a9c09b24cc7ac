"""The config section `teacher`: which of its keys a teacher uses, and which of them its traces depend on.

`oracle` uses its name only, so keys of paid teachers rerun nothing in a study without one. Limits of a paid teacher
(money, time, requests in flight, the yield) decide whether traces are made and not what is in them, so a changed limit
reruns nothing.
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
    """How a paid teacher is asked, its prices, and its limits (config key `teacher`)."""

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
    """Return the keys that the teacher of the section uses."""
    if teacher["name"] == "oracle":
        return {"name": "oracle"}
    return {key: value for key, value in teacher.items() if key not in UNUSED[teacher["name"]]}


def role(config: Mapping, type: str) -> str | None:
    """Return the prompt (a key of teacher.prompts) by which a paid teacher writes a type; None where none is asked."""
    if config["teacher"]["name"] == "oracle":
        return None
    return "solve" if type == "cot" else ROLES.get(config["types"][type].get("by"))


def roles(config: Mapping, type: str) -> list[str]:
    """List the prompts that a type's traces depend on: its own, and that of the traces that it condenses."""
    own_role = role(config, type)
    cot_role = role(config, "cot") if own_role != "independent" else None
    return [name for name in dict.fromkeys((cot_role, own_role)) if name]


def traced(teacher: Mapping) -> dict:
    """Return the keys of a checked section that traces depend on."""
    return {key: teacher[key] for key in TRACED if key in teacher}


def limits(teacher: Mapping) -> dict:
    """Return the keys of a checked section that may change without making traces again."""
    return {key: teacher[key] for key in LIMITS if key in teacher}


def read_settings(teacher: Mapping) -> Settings:
    """Return the settings of a paid teacher, from its `traced` keys and its `limits` together."""
    flat = dict.fromkeys(field.name for field in fields(Settings))
    flat |= {key: value for key, value in teacher.items() if key in flat}
    return Settings(**flat | {"input_price": teacher["price"]["input"], "output_price": teacher["price"]["output"]})


def problems(config: Mapping) -> Iterator[str]:
    """Iterate over what is contradictory in the section, or between it and the types."""
    teacher = config["teacher"]
    for key in NEEDED if teacher["name"] != "oracle" else ():
        parent, _, child = key.rpartition(".")
        if (teacher[parent] if parent else teacher)[child] is None:
            yield f"config key teacher.{key} is null: teacher {teacher['name']} needs it"
    for name, entry in config["types"].items():
        by = entry.get("by", "rule")
        if name == "cot" and "by" in entry:
            yield "config key types.cot.by is not allowed: cot is the teacher's own trace; remove it"
        elif by != "rule" and teacher["name"] == "oracle":
            yield (
                f"config key types.{name}.by is {by!r}: teacher oracle only has the questions' own solutions; expected "
                "rule, or gemini or openai as teacher.name"
            )
