"""A command that is asked to end by a signal."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from acutance.commands import context
from command_line import Here


@pytest.fixture
def handlers() -> Iterator[None]:
    """Handlers of signals as they were, afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("number", "code", "words"),
    [(signal.SIGTERM, 143, "ended by SIGTERM; run the same"), (signal.SIGINT, 130, "stopped; run the same")],
)
def test_a_command_ends_in_words_and_by_its_own_code(
    here: Here, monkeypatch: pytest.MonkeyPatch, number: int, code: int, words: str
) -> None:
    monkeypatch.setattr(context, "open_pipeline", lambda *_: os.kill(os.getpid(), number))
    done = here("run", "quickstart", "--dry-run")
    assert done.returncode == code
    assert words in done.stderr
