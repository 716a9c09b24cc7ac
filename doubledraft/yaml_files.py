"""Loads YAML as plain values. Rejects tags, duplicate keys and alias bombs, with the line.

PyYAML silently keeps the last of two equal keys, and nine lines of nested aliases expand to 10^9 values; both
are found before any value is constructed.
"""

import re
from pathlib import Path

import yaml
from yaml.constructor import SafeConstructor

MAX_BYTES = 1 << 20  # of a file; the largest of this project has some 7 kB
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
NAMES = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")  # of a key; 2024, no, on and null are others
SURPRISING = re.compile(r"[-+]?(?:0[0-7_]+|[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?)")  # octal, base 60
HALF_CHARACTER = re.compile("[\ud800-\udfff]")
MAX_VALUES = 20_000  # in a file with its aliases expanded; the largest of this project has some 300


class YamlError(ValueError):
    """A YAML file that is refused; the message is `path:line: reason`."""


def read(path: str | Path) -> object:
    """Return the value of a YAML file; raise YamlError naming the line, OSError where it cannot be read."""
    content = Path(path).read_bytes()
    if len(content) > MAX_BYTES:
        raise YamlError(f"{path}:1: expected at most {MAX_BYTES:,} bytes of YAML, found {len(content):,}")
    return parse(content, str(path))


def parse(content: str | bytes, path: str) -> object:
    """Return the value of YAML text; raise YamlError with `path`, which only serves messages, and the line."""
    try:
        node = yaml.compose(content, yaml.SafeLoader)
        if node is None:
            return None
        _count(node, {}, path)
        return SafeConstructor().construct_document(node)
    except YamlError:
        raise
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise YamlError(f"{path}:{line}: not YAML of plain values: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # bytes that are no text, a 13th month, deep nesting
        raise YamlError(f"{path}:1: not YAML of plain values: {' '.join(str(error).split())}") from None


def _count(node: yaml.Node, counted: dict[int, int | None], path: str) -> int:
    """Return how many values a node expands to, aliases included; refuse duplicate keys on the way."""
    where = f"{path}:{node.start_mark.line + 1}"
    if id(node) in counted:
        if (count := counted[id(node)]) is None:
            raise YamlError(f"{where}: an alias inside the value that it refers to")
        return count
    counted[id(node)] = None
    values = 1
    if isinstance(node, yaml.SequenceNode):
        values += sum(_count(item, counted, path) for item in node.value)
    elif isinstance(node, yaml.MappingNode):
        _check_keys(node, path)
        values += sum(_count(part, counted, path) for pair in node.value for part in pair)
    else:
        _check_scalar(node, where)
    if values > MAX_VALUES:
        raise YamlError(f"{where}: more than {MAX_VALUES:,} values when its aliases are written out")
    counted[id(node)] = values
    return values


def _check_scalar(node: yaml.ScalarNode, where: str) -> None:
    if SURPRISING.fullmatch(node.value) and node.tag in NUMBERS:
        value = SafeConstructor().construct_document(node)
        raise YamlError(f"{where}: {node.value} is read as {value}: write it in decimals, or put quotes round it")
    if HALF_CHARACTER.search(node.value):
        raise YamlError(f"{where}: half a surrogate pair, which no text file can hold: {node.value!r:.60}")


def _check_keys(node: yaml.MappingNode, path: str) -> None:
    seen = set()
    for key, _ in node.value:
        where = f"{path}:{key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode):
            raise YamlError(f"{where}: a key should be a name")
        if key.tag not in NAMES:
            value = SafeConstructor().construct_document(key)
            raise YamlError(f"{where}: the name {key.value} is read as {value!r}: put quotes round it")
        if key.value in seen:
            raise YamlError(f"{where}: key {key.value!r} occurs twice")
        seen.add(key.value)
