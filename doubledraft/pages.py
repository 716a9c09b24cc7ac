"""Fills templates: values are escaped in HTML, Markdown has the filter `md`, and a name without a value is an error."""

from collections.abc import Callable, Mapping
from pathlib import Path

from doubledraft import escaping

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, values: Mapping[str, object], **filters: Callable) -> str:
    """Fill a template with values; text that comes from files goes through `md` where the page is Markdown."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"md": escaping.markdown, **filters}
    return environment.get_template(template).render(values)
