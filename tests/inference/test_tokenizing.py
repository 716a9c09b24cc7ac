"""Text that streams is the text as a whole, never half a character."""

import pytest

from doubledraft.inference.tokenizing import Pieces, prompt_ids, shared_beginning, stop_ids
from tests.helpers.tiny_models import build_tokenizer

TEXT = "Nina has 4 boxes: 4 * 6 = 24 → “vingt-quatre”, 二十四, 👩‍🔬!\n#### 24"


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def test_pieces_are_the_text_and_no_character_is_ever_cut(tokenizer):
    ids = tokenizer.encode(TEXT)
    assert len(ids) > len(TEXT) // 2 and any("\ufffd" in tokenizer.decode(token) for token in ids), "no split character"
    pieces = Pieces(tokenizer)
    given = [pieces.add(token) for token in ids]
    assert "".join(given) == TEXT and pieces.rest() == ""
    assert not any("\ufffd" in piece for piece in given)


def test_a_character_that_never_becomes_whole_is_given_at_the_end(tokenizer):
    *whole, cut = tokenizer.encode("24 →")
    pieces = Pieces(tokenizer)
    assert "".join(map(pieces.add, whole)) == "24 " and cut
    assert pieces.rest() == "\ufffd"


def test_the_end_of_an_answer_has_no_text(tokenizer):
    pieces = Pieces(tokenizer)
    assert [pieces.add(token) for token in [*tokenizer.encode("24"), 2]][-1] == "" and pieces.rest() == ""


def test_a_question_is_put_by_the_chat_template_and_without_one_as_it_is(tokenizer):
    messages = [{"role": "system", "content": "Solve."}, {"role": "user", "content": "4 * 6 = ?"}]
    asked = tokenizer.decode(prompt_ids(tokenizer, messages))
    assert (
        asked == "<|im_start|>system\nSolve.<|im_end|>\n<|im_start|>user\n4 * 6 = ?<|im_end|>\n<|im_start|>assistant\n"
    )
    plain = build_tokenizer(template=None)
    assert plain.decode(prompt_ids(plain, messages)) == "Solve.\n\n4 * 6 = ?"


def test_an_answer_ends_at_the_tokens_of_tokenizer_and_config(tokenizer, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama", "eos_token_id": [2, 207]}')
    assert stop_ids(tmp_path, tokenizer) == {2, 207}
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [0, 2]}')
    assert stop_ids(tmp_path, tokenizer) == {0, 2}


@pytest.mark.parametrize(
    ("prompts", "shared"),
    [
        ([[1, 2, 3], [1, 2, 4, 5]], [1, 2]),
        ([[1, 2, 3], [1, 2]], [1]),
        ([[1, 2, 3], [2, 3]], []),
        ([[1], [1, 2]], []),
        ([[1, 2, 3], [1, 2, 3]], []),
        ([[1, 2, 3]], []),
        ([], []),
    ],
)
def test_what_several_prompts_begin_with_leaves_of_each_a_token_to_read(prompts, shared):
    assert shared_beginning(prompts) == shared
