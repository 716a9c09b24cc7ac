"""Writing traces with the oracle and with a paid teacher, a server of ours."""

import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from doubledraft.api_keys import VARIABLES, MissingKey
from doubledraft.grading.extract import extract_strict
from doubledraft.prompts import PromptError
from doubledraft.questions.wordproblems import generate
from doubledraft.records import Trace, read_records, write_records
from doubledraft.traces import write
from doubledraft.traces.condense import condense_all
from doubledraft.traces.draft_rule import Rule, compliance
from doubledraft.traces.teacher import oracle, prompt
from doubledraft.traces.teacher.messages import TeacherError
from doubledraft.traces.verify import Dropped
from tests.helpers.openai_server import Fault, Server

ROOT = Path(__file__).parents[2]
PROMPTS = {role: ROOT / f"config/prompts/teacher_{role}.yaml" for role in ("solve", "condense", "independent")}
RULE = {"min_steps": 3, "max_steps": 5, "max_words": 5}
COUNT = 12
QUESTIONS = generate.generate("easy", "train", COUNT, 17, "easy")
SOLUTIONS = {trace.question: trace.text for trace in oracle.write_traces(QUESTIONS)}
TEACHER = yaml.safe_load((ROOT / "config/config.yaml").read_text())["teacher"] | {
    "name": "openai",
    "model": "tiny",
    "price": {"input": 1.0, "output": 10.0},
    "budget": 1.0,
    "concurrency": 1,
    "max_output_tokens": 50,
    "min_yield": 0.5,
}
Read = tuple[list[Trace], list[Dropped], dict]


def solve(messages: list[dict]) -> str:
    """Answer as a good teacher does."""
    return SOLUTIONS[messages[-1]["content"]]


def condensed(messages: list[dict]) -> str:
    """Condense the solution that stands in the request, as a good teacher does."""
    solution = messages[-1]["content"].partition("Solution:\n")[2]
    made = condense_all([trace(solution)], "cod", Rule(**RULE))[0]
    return made[0].text


def trace(text: str) -> Trace:
    return Trace(id="q", scenario="easy", type="cot", question="?", answer="?", text=text, teacher="oracle")


@pytest.fixture(autouse=True)
def no_keys(monkeypatch, tmp_path):
    """Hide the keys of whoever runs the tests, and their `.env`."""
    for names in VARIABLES.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folder(tmp_path) -> Path:
    write_records(tmp_path / "questions.jsonl", QUESTIONS)
    return tmp_path


def files(folder: Path, type: str) -> dict[str, Path]:
    endings = {"traces": "traces.jsonl", "dropped": "dropped.jsonl", "asked": "asked.json"}
    return {name: folder / f"{type}_{ending}" for name, ending in endings.items()}


def write_cot(folder: Path, server: Server | None = None, **changes) -> Read:
    teacher = TEACHER | {"base_url": server.url if server else None} | changes
    paths = files(folder, "cot")
    write.write_cot(
        questions=folder / "questions.jsonl",
        prompt_file=PROMPTS["solve"],
        teacher=teacher,
        ledger=folder / "ledger/cot_easy.jsonl",
        **paths,
    )
    return read(paths)


def summarize(
    folder: Path, by: str, server: Server | None = None, **changes
) -> tuple[list[Trace], list[Dropped], dict]:
    paths = files(folder, "cod")
    write.write_condensed(
        source=folder / ("questions.jsonl" if by == "independent" else "cot_traces.jsonl"),
        prompt_file=PROMPTS["condense" if by == "teacher" else "independent"],
        type="cod",
        by=by,
        rule=RULE,
        teacher=TEACHER | {"base_url": server.url if server else None} | changes,
        ledger=folder / "ledger/cod_easy.jsonl",
        **paths,
    )
    return read(paths)


def read(paths: dict[str, Path]) -> Read:
    asked = json.loads(paths["asked"].read_text())
    return read_records(paths["traces"], Trace), read_records(paths["dropped"], Dropped), asked


# the oracle and the rule


def test_oracle_and_rule_write_every_question_into_one_of_two_files_and_ask_nobody(folder):
    kept, lost, asked = write_cot(folder, name="oracle")
    assert [row.id for row in kept] == [row.id for row in QUESTIONS] and not lost
    assert not asked["rounds"] and not any(value for value in asked.values())
    kept, lost, asked = summarize(folder, "rule", name="oracle")
    assert sorted(row.id for row in [*kept, *lost]) == sorted(row.id for row in QUESTIONS)
    assert all(extract_strict(row.text) == row.answer for row in kept)
    assert asked["usd"] == 0 and not (folder / "ledger").exists()


def test_a_result_without_rows_is_refused(folder):
    write_records(folder / "cot_traces.jsonl", [trace("5 + 10 = 15\n#### 15")])
    with pytest.raises(write.TooFewTraces, match="1 1 steps where the rule asks for 3 to 5"):
        summarize(folder, "rule")
    assert not any(path.exists() for path in files(folder, "cod").values())


# chains of thought of a paid teacher


def test_every_question_is_asked_once_verified_and_paid_for_once(folder):
    with Server(solve) as server:
        kept, lost, asked = write_cot(folder, server)
        assert [(row.id, row.text) for row in kept] == [(row.id, SOLUTIONS[row.question]) for row in QUESTIONS]
        assert not lost and {row.teacher for row in kept} == {"openai tiny"}
        assert asked["rounds"] == [{"asked": COUNT, "kept": COUNT, "reasons": {}}]
        assert asked["usd"] == pytest.approx(COUNT * (100 * 1 + 20 * 10) / 1e6)
        assert asked["usd_per_kept"] == pytest.approx(300 / 1e6)
        system, user = server.asked[0]["messages"]
        assert (user["role"], user["content"]) == ("user", QUESTIONS[0].question)
        assert "####" in system["content"]
        assert write_cot(folder, server) == (kept, lost, asked)
        assert len(server.asked) == COUNT


def test_only_a_reply_that_cannot_be_used_is_asked_for_again(folder):
    bad = {
        0: "no answer line",
        1: SOLUTIONS[QUESTIONS[1].question] + "5",  # ends in a wrong answer
        4: f"#### 1\n{SOLUTIONS[QUESTIONS[4].question]}",  # which of two answers?
    }

    def first_bad(messages: list[dict]) -> str:
        number = [row.question for row in QUESTIONS].index(messages[-1]["content"])
        return bad.pop(number, None) or solve(messages)

    with Server(first_bad, [Fault(), Fault(), Fault(kind="length"), Fault(kind="content_filter")]) as server:
        kept, lost, asked = write_cot(folder, server)
    first, second = asked["rounds"]
    assert first["reasons"] == {
        "no answer": 1,
        "wrong answer": 1,
        "truncated": 1,
        "blocked": 1,
        "several answer lines": 1,
    }
    assert second == {"asked": 4, "kept": 4, "reasons": {}}
    assert [(row.id, row.reason) for row in lost] == [(QUESTIONS[1].id, "wrong answer")]
    assert len(kept) == COUNT - 1 and len(server.asked) == COUNT + 4


def test_a_question_is_asked_no_more_often_than_allowed(folder):
    first = QUESTIONS[0].question

    def never(messages: list[dict]) -> str:
        return "I cannot." if messages[-1]["content"] == first else solve(messages)

    with Server(never) as server:
        kept, lost, asked = write_cot(folder, server, attempts=3)
        assert [row.reason for row in lost] == ["no answer"] and len(kept) == COUNT - 1
        assert [found["asked"] for found in asked["rounds"]] == [COUNT, 1, 1]
        write_cot(folder, server, attempts=3)
    assert len(server.asked) == COUNT + 2


def test_too_low_a_yield_writes_nothing_and_another_run_pays_nothing(folder):
    wrong = {row.question for row in QUESTIONS[:8]}

    def mostly_wrong(messages: list[dict]) -> str:
        return "I guess.\n#### -1" if messages[-1]["content"] in wrong else solve(messages)

    with Server(mostly_wrong) as server:
        with pytest.raises(write.TooFewTraces, match=r"4 of 12 .*min_yield 0\.5 wants 6; dropped: 8 wrong answer"):
            write_cot(folder, server)
        assert not any(path.exists() for path in files(folder, "cot").values())
        kept, lost, _ = write_cot(folder, server, min_yield=0.3)
    assert (len(kept), len(lost), len(server.asked)) == (4, 8, COUNT)


def test_the_ledgers_of_all_steps_share_one_budget(folder):
    with Server(solve) as server:
        write_cot(folder, server)
        with pytest.raises(TeacherError, match=r"teacher\.budget is 0\.01 USD"):
            summarize(folder, "independent", server, budget=0.01)
    assert len(server.asked) == COUNT


def test_another_prompt_asks_anew(folder, tmp_path):
    with Server(solve) as server:
        write_cot(folder, server)
        text = yaml.safe_load(PROMPTS["solve"].read_text())
        PROMPTS_EDITED = tmp_path / "edited.yaml"
        PROMPTS_EDITED.write_text(yaml.safe_dump(text | {"system": text["system"] + "Be brief."}))
        paths = files(folder, "cot")
        write.write_cot(
            questions=folder / "questions.jsonl",
            prompt_file=PROMPTS_EDITED,
            teacher=TEACHER | {"base_url": server.url},
            ledger=folder / "ledger/cot_easy.jsonl",
            **paths,
        )
        assert len(server.asked) == 2 * COUNT
        assert read(paths)[2]["usd"] == pytest.approx(COUNT * 300 / 1e6), "the ledger has what was paid before"


def test_thoughts_and_what_follows_the_answer_are_not_taught(folder):
    with Server(lambda messages: f"<think>\nhm\n</think>\n{solve(messages)}\n\nHope this helps!") as server:
        kept, _, _ = write_cot(folder, server)
    assert kept[0].text == SOLUTIONS[kept[0].question]


def test_a_server_of_ones_own_is_asked_without_a_key_and_openai_is_not(folder, monkeypatch):
    with Server(solve) as server:
        write_cot(folder, server)
    assert server.keys == {"Bearer no-key"}
    monkeypatch.setenv("OPENAI_API_KEY", "not a key")
    with pytest.raises(MissingKey, match="OPENAI_API_KEY is no key"):
        write_cot(folder, server)
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(MissingKey, match="set OPENAI_API_KEY"):
        write_cot(folder, base_url=None)


# condensing by a paid teacher


def test_a_teacher_condenses_the_row_that_it_is_given(folder):
    write_cot(folder, name="oracle")
    with Server(condensed) as server:
        kept, lost, asked = summarize(folder, "teacher", server)
    assert len(kept) == COUNT and not lost and asked["usd"] > 0
    assert all(compliance(row.text, Rule(**RULE)).compliant for row in kept)
    assert {(row.type, row.teacher) for row in kept} == {("cod", "openai tiny")}
    sent = server.asked[0]["messages"]
    assert QUESTIONS[0].question in sent[1]["content"] and SOLUTIONS[QUESTIONS[0].question] in sent[1]["content"]
    assert "3 to 5 lines" in sent[0]["content"] and "{" not in sent[0]["content"]


def test_condensing_that_breaks_the_row_is_asked_for_again_and_then_dropped(folder):
    write_cot(folder, name="oracle")
    breaks = [
        lambda text: text.replace("####", "1234567 beads\n####"),
        lambda text: text + "0",
        lambda text: text.rpartition("\n")[2],
        lambda text: text.replace("####", "so that is how it goes then\n####"),
    ]
    rows = [row.question for row in QUESTIONS]
    seen = Counter()

    def broken(messages: list[dict]) -> str:
        number = next(n for n, text in enumerate(rows) if text in messages[-1]["content"])
        seen[number] += 1
        good = condensed(messages)
        return breaks[number](good) if number < 4 and (number == 0 or seen[number] == 1) else good

    with Server(broken) as server:
        kept, lost, asked = summarize(folder, "teacher", server, attempts=2)
    assert [(row.id, row.reason) for row in lost] == [
        (QUESTIONS[0].id, "a number that its chain of thought does not have")
    ]
    assert len(kept) == COUNT - 1
    assert [found["asked"] for found in asked["rounds"]] == [COUNT, 4]
    assert sum(asked["rounds"][0]["reasons"].values()) == 4


def test_independent_drafts_are_kept_for_their_answer_alone(folder):
    wordy = "So this is a step that has far too many words for the rule."
    gold = {row.question: row.answer for row in QUESTIONS}

    def answer(messages: list[dict]) -> str:
        question = messages[-1]["content"]
        return f"{wordy}\n#### {gold[question]}" if question != QUESTIONS[0].question else "It is 1.\n#### -1"

    with Server(answer) as server:
        kept, lost, _ = summarize(folder, "independent", server)
    assert [row.reason for row in lost] == ["wrong answer"]
    assert len(kept) == COUNT - 1 and not compliance(kept[0].text, Rule(**RULE)).compliant
    assert "5 words at most" in server.asked[0]["messages"][0]["content"].replace("\n", " ")


# prompts


def test_only_known_places_are_filled_and_all_at_once():
    template = prompt.TeacherPrompt(system=r"At most {max_words}, \frac{1}{2}, {name}.", user="{question} {solution}")
    made = prompt.messages(template, {"question": "What is {solution}?", "solution": "{question}", "max_words": 5})
    assert made == [
        {"role": "system", "content": r"At most 5, \frac{1}{2}, {name}."},
        {"role": "user", "content": "What is {solution}? {question}"},
    ]


@pytest.mark.parametrize("role", PROMPTS)
def test_shipped_prompts_load(role):
    assert "{question}" in prompt.load(PROMPTS[role], role).user


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("system: Solve.\n", "expected the keys 'system' and 'user'"),
        ("system: Solve.\nuser: Now.\n", r"key 'user': expected \{question\}"),
        ("system: 5\nuser: '{question}'\n", "key 'system': expected text"),
        ("a: [", "not YAML"),
    ],
)
def test_a_prompt_file_that_cannot_be_used_is_named(text, message, tmp_path):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(PromptError, match=f"p.yaml.*{message}"):
        prompt.load(tmp_path / "p.yaml", "solve")
