"""The offline teacher."""

import pytest

from doubledraft.grading.extract import extract_strict
from doubledraft.questions.wordproblems import generate
from doubledraft.records import Question
from doubledraft.traces.teacher import oracle

QUESTION = Question(
    id="q1", scenario="easy", split="train", question="5 + 3?", answer="8", steps=["Add  them.", "", " 5 + 3 = 8\n"]
)


def test_a_trace_is_the_steps_one_a_line_then_the_answer_line():
    (trace,) = oracle.write_traces([QUESTION])
    assert trace.text == "Add them.\n5 + 3 = 8\n#### 8"
    assert (trace.id, trace.question, trace.answer, trace.type, trace.teacher) == ("q1", "5 + 3?", "8", "cot", "oracle")


@pytest.mark.parametrize("difficulty", ["easy", "medium", "hard"])
def test_every_generated_question_gets_a_trace_that_ends_in_its_answer(difficulty):
    asked = generate.generate(difficulty, "train", 100, 17, difficulty)
    traces = oracle.write_traces(asked)
    assert [trace.id for trace in traces] == [question.id for question in asked]
    assert all(extract_strict(trace.text) == trace.answer for trace in traces)


def test_a_question_without_steps_is_named():
    bare = Question(id="q2", scenario="mine", split="train", question="?", answer="1", steps=[])
    with pytest.raises(oracle.NoSolution, match="'q2'"):
        oracle.write_traces([QUESTION, bare])
