"""Checks a config against a JSON schema in YAML; every message names the key, the value and what was expected.

Only the shape is checked here: how keys must fit together is checked by the code that reads them.
"""

import difflib
from collections.abc import Iterable
from contextlib import suppress
from functools import cache, reduce
from operator import getitem
from pathlib import Path
from typing import TYPE_CHECKING

from doubledraft import yaml_files

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator


def problems(config: dict, schema: str | Path) -> list[str]:
    """Return what the schema file does not allow; text in the config that spells a value becomes that value."""
    validator = _validator(schema)
    for error in list(validator.iter_errors(config)):
        if error.validator in ("type", "enum") and isinstance(error.instance, str):
            _read_text(config, list(error.absolute_path))
    for error in list(validator.iter_errors(config)):
        if error.validator == "type" and isinstance(error.instance, float) and error.instance.is_integer():
            _put(config, list(error.absolute_path), int(error.instance))  # 20.0 and 1e2 are counts
    errors = sorted(validator.iter_errors(config), key=lambda error: [str(part) for part in error.absolute_path])
    return [_explain(error) for error in errors]


@cache
def _validator(schema: str | Path) -> "Draft202012Validator":
    """Return what checks against a schema file, in which a whole number that is written as 2.0 is no integer."""
    from jsonschema import Draft202012Validator, validators

    type_checker = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    return validators.extend(Draft202012Validator, type_checker=type_checker)(yaml_files.read(schema))


def _read_text(config: dict, path: list) -> None:
    """Turn text into the value it spells: all values of `--config a='{b: 1}'` are text, and YAML reads 1e-3 as text."""
    try:
        value = yaml_files.parse(reduce(getitem, path, config), key(path))
    except yaml_files.YamlError:  # it spells nothing
        return
    if isinstance(value, str):
        with suppress(ValueError):
            value = float(value)
    _put(config, path, value)


def _put(config: dict, path: list, value: object) -> None:
    *parents, last = path
    reduce(getitem, parents, config)[last] = value


def _explain(error: object) -> str:
    where, known = key(error.absolute_path), error.schema.get("properties", {})
    if error.validator == "additionalProperties":
        unknown = sorted(str(name) for name in error.instance if name not in known)[0]
        suggestions = difflib.get_close_matches(unknown, known, n=1)
        hint = f"did you mean {suggestions[0]}?" if suggestions else f"expected one of {', '.join(known)}"
        return f"config key {key([*error.absolute_path, unknown])} is unknown: {hint}"
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return f"config key {key([*error.absolute_path, missing])} is missing"
    if "propertyNames" in error.absolute_schema_path:
        return f"config key {where}: the name {error.instance!r:.80} cannot be used: expected {error.validator_value}"
    description = f" ({error.schema['description']})" if "description" in error.schema else ""
    return f"config key {where} is {error.instance!r:.80}: expected {_expected(error)}{description}"


def _expected(error: object) -> str:
    words = {
        "minimum": "at least {}",
        "exclusiveMinimum": "more than {}",
        "maximum": "at most {}",
        "enum": "one of {}",
        "pattern": "a name like {}",
        "type": "{}",
        "minItems": "at least {} of them",
        "minProperties": "at least {} of them",
        "minContains": "at least {} numbers among them",
        "uniqueItems": "each of them once",
    }
    value = error.validator_value
    value = " or ".join(str(item) for item in value) if isinstance(value, list) else value
    return words.get(error.validator, error.validator + " {}").format(value)


def key(path: Iterable[object]) -> str:
    """Return the path to a value as messages show it: `benchmark.limit`."""
    return ".".join(str(part) for part in path)


def file_problems(file: str | Path) -> list[str]:
    """Return why a YAML file is refused as a config, whatever its keys: see `yaml_files`, and keys that run code."""
    try:
        value = yaml_files.read(file)
    except yaml_files.YamlError as error:
        return [str(error)]
    if isinstance(value, dict) and "__use_yte__" in value:
        return [f"{file}: `__use_yte__` makes Snakemake run the Python that is in a config: remove it"]
    return []
