"""Commands in the test's own process: what is slow about a command is mostly its imports."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from acutance.cli import main
from command_line import ASTRAY, REPOSITORY, Done, Here


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    def run(*arguments: str, **environment: str) -> Done:
        for name in ASTRAY:
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["acutance", *arguments])
        monkeypatch.chdir(REPOSITORY)
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return Done(arguments, int(end.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture
def ray_here() -> Iterator[None]:
    """One local Ray that the commands of a test share."""
    from acutance.cluster.connect import connect

    with connect("local", num_cpus=2):
        yield
