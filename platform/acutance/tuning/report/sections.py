"""What the page of a campaign says, section by section."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta

from acutance.config.search_space import Pbt
from acutance.redact import redacted
from acutance.tuning.report import html
from acutance.tuning.report.front import best, labels, pareto_front, quantity, scored, spent
from acutance.tuning.report.record import Drawn, Record
from acutance.tuning.report.study_link import dashboard_command, yaml_text
from acutance.tuning.report.table import SHORT, grids, notes
from acutance.tuning.study import TrialRecord

STATES = {"complete": "complete", "stopped": "stopped", "failed": "failed", "running": "interrupted"}
OPENED = 12
"""Rows of a list that is shown open; a longer one is folded."""

FIGURES = {
    "history": (
        "The best so far",
        "The line: the best score so far of trials trained to their end, in the order in which they were proposed. The "
        "axis above counts the training steps of all trials until then, those of stopped ones too.",
        "No trial was trained to its end: there is no history.",
    ),
    "curves": (
        "Learning curves",
        "Each trial's scores on its way; red the best trial, dotted with a cross those that were stopped.",
        "No trial was measured more than once: there are no learning curves.",
    ),
    "parallel": (
        "Parallel coordinates",
        "A line a trial that was trained to its end, for one objective after the other: the darker, the better.",
        "Parallel coordinates need two trials trained to their end.",
    ),
    "importances": (
        "What mattered",
        "The share of each score's variation that a parameter explains (fANOVA over the trials trained to their end).",
        "",
    ),
}


def report_page(record: Record, drawn: Mapping[str, Drawn]) -> str:
    """Return the page of a campaign; `drawn` holds its figures by name."""
    settings = record.campaign.model_dump(mode="json", by_alias=True, exclude={"tables"})
    body = [
        html.title(record.campaign.title, _subtitle(record)),
        html.facts(_facts(record)),
        _unfinished(record),
        _table(record),
        _front(record, drawn["pareto"]),
        html.section("The best trials' pictures", *_shown(drawn["sheet"], "the best trials' pictures", "sheet")),
        *(_figure(record, name, drawn[name]) for name in FIGURES if name in drawn),
        _stopped(record),
        html.section("All trials", _trial_table(record, record.attempts)),
        html.section("Settings", html.code(yaml_text(settings))),
        _home(record),
    ]
    return html.page(record.campaign.title, body)


def _subtitle(record: Record) -> str:
    what = f"table {record.search.table}" if record.search.table else f"sampler {record.campaign.sampler.type}"
    scheduler = record.campaign.scheduler.type if record.campaign.scheduler else "none"
    return f"{record.study}: stage {record.campaign.stage} of {record.search.file.name}, {what}, scheduler {scheduler}"


def _facts(record: Record) -> list[tuple[str, str]]:
    campaign, attempts = record.campaign, record.attempts
    counts = Counter(attempt.state for attempt in attempts)
    steps = sum(spent(attempts, campaign.seeds).values())
    seconds = sum(attempt.seconds or 0 for attempt in attempts)
    states = [(words, str(counts[state])) for state, words in STATES.items() if counts[state]]
    found = [("trials", f"{len(attempts)} of {record.wanted}"), *states, ("steps trained", f"{steps:,}")]
    found.append(("time of all trials", str(timedelta(seconds=round(seconds)))))
    winner = best(attempts, campaign.objectives, campaign.judge)
    if winner is not None and record.table is None:
        found += [("best trial", str(winner.number))]
        found += [(f"its {goal.name}", scored(goal, winner)) for goal in campaign.objectives]
    return found


def _unfinished(record: Record) -> str:
    ended = sum(attempt.state != "running" for attempt in record.attempts)
    if ended >= record.wanted:
        return ""
    return html.words(f"{ended} of {record.wanted} trials have ended; the same command with --resume goes on.")


def _table(record: Record) -> str:
    if record.table is None:
        return ""
    parts = [html.words(note) for note in notes(record.table)]
    others = {row.name for row in record.table.rows if not row.run}
    kinds = {SHORT["agrees"]: "good", SHORT["disagrees"]: "bad"}
    for grid in grids(record.table):
        lines = [
            html.Line(row, "aside" if row[0] in others else "", {i: kinds[c] for i, c in enumerate(row) if c in kinds})
            for row in grid.rows
        ]
        parts += [html.subtitle(grid.title), html.table(grid.columns, lines)]
    return html.section("Measured beside published", *parts)


def _front(record: Record, drawn: Drawn) -> str:
    front = pareto_front(record.attempts, record.campaign.objectives)
    several = len(record.campaign.objectives) > 1
    shown = _shown(drawn, "the scores of all trials")
    if record.table is not None:
        return html.section("Rows beside published ones", html.words("A point a row: its mean over the seeds."), *shown)
    words = "No trial is better than one of these in one objective without being worse in another."
    listed = [html.words(words if several else "The best trial."), _trial_table(record, front)] if front else []
    return html.section("Pareto front" if several else "Scores", *shown, *listed)


def _figure(record: Record, name: str, drawn: Drawn) -> str:
    title, about, why_none = FIGURES[name]
    words = about if drawn.png is not None else why_none
    return html.section(title, html.words(words), *_shown(drawn, title))


def _shown(drawn: Drawn, about: str, kind: str = "figure") -> list[str]:
    return [html.picture(drawn.png, about, kind), *(html.words(note, "faint") for note in drawn.notes)]


def _stopped(record: Record) -> str:
    """Who was stopped or failed, where and why, and what stopping has saved."""
    ended = [attempt for attempt in record.attempts if attempt.state in ("stopped", "failed")]
    stopped = [attempt for attempt in ended if attempt.state == "stopped"]
    words = []
    if stopped:
        steps = Counter(attempt.step for attempt in stopped)
        where = ", ".join(f"{count} at step {step:,}" for step, count in sorted(steps.items()))
        words.append(f"{len(stopped)} of {len(record.attempts)} trials were stopped early: {where}.")
        if not isinstance(record.campaign.scheduler, Pbt):
            seeds = record.campaign.seeds
            trained, whole = (seeds * steps for steps in (sum(a.step for a in stopped), record.steps * len(stopped)))
            words.append(f"They trained {trained:,} steps in place of {whole:,}.")
    failed = len(ended) - len(stopped)
    words += [f"{failed} failed."] if failed else []
    rows = [html.Line([str(a.number), _state(a), f"{a.step:,}", a.reason]) for a in ended]
    listed = html.table(["trial", "", "step", "why"], rows, text=(1, 3))
    if len(rows) > OPENED:
        listed = html.folded(f"all {len(rows)}", listed)
    return html.section("What was stopped, and why", html.words(" ".join(words)), listed)


def _trial_table(record: Record, attempts: Sequence[TrialRecord]) -> str:
    goals = record.campaign.objectives
    winner = best(record.attempts, goals, record.campaign.judge) if record.table is None else None
    paths = [path for attempt in record.attempts for path in attempt.values]
    if record.search.table:  # the seed stands in the last column
        paths = [path for path in paths if not path.endswith(".seed")]
    names = labels(paths)
    kinds = {"stopped": "aside", "failed": "aside", "running": "aside"}
    rows = [
        html.Line(
            [
                str(attempt.number),
                *([attempt.row] if record.search.table else []),
                *(_value(attempt.values[path]) if path in attempt.values else "" for path in names),
                *(scored(goal, attempt) for goal in goals),
                f"{attempt.step:,}",
                "" if attempt.seconds is None else f"{attempt.seconds:.0f} s",
                STATES[attempt.state],
            ],
            "best" if attempt is winner else kinds.get(attempt.state, ""),
        )
        for attempt in attempts
    ]
    named = ["row"] if record.search.table else []
    titles = [quantity(goal).replace(", ", ",\n") for goal in goals]
    arrows = ["↑" if goal.goal == "maximize" else "↓" for goal in goals]
    scores = [f"{title}\non {g.on} {arrow}" for g, title, arrow in zip(goals, titles, arrows, strict=True)]
    columns = ["trial", *named, *names.values(), *scores, "steps", "time", ""]
    return html.table(columns, rows, text=(*([1] if named else []), len(columns) - 1))


def _home(record: Record) -> str:
    command = dashboard_command(record.address)
    parts = [
        html.words(f"The study {record.study} lives in {redacted(record.address)}. Optuna Dashboard shows it:"),
        html.code(f"pip install optuna-dashboard\n{command}"),
        html.words(f"The campaign's MLflow run is {record.run}; every trial has one below it."),
    ]
    winner = best(record.attempts, record.campaign.objectives, record.campaign.judge)
    if winner is not None and record.table is None:
        text = "To train at full length with the best trial's values, and register what comes of it:"
        parts += [html.words(text), html.code(_winners_command(record, winner))]
    return html.section("Where it lives, and how to go on", *parts)


def _winners_command(record: Record, winner: TrialRecord) -> str:
    """What a trial was trained with beside its own values belongs to the command, too."""
    profile = ["--profile", record.campaign.profile] if record.campaign.profile else []
    settings = [f"{path}={yaml_text(value, inline=True)}" for path, value in record.campaign.overrides.items()]
    where = ["--from-trial", f"{record.study}/{winner.number}", "--storage", record.root]
    return shlex.join(["acutance", "run", str(record.search.file), *profile, *where, *settings])


def _state(attempt: TrialRecord) -> str:
    return f"{attempt.row}, seed {attempt.seed}: {STATES[attempt.state]}" if attempt.row else STATES[attempt.state]


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
