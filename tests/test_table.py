from __future__ import annotations

import io

import pytest
from rich.console import Console

from acutance.table import Number, Row, Table

HOSTILE = "a|b\n[red]<i>"
TABLE = Table(
    ["name", Number("PSNR", "dB ↑")],
    [Row([HOSTILE, "27.10"], cell_styles={1: "best"}), Row(["truth", None], "aside", last=True)],
)


def test_the_terminal_shows_names_as_they_are() -> None:
    console = Console(width=60, file=io.StringIO(), color_system=None)
    console.print(TABLE.rich())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[red]<i>" in text
    assert [line.split() for line in text.splitlines()][:2] == [["PSNR"], ["name", "dB", "↑"]]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("markdown", "| name | PSNR dB ↑ |\n| --- | ---: |\n| a\\|b [red]<i> | **27.10** |\n| truth |  |\n"),
        ("csv", 'name,PSNR\n"a|b\n[red]<i>",27.10\ntruth,\n'),
    ],
)
def test_the_forms_of_a_table(form: str, text: str) -> None:
    assert getattr(TABLE, form)() == text


def test_html_escapes_names_and_marks_the_best() -> None:
    text = TABLE.html()
    assert "&lt;i&gt;" in text
    assert "<i>" not in text
    assert '<td class="best">27.10</td>' in text
    assert '<tr class="aside">' in text
