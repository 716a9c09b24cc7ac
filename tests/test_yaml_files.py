"""YAML from elsewhere gives values or a refusal with its line, in no time."""

import time

import pytest

from doubledraft import config_schema, yaml_files
from tests.helpers.commands import run


def bomb(first: str, more: str, lines: int = 60) -> str:
    """Return YAML in which every line stands for twice the line before."""
    return first + "".join(more.format(here=n, last=n - 1) for n in range(1, lines))


CASES = {  # case: (text, what the refusal says)
    "list bomb": (bomb("a0: &a0 [x, x]\n", "a{here}: &a{here} [*a{last}, *a{last}]\n"), ":14: more than 20,000 values"),
    "mapping bomb": (bomb("a0: &a0 {x: 1}\n", "a{here}: &a{here} {{x: *a{last}, y: *a{last}}}\n"), "20,000 values"),
    "bomb of merged keys": (bomb("a0: &a0 {x: 1}\n", "a{here}: &a{here} {{<<: [*a{last}, *a{last}]}}\n"), "20,000"),
    "alias inside itself": ("a: &a [1, *a]\n", ":1: an alias inside the value that it refers to"),
    "key that occurs twice": ("a: 1\nb:\n  c: 1\n  c: 2\n", ":4: key 'c' occurs twice"),
    "key that is a list": ("? [a, b]\n: 1\n", ":1: a key should be a name"),
    "name that is a number": ("scenarios:\n  2024: {}\n", ":2: the name 2024 is read as 2024: put quotes round it"),
    "name that is a truth": ("types: {off: {}}\n", ":1: the name off is read as False: put quotes round it"),
    "name that is nothing": ("a: 1\nnull: 1\n", ":2: the name null is read as None: put quotes round it"),
    "octal number": ("a: 1\nseed: 017\n", ":2: 017 is read as 15: write it in decimals"),
    "number of base 60": ("limit: 1:40\n", ":1: 1:40 is read as 100: write it in decimals"),
    "half a character": ('system: "Solve \\uD83D"\n', ":1: half a surrogate pair, which no text file can hold"),
    "Python object": ("a: 1\nb: !!python/object/apply:os.system ['touch code-ran']\n", ":2: not YAML of plain values"),
    "Python tuple": ("a: !!python/tuple [1]\n", ":1: not YAML of plain values"),
    "Python name": ("a: !!python/name:os.system ''\n", ":1: not YAML of plain values"),
    "own tag": ("a: !evil 1\n", ":1: not YAML of plain values: could not determine a constructor for the tag '!evil'"),
    "brackets 10,000 deep": ("[" * 10_000, ":1: not YAML of plain values: maximum recursion depth"),
    "terminal escape": ("a: \x1b[31m\n", ":1: not YAML of plain values: unacceptable character"),
    "not UTF-8": ("a: \udcff\n", ":1: not YAML of plain values: unacceptable character"),
    "13th month": ("a: 2026-13-01\n", ":1: not YAML of plain values: month must be in 1..12"),
    "two documents": ("a: 1\n---\nb: 2\n", ":2: not YAML of plain values"),
    "2 MB": ("# " + "x" * (2 << 20), ":1: expected at most 1,048,576 bytes"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_plain_values_is_refused_by_line_and_at_once(tmp_path, monkeypatch, case):
    text, message = CASES[case]
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "file.yaml"
    file.write_bytes(text.encode(errors="surrogateescape"))
    began = time.process_time()
    with pytest.raises(yaml_files.YamlError) as error:
        yaml_files.read(file)
    assert str(error.value).startswith(f"{file}:") and message in str(error.value)
    assert time.process_time() - began < 60, "a bomb went off"
    assert not (tmp_path / "code-ran").exists()


def test_quoted_names_and_numbers_and_times_that_are_text_are_values(tmp_path):
    text = """{"2024": 1, 'off': "017", plain: 10, at: "1:40", ratio: 0.5, zero: 0, hex: 0x1F, day: v1:40}"""
    assert yaml_files.parse(text, "x")["2024"] == 1 and yaml_files.parse(text, "x")["zero"] == 0


def test_anchors_and_merged_keys_within_reason_are_values(tmp_path):
    (tmp_path / "x.yaml").write_text("base: &base {a: 1}\nmine:\n  <<: *base\n  b: [yes, 1.5, null]\n")
    assert yaml_files.read(tmp_path / "x.yaml") == {"base": {"a": 1}, "mine": {"a": 1, "b": [True, 1.5, None]}}
    (tmp_path / "x.yaml").write_text("")
    assert yaml_files.read(tmp_path / "x.yaml") is None


def test_a_config_that_would_run_python_is_refused(tmp_path):
    (tmp_path / "x.yaml").write_text("__use_yte__: true\nseed: ?1 + 1\n")
    (problem,) = config_schema.file_problems(tmp_path / "x.yaml")
    assert problem.startswith(f"{tmp_path / 'x.yaml'}: `__use_yte__` makes Snakemake run the Python")


def test_text_in_a_config_that_spells_a_bomb_is_refused_by_its_key():
    lists = ["&a0 [1]", *(f"&a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60))]
    with pytest.raises(yaml_files.YamlError, match="seed:1: more than 20,000 values"):
        yaml_files.parse(f"[{', '.join(lists)}]", "seed")


def test_the_command_says_which_config_is_more_than_values_before_snakemake_sees_it(tmp_path, capsys):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("seed: 1\n")
    bad.write_text(CASES["mapping bomb"][0])
    assert run(capsys, "check", good) == (0, f"{good}: plain values\n", "")
    status, _, err = run(capsys, "check", good, bad)
    assert status == 2 and f"{bad}:" in err and "20,000 values" in err
    status, _, err = run(capsys, "check", tmp_path / "nowhere.yaml")
    assert status == 2 and "nowhere.yaml: expected a file" in err
