"""What comes from elsewhere is data or is refused: models, adapters, chat templates."""

import json
import logging
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from doubledraft.models import chat_template, fetch
from doubledraft.models.folder import ModelError
from doubledraft.models.safety import refuse_unsafe, refuse_unsafe_adapter
from tests.helpers.tiny_models import CHATML, build_adapter


class WritesMarker:
    """Writes the file `code-ran` when unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def pickled(name: str) -> Callable:
    return lambda folder, marker: (folder / name).write_bytes(pickle.dumps(WritesMarker(marker)))


def with_keys(name: str, **keys: object) -> Callable:
    def spoil(folder: Path, marker: Path) -> None:
        path = folder / name
        value = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(value | keys))

    return spoil


def with_text(name: str, text: str) -> Callable:
    return lambda folder, marker: (folder / name).write_text(text)


def weights(change: Callable[[bytes], bytes]) -> Callable:
    def spoil(folder: Path, marker: Path) -> None:
        path = folder / "model.safetensors"
        path.write_bytes(change(path.read_bytes()))

    return spoil


def header(text: bytes) -> Callable:
    return weights(lambda content: len(text).to_bytes(8, "little") + text)


def linked(name: str, target: str) -> Callable:
    def spoil(folder: Path, marker: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return spoil


def index(**weight_map: str) -> Callable:
    return with_keys("model.safetensors.index.json", weight_map=weight_map)


def fifo(folder: Path, marker: Path) -> None:
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")


OWN_CODE = {"auto_map": {"AutoModelForCausalLM": "modeling.Model"}}
MODELS = {  # case: (what is done to a good model folder, what the refusal says)
    "pickled weights .bin": (pickled("pytorch_model.bin"), r"pytorch_model\.bin: pickled .* keep only the safetensors"),
    "pickled optimizer .pt": (pickled("optimizer.pt"), r"optimizer\.pt: pickled"),
    "pickle .PKL in capitals": (pickled("weights.PKL"), r"weights\.PKL: pickled"),
    "pickle below a folder": (
        lambda folder, marker: ((folder / "sub").mkdir(), pickled("sub/x.ckpt")(folder, marker)),
        r"sub/x\.ckpt: pickled",
    ),
    "pickle named .safetensors": (pickled("model.safetensors"), r"model\.safetensors: not a complete safetensors file"),
    "own code in config.json": (with_keys("config.json", **OWN_CODE), r"/config\.json: `auto_map`"),
    "own code in tokenizer_config.json": (
        with_keys("tokenizer_config.json", **OWN_CODE),
        r"tokenizer_config\.json: `auto_map`",
    ),
    "own code in generation_config.json": (
        with_keys("generation_config.json", **OWN_CODE),
        r"generation_config\.json: `auto_map`",
    ),
    "own code of a part of the model": (with_keys("config.json", text_config=OWN_CODE), r"config\.json: `auto_map`"),
    "attention kernel from a hub": (
        with_keys("config.json", attn_implementation="someone/kernel"),
        r"config\.json: `attn_implementation` asks for code from a hub",
    ),
    "adapter in place of a model": (
        with_keys("adapter_config.json", base_model_name_or_path="/elsewhere"),
        r"adapter_config\.json: transformers would load the model that this adapter names",
    ),
    "weights cut": (weights(lambda content: content[:-100]), "not a complete safetensors file"),
    "weights zeroed": (weights(lambda content: bytes(len(content))), "not a complete safetensors file"),
    "weights empty": (weights(lambda content: b""), "not a complete safetensors file"),
    "header of 2^60 bytes": (
        weights(lambda content: (2**60).to_bytes(8, "little") + content),
        r"its header should have at most 16,777,216 bytes, and claims 1,152,921,504,606,846,976",
    ),
    "header of 64 MiB, all there": (header(b" " * (64 << 20)), r"should have at most .* claims 67,108,864"),
    "header nested 100,000 deep": (header(b'{"a":' * 100_000), "not a complete safetensors file"),
    "tensor longer than the file": (
        header(b'{"w":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,18446744073709551615]}}'),
        "not a complete safetensors file",
    ),
    "Git LFS pointer for weights": (
        weights(lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        r"model\.safetensors: a Git LFS pointer, not the weights; fetch them with `git lfs pull`",
    ),
    "index that leads out of the folder": (index(w="../other/model.safetensors"), "should be a safetensors file in"),
    "index with an absolute path": (index(w="/etc/model.safetensors"), "should be a safetensors file in the same"),
    "index that names a pickle": (index(w="pytorch_model-1.bin"), "should be a safetensors file in the same"),
    "index that names nothing": (index(w="model-2.safetensors"), "'model-2.safetensors' is not in the folder"),
    "index without a map": (with_text("model.safetensors.index.json", "{}"), "key weight_map should say"),
    "link to a file elsewhere": (linked("LICENSE", "/etc/passwd"), "LICENSE: a link that leads out"),
    "link for the weights": (linked("model.safetensors", "../../model.safetensors"), "a link that leads out"),
    "link to a folder elsewhere": (linked("sub", "/etc"), "sub: a link that leads out"),
    "link to itself": (linked("vocab.json", "vocab.json"), r"vocab\.json: neither a file nor a folder"),
    "pipe that would be read for ever": (fifo, r"config\.json: neither a file nor a folder"),
    "settings of 17 MB": (with_text("config.json", " " * (17 << 20)), r"config\.json: expected at most 16,777,216"),
    "settings nested 100,000 deep": (with_text("config.json", "[" * 100_000), r"config\.json: not JSON"),
    "settings that are a list": (with_text("config.json", "[]"), r"config\.json: expected a JSON object, found list"),
    "no weights": (lambda folder, marker: (folder / "model.safetensors").unlink(), "safetensors format"),
}
TEMPLATES = {  # case: (template, what the refusal says)
    "escape to Python's classes": (
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "asks for what a template may not have: .*'__class__'.* is unsafe",
    ),
    "escape by a filter": ("{{ ''|attr('__class__')|attr('__mro__') }}", "leaves out what the user says"),
    "escape by a format": ("{{ '{0.__class__.__init__.__globals__}'.format(messages) }}", "asks for what|fails"),
    "import through a global": ("{{ cycler.__init__.__globals__.os.system('touch code-ran') }}", "asks for what"),
    "file by an include": ("{% include '/etc/passwd' %}", "fails: TypeError: no loader"),
    "loop of 10^20 rounds": (
        "{% for a in range(99999) %}" * 4 + "{% endfor %}" * 4,
        r"did not end within 5 s",
    ),
    "range of 10^12": ("{% for a in range(1000000000000) %}{% endfor %}", "fails: OverflowError"),
    "text of 10 GB": ("{{ 'a' * 10000000000 }}", "takes more than 512 MiB"),
    "text of 1 GB by a format": ("{{ '%1000000000d' % 1 }}", "takes more than 512 MiB"),
    "text that doubles 60 times": (
        "{% set n = namespace(x='ab') %}{% for a in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
        "takes more than 512 MiB",
    ),
    "text of 1 MB": (CHATML + "{{ 'a' * 1000000 }}", "writes more than 100,000 characters"),
    "macro that calls itself": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "fails: RecursionError"),
    "template that is broken": ("{% if %}", "does not render"),
    "template that refuses a system message": (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}",
        "does not render a system message, .*: no system role",
    ),
    "template that drops the system message": (
        CHATML.replace("for message in messages", "for message in messages if message.role != 'system'"),
        "leaves out what the system says",
    ),
    "template of 300,000 characters": ("{# " + "x" * 300_000 + " #}", "at most 200,000 characters"),
}


def tell(case: str, refusal: pytest.ExceptionInfo, folder: Path) -> None:
    """Log the refusal, which must end with what to do."""
    _, _, remedy = str(refusal.value).rpartition("; ")
    assert remedy.split()[0] in {"fetch", "keep", "merge", "move", "put", "remove", "train", "use", "give", "write"}
    logging.getLogger("case").info("%s: refused, %.300s", case, str(refusal.value).replace(str(folder), ""))


@pytest.fixture
def copy(tiny_model, tmp_path) -> Path:
    """Return a copy of the tiny model that a test may spoil."""
    return Path(shutil.copytree(tiny_model, tmp_path / "copy"))


@pytest.mark.parametrize("case", MODELS)
def test_a_model_that_is_more_than_data_is_refused_before_it_is_opened(copy, tmp_path, case):
    spoil, message = MODELS[case]
    marker = tmp_path / "code-ran"
    spoil(copy, marker)
    with pytest.raises(ModelError, match=message) as refusal:
        fetch.fetch({"source": "path", "path": str(copy)}, tmp_path / "out")
    assert not marker.exists(), "code of the model ran"
    assert [path.name for path in tmp_path.iterdir()] == ["copy"], "something half-made was left"
    tell(case, refusal, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", TEMPLATES)
def test_a_hostile_chat_template_is_refused_in_seconds_and_little_memory(copy, tmp_path, monkeypatch, case):
    template, message = TEMPLATES[case]
    (copy / "chat_template.jinja").write_text(template)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=rf"(?s)chat_template\.jinja: .*({message})") as refusal:
        fetch.fetch({"source": "path", "path": str(copy)}, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["copy"], "the template did something"
    tell(case, refusal, tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer_config.json", json.dumps({"chat_template": "{% if %}"})),
        ("tokenizer_config.json", json.dumps({"chat_template": [{"name": "tool_use", "template": "{% if %}"}]})),
        ("chat_template.json", json.dumps({"chat_template": "{% if %}"})),
        ("additional_chat_templates/tool_use.jinja", "{% if %}"),
    ],
)
def test_a_template_is_found_wherever_transformers_would_take_it_from(tmp_path, name, content):
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / name).write_text(content)
    assert [text for _, text in chat_template.find(tmp_path)] == ["{% if %}"]


@pytest.mark.slow
def test_an_honest_template_passes_also_with_what_only_transformers_knows(copy):
    marked = CHATML.replace("{{ message['content'] }}", "{% generation %}{{ message['content'] }}{% endgeneration %}")
    (copy / "chat_template.jinja").write_text(marked + "{{ tools|tojson }}{# {{ strftime_now('%d') }} #}")
    chat_template.check(copy, AutoTokenizer.from_pretrained(copy))


LLAMA = "{{ bos_token + 'begin' }}{% set bos_token = '' %}"
SPECIAL_TOKENS = {
    "joined to text": LLAMA + CHATML,
    "its methods called": "{{ eos_token.strip() }}{{ pad_token.upper() }}" + CHATML,
    "not set, asked for first": "{% if unk_token %}{{ unk_token }}{% endif %}" + CHATML,
}


@pytest.mark.slow
@pytest.mark.parametrize("case", SPECIAL_TOKENS)
def test_a_template_has_the_special_tokens_that_transformers_gives_it(copy, case):
    tokenizer = AutoTokenizer.from_pretrained(copy)
    tokenizer.bos_token = "<|im_start|>"
    tokenizer.chat_template = SPECIAL_TOKENS[case]
    tokenizer.save_pretrained(copy)
    tokenizer = AutoTokenizer.from_pretrained(copy)
    chat_template.check(copy, tokenizer)
    messages = [{"role": "user", "content": "4 + 6?"}]
    asked = {"add_generation_prompt": True, "tokenize": False}
    assert chat_template.render(tokenizer, messages, prompt=True) == tokenizer.apply_chat_template(messages, **asked)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('no system role') }}", "does not render a system message and a user message: no system"),
        ("{% if %}", "does not render a system message and a user message: Expected an expression"),
        ([{"name": "tool_use", "template": CHATML}], "multiple chat templates with no default"),
        ("{{ messages[-1].content }}", "leaves out the system message, so its instructions would be lost"),
    ],
)
def test_messages_that_a_template_cannot_or_does_not_render_are_told_in_one_line(copy, tmp_path, template, reason):
    (copy / "chat_template.jinja").unlink()
    with_keys("tokenizer_config.json", chat_template=template)(copy, tmp_path)
    with pytest.raises(ModelError, match=f"copy: its chat template .*{reason}") as refusal:
        chat_template.render(AutoTokenizer.from_pretrained(copy), chat_template.ASKED, prompt=True)
    assert "\n" not in str(refusal.value)


@pytest.mark.slow
def test_a_template_that_reads_the_clock_gets_one_date_which_the_manifest_records(copy, tmp_path):
    (copy / "chat_template.jinja").write_text("{{ strftime_now('%d %b %Y') }}" + CHATML)
    fetch.fetch({"source": "path", "path": str(copy)}, tmp_path / "out")
    assert json.loads((tmp_path / "out/manifest.json").read_text())["chat_template_date"] == "2024-07-26"
    tokenizer = AutoTokenizer.from_pretrained(copy)
    text = chat_template.render(tokenizer, [{"role": "user", "content": "4 + 6?"}], prompt=True)
    assert text.startswith("26 Jul 2024<|im_start|>user"), "whatever day it is"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("template", "names"), [(None, "none"), ([{"name": "tool_use", "template": CHATML}], "tool_use")]
)
def test_a_model_without_a_template_to_use_by_default_is_refused_at_fetch(copy, tmp_path, template, names):
    (copy / "chat_template.jinja").unlink()
    with_keys("tokenizer_config.json", chat_template=template)(copy, tmp_path)
    with pytest.raises(ModelError, match=rf"no chat template to use by default \(named ones: {names}\)"):
        fetch.fetch({"source": "path", "path": str(copy)}, tmp_path / "out")


def test_a_folder_of_the_hubs_cache_may_link_to_its_own_files_and_no_further(tiny_model, tmp_path):
    snapshot, blobs = tmp_path / "models--o--n/snapshots" / ("a" * 40), tmp_path / "models--o--n/blobs"
    snapshot.mkdir(parents=True)
    shutil.copytree(tiny_model, blobs)
    for file in blobs.iterdir():
        (snapshot / file.name).symlink_to(f"../../blobs/{file.name}")
    refuse_unsafe(snapshot)
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to("../../../models--o--other/config.json")
    with pytest.raises(ModelError, match="a link that leads out"):
        refuse_unsafe(snapshot)


ADAPTERS = {
    "base is another model": (
        {"base_model_name_or_path": "data/models/other"},
        "trained on 'data/models/other', not on",
    ),
    "base is an absolute path": ({"base_model_name_or_path": "/etc/tiny"}, "the adapter was trained on '/etc/tiny'"),
    "base climbs out": ({"base_model_name_or_path": "../../tiny"}, r"the adapter was trained on '\.\./\.\./tiny'"),
    "base is an address": ({"base_model_name_or_path": "http://evil.example/tiny"}, "the adapter was trained on 'http"),
    "base is no text": ({"base_model_name_or_path": ["x"]}, r"the adapter was trained on \['x'\]"),
    "module to import": ({"auto_mapping": {"base_model_class": "X", "parent_library": "evil"}}, "auto_mapping is"),
    "Megatron module to import": ({"megatron_config": {"x": 1}, "megatron_core": "evil"}, "megatron_config is"),
    "own code": ({"auto_map": {"x": "evil.X"}}, "auto_map is"),
    "search pattern that never ends": ({"target_modules": "(a+)+$"}, "target_modules should be a list of names"),
    "pattern in the ranks": ({"rank_pattern": {"(a+)+$": 4}}, "rank_pattern is"),
    "not a LoRA": ({"peft_type": "PROMPT_TUNING"}, "peft_type should be LORA, found 'PROMPT_TUNING'"),
}


@pytest.fixture(scope="module")
def good_adapter(tiny_model, tmp_path_factory) -> Path:
    return build_adapter(tiny_model, tmp_path_factory.mktemp("adapters") / "good")


@pytest.mark.parametrize("case", ADAPTERS)
def test_an_adapter_that_is_no_plain_lora_of_this_base_is_refused(good_adapter, tiny_model, tmp_path, case):
    adapter = Path(shutil.copytree(good_adapter, tmp_path / "adapter"))
    keys, message = ADAPTERS[case]
    with_keys("adapter_config.json", **keys)(adapter, tmp_path)
    with pytest.raises(ModelError, match=rf"adapter_config\.json: .*{message}") as refusal:
        refuse_unsafe_adapter(adapter, tiny_model)
    tell(case, refusal, tmp_path)


def test_a_pickled_adapter_is_refused_also_beside_a_good_one(good_adapter, tiny_model, tmp_path):
    adapter = Path(shutil.copytree(good_adapter, tmp_path / "adapter"))
    pickled("adapter_model.bin")(adapter, tmp_path / "code-ran")
    with pytest.raises(ModelError, match=r"adapter_model\.bin: pickled"):
        refuse_unsafe_adapter(adapter, tiny_model)


def test_an_adapter_of_this_base_passes_by_its_path_its_name_or_its_repository(good_adapter, tiny_model, tmp_path):
    adapter = Path(shutil.copytree(good_adapter, tmp_path / "adapter"))
    base = Path(shutil.copytree(tiny_model, tmp_path / "data/models/tiny"))
    with_keys("manifest.json", origin={"source": "hub", "repo": "org/tiny-1b"})(base, tmp_path)
    for named in (str(base), "data/models/tiny", "tiny", "org/tiny-1b", None):
        with_keys("adapter_config.json", base_model_name_or_path=named)(adapter, tmp_path)
        refuse_unsafe_adapter(adapter, base)


def test_weights_in_shards_pass(copy, tmp_path):
    tensors = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    halves = [sorted(tensors)[::2], sorted(tensors)[1::2]]
    for number, names in enumerate(halves, start=1):
        save_file({name: tensors[name] for name in names}, copy / f"model-{number}.safetensors", {"format": "pt"})
    index(**{name: f"model-{number}.safetensors" for number, names in enumerate(halves, 1) for name in names})(copy, "")
    refuse_unsafe(copy)
