"""The token viewer in a real browser: clicked, typed into and hovered; hostile tokens are shown and never run.

Needs Chromium; without it the tests are skipped, and say so.
"""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from doubledraft.evaluation.decodings import record
from doubledraft.records import RecordError
from doubledraft.report import viewer, vllm_answers
from doubledraft.summaries.decoding_record import Lane, LaneStep
from tests.helpers import decodings
from tests.helpers.browser import CHROMIUM, browser
from tests.helpers.decodings import ANSWER, TEXTS, alone, audit, drafted, vllm_answer

WITHOUT = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: the viewer was not opened in a browser")
HOSTILE = {
    0: "</script><script>document.body.append('RAN')</script>",
    1: "<img src='http://127.0.0.1:9/x' onerror=\"document.body.append('RAN')\">",
    2: "\u202egnirts\u2066",
    3: "\\xe2\\x82",
    4: "&lt;b&gt;\x00\u200b\ud7ff",
    5: "\n",
    6: "<style>*{display:none}</style><meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'>",
    7: "${alert(1)}{{7*7}}",
    8: "",
}


def in_browser(test: Callable) -> Callable:
    """Mark a test that opens Chromium."""
    return pytest.mark.slow(WITHOUT(test))


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("viewer") / "viewer.html"
    viewer.write(decodings.records(), "cod_easy", ["made up"], path)
    return path.as_uri()


@pytest.fixture
def page(chromium, address):
    """Return the page as it opens, and check in the end that nothing failed in it and nothing was asked for."""
    chromium.open("about:blank")
    chromium.events.clear()
    chromium.open(address)
    yield chromium
    assert chromium.errors() == []
    assert [asked for asked in chromium.requested() if not asked.startswith(("file:", "about:"))] == []


def kinds(page, lane: int) -> list[str]:
    """Return the kind of every token of a lane, from its class."""
    return page.run(f"[...document.querySelectorAll('[data-lane=\"{lane}\"] .token')].map(t => t.classList[1])")


@in_browser
def test_every_token_shows_how_it_came_to_be(page):
    assert kinds(page, 0) == ["plain"] * 9
    accepted = ["accepted", "accepted", "bonus"]
    assert kinds(page, 1) == ["plain", *accepted, "choice", *accepted, "accepted"]
    assert page.text('[data-lane="1"] .struck') == " 12↵"
    assert "1.80 tokens per step" in page.text('[data-lane="1"] h3')
    assert page.run("document.querySelectorAll('[data-lane=\"1\"] .ruler .step').length") == 5
    widths = page.run("[...document.querySelectorAll('[data-lane=\"1\"] .time .step')].map(s => s.offsetWidth)")
    assert widths[0] == pytest.approx(2 * widths[1], abs=2), "the prompt's pass took twice as long"


@in_browser
def test_hovering_a_token_shows_both_models_probabilities(page):
    page.hover('[data-lane="1"] .token', 4)
    shown = page.text("#inspector")
    for part in ("rejected here:  12", "p 90 % by the target", "q 25 % by the draft", "step 2", "the step took 20 ms"):
        assert part in shown
    assert "target's five best (p)" in shown and "draft's five best (q)" in shown
    assert page.run("document.querySelectorAll('#inspector tr.this').length") == 2
    page.hover('[data-lane="1"] .token', 1)
    assert "min(1, p/q) 100 %" in page.text("#inspector") and "place 1 of the draft" in page.text("#inspector")


@in_browser
def test_a_probability_is_never_written_as_zero(page):
    written = page.run("[0, 0.0004, 0.0123, 0.5, 0.9936, 0.9996, 1].map(probability)")
    assert written == ["< 0.1 %", "< 0.1 %", "1.2 %", "50 %", "99.4 %", "99.9 %", "100 %"]
    assert page.run("percent(0)") == "0 %", "a count may be zero"


@in_browser
def test_a_token_that_is_pointed_at_leaves_the_address_as_it_is(page):
    page.hover('[data-lane="1"] .token', 4)
    assert "token" not in page.run("location.hash")
    page.click('[data-lane="1"] .token', 4)
    page.hover('[data-lane="1"] .token', 1)
    assert "token=5" in page.run("location.hash"), "on the way to the address bar the mouse passes other tokens"
    page.click("#inspector .close")
    assert page.run("document.getElementById('inspector').hidden")


@in_browser
def test_a_difference_is_named_with_its_margin(page):
    page.click("#list button", 1)
    note = page.text(".note")
    assert "first differs from the target alone at token 2:  + against  *" in note
    assert "0.00040" in note and "a tie of roundings" in note
    page.press("d")
    assert page.run("document.querySelector('.token.here').classList.contains('differs')")
    page.press("ArrowRight")
    assert "probabilities: not known here" in page.text("#inspector")


@in_browser
def test_what_an_engine_does_not_report_is_said(page):
    page.click("#list button", 2)
    assert "does not report which step emitted which token" in page.text('[data-lane="1"] h3')
    assert set(kinds(page, 1)) == {"plain"}
    assert "There is no draft audit of this answer" in page.text("#main")
    assert "<b>once</b>" in page.text(".question")


@in_browser
def test_other_lengths_and_drafts_are_simulated_and_marked(page):
    page.click('.lengths button[aria-pressed="false"]', 3)  # K = 4 of this draft
    lane = page.text('[data-lane="2"] h3')
    assert "this draft, K = 4" in lane and "simulated from the audit" in lane and "3.00 tokens per step" in lane
    assert "k=4" in page.run("location.hash")
    page.click(".lengths + p + .lengths button, .lengths ~ .lengths button", 7)  # K = 8 of the other draft
    assert "another, K = 8" in page.text('[data-lane="2"] h3')
    assert "4.50 tokens per step" in page.text('[data-lane="2"] h3')


@in_browser
def test_the_replay_takes_the_time_that_was_measured_and_ends_on_the_same_text(page):
    hidden = "document.querySelectorAll('.token.later').length"
    page.run("window.began = performance.now()")
    page.click("#play")
    page.wait(f"{hidden} > 0 || document.getElementById('clock').textContent === '0.18 s'")
    page.wait(f"document.getElementById('play').textContent.includes('replay') && {hidden} === 0")
    assert page.run("performance.now() - window.began") > 180
    assert page.text("#clock") == "0.18 s"
    page.run("(s => { s.value = 400; s.dispatchEvent(new Event('input')); })(document.getElementById('slider'))")
    seen = [
        page.run(f"document.querySelectorAll('[data-lane=\"{lane}\"] .token:not(.later)').length") for lane in (0, 1)
    ]
    assert seen == [3, 4], "after 72 ms: three steps of 20 ms; 40 ms and one step of 20 ms"
    assert page.run("document.querySelectorAll('[data-lane=\"1\"] .ruler .step:not(.later)').length") == 2


@in_browser
def test_search_order_and_keys(page):
    page.press("/")
    page.type("six fo")
    assert page.run("[...document.querySelectorAll('#list b')].map(b => b.textContent)") == ["q1"]
    assert page.text("#count") == "1 found in 3 questions"
    page.press("Enter")
    assert "q=q1" in page.run("location.hash")
    page.press("/")
    page.press("Escape")
    page.click("#list button", 0)
    assert page.run("document.querySelectorAll('#list button').length") == 3
    page.press("s")
    assert page.run("document.querySelector('#list b').textContent") == "q2", "no steps: fewest tokens per step"
    page.press("s")
    assert page.run("document.querySelector('#list b').textContent") == "q0"
    page.press("j")
    assert "q=q1" in page.run("location.hash")
    page.press("k")
    page.press("n")
    assert "token=5" in page.run("location.hash") and "lane=1" in page.run("location.hash")
    page.press("?")
    assert page.run("document.getElementById('help').open")
    page.press("Escape")
    page.wait("!document.getElementById('help').open")


@in_browser
def test_an_address_leads_to_a_token(page, address):
    page.open("about:blank")
    page.open(f"{address}#q=q0&lane=1&token=5&draft=another&k=8")
    assert "by the target, in place of a rejected token" in page.text("#inspector")
    assert "another, K = 8" in page.text('[data-lane="2"] h3')
    for wrong in ("q=nobody", "q=q0&lane=7&token=999", "q=q0&lane=-1&token=x&k=99", "%%%"):
        page.open("about:blank")
        page.open(f"{address}#{wrong}")
        assert page.text("#main").startswith("question q0")


@in_browser
def test_bars_count_places_and_classes(page):
    figures = page.text(".figures")
    assert "token 1" in figures and "75 % of 4; all: 75 % of 8" in figures
    assert "token 2" in figures and "67 % of 3; all: 67 % of 6" in figures
    assert "digits and operators" in figures


@in_browser
def test_hostile_tokens_are_shown_and_nothing_runs(chromium, tmp_path):
    texts = TEXTS | HOSTILE
    one = record(HOSTILE[0], HOSTILE[1] + "\u202e", [alone(), drafted()], texts.get, audit("q"))
    one = replace(one, other_drafts={HOSTILE[6]: ANSWER})
    viewer.write([one], HOSTILE[0], [HOSTILE[1]], tmp_path / "hostile.html")
    chromium.events.clear()
    chromium.open((tmp_path / "hostile.html").as_uri())
    chromium.hover('[data-lane="1"] .token', 4)
    chromium.click(".lengths button", 3)
    shown = chromium.run("document.body.innerText").replace("append('RAN')", "")
    assert "RAN" not in shown and "</script><script>document.body" in chromium.text('[data-lane="1"] .tokens')
    assert chromium.run("document.images.length + document.querySelectorAll('main style, main meta').length") == 0
    for code in ("U+202E", "U+2066", "U+0000", "U+200B", "\\xe2\\x82", "no text"):
        assert code in chromium.text('[data-lane="1"] .tokens'), code
    assert [asked for asked in chromium.requested() if not asked.startswith("file:")] == []


@in_browser
def test_the_policy_holds_even_where_escaping_would_fail(chromium, tmp_path):
    page, _ = viewer.render(decodings.records(), "cod_easy")
    (tmp_path / "bare.html").write_text(page.replace("<header>", f"<header>{HOSTILE[0]}{HOSTILE[1]}"))
    chromium.open((tmp_path / "bare.html").as_uri())
    assert "RAN" not in chromium.run("document.body.innerText").replace("append('RAN')", "")


@in_browser
def test_nothing_is_wider_than_a_telephone(page):
    page.call("Emulation.setDeviceMetricsOverride", width=360, height=780, deviceScaleFactor=1, mobile=False)
    page.click('[data-lane="1"] .token', 4)
    width, left = page.run("[document.documentElement.scrollWidth, document.getElementById('inspector').offsetLeft]")
    page.call("Emulation.clearDeviceMetricsOverride")
    assert width == 360 and left >= 0


@in_browser
def test_print_has_all_tokens_and_no_controls(page):
    page.call("Emulation.setEmulatedMedia", media="print")
    display = "getComputedStyle(document.querySelector('{}')).display"
    assert page.run(display.format("nav")) == page.run(display.format(".controls")) == "none"
    assert page.run(display.format(".lengths")) == "flex" and page.run(display.format("main .on-screen")) == "none"
    assert page.run("getComputedStyle(document.querySelector('.accepted')).borderBottomStyle") == "solid"
    assert page.run("getComputedStyle(document.querySelector('.bonus')).borderBottomStyle") == "double"
    assert "line-through" in page.run("getComputedStyle(document.querySelector('.struck')).textDecorationLine")
    page.call("Emulation.setEmulatedMedia", media="")


def test_48_questions_fit_into_2_megabytes_and_more_are_left_out_with_notice():
    texts = {token: f" token{token}" for token in range(4000)}
    ids = [(7 * at) % 4000 for at in range(110)]
    steps = [LaneStep(emitted=2, proposed=2, accepted=1, drafted=[1, 2], seconds=0.0123456)] * 55
    lanes = [alone(ids), Lane(name="draft, K = 2", token_ids=ids, steps=steps, seconds=1.234567)]
    wide = audit("q", ids, best=ids)
    five = [[[(token + at) % 4000, 0.123456 / at] for at in range(1, 6)] for token in ids]
    wide = type(wide)(**{name: getattr(wide, name) for name in wide.__dataclass_fields__} | {"target_top": five})
    rows = [record(f"q{number}", "What is it? " * 20, lanes, texts.get, wide) for number in range(48)]
    page, left_out = viewer.render(rows, "cod_hard")
    assert left_out == 0 and len(page.encode()) < 2_000_000
    page, left_out = viewer.render(rows * 8, "cod_hard")
    assert left_out > 0 and len(page.encode()) < 2_000_000 and f'"left_out":{left_out}' in page


@pytest.mark.parametrize("form", ["object", "list", "lines"])
def test_answers_of_vllms_server_are_read_in_any_form(form, tmp_path):
    answers, path = [vllm_answer(), vllm_answer(id="2")], tmp_path / "answers.json"
    text = {"object": json.dumps(answers[0]), "list": json.dumps(answers, indent=1)}
    path.write_text(text.get(form) or "".join(json.dumps(one) + "\n" for one in answers))
    assert vllm_answers.is_answers(path)
    found = vllm_answers.read(path)
    assert len(found) == (1 if form == "object" else 2)
    [lane] = found[0].lanes
    assert [(step.proposed, step.accepted, step.emitted) for step in lane.steps] == [
        (0, 0, 1), (2, 2, 3), (2, 0, 1), (2, 1, 2),
    ]  # fmt: skip
    assert lane.seconds == 0.1 and found[0].texts["4"] == " 24"


@pytest.mark.parametrize("metrics", [{}, {"speculative_decoding": {"num_spec_tokens": 3, "per_step_accepted": None}}])
def test_an_answer_of_vllm_that_lacks_something_is_refused_with_what_to_ask_for(metrics, tmp_path):
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(vllm_answer(metrics=metrics)))
    with pytest.raises(RecordError, match=r"answer 1 has no `metrics.speculative_decoding.per_step_accepted`; ask"):
        vllm_answers.read(path)
    path.write_text(json.dumps(vllm_answer(choices=[{"message": {}}])))
    with pytest.raises(RecordError, match="no `choices.0..token_ids`"):
        vllm_answers.read(path)
