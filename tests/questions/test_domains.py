"""Prompts of a domain: what a source gives, which prompts are one group, and splits that share none."""

import json
import random

import pytest

from doubledraft.questions import domain_sources, python_library
from doubledraft.questions.domain_sources import HUB, DomainPrompt, row_prompts
from doubledraft.questions.domains import SPLITS, deal, group, split_domain
from doubledraft.records import Question, RecordError, read_records
from doubledraft.summaries import json_file
from doubledraft.summaries.domain_manifest import DomainManifest

COUNTS = {"train": 12, "validation": 4, "test": 4}
STORY = "Nina walks to the old market every Sunday and buys six red apples for her mother and two for her brother"
SOURCE = '''
raise SystemExit("a module that is read must not run")

class Shelf:
    def add(self, book: str, *, shelf: int = 1) -> None:
        """Put a book on one of the shelves.

        Raise KeyError where it stands there already."""
        self.check(book)
        self.books[shelf].append(book)

    def check(self, book):
        """Too short."""
        return book
'''


def splits(folder, spec: dict, seed: int = 3) -> dict[str, list[Question]]:
    """Return the questions that `split_domain` wrote, by split."""
    out = {split: folder / f"{split}.jsonl" for split in SPLITS}
    split_domain(spec=spec, domain="tales", seed=seed, out=out, manifest=folder / "manifest.json")
    return {split: read_records(path, Question) for split, path in out.items()}


def own_file(folder, rows: list[dict]) -> dict:
    """Write rows into a file; return the entry of the config that reads it."""
    (folder / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"source": "jsonl", "path": str(folder / "own.jsonl"), "licence": "CC0-1.0", **COUNTS}


def test_a_function_is_asked_for_by_signature_and_docstring_without_its_body():
    [prompt] = python_library.functions(SOURCE)
    assert "def add(self, book: str, *, shelf: int=1) -> None:" in prompt and "Raise KeyError" in prompt
    assert "append" not in prompt, "the body is what the target should write"
    compile(prompt.partition("```python\n")[2].partition("```")[0], "prompt", "exec")


def test_sources_that_do_not_parse_give_no_prompt():
    assert not list(python_library.functions("print 'Python 2'")) and not list(python_library.functions("\0"))


def test_prompts_of_one_module_or_that_nearly_repeat_each_other_are_one_group():
    prompts = [
        DomainPrompt(STORY, "fruit"),
        DomainPrompt("How far is the moon from here?", "fruit"),
        DomainPrompt(STORY.replace("six", "nine"), "other"),
        DomainPrompt("What does a tin of blue paint cost?", "other"),
        DomainPrompt("Name three rivers in Spain."),
    ]
    assert sorted(map(len, group(prompts))) == [1, 4], "one near repetition joins both modules"


def test_splits_share_no_group_and_a_group_does_not_dominate_its_split():
    groups = [[DomainPrompt(f"{place} {number}", str(place)) for number in range(50)] for place in range(20)]
    parts = deal(groups, COUNTS, random.Random(0))
    held = {split: {place for place, _ in rows} for split, rows in parts.items()}
    assert {split: len(rows) for split, rows in parts.items()} == COUNTS
    assert not (held["train"] & held["test"] or held["train"] & held["validation"] or held["test"] & held["validation"])
    assert len(held["test"]) == 4 and len(held["train"]) == 12, "prompts come from as many groups as there are"


def test_generated_prompts_share_no_template_and_their_golds_are_kept(tmp_path):
    found = splits(tmp_path, {"source": "generated", **COUNTS})
    manifest = json_file.read(tmp_path / "manifest.json", DomainManifest)
    subjects = {split: {row.subject for row in rows} for split, rows in found.items()}
    assert not subjects["train"] & (subjects["test"] | subjects["validation"])
    assert all(row.answer for rows in found.values() for row in rows)
    assert {split: counts.prompts for split, counts in manifest.splits.items()} == COUNTS
    assert manifest.licence == "MIT" and manifest.groups > 20


def test_the_same_seed_gives_the_same_prompts_and_another_one_others(tmp_path):
    spec = {"source": "generated", **COUNTS}
    assert splits(tmp_path, spec) == splits(tmp_path, spec) != splits(tmp_path, spec, seed=4)


def test_repeated_prompts_and_golds_that_equal_nothing_are_left_out_and_counted(tmp_path):
    rows = [{"prompt": f"Tell me about the number {number} {'very ' * number}much"} for number in range(1, 40)]
    rows += [rows[0], {"prompt": "Which set is it, now that all is said?", "answer": r"\frac{1}{"}]
    found = splits(tmp_path, own_file(tmp_path, rows))
    manifest = json_file.read(tmp_path / "manifest.json", DomainManifest)
    assert manifest.left_out == {"repeats another prompt": 1, "gold answer that cannot be graded": 1}
    assert manifest.licence == "CC0-1.0" and manifest.origin[0]["sha256"]
    assert not [row for rows in found.values() for row in rows if "Which set" in row.question]


def test_more_prompts_than_there_are_name_the_key_and_both_counts(tmp_path):
    rows = [{"prompt": f"A question about {word}, and nothing else at all"} for word in ("cats", "dogs", "cows")]
    with pytest.raises(ValueError, match=r"domains\.sets\.tales: 12 train prompts asked for, but .*3 prompts"):
        splits(tmp_path, own_file(tmp_path, rows))


@pytest.mark.parametrize(
    ("fields", "advice"),
    [
        (lambda at: {"group": "ab"[at % 2]}, "in 2 groups, .* at most a fifth of the groups each$"),
        (lambda at: {"answer": f"if x: {{{at}"}, "leave out a field `answer` that is no final answer$"),
    ],
)
def test_prompts_that_give_too_few_for_a_split_say_why(fields, advice, tmp_path):
    rows = [{"prompt": f"Tell me about the number {at} {'very ' * at}much"} | fields(at) for at in range(1, 40)]
    with pytest.raises(ValueError, match=advice):
        splits(tmp_path, own_file(tmp_path, rows))


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"question": "How far?"}, "How far?"),
        ({"prompt": ["Write a poem.", "Now shorten it."], "category": "writing"}, "Write a poem."),  # MT-Bench
        ({"question_id": 81, "category": "math", "turns": ["Add 2 and 3."]}, "Add 2 and 3."),  # Spec-Bench
        ({"problem": "Solve x = 2."}, "Solve x = 2."),  # MATH
    ],
)
def test_question_files_in_use_are_read_by_their_first_turn(row, text):
    assert [prompt.text for prompt in row_prompts(row, "here")] == [text]


def test_a_row_without_a_text_is_refused_by_its_place():
    with pytest.raises(RecordError, match=r"own\.jsonl:7: expected a text in one of question, prompt"):
        list(row_prompts({"text": "?"}, "own.jsonl:7"))


@pytest.mark.parametrize(("answer", "gold"), [(0, "0"), ("", ""), (None, ""), ([1, 2], None), ("half \ud83d", None)])
def test_an_answer_is_text_or_a_number_or_the_row_is_refused_by_its_place(answer, gold):
    row = {"prompt": "How many?", "answer": answer}
    if gold is None:
        with pytest.raises(RecordError, match=r"own\.jsonl:7: field 'answer' "):
            list(row_prompts(row, "own.jsonl:7"))
    else:
        assert [prompt.answer for prompt in row_prompts(row, "own.jsonl:7")] == [gold]


def test_data_sets_of_code_give_functions_without_bodies_by_repository():
    [task] = HUB["humaneval"].prompts({"prompt": 'def f(x):\n    """Double x."""\n'}, "row 1")
    assert task.text.endswith('```python\ndef f(x):\n    """Double x."""\n```')
    [function] = HUB["codeparrot"].prompts({"content": SOURCE, "repo_name": "ada/shelf"}, "row 1")
    assert function.key == "ada/shelf" and "append" not in function.text


@pytest.mark.parametrize(
    ("row", "text", "answer"),
    [
        ({"question": "How many?", "answer": "4 * 6 = 24\n#### 24"}, "How many?", "24"),  # GSM8K
        ({"task_id": "HumanEval/0", "prompt": "def f(x):\n", "entry_point": "f", "test": ""}, python_library.TASK, ""),
        ({"content": SOURCE, "repo_name": "ada/shelf"}, "def add(self, book", ""),  # codeparrot
        ({"question_id": 81, "turns": ["Add 2 and 3."]}, "Add 2 and 3.", ""),  # Spec-Bench
    ],
)
def test_a_local_copy_of_a_data_set_is_read_as_the_hub_s_rows_are(row, text, answer, tmp_path):
    found = domain_sources.read(own_file(tmp_path, [row]), "tales", 1, 10)
    assert text in found.prompts[0].text and found.prompts[0].answer == answer and found.origin[0]["sha256"]


def test_a_data_set_of_the_hub_is_read_at_its_pinned_commit(monkeypatch):
    asked = []

    def read_hub(*arguments):
        asked.append(arguments)
        return domain_sources.files.Table([("row 1", {"prompt": ["Hello, how are you?"]})], {"commit": arguments[3]})

    monkeypatch.setattr(domain_sources.files, "read_hub", read_hub)
    found = domain_sources.read({"source": "hub", "name": "mt_bench"}, "chat", 0, 50)
    assert [prompt.text for prompt in found.prompts] == ["Hello, how are you?"] and found.licence == "Apache-2.0"
    assert asked == [("HuggingFaceH4/mt_bench_prompts", None, "train[:50]", HUB["mt_bench"].revision)]
    domain_sources.read({"source": "hub", "name": "mt_bench", "revision": "f" * 40}, "chat", 0, 50)
    assert asked[1][3] == "f" * 40
