"""The forward pass gives the logits of transformers, whatever the passes."""

import json
from pathlib import Path

import pytest
import torch

from doubledraft.engine.backend import Backend, prefill
from doubledraft.engine.decode import decode
from doubledraft.engine.load import create_backend
from doubledraft.models.folder import ModelError
from tests.helpers.tiny_models import build_tokenizer

SIZES = {
    "hidden_size": 96,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
    "eos_token_id": None,
    "bos_token_id": None,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}
FAMILIES = {
    "llama, tied": ("LlamaConfig", {"tie_word_embeddings": True}),
    "llama, 4 queries a key": ("LlamaConfig", {"num_attention_heads": 8, "head_dim": 32}),
    "llama 3, biased": ("LlamaConfig", {"rope_parameters": LLAMA3, "attention_bias": True, "mlp_bias": True}),
    "mistral": ("MistralConfig", {"sliding_window": None}),
    "qwen2": ("Qwen2Config", {}),
    "qwen2, yarn": ("Qwen2Config", {"rope_parameters": YARN}),
    "qwen3": ("Qwen3Config", {"head_dim": 32}),  # times 6 is not the hidden size
    "qwen3, 5 queries a key": ("Qwen3Config", {"head_dim": 32, "num_attention_heads": 10, "hidden_size": 160}),
}
TEXT = [5, 9, 40, 77, 3, 100, 101, 5, 9, 60, 61, 62]


def build(family: str, folder: Path) -> Path:
    """Write a random model, its biases and norms random too, with the tokenizer of the tiny models."""
    import transformers

    name, special = FAMILIES[family]
    tokenizer = build_tokenizer()
    torch.manual_seed(0)
    config = getattr(transformers, name)(**{**SIZES, **special}, vocab_size=len(tokenizer))
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bias") or "norm" in name:
                weight.add_(torch.randn_like(weight) * 0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


KERNELS = ("torch", "compiled")


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request, tmp_path_factory) -> Path:
    return build(request.param, tmp_path_factory.mktemp("models") / "model")


@pytest.fixture(scope="module", params=KERNELS)
def pair(request, folder) -> tuple[Backend, torch.nn.Module]:
    """Return our model, run by either kernel, and transformers' own, of one architecture."""
    from transformers import AutoModelForCausalLM

    ours = create_backend(folder, "float32", "cpu", kernel=request.param)
    assert ours.kernel == request.param, "this test needs a C++ compiler"
    return ours, AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def test_logits_are_those_of_transformers_in_one_pass_and_in_many(pair):
    ours, theirs = pair
    with torch.no_grad():
        expected = theirs(torch.tensor([TEXT])).logits
    for cuts in ([12], [5, 1, 1, 4, 1], [1] * 12):
        cache = ours.new_cache(1, 20)
        parts = [ours.logits(ours.forward(part.unsqueeze(0), cache)) for part in torch.tensor(TEXT).split(cuts)]
        assert torch.allclose(torch.cat(parts, 1), expected, atol=2e-4), f"passes of {cuts} tokens"


def test_greedy_answers_are_those_of_hugging_face_generate(pair):
    ours, theirs = pair
    ids = torch.tensor([TEXT])
    output = theirs.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=30, do_sample=False)
    assert decode(ours, [TEXT], 30)[0] == [output[0, len(TEXT) :].tolist()]


def test_rows_of_different_lengths_do_not_see_each_other(pair):
    ours, _ = pair
    texts = [TEXT, TEXT[:1], TEXT[3:8]]
    together = prefill(ours, texts, ours.new_cache(3, 20))
    for row, text in zip(together, texts, strict=True):
        assert torch.allclose(row, prefill(ours, [text], ours.new_cache(1, 20))[0], atol=1e-4)


@pytest.fixture
def beginning(pair) -> list[int]:
    """Return what the model has read once; it is forgotten after the test."""
    ours, _ = pair
    ours.read_beginning(TEXT[:4])
    yield TEXT[:4]
    ours.read_beginning([])


def passes(model, prompts: list[list[int]], monkeypatch) -> list[int]:
    """Return how many tokens of a row each pass over prompts reads."""
    read, forward = [], model.forward
    monkeypatch.setattr(model, "forward", lambda ids, cache: read.append(ids.shape[1]) or forward(ids, cache))
    prefill(model, prompts, model.new_cache(len(prompts), 20))
    return read


def test_what_prompts_begin_with_is_read_once_and_changes_no_answer(pair, beginning, monkeypatch):
    ours, theirs = pair
    with torch.no_grad():
        expected = [theirs(torch.tensor([text])).logits[0, -1] for text in (TEXT, TEXT[:5])]
    found = ours.logits(prefill(ours, [TEXT, TEXT[:5]], ours.new_cache(2, 20)))
    assert torch.allclose(found, torch.stack(expected), atol=2e-4)
    assert passes(ours, [TEXT, TEXT[:5]], monkeypatch) == [len(TEXT) - 4]


@pytest.mark.parametrize("other", [[90, *TEXT[1:]], TEXT[:4], TEXT[:2]])
def test_prompts_that_begin_otherwise_or_end_there_are_read_whole(pair, beginning, other, monkeypatch):
    ours, _ = pair
    assert passes(ours, [TEXT, other], monkeypatch) == [len(TEXT)]


def test_what_a_trimmed_cache_forgot_is_not_seen(pair):
    ours, _ = pair
    clean, used = ours.new_cache(1, 20), ours.new_cache(1, 20)
    for cache in (clean, used):
        prefill(ours, [TEXT[:6]], cache)
    ours.forward(torch.tensor([[90, 91, 92]]), used)
    used.trim([6])
    rest = torch.tensor([TEXT[6:]])
    assert torch.equal(ours.forward(rest, clean), ours.forward(rest, used))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt2"}, "runs llama, mistral, qwen2, qwen3, not model_type 'gpt2'"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "rope_type is 'dynamic'"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantization_config is"),
        ({"model_type": "mistral", "sliding_window": 128}, "sliding_window is 128"),
    ],
    ids=str,
)
def test_a_model_that_needs_another_forward_pass_is_refused(tmp_path, change: dict, message: str):
    folder = build("llama, tied", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ModelError, match=message):
        create_backend(folder, "float32", "cpu")


def test_graphs_of_8_bit_weights_are_refused(tiny_model):
    with pytest.raises(ModelError, match="int8 weights need.*kernel graphs"):
        create_backend(tiny_model, "float32", "cpu", int8=True, kernel="graphs")


def test_a_device_gets_its_fastest_kernel(tiny_model):
    assert create_backend(tiny_model, "float32", "cpu").kernel == "compiled", "this test needs a C++ compiler"
    assert create_backend(tiny_model, "float16", "cpu").kernel == "torch", "the compiled pass has no float16"


def test_bfloat16_runs_in_torch_on_a_cpu_whose_onednn_cannot_pack_it(tiny_model, monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    ids = torch.tensor([[5, 6, 7]])
    for dtype in ("float32", "bfloat16"):
        ours = create_backend(tiny_model, dtype, "cpu", kernel="torch")
        assert ours.logits(ours.forward(ids, ours.new_cache(1, 8))).isfinite().all()
