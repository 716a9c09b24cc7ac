"""Whether a target and a draft have one tokenizer and one vocabulary size, and whether the native engine runs them."""

from collections.abc import Mapping
from pathlib import Path

from doubledraft.files import write_json
from doubledraft.models.architecture import supported_config
from doubledraft.models.folder import ModelError, read_config
from doubledraft.models.inspect import load_tokenizer, positions, refuse_tokens_without_row


def check_pair(target: str | Path, draft: str | Path, *, max_model_len: int | None = None) -> dict[str, object]:
    """Check that a draft may propose token ids to a target in any engine: as `check_tokens`, and of one size.

    Raise ModelError naming both folders and the first difference, or the model whose positions do not reach
    `max_model_len` tokens (prompt and answer).
    """
    for folder in (target, draft):
        if max_model_len and (reach := positions(folder)) and max_model_len > reach:
            raise ModelError(
                f"benchmark.max_model_len is {max_model_len}, but {folder} has only {reach} positions; set at most "
                "that, or take a model with more"
            )
    tokens, sizes = check_tokens(target, draft), vocabulary_sizes(target, draft)
    if sizes[0] != sizes[1]:
        raise ModelError(
            f"target {target} and draft {draft} share a tokenizer but pad it to {sizes[0]} and {sizes[1]} rows, and "
            f"vLLM's draft_model needs equal sizes; set `pad_vocabulary_to: {max(sizes)}` on the smaller one in "
            "models.sources"
        )
    return {"target": str(target), "draft": str(draft), "vocabulary": sizes[0], "tokens": tokens, "same": True}


def check_tokens(target: str | Path, draft: str | Path) -> int:
    """Return how many tokens target and draft have; raise ModelError unless each has the same id in both, and a row.

    vLLM's draft_model method uses the target's tokenizer for both, so a wrong pair would run and propose nonsense.
    """
    pair = f"target {target} and draft {draft}"
    (tokens, special), (draft_tokens, draft_special) = _vocabulary(target), _vocabulary(draft)
    refuse_other_tokens(pair, tokens, draft_tokens)
    for name in sorted(special.keys() | draft_special.keys()):
        if special.get(name) != draft_special.get(name):
            raise ModelError(
                f"{pair} differ in {name}: {special.get(name)!r} and {draft_special.get(name)!r}; choose two models of "
                "one family, or set the target's in the draft's tokenizer_config.json"
            )
    for folder in (target, draft):
        refuse_tokens_without_row(folder, load_tokenizer(folder))
    return len(tokens)


def vocabulary_sizes(*folders: str | Path) -> list[int]:
    """Return the rows of each model's embedding, padding included."""
    return [read_config(folder)["vocab_size"] for folder in folders]


def refuse_other_tokens(pair: str, tokens: Mapping[str, int], draft_tokens: Mapping[str, int]) -> None:
    """Raise ModelError naming the first token that has another id in the draft; `pair` names the two models."""
    for token, _ in sorted(tokens.items() ^ draft_tokens.items(), key=lambda item: item[::-1]):
        raise ModelError(
            f"{pair} have different tokenizers: token {token!r} is id {tokens.get(token)} in the target and "
            f"{draft_tokens.get(token)} in the draft; choose two models of one family"
        )


def write_pair_check(
    target: str | Path, draft: str | Path, out: str | Path, *, max_model_len: int, native: bool = False
) -> None:
    """Run `check_pair` and write what it found as JSON; `native`: this project's own engine must run both models."""
    for folder in (target, draft) if native else ():
        supported_config(folder)
    write_json(out, check_pair(target, draft, max_model_len=max_model_len))


def _vocabulary(folder: str | Path) -> tuple[dict[str, int], dict[str, object]]:
    tokenizer = load_tokenizer(folder)
    return tokenizer.get_vocab(), {"eos_token": tokenizer.eos_token, "bos_token": tokenizer.bos_token}
