"""Pages and texts from the templates of this package, which lie beside the modules that fill them in."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def filled_in(template: str, **values: Any) -> str:
    """Return a template with its values; in HTML they are escaped, in Markdown they stand as they are.

    Args:
        template: its path inside the package, `room/name.html.j2` or `room/name.md.j2`.
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
