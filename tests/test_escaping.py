"""Text stays text: in a terminal, a spreadsheet, a Markdown page."""

import pytest
from markdown_it import MarkdownIt

from doubledraft import escaping


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd", "-cmd", "@SUM(A1)", "\t=1", "\r=1", " =1", "\n=1", "-2+3", "＝1", "\u00a0=1"]
)
def test_cells_that_a_spreadsheet_would_run_are_guarded(text):
    assert escaping.csv_cell(text).startswith("'")


@pytest.mark.parametrize("text", ["-3", "+3", "-3.25", "-.5", "1e5", "-1e-5", "12", "x = 5", "", "a-b", "\\frac{1}{2}"])
def test_numbers_and_plain_text_stay_as_they_are(text):
    assert escaping.csv_cell(text) == text


def test_cells_of_no_text_keep_their_value():
    assert [escaping.csv_cell(value) for value in (None, 3, 0.5, True)] == ["", 3, 0.5, True]


def test_hidden_characters_are_shown_as_escapes():
    shown = escaping.visible("a\x1b[0m\u202eb\u200b\x00\r\nc")
    assert shown == "a\\x1b[0m\\u202eb\\u200b\\x00\\r\nc"
    assert escaping.visible("x² + ½ = π, naïve 数") == "x² + ½ = π, naïve 数"


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[a](javascript:alert(1))",
        "![a](http://evil.example/x.png)",
        "<http://evil.example>",
        "&lt;script&gt;",
        "`` ` `` <b>",
        "a\n\n# heading\n\n<div>",
        "|---|",
        "~~gone~~ **loud**",
    ],
)
def test_markdown_shows_the_text_and_makes_nothing_of_it(text):
    parser = MarkdownIt("gfm-like", {"html": True, "linkify": False})
    (inline,) = [token for token in parser.parse("x " + escaping.markdown(text)) if token.type == "inline"]
    assert {part.type for part in inline.children} <= {"text", "text_special"}, "an element, a link or an image"
    assert "".join(part.content for part in inline.children) == "x " + " ".join(text.split())
