"""The demo: two lanes side by side, each by its own clock; in a real browser, and refusing what it should."""

import json
import socket
import urllib.error
import urllib.request
from dataclasses import replace

import pytest

from doubledraft.cli import demo, demo_page, main
from doubledraft.cli.demo_page import MOST_CHARACTERS, Demo, race
from doubledraft.engine.decoding_metrics import Answer, Metrics, StepTime
from doubledraft.engine.proposers import NGram
from doubledraft.inference.load_pair import OptionError, load_pair
from tests.helpers.browser import CHROMIUM, browser

ASKED = {"adaptive": False, "length": 3, "temperature": 0, "max_tokens": 24}


@pytest.fixture(scope="module")
def models(tiny_model, tiny_draft):
    pair = load_pair(tiny_model, tiny_draft, dtype="float32")
    plain = load_pair(tiny_model, dtype="float32")
    return Demo(plain, {"near": pair, demo.NGRAM: replace(plain, proposer=NGram())})


def lane(seconds: float, steps: int):
    """Yield the metrics of an answer whose steps all take some seconds."""
    times = []
    for _ in range(steps):
        times.append(StepTime(0, 0.0, seconds))
        yield Metrics([Answer(1)], 0.0, times)


def test_the_lane_that_is_behind_by_its_own_clock_takes_the_next_step():
    seen = [
        {name: len(metrics.times) for name, metrics in found.items()}
        for found in race({"slow": lane(0.03, 2), "fast": lane(0.01, 4)})
    ]
    assert seen[-1] == {"slow": 2, "fast": 4}
    assert {"slow": 1, "fast": 3} in seen, "three fast steps while the slow lane takes one"


def test_both_lanes_stream_and_end_on_the_answer_that_each_has_alone(models):
    shown = list(models.answer("What is 4 * 6?", "near", **ASKED))
    alone, drafted = shown[-1]
    [prompt] = models.plain.token_ids(["What is 4 * 6?"])
    *_, metrics = models.plain.stream(prompt, 24)
    assert alone["ids"] == drafted["ids"] == metrics.answers[0].token_ids
    assert sum(step["emitted"] for step in drafted["steps"]) == len(drafted["ids"])
    assert any(step["proposed"] for step in drafted["steps"]) and "accepted" in drafted["facts"]
    json.dumps(shown)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"prompt": "x" * (MOST_CHARACTERS + 1)}, "characters: at most"),
        ({"prompt": "  "}, "the prompt is empty"),
        ({"draft": "/etc"}, "choose one of near"),
        ({"length": 99}, "expected K from 1"),
        ({"draft": demo.NGRAM, "adaptive": True}, "adaptive K needs the confidence of a draft model"),
        ({"max_tokens": 10**6}, "and 1 to 512 tokens"),
        ({"temperature": -1}, "temperature should be 0"),
    ],
)
def test_what_the_fields_would_not_allow_is_refused(models, changes, reason):
    with pytest.raises((OptionError, ValueError), match=reason):
        list(models.answer(**{"prompt": "4 * 6?", "draft": "near"} | ASKED | changes))


def test_examples_without_a_prompt_file_are_refused_before_any_model_is_loaded(capsys):
    assert main.main(["demo", "--model", "nowhere", "--few-shot"]) == main.REFUSED
    assert "--few-shot needs the examples of a prompt file" in capsys.readouterr().err


def test_a_page_that_cannot_be_served_is_refused_before_any_model_is_loaded(capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for port, reason in ((taken.getsockname()[1], "Address already in use"), (99999, "port must be 0-65535")):
            assert main.main(["demo", "--model", "nowhere", "--port", str(port)]) == main.REFUSED
            assert f"--port {port}: cannot listen there" in (said := capsys.readouterr().err) and reason in said
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    assert main.main(["demo", "--model", "nowhere"]) == main.REFUSED
    assert "the page needs Gradio" in capsys.readouterr().err


def test_drafts_are_named_by_their_folders_also_the_working_one(models, tiny_draft, monkeypatch):
    monkeypatch.chdir(tiny_draft)
    assert list(demo._drafts(models.plain, ["."])) == [tiny_draft.name, demo.NGRAM]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: the demo was not opened in a browser")
def test_in_a_browser_both_answers_come_and_nothing_else_is_asked_for(models, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    models.warm_up()
    served = demo_page.serve(models, "127.0.0.1", port, block=False)
    try:
        with browser(tmp_path) as page:
            page.open(f"http://127.0.0.1:{port}/")
            page.wait("!!document.querySelector('#answer') && !!document.querySelector('#prompt textarea')")
            page.run("document.querySelector('#prompt textarea').focus()")
            page.type("And 7 more?")
            page.click("#answer")
            page.wait("document.querySelectorAll('#drafted .accepted').length > 20")
            page.wait("document.querySelector('#alone .facts').textContent.includes('128 tokens in')")
            page.wait("document.querySelector('#drafted .facts').textContent.includes('128 tokens in')")
            kept = "[...document.querySelectorAll('#{} .token')].map(t => t.firstChild.textContent).join()"
            assert page.run(kept.format("alone")) == page.run(kept.format("drafted"))
            assert "drafted, and accepted" in page.text(".legend")
            assert page.errors() == []
            here = (f"http://127.0.0.1:{port}/", "about:", "data:", "blob:")
            assert [asked for asked in page.requested() if not asked.startswith(here)] == []
        for path in ("file=/etc/passwd", f"file={models.plain.target.name}/config.json"):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/gradio_api/{path}")
    finally:
        served.close()
