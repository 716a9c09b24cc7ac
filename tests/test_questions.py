r"""Sources, golds, splits and their errors. Run: pytest tests/test_questions.py

The rows of MATH format are made up. The released GSM8K files are used where `shared/data` lies beside the repository.
"""

import json
import logging
from pathlib import Path

import pytest

from doubledraft import question_sources, questions, wordproblems
from doubledraft.records import Question, RecordError, read_records

RELEASED = Path(__file__).parents[2] / "shared/data"
needs_gsm8k = pytest.mark.skipif(not (RELEASED / "gsm8k_train.jsonl").exists(), reason="GSM8K files are not here")


def write_rows(path: Path, rows: list[dict]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def own_rows(count: int, word: str = "apples") -> list[dict]:
    return [
        {"question": f"What is {n} {word} and 1?", "answer": n + 1, "solution": f"{n} + 1 = {n + 1}"}
        for n in range(count)
    ]


def math_row(problem="Find $x$.", solution=r"So $x = \boxed{4}$.", level="Level 1", kind="Algebra") -> dict:
    return {"problem": problem, "level": level, "type": kind, "solution": solution}


def math_files(folder: Path, train: list[dict], test: list[dict]) -> dict[str, str]:
    return {"train": write_rows(folder / "train.jsonl", train), "test": write_rows(folder / "test.jsonl", test)}


# Generated


@pytest.mark.parametrize("difficulty", ["easy", "medium", "hard"])
def test_generated_questions_are_written_for_both_splits(tmp_path, difficulty):
    spec = {"source": "generated", "difficulty": difficulty, "train": 40, "test": 12}
    questions.fetch(spec, "mine", 3, tmp_path / "train.jsonl", tmp_path / "test.jsonl")
    train, test = (read_records(tmp_path / f"{split}.jsonl", Question) for split in ("train", "test"))
    assert (len(train), len(test)) == (40, 12)
    assert (train[0].id, test[11].id, test[0].split) == ("mine-train-0001", "mine-test-0012", "test")
    assert train == wordproblems.generate(difficulty, "train", 40, 3, "mine")


def test_nothing_is_written_when_one_split_asks_for_too_many(tmp_path):
    spec = {"source": "generated", "difficulty": "easy", "train": 10, "test": 10**6}
    with pytest.raises(ValueError, match="'mine': 1000000 test questions"):
        questions.fetch(spec, "mine", 3, tmp_path / "train.jsonl", tmp_path / "test.jsonl")
    assert not list(tmp_path.iterdir())


def test_a_question_in_both_splits_is_an_error():
    train, test = (wordproblems.generate("easy", split, 5, 1, "s") for split in ("train", "test"))
    with pytest.raises(ValueError, match="1 questions stand in both train and test"):
        questions.check_disjoint(train + test[:1], test, "s")


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("How many, Ann?", "how  many\nANN", True),
        ("Solve $x^2 - 5x = 0$.", "Solve x^2 - 5x = 0", True),
        ("Solve 2x + 3 = 7", "Solve 2x - 3 = 7", False),
        ("Points (1, 6)", "Points (16)", False),
    ],
)
def test_texts_are_compared_without_case_and_punctuation_but_with_operators(one, two, same):
    assert (questions.normalise(one) == questions.normalise(two)) is same


# GSM8K


def test_gsm8k_gold_loses_commas_and_steps_lose_calculator_marks(tmp_path):
    row = {"question": "How many?", "answer": "He has 2*600=<<2*600=1200>>1200.\n\nThat is all.\n#### -1,200"}
    (question,) = question_sources.gsm8k("train", "s", math_files(tmp_path, [row], [row]))
    assert question.answer == "-1200"
    assert question.steps == ["He has 2*600=1200.", "That is all."]


def test_gsm8k_row_without_gold_is_named(tmp_path):
    rows = [{"question": "a", "answer": "#### 1"}, {"question": "b", "answer": "2"}]
    with pytest.raises(RecordError, match=r"train.jsonl:2: the answer has no line '#### gold'"):
        question_sources.gsm8k("train", "s", math_files(tmp_path, rows, rows))


@needs_gsm8k
def test_released_gsm8k_has_the_pinned_counts_and_only_integer_golds():
    path = {split: str(RELEASED / f"gsm8k_{split}.jsonl") for split in ("train", "test")}
    for split, count in question_sources.GSM8K_ROWS.items():
        rows = question_sources.gsm8k(split, "easy", path)
        assert len(rows) == count
        assert all(int(row.answer) is not None and row.steps and "<<" not in "".join(row.steps) for row in rows)
    train = questions.load("gsm8k", "train", 7473, 17, scenario="easy", path=path)
    questions.check_disjoint(train, question_sources.gsm8k("test", "easy", path), "easy")
    with pytest.raises(ValueError, match=r"'easy': 1320 test questions asked for, but its source \(gsm8k\) has 1319"):
        questions.load("gsm8k", "test", 1320, 17, scenario="easy", path=path)


# MATH


@pytest.mark.parametrize(
    ("solution", "found"),
    [
        (r"so $\boxed{4}$.", ["4"]),
        (r"so $\boxed{\frac{3}{4}}$.", [r"\frac{3}{4}"]),
        (r"so $\fbox{x}$", ["x"]),
        (r"so $\boxed 2$.", ["2"]),
        (r"so $\boxed{\{1, 2\}}$", [r"\{1, 2\}"]),
        (r"$\boxed{1}$ or $\boxed{2}$", ["1", "2"]),
        (r"broken $\boxed{\frac{1}{2}$", []),
        (r"none", []),
    ],
)
def test_boxes_are_read_verbatim_with_balanced_braces(solution, found):
    assert question_sources.boxes(solution) == found


def test_math_keeps_the_subjects_and_levels_asked_for(tmp_path):
    rows = [
        math_row("one"),
        math_row("two", level="Level 2"),
        math_row("five", level="Level 5"),
        math_row("other", kind="Counting & Probability"),
    ]
    path = math_files(tmp_path, rows, rows)
    algebra = question_sources.math("test", "s", path, subjects=["algebra"], levels=[1, 2])
    assert [(row.question, row.level, row.subject) for row in algebra] == [
        ("one", "1", "algebra"),
        ("two", "2", "algebra"),
    ]
    (counting,) = question_sources.math("test", "s", path, subjects=["counting_and_probability"])
    assert counting.question == "other"
    assert len(question_sources.math("test", "s", path)) == 4


def test_math_rows_without_one_gold_are_left_out_and_counted(tmp_path, caplog):
    rows = [
        math_row("kept"),
        math_row("several", r"$\boxed{1}$, $\boxed{2}$"),
        math_row("no box", "x is 2"),
        math_row("drawn [asy] draw [/asy]"),
        math_row("unknown level", level="Level ?"),
    ]
    with caplog.at_level(logging.INFO, logger="doubledraft"):
        kept = question_sources.math("train", "s", math_files(tmp_path, rows, rows), levels=[1])
    assert [row.question for row in kept] == ["kept"]
    assert "2 train rows of MATH left out, their solution has no box or several" in caplog.text
    assert "1 train rows of MATH left out, they need a drawing" in caplog.text
    assert "1 train rows of MATH left out, their level is not known" in caplog.text


def test_an_unknown_subject_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'algebr' is not a subject of MATH; choose from algebra"):
        question_sources.math("test", "s", math_files(tmp_path, [], []), subjects=["algebr"])


def test_a_training_question_of_the_test_pool_is_left_out(tmp_path):
    train = [math_row("Solve  it, now!"), math_row("another")]
    path = math_files(tmp_path, train, [math_row("solve it now"), math_row("a third")])
    kept = questions.load("math", "train", 1, 1, scenario="s", path=path)
    assert [question.question for question in kept] == ["another"]
    with pytest.raises(ValueError, match=r"'s': 2 train questions asked for, but its source \(math\) has 1"):
        questions.load("math", "train", 2, 1, scenario="s", path=path)


def test_a_folder_in_the_layout_of_the_hub_is_read(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "repository"
    write_rows(folder / "algebra/train.jsonl", [math_row("one"), math_row("two")])
    write_rows(folder / "algebra/test.jsonl", [math_row("three")])
    files = "[{split: train, path: algebra/train.jsonl}, {split: test, path: algebra/test.jsonl}]"
    (folder / "README.md").write_text(f"---\nconfigs:\n- {{config_name: algebra, data_files: {files}}}\n---\n")
    found = question_sources.math("train", "s", str(folder), subjects=["algebra"])
    assert [question.question for question in found] == ["one", "two"]


def test_a_hub_data_set_of_another_size_is_refused(monkeypatch):
    import datasets

    asked = {}

    def load_dataset(repository, name, **options):
        asked.update(options, repository=repository, name=name)
        return [{"question": "a", "answer": "#### 1"}]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(ValueError, match=r"openai/gsm8k \(main, test\) has 1 rows, expected 1319.*revision"):
        questions.load("gsm8k", "test", 1, 1, scenario="s", revision="abc")
    assert asked == {"repository": "openai/gsm8k", "name": "main", "split": "test", "revision": "abc"}


# A user's own files


def test_one_file_is_divided_by_seed_without_overlap(tmp_path):
    path = write_rows(tmp_path / "mine.jsonl", own_rows(30))
    spec = {"source": "jsonl", "path": path, "train": 20, "test": 10}
    questions.fetch(spec, "mine", 1, tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    train, test = (read_records(tmp_path / f"{name}.jsonl", Question) for name in "ab")
    assert len({question.question for question in train + test}) == 30
    assert train[0].steps and train[0].split == "train" and test[0].split == "test"
    again = questions.load("jsonl", "test", 5, 1, scenario="mine", path=path)
    assert again == test[:5], "a larger count extends a smaller one"
    assert questions.load("jsonl", "test", 10, 2, scenario="mine", path=path) != test


def test_one_file_that_is_too_small_for_both_splits_is_refused(tmp_path):
    path = write_rows(tmp_path / "mine.jsonl", own_rows(30))
    spec = {"source": "jsonl", "path": path, "train": 25, "test": 10}
    with pytest.raises(ValueError, match="'mine': 25 train and 10 test questions asked for, but .*mine.jsonl has 30"):
        questions.fetch(spec, "mine", 1, tmp_path / "a.jsonl", tmp_path / "b.jsonl")


def test_two_files_keep_their_splits_and_optional_fields(tmp_path):
    rows = [{"question": "What is 1/2 + 1/4?", "answer": "3/4", "id": "q1", "level": 2, "subject": "sums"}]
    path = math_files(tmp_path, [{"question": "why?", "answer": "x", "solution": "a\n\nb\n#### x"}], rows)
    (test,) = questions.load("jsonl", "test", 1, 1, scenario="s", path=path)
    assert (test.id, test.answer, test.level, test.subject, test.steps) == ("q1", "3/4", "2", "sums", [])
    (train,) = questions.load("jsonl", "train", 1, 1, scenario="s", path=path)
    assert (train.id, train.steps) == ("s-train-0001", ["a", "b"])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"question": "a"}', "field 'answer' is missing"),
        ('{"question": "a", "answer": "1", "soluton": "b"}', "field 'soluton' is not known"),
        ('{"question": " ", "answer": "1"}', "field 'question' should be text that is not empty"),
        ('{"question": "a", "answer": true}', "field 'answer' should be"),
        ('{"question": "a", "answer": NaN}', "not a JSON line"),
        ('{"question": "a", "answer": "1", "answer": "2"}', "a key stands twice"),
        ('["a", "1"]', "expected an object"),
        ("version https://git-lfs.github.com/spec/v1", "not a JSON line"),
        (
            '{"question": "a", "answer": "1", "id": "x"}\n{"question": "b", "answer": "1", "id": "x"}',
            "id 'x' stands twice",
        ),
    ],
)
def test_a_bad_line_is_refused_with_file_line_and_reason(tmp_path, line, reason):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"question": "good", "answer": "1"}\n' + line)
    number = 2 + line.count("\n")
    with pytest.raises(RecordError) as error:
        questions.load("jsonl", "train", 1, 1, scenario="s", path=str(path))
    assert str(error.value).startswith(f"{path}:{number}: ") and reason in str(error.value)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "mine.jsonl").write_text("\n")
    with pytest.raises(RecordError, match="mine.jsonl: the file has no rows"):
        questions.load("jsonl", "train", 1, 1, scenario="s", path=str(tmp_path / "mine.jsonl"))


def test_windows_line_ends_and_odd_separators_inside_text_are_read(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_bytes('{"question": "a\u2028b", "answer": 1}\r\n{"question": "c", "answer": 2.5}\r\n'.encode())
    found = question_sources.own("train", "s", path)
    assert [(question.question, question.answer) for question in found] == [("a\u2028b", "1"), ("c", "2.5")]
