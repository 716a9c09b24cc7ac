"""The config: what is wrong with it stops Snakemake before any job, in one message that names the key."""

import pytest
import yaml
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

from doubledraft.workflow import config as study
from tests.helpers.running import ROOT, snakemake

SCHEMA = ROOT / "config/schema.yaml"
STUDIES = ("config.yaml", "qwen3.yaml", "qwen2.5.yaml", "qwen2.5-domains.yaml")


def merged(name: str) -> dict:
    """Return a study's config, merged as Snakemake merges it."""
    config = load_configfile(ROOT / "config/config.yaml")
    update_config(config, load_configfile(ROOT / "config" / name))
    return config


@pytest.mark.parametrize("name", STUDIES)
def test_shipped_study_is_accepted(name):
    config = study.check_config(merged(name), SCHEMA, [ROOT / "config" / name])
    assert set(config["scenarios"]) == {"easy", "medium", "hard"}
    assert set(config["types"]) == {"cot", "cod"}
    for entry in config["types"].values():
        assert (ROOT / entry["prompt"]).exists()


@pytest.mark.parametrize("name", STUDIES[1:])
def test_full_study_says_only_what_differs(name):
    def same(value: dict, base: dict, path: str) -> list[str]:
        found = []
        for key, item in value.items():
            if isinstance(item, dict) and isinstance(base.get(key), dict):
                found += same(item, base[key], f"{path}{key}.")
            elif key in base and base[key] == item and key not in ("rank", "alpha", "batch", "accumulate", "epochs"):
                found.append(path + key)
        return found

    repeated = same(load_configfile(ROOT / "config" / name), merged("config.yaml"), "")
    assert [key for key in repeated if key != "train.load_in_4bit"] == []


def test_every_leaf_of_the_schema_is_described_and_every_level_closed():
    open_levels, silent = [], []

    def walk(schema: dict, path: str) -> None:
        if "properties" in schema and schema.get("additionalProperties") is not False:
            open_levels.append(path)
        for key, part in schema.get("properties", {}).items():
            leaf = "properties" not in part and not isinstance(part.get("additionalProperties"), dict)
            if leaf and "description" not in part:
                silent.append(f"{path}.{key}")
            walk(part, f"{path}.{key}")
        for key in ("additionalProperties", "items"):
            if isinstance(schema.get(key), dict):
                walk(schema[key], f"{path}.*")

    schema = yaml.safe_load(SCHEMA.read_text())
    walk(schema, "config")
    for name, part in schema["$defs"].items():
        walk(part, name)
    assert not open_levels, "a level that is open lets a misspelt key pass"
    assert not silent, "a leaf without a description"


def test_schema_itself_is_valid():
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(yaml.safe_load(SCHEMA.read_text()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--config", "benchmark={draft_lenght: 4}"), "config key benchmark.draft_lenght is unknown"),
        (("--config", "benchmark={draft_length: 0}"), "config key benchmark.draft_length is 0: expected one of"),
        (("results/cod_nope/metrics.json",), "config key scenarios has no 'nope': expected one of easy, medium, hard"),
    ],
)
def test_snakemake_stops_before_any_job_with_one_message(arguments, message, tmp_path):
    outcome = snakemake("--directory", str(tmp_path), *arguments, folder=ROOT)
    assert outcome.code != 0
    assert message in outcome.text
    assert "Traceback" not in outcome.text
    assert not (tmp_path / "results").exists() and not (tmp_path / "data").exists()


@pytest.mark.slow
def test_numbers_given_on_the_command_line_are_numbers(tmp_path):
    outcome = snakemake(
        "-n",
        "--directory",
        str(tmp_path),
        "--config",
        "benchmark={limit: 5}",
        "train={load_in_4bit: true}",
        folder=ROOT,
    )
    assert outcome.code == 0, outcome.text


LISTS = "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
FILES = {  # case: (config file, what the refusal says)
    "key that occurs twice": ("seed: 1\nbenchmark:\n  limit: 5\n  limit: 6\n", "{file}:4: key 'limit' occurs twice"),
    "list bomb": (f"a0: &a0 [1, 1]\n{LISTS}", "{file}:14: more than 20,000 values when its aliases are written out"),
    "Python in a config": (
        "__use_yte__: true\nseed: ?1 + 16\n",
        "{file}: `__use_yte__` makes Snakemake run the Python",
    ),
    "Python tuple": ("seed: !!python/tuple [1]\n", "{file}:1: not YAML of plain values"),
    "terminal escape in a key": ('"\\e[31mseed": 1\n', "config key \\x1b[31mseed is unknown"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_config_that_is_more_than_plain_values_is_refused_by_line(tmp_path, case):
    text, message = FILES[case]
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    outcome = snakemake("-n", "--directory", str(tmp_path), "--configfile", str(file), folder=ROOT)
    assert outcome.code != 0
    assert message.format(file=file) in outcome.text
    assert "\x1b" not in outcome.text and "Traceback" not in outcome.text
