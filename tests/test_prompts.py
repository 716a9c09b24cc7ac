"""Prompt files and the messages built from them."""

from pathlib import Path

import pytest

from doubledraft.grading.extract import extract_strict
from doubledraft.prompts import PromptError, load, messages
from doubledraft.traces.condense import condense_lines
from doubledraft.traces.draft_rule import Rule, compliance, steps_of

PROMPTS = Path(__file__).parents[1] / "config/prompts"
RULE = Rule(min_steps=3, max_steps=5, max_words=5)
GOOD = "system: Think.\nshots:\n- {question: '1 + 1?', answer: '#### 2'}\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "p.yaml"
    path.write_text(text)
    return path


def test_trained_models_are_asked_without_shots():
    prompt = load(PROMPTS / "cot.yaml")
    assert messages(prompt, "2 + 2?", few_shot=False) == [
        {"role": "system", "content": prompt.system},
        {"role": "user", "content": "2 + 2?"},
    ]


def test_shots_are_turns_between_system_and_question(tmp_path):
    prompt = load(written(tmp_path, GOOD))
    roles = [(turn["role"], turn["content"]) for turn in messages(prompt, "2 + 2?", few_shot=True)]
    assert roles == [("system", "Think."), ("user", "1 + 1?"), ("assistant", "#### 2"), ("user", "2 + 2?")]


def test_both_styles_are_shown_with_the_same_questions_and_answers():
    cot, cod = load(PROMPTS / "cot.yaml"), load(PROMPTS / "cod.yaml")
    assert [shot.question for shot in cot.shots] == [shot.question for shot in cod.shots]
    assert [extract_strict(shot.answer) for shot in cot.shots] == [extract_strict(shot.answer) for shot in cod.shots]
    assert len(cot.shots) == 4


def test_draft_shots_are_what_condensing_the_thought_shots_gives():
    cot, cod = load(PROMPTS / "cot.yaml"), load(PROMPTS / "cod.yaml")
    for thought, draft in zip(cot.shots, cod.shots, strict=True):
        assert compliance(draft.answer, RULE).compliant, draft.answer
        assert condense_lines(steps_of(thought.answer), RULE) == steps_of(draft.answer)


@pytest.mark.parametrize("name", ["cot", "cod"])
def test_system_text_is_short_and_asks_for_the_answer_line(name):
    system = load(PROMPTS / f"{name}.yaml").system
    assert "####" in system
    assert len(system) <= 110, "every training row carries this text"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("system: Think.\n", "'shots' is missing"),
        (GOOD + "temperature: 1\n", "unknown key 'temperature'"),
        ("system: ''\nshots: []\n", "'system'"),
        ("system: 7\nshots: []\n", "'system'"),
        ("system: Think.\nshots: {}\n", "'shots'"),
        ("system: Think.\nshots:\n- {question: a}\n", "item 1: key 'answer' is missing"),
        ("system: Think.\nshots:\n- {question: a, answer: 2}\n", "item 1, 'answer'"),
        ("system: Think.\nshots:\n- {question: a, answer: b, hint: c}\n", "unknown key 'hint'"),
        ("- a\n", "expected the keys"),
        ("system: [\n", "not YAML"),
        ("system: !!python/object/apply:os.getcwd []\nshots: []\n", "not YAML"),
    ],
)
def test_a_wrong_prompt_file_is_refused_with_its_path_and_key(tmp_path, text, named):
    path = written(tmp_path, text)
    with pytest.raises(PromptError) as error:
        load(path)
    assert str(path) in str(error.value) and named in str(error.value)
