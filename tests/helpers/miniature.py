"""The smallest study in which every rule has something real to do, for tests that run it many times.

Two scenarios would only repeat: there is one cell, and the base model. The model has two layers and was taught one
answer, which is right for every question, so that distillation keeps rows and metrics are above zero. The own engine
times the two runs, which takes seconds where vLLM takes half a minute; vLLM distils and answers for the base model.
"""

import json
from pathlib import Path

import yaml

from tests.helpers.tiny_models import build_model

NAMES = ("Ada", "Ben", "Cleo", "Dan")
TOTAL = 9  # the answer to every question
ANSWER = f"4 + 5 = {TOTAL} apples\n#### {TOTAL}"
CELL = "cod_apples"


def write_questions(path: Path, sums: range) -> None:
    """Write questions of a user's own file, as many as there are names for every sum."""
    rows = []
    for have in sums:
        more = TOTAL - have
        for name in NAMES:
            rows.append(
                {
                    "question": f"{name} has {have} apples plus {more} more. Total?",
                    "answer": str(TOTAL),
                    "solution": f"{name} has {have} apples.\nThen {have} + {more} = {TOTAL} apples.",
                }
            )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def build(folder: Path) -> Path:
    """Write questions, prompts, a model and the config of the study into a folder; return the path of the config."""
    folder.mkdir(parents=True, exist_ok=True)
    write_questions(folder / "train.jsonl", range(1, 5))
    write_questions(folder / "test.jsonl", range(8, 9))
    prompt = {"system": "Solve.", "shots": [{"question": "2 + 2?", "answer": "2 + 2 = 4\n#### 4"}]}
    (folder / "prompt.yaml").write_text(yaml.safe_dump(prompt))
    train = {"learning_rate": 1e-5, "epochs": 1, "rank": 4, "alpha": 4, "batch": 4, "accumulate": 1, "max_length": 256}
    path = {split: str(folder / f"{split}.jsonl") for split in ("train", "test")}
    config = {
        "study": "miniature",
        "scenarios": {
            **dict.fromkeys(("easy", "medium", "hard")),
            "apples": {"source": "jsonl", "path": path, "train": 16, "test": 4},
        },
        "types": {name: {"prompt": str(folder / "prompt.yaml"), "max_tokens": 40} for name in ("cot", "cod")},
        "models": {
            "target": "tiny",
            "draft": "tiny-1l",
            "dtype": "float32",
            "sources": {
                "tiny": {"source": "path", "path": str(folder / "model")},
                "tiny-1l": {"source": "prune", "of": "tiny", "layers": [0]},
            },
        },
        "train": {"target": train, "draft": train | {"held_out": 2}},
        "distill": {"questions": None, "concurrency": 8},
        "benchmark": {"warmup": 1, "max_model_len": 256, "retimes": 0},
        "untrained": {"max_tokens": 40, "concurrency": 4},
    }
    config["types"]["cod"]["condense"] = {"min_steps": 1, "max_steps": 5, "max_words": 5}
    (folder / "study.yaml").write_text(yaml.safe_dump(config))
    return folder / "study.yaml"


def build_taught_model(folder: Path) -> Path:
    """Write a tiny model that gives ANSWER to whatever it is asked."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    build_model(folder)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    questions = [json.loads(line)["question"] for line in (folder.parent / "train.jsonl").read_text().splitlines()]
    rows = [_row(tokenizer, question) for question in questions]
    width = max(len(ids) for ids, _ in rows)
    pad = tokenizer.pad_token_id
    ids = torch.tensor([row + [pad] * (width - len(row)) for row, _ in rows])
    labels = torch.tensor([row + [-100] * (width - len(row)) for _, row in rows])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(300):
        loss = model(input_ids=ids, attention_mask=ids != pad, labels=labels).loss
        if loss.item() < 0.01:
            break
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    return folder


def _row(tokenizer, question: str) -> tuple[list[int], list[int]]:
    messages = [{"role": "system", "content": "Solve."}, {"role": "user", "content": question}]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    prompt = tokenizer.encode(text, add_special_tokens=False)
    answer = tokenizer.encode(f"{ANSWER}<|im_end|>", add_special_tokens=False)
    return prompt + answer, [-100] * len(prompt) + answer
