"""The command line: one short function for each command. The packages below do the work.

`pipelines` has run, prepare, train and tune; `models` has evaluate, restore and the registry; `serving` has serve;
`jobs` has the Ray Jobs; `machine` has doctor, check, schema and the data sets. All share `options` and `show`.
"""

from __future__ import annotations

import gc
import signal
import sys
import traceback
from pathlib import Path
from typing import NoReturn

import typer
from rich.markup import escape

from acutance.cli import jobs, machine, models, pipelines, serving, streams
from acutance.console import say
from acutance.errors import AcutanceError, UserError
from acutance.redact import redacted
from acutance.silence import silence_libraries

app = typer.Typer(
    help="Train, tune and ship perceptual image restorers on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for commands in (pipelines.app, models.uses, serving.app, machine.app):
    app.registered_commands += commands.registered_commands
app.add_typer(models.app, name="models")
app.add_typer(jobs.app, name="jobs")
app.add_typer(machine.data, name="data")


INTERRUPTED = 128 + signal.SIGINT


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived: the command ends in an orderly way, as at Ctrl-C."""


def main() -> None:
    """Run a command. A user's mistake exits with code 2 and no traceback, a fault of ours with code 1."""
    gc.set_threshold(
        10_000
    )  # imports make many objects that stay: a search for garbage among them takes a tenth of the start
    silence_libraries()
    streams.secure()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        _require_folder()
        code = app(_spread(sys.argv[1:], "--on"), standalone_mode=False)
    except AcutanceError as error:
        fail(error)
    except typer.Abort:
        sys.exit(INTERRUPTED)
    except KeyboardInterrupt:
        _end_interrupted()
    except Exception as error:
        if hasattr(error, "exit_code") and hasattr(error, "show"):  # a mistake on the command line
            error.show()
            sys.exit(error.exit_code)
        cause = _ours(error)
        if cause is None:
            sys.exit(redacted(traceback.format_exc()))  # to standard error, exit code 1
        fail(cause)
    if code == INTERRUPTED:  # Typer makes a code of the exception
        _end_interrupted()
    if lost := streams.lost_output():
        say(f"[bold red]error[/]: all is done, but its result could not be printed: {lost.strerror}")
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _terminate(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second SIGTERM ends the process at once
    raise Terminated


def _end_interrupted() -> NoReturn:
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:  # `_terminate` was here
        say("ended by SIGTERM; run the same command again to go on")
        sys.exit(128 + signal.SIGTERM)
    say("stopped; run the same command again to go on")
    sys.exit(INTERRUPTED)


def _require_folder() -> None:
    try:
        Path.cwd()
    except FileNotFoundError:
        fix = "cd to an existing folder; if one of the same name was made since, cd to it again"
        raise UserError("the folder that this command was started in has been deleted", fix=fix) from None


def fail(error: AcutanceError) -> None:
    """Print a failure and exit with its code."""
    say(f"[bold red]error[/]: {escape(str(error))}")
    sys.exit(error.exit_code)


def _spread(words: list[str], option: str) -> list[str]:
    """Let an option take several words: `--on A B` becomes `--on A --on B`."""
    spread: list[str] = []
    inside = False
    for index, word in enumerate(words):
        if word == "--":
            return [*spread, *words[index:]]
        repeated = inside and not word.startswith("-") and spread[-1] != option
        inside = word == option or (inside and not word.startswith("-"))
        spread += [option, word] if repeated else [word]
    return spread


def _ours(error: BaseException | None) -> AcutanceError | None:
    """Find our own error inside Ray's, or the error of a full or read-only disk, whoever wrote to it."""
    from acutance.storage.disk import complaint_of, complaint_of_database  # with pyarrow, which `--help` does without

    while error is not None:
        if isinstance(error, AcutanceError):
            return error
        if isinstance(error, UnicodeEncodeError):
            what = f"Python is set to {error.encoding} here, which lacks characters of a name or of what is printed"
            return UserError(what, where=ascii(error.object)[:200], fix="set PYTHONUTF8=1, or LC_ALL=C.UTF-8")
        if refused := complaint_of(error) if isinstance(error, OSError) else complaint_of_database(error):
            return refused
        error = getattr(error, "cause", None) or error.__cause__
    return None
