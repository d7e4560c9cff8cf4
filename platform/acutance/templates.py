"""Fills in the Jinja templates of this package, which lie beside the modules that use them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def filled_in(template: str, **values: Any) -> str:
    """Return a template filled in; values are escaped in HTML, not in Markdown.

    Args:
        template: its path inside the package, such as `registry/card.md.j2`.
    """
    return _environment().get_template(template).render(**values)


@functools.cache
def _environment() -> Environment:
    import jinja2  # most commands make no page

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
