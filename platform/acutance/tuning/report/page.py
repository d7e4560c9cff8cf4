"""What the page of a campaign says; `page.html.j2` is the page."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta

from acutance.config.search_space import Pbt
from acutance.redact import redacted
from acutance.table import Number, Row, Table
from acutance.templates import filled_in
from acutance.tuning.report.front import best, labels, pareto_front, quantity, score_text, steps_trained
from acutance.tuning.report.record import Figure, Record
from acutance.tuning.report.study_link import dashboard_command, yaml_text
from acutance.tuning.report.table import grids, notes
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


def report_page(record: Record, drawn: Mapping[str, Figure]) -> str:
    """Return the page of a campaign; `drawn` holds its figures by name."""
    campaign, trials = record.campaign, record.trials
    settings = campaign.model_dump(mode="json", by_alias=True, exclude={"tables"})
    ended_early = [trial for trial in trials if trial.state in ("stopped", "failed")]
    return filled_in(
        "tuning/report/page.html.j2",
        title=campaign.title,
        subtitle=_subtitle(record),
        facts=_facts(record),
        ended=sum(trial.state != "running" for trial in trials),
        wanted=record.wanted,
        grids=grids(record.table) if record.table else [],
        table_notes=notes(record.table) if record.table else [],
        several=len(campaign.objectives) > 1,
        front=_trial_table(record, pareto_front(trials, campaign.objectives)),
        figures=FIGURES,
        drawn=drawn,
        opened=OPENED,
        stopped=_stopped(record, ended_early),
        ended_early=Table(
            ["trial", "", Number("step"), "why"],
            [Row([a.number, _state(a), f"{a.step:,}", a.reason]) for a in ended_early],
        ),
        trials=_trial_table(record, trials),
        settings=yaml_text(settings),
        study=record.study,
        address=redacted(record.address),
        dashboard=dashboard_command(record.address),
        run=record.run,
        winners_command=_winners_command(record),
    )


def _subtitle(record: Record) -> str:
    what = f"table {record.search.table}" if record.search.table else f"sampler {record.campaign.sampler.type}"
    scheduler = record.campaign.scheduler.type if record.campaign.scheduler else "none"
    return f"{record.study}: stage {record.campaign.stage} of {record.search.file.name}, {what}, scheduler {scheduler}"


def _facts(record: Record) -> list[tuple[str, str]]:
    campaign, trials = record.campaign, record.trials
    counts = Counter(trial.state for trial in trials)
    steps = sum(steps_trained(trials, campaign.seeds).values())
    seconds = sum(trial.seconds or 0 for trial in trials)
    states = [(words, str(counts[state])) for state, words in STATES.items() if counts[state]]
    found = [("trials", f"{len(trials)} of {record.wanted}"), *states, ("steps trained", f"{steps:,}")]
    found.append(("time of all trials", str(timedelta(seconds=round(seconds)))))
    winner = best(trials, campaign.objectives, campaign.primary_objective)
    if winner is not None and record.table is None:
        found += [("best trial", str(winner.number))]
        found += [(f"its {goal.name}", score_text(goal, winner)) for goal in campaign.objectives]
    return found


def _stopped(record: Record, ended: Sequence[TrialRecord]) -> str:
    """Say how many were stopped or failed, where, and what stopping has saved."""
    stopped = [trial for trial in ended if trial.state == "stopped"]
    words = []
    if stopped:
        steps = Counter(trial.step for trial in stopped)
        where = ", ".join(f"{count} at step {step:,}" for step, count in sorted(steps.items()))
        words.append(f"{len(stopped)} of {len(record.trials)} trials were stopped early: {where}.")
        if not isinstance(record.campaign.scheduler, Pbt):
            seeds = record.campaign.seeds
            trained, whole = (seeds * steps for steps in (sum(a.step for a in stopped), record.steps * len(stopped)))
            words.append(f"They trained {trained:,} steps in place of {whole:,}.")
    failed = len(ended) - len(stopped)
    words += [f"{failed} failed."] if failed else []
    return " ".join(words)


def _trial_table(record: Record, trials: Sequence[TrialRecord]) -> Table:
    goals = record.campaign.objectives
    winner = best(record.trials, goals, record.campaign.primary_objective) if record.table is None else None
    paths = [path for trial in record.trials for path in trial.values]
    if record.search.table:  # the seed stands in the last column
        paths = [path for path in paths if not path.endswith(".seed")]
    names = labels(paths)
    kinds = {"stopped": "aside", "failed": "aside", "running": "aside"}
    rows = [
        Row(
            [
                str(trial.number),
                *([trial.row] if record.search.table else []),
                *(_value(trial.values[path]) if path in trial.values else "" for path in names),
                *(score_text(goal, trial) for goal in goals),
                f"{trial.step:,}",
                "" if trial.seconds is None else f"{trial.seconds:.0f} s",
                STATES[trial.state],
            ],
            "best" if trial is winner else kinds.get(trial.state, ""),
        )
        for trial in trials
    ]
    named = ["row"] if record.search.table else []
    titles = [quantity(goal).replace(", ", ",\n") for goal in goals]
    arrows = ["↑" if goal.goal == "maximize" else "↓" for goal in goals]
    scores = [Number(title, f"on {g.on} {arrow}") for g, title, arrow in zip(goals, titles, arrows, strict=True)]
    return Table(["trial", *named, *map(Number, names.values()), *scores, Number("steps"), Number("time"), ""], rows)


def _winners_command(record: Record) -> str:
    """Overrides that all trials share are part of the command as well; empty without a best trial."""
    winner = best(record.trials, record.campaign.objectives, record.campaign.primary_objective)
    if winner is None or record.table is not None:
        return ""
    profile = ["--profile", record.campaign.profile] if record.campaign.profile else []
    settings = [f"{path}={yaml_text(value, inline=True)}" for path, value in record.campaign.overrides.items()]
    where = ["--from-trial", f"{record.study}/{winner.number}", "--storage", record.root]
    return shlex.join(["acutance", "run", str(record.search.file), *profile, *where, *settings])


def _state(trial: TrialRecord) -> str:
    return f"{trial.row}, seed {trial.seed}: {STATES[trial.state]}" if trial.row else STATES[trial.state]


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
