"""The page: one HTML file that needs nothing else, opens from disk, and is readable on paper, at night and by ear."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""The browser itself keeps the page from loading anything from elsewhere."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2126; --faint: #667; --line: #d9dde2; --paper: #fff; --wash: #f4f6f8;
  --best: #c0392b; --good: #1e8449; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e3e6ea; --faint: #98a1ab; --line: #39414a; --paper: #16191d; --wash: #20252b; --best: #ff8576;
    --good: #6fcf97; }
  img.figure { filter: invert(0.91) hue-rotate(180deg); }
}
body { margin: 0 auto; max-width: 68rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p, li { max-width: 50rem; }
.faint { color: var(--faint); }
.facts { display: flex; flex-wrap: wrap; gap: .7rem; margin: 1.4rem 0; padding: 0; list-style: none; }
.facts li { background: var(--wash); border-radius: 8px; padding: .6rem 1rem; min-width: 7rem; }
.facts b { display: block; font-size: 1.25rem; font-weight: 600; }
img { display: block; max-width: 100%; height: auto; margin: .8rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; margin: .5rem 0; }
th, td { text-align: right; padding: .28rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child, .text { text-align: left; }
th { font-weight: 600; background: var(--wash); vertical-align: bottom; white-space: pre; }
td { white-space: nowrap; }
td.text { white-space: normal; }
tr.best td { font-weight: 600; color: var(--best); }
tr.aside td { color: var(--faint); }
td.good { color: var(--good); }
td.bad { color: var(--best); font-weight: 600; }
pre, code { font: .84rem/1.5 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre { background: var(--wash); padding: .8rem 1rem; border-radius: 8px; overflow-x: auto; white-space: pre-wrap;
  overflow-wrap: anywhere; }
summary { cursor: pointer; }
@media print { body { max-width: none; } .wide { overflow: visible; } }
"""


@dataclass(frozen=True)
class Line:
    """A table's row; `kind` is `best`, `aside` or nothing, `marks` are the kinds of single cells."""

    cells: Sequence[str]
    kind: str = ""
    marks: dict[int, str] = field(default_factory=dict)


def page(name: str, body: Iterable[str]) -> str:
    """Return the page.

    Args:
        body: HTML, as the functions below return it.
    """
    head = (
        f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(name)}</title>\n<style>{STYLE}</style>"
    )
    content = "\n".join(part for part in body if part)
    return f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{content}\n</body>\n</html>\n'


def title(text: str, below: str) -> str:
    """Return the page's heading with a line below it."""
    return f'<header>\n<h1>{escape(text)}</h1>\n<p class="faint">{escape(below)}</p>\n</header>'


def section(name: str, *parts: str) -> str:
    """Return a heading and what is below it; nothing where there is nothing."""
    below = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{escape(name)}</h2>\n{below}\n</section>" if below else ""


def words(text: str, kind: str = "") -> str:
    """Return a paragraph; nothing of an empty text."""
    return f"<p{_class(kind)}>{escape(text)}</p>" if text else ""


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return large figures with what they are."""
    cells = "".join(f"<li><b>{escape(value)}</b>{escape(name)}</li>" for name, value in pairs)
    return f'<ul class="facts">{cells}</ul>'


def picture(png: bytes | None, about: str, kind: str = "figure") -> str:
    """Return a PNG inside the page; `about` is for those who do not see it. Figures turn dark at night."""
    if png is None:
        return ""
    data = base64.b64encode(png).decode()
    return f'<img{_class(kind)} alt="{escape(about)}" src="data:image/png;base64,{data}">'


def table(columns: Sequence[str], rows: Sequence[Line], *, text: Iterable[int] = ()) -> str:
    """Return a table; the columns numbered in `text` hold words, the others but the first hold numbers."""
    if not rows:
        return ""
    kind = dict.fromkeys(text, "text")
    head = "".join(f'<th scope="col"{_class(kind.get(i, ""))}>{escape(c)}</th>' for i, c in enumerate(columns))
    lines = []
    for row in rows:
        cells = "".join(
            f"<td{_class(row.marks.get(i) or kind.get(i, ''))}>{escape(c)}</td>" for i, c in enumerate(row.cells)
        )
        lines.append(f"<tr{_class(row.kind)}>{cells}</tr>")
    body = "\n".join(lines)
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def code(text: str) -> str:
    """Return text as it is, lines and all."""
    return f"<pre>{escape(text.rstrip())}</pre>"


def folded(summary: str, *parts: str) -> str:
    """Return parts that open when they are asked for."""
    below = "\n".join(part for part in parts if part)
    return f"<details><summary>{escape(summary)}</summary>\n{below}\n</details>" if below else ""


def subtitle(text: str) -> str:
    """Return a heading inside a section."""
    return f"<h3>{escape(text)}</h3>"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
