"""A draft cut from a larger model by keeping some of its layers: those that are named, or the best of a few choices.

Depth pruning is the cheapest way to a draft with the target's tokenizer; quality comes back by training. Which layers
to keep can be measured before that: both models read the same worked solutions, and the choice whose best next token is
the whole model's most often is taken.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from doubledraft import prompts
from doubledraft.files import whole_directory
from doubledraft.log import log
from doubledraft.models import chat_template
from doubledraft.models.folder import ModelError, copy_tokenizer, read_manifest, require_space, write_manifest
from doubledraft.models.inspect import load_model, load_tokenizer
from doubledraft.models.safety import refuse_unsafe
from doubledraft.records import Question, read_records

QUESTIONS = 16  # of each file, whose worked solutions are read to measure agreement


def prune(
    source: str | Path,
    layers: Sequence[int] | Sequence[Sequence[int]],
    out: str | Path,
    questions: Iterable[str | Path] = (),
) -> None:
    """Write a model with only some decoder layers of another (0-based, ascending); embeddings and head stay.

    `layers` are the layers, or several choices of layers, of which the one that agrees with the whole model most often
    is taken; the manifest records the agreement of each. `questions` are files of Question records to measure it on.
    """
    refuse_unsafe(source)
    model = load_model(source)
    all_layers = list(model.model.layers)
    choices = [list(layers)] if not layers or isinstance(layers[0], int) else [list(choice) for choice in layers]
    for choice in choices:
        _check(choice, len(all_layers), source)
    facts = {}
    if len(choices) > 1:
        facts["agreement"] = _agreement(model, all_layers, choices, _solutions(source, questions))
        choices.sort(key=lambda choice: -facts["agreement"][_name(choice)])  # stable: the first listed of equals
        log.info("share of best tokens equal to those of %s: %s", source, facts["agreement"])
    _keep(model, all_layers, choices[0])
    _write(model, source, choices[0], out, **facts)


def prune_like(pruned: str | Path, source: str | Path, out: str | Path) -> None:
    """Keep those layers of a model that another pruned model has, by its manifest."""
    prune(source, read_manifest(pruned)["origin"]["layers"], out)


def _check(layers: list[int], depth: int, source: str | Path) -> None:
    if not layers or layers != sorted(set(layers)) or not 0 <= layers[0] <= layers[-1] < depth:
        raise ModelError(
            f"layers should be ascending, different and within 0..{depth - 1} ({source}); found {layers}; correct them "
            "in models.sources"
        )


def _keep(model, all_layers: Sequence, layers: Sequence[int]) -> None:
    """Leave a model with these of its layers; `all_layers` has all that it began with."""
    from torch.nn import ModuleList

    model.model.layers = ModuleList(all_layers[index] for index in layers)
    for place, layer in enumerate(model.model.layers):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):  # the slot of this layer in the key-value cache
                module.layer_idx = place
    model.config.num_hidden_layers = len(layers)


def _write(model, source: str | Path, layers: list[int], out: str | Path, **facts: object) -> None:
    if types := getattr(model.config, "layer_types", None):
        model.config.layer_types = [types[index] for index in layers]
    require_space(Path(out).parent, model.num_parameters() * model.dtype.itemsize, "the pruned model")
    with whole_directory(out) as folder:
        model.save_pretrained(folder)
        copy_tokenizer(source, folder)
        write_manifest(folder, {"source": "prune", "of": Path(source).name, "layers": layers}, parent=source, **facts)


def _solutions(source: str | Path, files: Iterable[str | Path]) -> list[tuple[list[int], int]]:
    """Return the token ids of questions with their worked solutions, and where each solution begins."""
    tokenizer, solutions = load_tokenizer(source), []
    for question in (question for file in files for question in read_records(file, Question)[:QUESTIONS]):
        messages = prompts.messages(None, question.question, few_shot=False)
        texts = (
            chat_template.render(tokenizer, messages, prompt=True),
            chat_template.render(
                tokenizer, [*messages, {"role": "assistant", "content": "\n".join(question.steps)}], prompt=False
            ),
        )
        prompt, ids = (tokenizer.encode(text, add_special_tokens=False) for text in texts)
        solutions.append((ids, len(prompt)))
    if not solutions:
        raise ModelError(
            f"{source}: choosing among several lists of layers needs files of questions, found none; give some, or one "
            "list of layers"
        )
    return solutions


def _agreement(model, all_layers: Sequence, choices: Sequence[list[int]], texts: Sequence) -> dict[str, float]:
    """Return for each choice the share of tokens of the solutions where its best token is the whole model's."""
    best = _best_tokens(model, texts)
    agreement = {}
    for choice in choices:
        _keep(model, all_layers, choice)
        agreement[_name(choice)] = round((_best_tokens(model, texts) == best).float().mean().item(), 4)
    return agreement


def _best_tokens(model, texts: Sequence[tuple[list[int], int]]):
    """Return the best next token at every place of every solution, [places]."""
    import torch

    with torch.inference_mode():
        rows = [
            model(torch.tensor([ids]), use_cache=False, logits_to_keep=len(ids) - start + 1).logits[0, :-1].argmax(-1)
            for ids, start in texts
        ]
    return torch.cat(rows)


def _name(layers: Sequence[int]) -> str:
    return " ".join(map(str, layers))
