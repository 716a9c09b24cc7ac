"""Fills templates: values are escaped in HTML, Markdown has the filter `md`, and a name without a value is an error."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from doubledraft import escaping

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, values: Mapping[str, object], **filters: Callable) -> str:
    """Fill a template with values; text that comes from files goes through `md` where the page is Markdown."""
    environment = _environment(TEMPLATES, template)
    environment.filters |= filters
    return environment.get_template(template).render(values)


@cache
def _environment(folder: Path, template: str) -> "Environment":
    """Return what keeps a template compiled, which takes longer than to fill it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["md"] = escaping.markdown
    return environment
