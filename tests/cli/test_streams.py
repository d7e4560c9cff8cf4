"""Commands whose output goes nowhere do their work all the same."""

from __future__ import annotations

import subprocess
import sys

import pytest

from command_line import REPOSITORY, environment

HELP = f"{sys.executable} -m acutance --help"
SAYS = (
    f"{sys.executable} -c 'from acutance.cli import streams; streams.secure(); from acutance.console import say; say("
)
DOES = f'{SAYS}"first"); say("second"); print("done")\''


def shell(command: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in the repository; a pipe's exit code is that of the command that failed."""
    line = f"set -o pipefail; {command}"
    return subprocess.run(
        ["bash", "-c", line], cwd=REPOSITORY, env=environment(**more), capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full", "2> >(head -c 1 >&2)", "<&-"])
def test_what_is_said_may_go_nowhere(where: str) -> None:
    done = shell(f"{DOES} {where}")
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_a_file_that_is_opened_never_gets_the_number_of_a_closed_stream() -> None:
    opens = f'{SAYS}"first"); print(open("README.md").fileno() > 2)\''
    assert shell(f"{opens} <&- 2>&-").stdout == "True\n"


@pytest.mark.parametrize("where", [">&-", "| true", "2>&1 | head -1"])
def test_a_result_that_nobody_wants_is_no_failure(where: str) -> None:
    done = shell(f"{HELP} {where}")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_result_that_found_no_room_is_told() -> None:
    done = shell(f"{HELP} > /dev/full")
    assert done.returncode == 1
    assert done.stderr == "error: all is done, but its result could not be printed: No space left on device\n"


def test_a_mistake_keeps_its_exit_code_where_nobody_hears_of_it() -> None:
    assert shell(f"{sys.executable} -m acutance nonsense >&- 2>&- <&-").returncode == 2


def test_characters_that_the_locale_lacks_are_escaped() -> None:
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = shell(f'{SAYS}"gr\\u00f6\\u00dfe.yaml")\'', **plain)
    assert (done.returncode, done.stderr) == (0, "gr\\xf6\\xdfe.yaml\n")
