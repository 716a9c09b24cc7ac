"""Makes the reference pages from the code while MkDocs builds the site: nothing of them is committed.

reference/config.md    keys, bounds and defaults, from config/schema.yaml and config/config.yaml
reference/commands.md  subcommands and options, from the parsers of doubledraft.cli, and the targets of the Makefile
reference/rules.md     rules and the files they make, from rules/*.smk
reference/schemas.md   fields of the JSON files, from docs/schemas/*.json
results.md             the measured table, from README.md
contributing.md, changes.md  CONTRIBUTING.md and CHANGELOG.md of the repository
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # so that the site can be built where the package is not installed


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to the site."""
    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def pages() -> dict[str, str]:
    """Return the generated pages by path."""
    return {
        "reference/config.md": config_page(),
        "reference/commands.md": commands_page(),
        "reference/rules.md": rules_page(),
        "reference/schemas.md": schemas_page(),
        "results.md": results_page(),
        "contributing.md": _root_page("CONTRIBUTING.md"),
        "changes.md": _root_page("CHANGELOG.md"),
    }


def config_page() -> str:
    """Return every key of the config with its type, its bounds, its default and its meaning."""
    schema = yaml.safe_load((ROOT / "config/schema.yaml").read_text())
    default = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    parts = [
        "# Config\n\nEvery key of a study's config, from `config/schema.yaml`. Any other key stops the run before its "
        "first job. *Default* is the value in `config/config.yaml`, which every other config is merged into key by "
        "key; `null` removes an inherited entry. `NAME` stands for a name of your choice. Paths are relative to the "
        "Snakefile.\n"
    ]
    sections = schema["properties"]
    single = [name for name, section in sections.items() if section["type"] != "object"]
    rows = [row for name in single for row in _keys(name, sections[name], schema, default[name])]
    parts.append(f"## {' and '.join(single)}\n\n{_table(CONFIG_COLUMNS, rows)}")
    for name in [name for name in sections if name not in single]:
        said, rows = sections[name]["description"], _keys(name, sections[name], schema, default[name])
        parts.append(f"## {name}\n\n{_sentence(said)}.\n\n{_table(CONFIG_COLUMNS, rows)}")
    return "\n".join([*parts, _benchmark_file()])


def _benchmark_file() -> str:
    """Return the keys of the file that `doubledraft benchmark` reads."""
    schema = yaml.safe_load((ROOT / "doubledraft/evaluation/experiments.schema.yaml").read_text())
    rows = [(key, value, said) for key, value, _, said in _keys("", schema, schema, {})]
    return (
        "## A file for doubledraft benchmark\n\n`doubledraft benchmark --config FILE` reads these keys; "
        f"`benchmarks/default_study.yaml` is an example.\n\n{_table(('key', 'value', 'meaning'), rows)}"
    )


CONFIG_COLUMNS = ("key", "value", "default", "meaning")


def _keys(path: str, schema: Mapping, root: Mapping, default: object) -> Iterator[tuple[str, ...]]:
    """Yield a row for each key below a path that takes a value; a default of `...` stands for none."""
    schema = _resolved(schema, root)
    inner = dict(schema.get("properties", {}))
    if isinstance(schema.get("additionalProperties"), dict):
        inner["NAME"] = schema["additionalProperties"]
    if path and (not inner or _kinds(schema) - {"object", "null"}):
        shown = "" if default is ... else f"`{json.dumps(default)}`"
        yield f"`{path}`", _values(schema), shown, schema.get("description", "")
    for key, value in inner.items():
        known = default.get(key, ...) if isinstance(default, dict) else ...
        yield from _keys(f"{path}.{key}" if path else key, value, root, known)


def _resolved(schema: Mapping, root: Mapping) -> dict:
    """Return a schema with the definition that it refers to merged in."""
    name = schema.get("$ref", "").rpartition("/")[2]
    return {**root["$defs"][name], **schema} if name else dict(schema)


def _kinds(schema: Mapping) -> set[str]:
    kind = schema.get("type", [])
    return {kind} if isinstance(kind, str) else set(kind)


def _values(schema: Mapping) -> str:
    """Return what a value may be, in words."""
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(value).strip(chr(34))}`" for value in schema["enum"])
    kinds = schema.get("type", "any value")
    words = " or ".join([kinds] if isinstance(kinds, str) else kinds).replace("array", "list")
    return words + _bounds(schema)


BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


def _bounds(schema: Mapping) -> str:
    said = [f"{words} {schema[key]}" for key, words in BOUNDS.items() if key in schema]
    return ", " + ", ".join(said) if said else ""


def commands_page() -> str:
    """Return the subcommands of `doubledraft` with their options, and the targets of the Makefile."""
    from doubledraft.cli import main

    parser = main._parser()
    parts = [
        "# Commands\n\nMade from the parsers of the `doubledraft` command and from the Makefile. `doubledraft COMMAND "
        "--help` prints the same.\n"
    ]
    [subcommands] = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for name, subparser in subcommands.choices.items():
        options = [_option(action) for action in subparser._actions if action.dest != "help"]
        parts.append(f"## doubledraft {name}\n\n{subparser.description.strip()}\n\n{_table(OPTION_COLUMNS, options)}")
    targets = re.findall(r"^([\w-]+):.*?## (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    parts.append(
        "## make\n\n" + _table(("target", "what it does"), [(f"`make {name}`", said) for name, said in targets])
    )
    return "\n".join(parts)


OPTION_COLUMNS = ("option", "meaning", "default")


def _option(action: argparse.Action) -> tuple[str, str, str]:
    value = "" if action.nargs == 0 else f" {action.metavar or (action.dest.upper() if action.option_strings else '')}"
    name = f"`{', '.join(action.option_strings) or action.metavar or action.dest}{value}`"
    said = (action.help or "").replace("%(default)s", str(action.default))
    if action.choices:
        said += f" ({', '.join(map(str, action.choices))})"
    nothing = any(action.default is none for none in (None, False, argparse.SUPPRESS))
    return name, said, "required" if action.required else "" if nothing else f"`{action.default}`"


def rules_page() -> str:
    """Return the rules of the workflow with what they make; every output is a target of `snakemake`."""
    parts = [
        "# Rules and files\n\nMade from `rules/*.smk`. Every file below is a target: `snakemake --cores 1 PATH` makes "
        "it and what it needs. `{type}` is a key of `types` in the config, `{scenario}` one of `scenarios`, `{model}` "
        "one of `models.sources`.\n"
    ]
    for stage in re.findall(r'include: "rules/(\w+)\.smk"', (ROOT / "Snakefile").read_text()):
        text = (ROOT / f"rules/{stage}.smk").read_text()
        if rules := [_rule(name, block) for name, block in rule_blocks(text)]:
            said = _sentence(re.match(r'"""(.*?)"""', text, re.DOTALL)[1].split("\n\n")[0])
            parts += [f"## {stage}\n\n{said}\n", *rules]
    return "\n".join(parts)


def rule_blocks(text: str) -> list[tuple[str, str]]:
    """Return name and text of every rule of a rule file."""
    return re.findall(r"^rule (\w+):\n((?:(?:    .*)?\n)+)", text, re.MULTILINE)


def _rule(name: str, block: str) -> str:
    said = re.match(r'    """(.*?)"""', block, re.DOTALL)[1]
    output = re.search(r"^    output:\n((?:        .*\n)+)", block, re.MULTILINE)[1]
    paths = re.findall(r'"((?:data|results)/[^"]*)"', output)
    files = "".join(f"* `{path}`\n" for path in paths)
    return f"### {name}\n\n{said}\n\n{files}"


def schemas_page() -> str:
    """Return the fields of the JSON files that a study writes: a table for each file, and one for each part of them."""
    parts = [
        "# metrics.json and other files\n\nMade from the JSON schemas in `docs/schemas/`, which are made from the "
        "dataclasses of `doubledraft/summaries/`.\n"
    ]
    shared: dict[str, dict] = {}
    for file in sorted((ROOT / "docs/schemas").glob("*.schema.json")):
        schema = json.loads(file.read_text())
        shared |= schema.get("$defs", {})
        name = file.name.removesuffix(".schema.json")
        parts.append(_fields("##", name if name.endswith(".jsonl") else f"{name}.json", schema))
    parts.append("## Parts of these files\n")
    parts += [_fields("###", name, shared[name]) for name in sorted(shared)]
    return "\n".join(parts)


def _fields(heading: str, name: str, schema: Mapping) -> str:
    rows = [(f"`{key}`", _part(value), value.get("description", "")) for key, value in schema["properties"].items()]
    return f"{heading} {name}\n\n{schema.get('description', '')}\n\n{_table(('field', 'value', 'meaning'), rows)}"


def _part(schema: Mapping) -> str:
    """Return what a value of a JSON file is, with links to the parts that have a table."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(map(_part, schema["anyOf"]))
    if isinstance(schema.get("items"), dict):
        return f"list of {_part(schema['items'])}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"by name: {_part(schema['additionalProperties'])}"
    return _values(schema)


def results_page() -> str:
    """Return the results of the default study as README has them: what stands before its first section."""
    text = _root_page("README.md").partition("\n## ")[0]
    wide = "---\nhide: [navigation, toc]\n---\n"
    return f"{wide}# Results of the default study\n\n{text[text.index('| cell |') :]}"


def _root_page(name: str) -> str:
    """Return a page of the repository's root, its links below docs/ as the site has them."""
    return (ROOT / name).read_text().replace("](docs/", "](").replace("](CHANGELOG.md)", "](changes.md)")


def _sentence(text: str) -> str:
    """Return a text on one line that begins with a capital, fit for a cell of a table."""
    line = " ".join(text.split())
    return line[:1].upper() + line[1:]


def _table(header: tuple[str, ...], rows) -> str:
    lines = [header, ["---"] * len(header), *rows]
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells) + "\n"
