"""What a router sees of a prompt."""

import numpy as np
import pytest

from doubledraft.routing.features import SentenceEncoder, ngrams


def test_like_texts_have_like_n_grams_and_the_same_text_the_same_in_every_process():
    code, other, chat = map(ngrams, ("def add(x, y): return x + y", "def mul(a, b): return a * b", "Tell me of cats"))
    assert code @ other > code @ chat
    assert np.isclose(np.linalg.norm(code), 1, atol=1e-6)
    assert np.flatnonzero(ngrams("ab")).tolist() == [109, 216, 352, 488, 786, 915], "crc32 does not change"


def test_an_empty_text_has_features_too():
    assert np.isfinite(ngrams("")).all()


@pytest.mark.slow
def test_a_sentence_embedding_is_the_mean_of_the_last_states_whatever_the_batch(tiny_model):
    import torch
    from transformers import AutoModel, AutoTokenizer

    text = "How many pencils are left?"
    found = SentenceEncoder(tiny_model)(text)
    encoded = AutoTokenizer.from_pretrained(tiny_model)(text, return_tensors="pt")
    with torch.inference_mode():
        mean = AutoModel.from_pretrained(tiny_model)(**encoded).last_hidden_state[0].mean(0).numpy()
    assert np.allclose(found, mean / np.linalg.norm(mean), atol=1e-5)
