"""Templates: text from files stays text, in HTML and in Markdown, and a value that is missing is an error."""

import pytest
from jinja2 import UndefinedError

from doubledraft import pages


@pytest.fixture
def templates(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "TEMPLATES", tmp_path)
    return tmp_path


def test_values_are_escaped_in_html(templates):
    (templates / "page.html.j2").write_text("<p>{{ text }}</p>\n")
    assert pages.render("page.html.j2", {"text": "<script>"}) == "<p>&lt;script&gt;</p>\n"


def test_in_markdown_the_filter_escapes_and_other_filters_are_had(templates):
    (templates / "page.md.j2").write_text("{{ text | md }} {{ text | twice }}")
    made = pages.render("page.md.j2", {"text": "*a*"}, twice=lambda text: text * 2)
    assert made == r"\*a\* *a**a*"


def test_a_name_without_a_value_is_an_error(templates):
    (templates / "page.md.j2").write_text("{{ absent }}")
    with pytest.raises(UndefinedError, match="absent"):
        pages.render("page.md.j2", {})
