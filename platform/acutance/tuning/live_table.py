"""What one sees of a campaign while it runs: a live table on a terminal, a line for each ended trial elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.live import Live
from rich.table import Table

from acutance.config.search_space import Goal
from acutance.console import say, stderr
from acutance.tuning.report.front import best, heading
from acutance.tuning.study import TrialRecord

SHOWN = 12
"""Ended trials that the live table shows, newest last; running ones are always shown."""


class LiveTable:
    """Hears of trials and shows them.

    Args:
        known: trials that ended before.
        wanted: trials in all, where there are not more already.
        steps: of a trial that is not stopped.
        at_once: trials at the same time, for the estimate of what is left.
    """

    def __init__(
        self, goals: Sequence[Goal], objective: str, known: list[TrialRecord], wanted: int, steps: int, at_once: int
    ) -> None:
        self.goals, self.objective, self.steps, self.at_once = goals, objective, steps, at_once
        self.wanted = max(wanted, len(known))
        self.ended = [trial for trial in known if trial.state != "running"]
        self.running: dict[int, tuple[int, float, dict[str, float]]] = {}
        self.live: Live | None = None
        self.started = time.monotonic()
        self.ended_here = 0

    def on_report(self, number: int, step: int, losses: dict[str, float]) -> None:
        """Show how far a trial is."""
        since = self.running.get(number, (0, time.monotonic(), {}))[1]
        self.running[number] = (step, since, losses)
        self._show()

    def on_end(self, trial: TrialRecord) -> None:
        """Show what a trial came to."""
        self.running.pop(trial.number, None)
        self.ended.append(trial)
        self.ended_here += 1
        if self.live is None:
            say(f"trial {trial.number} ({len(self.ended)} of {self.wanted}{self._left()}): {_line(trial)}")
        self._show()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keep the live table on the terminal during a `with` block."""
        if not stderr.is_terminal:
            yield
            return
        with Live(self._table(), console=stderr, refresh_per_second=4) as self.live:
            yield
        self.live = None

    def _show(self) -> None:
        if self.live is not None:
            self.live.update(self._table())

    def _table(self) -> Table:
        table = Table(title=f"{len(self.ended)} of {self.wanted} trials{self._left()}", box=None, title_justify="left")
        for column in ("trial", "step", "", *(heading(goal) for goal in self.goals)):
            table.add_column(column, overflow="fold")
        top = best(self.ended, self.goals, self.objective)
        shown = self.ended[-SHOWN:]
        for trial in shown if top is None or top in shown else [top, *shown]:
            style = "bold green" if trial is top else "" if trial.state == "complete" else "dim"
            scores = (_number(trial.scores.get(goal.name)) for goal in self.goals)
            table.add_row(str(trial.number), f"{trial.step}", trial.state, *scores, style=style)
        for number, (step, _, losses) in sorted(self.running.items()):
            loss = f"loss {losses['total']:.4g}" if "total" in losses else ""
            table.add_row(str(number), f"{step} of {self.steps}", loss, *("" for _ in self.goals), style="cyan")
        return table

    def _left(self) -> str:
        """Estimate the time left from the trials that ended during this process."""
        if not self.ended_here or len(self.ended) >= self.wanted:
            return ""
        each = (time.monotonic() - self.started) / self.ended_here
        return f", about {_clock(each * (self.wanted - len(self.ended)))} left"


def _line(trial: TrialRecord) -> str:
    scores = ", ".join(f"{name} {value:.4g}" for name, value in trial.scores.items())
    why = f" ({trial.state}: {trial.reason})" if trial.reason else ""
    return f"{scores or 'no score'}{why}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
