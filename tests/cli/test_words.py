from __future__ import annotations

import pytest

from acutance.cli import _spread


@pytest.mark.parametrize(
    ("words", "spread"),
    [
        ("evaluate m --on A", "evaluate m --on A"),
        ("evaluate m --on A B C --json", "evaluate m --on A --on B --on C --json"),
        ("evaluate m --on A --json --on B", "evaluate m --on A --json --on B"),
        ("evaluate m --on A B --protocol p q", "evaluate m --on A --on B --protocol p q"),
        ("jobs submit -- evaluate m --on A B", "jobs submit -- evaluate m --on A B"),
        ("run p", "run p"),
    ],
)
def test_an_option_takes_several_words(words: str, spread: str) -> None:
    assert _spread(words.split(), "--on") == spread.split()
