"""Figures of a campaign, drawn by Optuna; added are pruned trials, steps spent and published rows."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate, combinations
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from optuna import Study
from optuna.importance import FanovaImportanceEvaluator
from optuna.visualization import matplotlib as figures
from PIL import Image

from acutance.config.search_space import Campaign, Goal
from acutance.tuning.report.derived_studies import finished, importance_parameters, study_of
from acutance.tuning.report.front import completed, heading, pareto_front, quantity, steps_trained
from acutance.tuning.report.record import Figure
from acutance.tuning.study import TrialRecord

BEST, FAINT, PAPER = "#c0392b", "#9a9a9a", "#1e8449"
MOST_GOALS = 4
MOST_NAMES = 12
"""With more trials than this single ones are not named."""

STOPPED = "stopped early, as it was then"
SMALL: dict[str, Any] = {"fontsize": 8}

FAR_OUT = 3.0
"""Quartile distances beyond which a point counts as far out (Tukey) and is left outside the axes."""

Published = Mapping[str, Mapping[str, float]]
"""A paper's rows: row -> objective -> value."""


def history_picture(trials: Sequence[TrialRecord], campaign: Campaign) -> bytes | None:
    """Draw the best score so far, against trials below and steps spent above. None where no trial has all scores."""
    goals = campaign.objectives
    if not completed(trials, goals):
        return None
    with _drawing():
        return _stacked([_history(trials, goal, campaign.seeds) for goal in goals[:MOST_GOALS]])


def _history(trials: Sequence[TrialRecord], goal: Goal, seeds: int, published: Iterable[float] = ()) -> Axes:
    axes = figures.plot_optimization_history(study_of(trials, [goal]), target_name=_titled(goal))
    axes.set_title("")
    scores = {trial.number: trial.scores[goal.name] for trial in trials if goal.name in trial.scores}
    stopped = [(a.number, scores[a.number]) for a in trials if a.state == "stopped" and a.number in scores]
    _scatter(axes, stopped, "x", FAINT, STOPPED)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if trials and not trials[0].row:
        _count_steps(axes, trials, seeds)
    _add_legend(axes)
    best = [scores[trial.number] for trial in pareto_front(trials, [goal])]
    _limit_axis(axes, "y", [list(scores.values()), list(published)], best)
    return axes


def _count_steps(axes: Axes, trials: Sequence[TrialRecord], seeds: int) -> None:
    """Write above some trials how many steps all trials until then were trained."""
    costs = steps_trained(trials, seeds)
    steps = list(accumulate(costs[trial.number] for trial in trials))
    shown = sorted({round(place) for place in np.linspace(0, len(trials) - 1, 5)})
    above = axes.secondary_xaxis("top")
    above.set_xticks(shown, [f"{steps[number]:,}" for number in shown])
    above.set_xlabel("steps spent")


def curves_picture(trials: Sequence[TrialRecord], goals: Sequence[Goal], best: TrialRecord | None) -> bytes | None:
    """Draw what every trial scored on its way. None where no trial was measured twice."""
    parents = {trial.number for trial in trials if trial.history}
    if all(len(trial.history) < 2 and trial.parent not in parents for trial in trials):
        return None
    with _drawing():
        return _stacked([_curves(trials, goal, best) for goal in goals[:MOST_GOALS]])


def _curves(trials: Sequence[TrialRecord], goal: Goal, best: TrialRecord | None) -> Axes:
    study = study_of(trials, [goal])
    axes = figures.plot_intermediate_values(study)
    measured = [trials[trial.number] for trial in study.get_trials(deepcopy=False) if trial.intermediate_values]
    for line, trial in zip(axes.lines, measured, strict=True):
        if trial is best:
            line.set(color=BEST, linewidth=2.5, alpha=1, zorder=3, label=f"trial {trial.number}, the best")
        elif trial.state != "complete":
            line.set(color=FAINT, linestyle=":")
            axes.plot([trial.step], [trial.scores[goal.name]], "x", color=FAINT)
    axes.set(title="", ylabel=_titled(goal))
    _add_legend(axes, legend=len(measured) <= MOST_NAMES)
    heights = {a.number: [scores.get(goal.name, math.nan) for scores in a.history.values()] for a in trials}
    _limit_axis(
        axes, "y", [[score for course in heights.values() for score in course]], heights[best.number] if best else []
    )
    return axes


def parallel_picture(trials: Sequence[TrialRecord], campaign: Campaign) -> bytes | None:
    """Draw trials as lines through objective and parameters; None where fewer than two came to their end."""
    if len(completed(trials, campaign.objectives)) < 2:
        return None
    with _drawing():
        return _stacked([_parallel(trials, campaign, goal) for goal in campaign.objectives[:MOST_GOALS]])


def _parallel(trials: Sequence[TrialRecord], campaign: Campaign, goal: Goal) -> Axes:
    study = study_of(trials, [goal], campaign)
    names = sorted({name for trial in finished(study) for name in trial.params})
    axes = figures.plot_parallel_coordinate(study, target_name=_titled(goal))
    plt.gcf().set_size_inches(max(9, 2.2 * (1 + len(names))), 4.8)
    titles = [_titled(goal), *(name.replace(".", ".\n") for name in names)]
    axes.set_xticks(range(len(titles)), titles, rotation=0, fontsize=8.5)
    axes.set_title("")
    axes.collections[0].set(cmap="viridis_r" if goal.goal == "maximize" else "viridis")
    for label in (label for other in plt.gcf().axes[2:] for label in other.get_yticklabels(which="both")):
        label.set(fontsize=8, bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1})
    return axes


def importance_picture(trials: Sequence[TrialRecord], campaign: Campaign) -> Figure:
    """Draw each parameter's share of the variance of an objective, by fANOVA (Hutter et al., ICML 2014).

    Over the trials' own values, so a grid and a population have importances as well as what a sampler proposed.
    """
    names, notes = importance_parameters(trials, campaign)
    with _drawing():
        goals = campaign.objectives[:MOST_GOALS] if names else []
        drawn = {goal.name: _importances(study_of(trials, [goal], campaign), names, goal) for goal in goals}
        notes += [f"{name} hardly varies: no share of it can be told." for name, axes in drawn.items() if axes is None]
        return Figure(_stacked([axes for axes in drawn.values() if axes is not None]), notes)


def _importances(study: Study, names: Sequence[str], goal: Goal) -> Axes | None:
    if len({trial.value for trial in finished(study)}) == 1:
        return None
    evaluator = FanovaImportanceEvaluator(seed=0)
    try:
        axes = figures.plot_param_importances(study, evaluator, list(names), target_name=goal.name)
    except RuntimeError:  # no tree of the forest found a split
        return None
    axes.set_title(f"{quantity(goal)}, {plot_text(goal.on, 40)}", fontsize=11, loc="left")
    axes.set(xlabel="share of the variance", ylabel="")
    plt.gcf().set_size_inches(7.5, 1.5 + 0.4 * len(names))
    _add_legend(axes, legend=False)
    return axes


def pareto_picture(
    trials: Sequence[TrialRecord],
    goals: Sequence[Goal],
    title: str,
    published: Published | None = None,
    seeds: int = 1,
) -> bytes:
    """Draw each pair of the first three objectives, every trial and the front; of one objective, each trial's score.

    Args:
        trials: a trial with a `row` is labelled by it, another by its number.
        published: drawn beside them; a row that lacks one of a pair of objectives is not in its panel.
    """
    front, rows, study = pareto_front(trials, goals), published or {}, study_of(trials, goals)
    pairs = combinations(range(min(3, len(goals))), 2)
    with _drawing():
        drawn = [_pair(study, trials, front, goals, pair, rows) for pair in pairs]
        drawn = drawn or [_scores(trials, goals[0], seeds, rows)]
        for axes in drawn:
            axes.set_title(plot_text(title), fontsize=11)
        return _stacked(drawn) or b""


def _pair(
    study: Study,
    trials: Sequence[TrialRecord],
    front: Sequence[TrialRecord],
    goals: Sequence[Goal],
    pair: tuple[int, int],
    published: Published,
) -> Axes:
    """Of three objectives a front is a surface: a line through its points in two of them would mean nothing."""
    names = [goals[index].name for index in pair]
    axes = figures.plot_pareto_front(
        study,
        target_names=[_titled(goals[index]) for index in pair],
        targets=lambda trial: [trial.values[index] for index in pair],
    )
    points = {trial.number: at for trial in trials if (at := _point(trial.scores, names))}
    stopped = [points[a.number] for a in trials if a.state == "stopped" and a.number in points]
    _scatter(axes, stopped, "x", FAINT, STOPPED)
    best = [points[trial.number] for trial in front]
    if best and len(goals) == 2:
        axes.plot(*zip(*best, strict=True), color=BEST, linewidth=1.4)
    for trial in trials if len(trials) <= MOST_NAMES else front:
        if trial.number in points:
            _name_point(axes, trial.row or str(trial.number), points[trial.number])
    papers = {row: at for row, scores in published.items() if (at := _point(scores, names))}
    _scatter(axes, papers.values(), "D", PAPER, "published")
    for row, at in papers.items():
        _name_point(axes, row, at, PAPER)
    _add_legend(axes, empty=not points and not papers)
    for side, index in (("x", 0), ("y", 1)):
        groups = [points.values(), papers.values()]
        _limit_axis(axes, side, [[at[index] for at in group] for group in groups], [at[index] for at in best])
    return axes


def _scores(trials: Sequence[TrialRecord], goal: Goal, seeds: int, published: Published) -> Axes:
    """A table has no history: its rows have names, and there is no line of the best value so far."""
    papers = {row: scores[goal.name] for row, scores in published.items() if goal.name in scores}
    axes = _history(trials, goal, seeds, papers.values())
    rows = [trial for trial in trials if trial.row]
    if rows:
        for line in axes.lines[:1]:
            line.remove()
        axes.set_xticks([trial.number for trial in rows], [plot_text(trial.row, 24) for trial in rows])
        axes.set_xlabel("")
    for row, value in papers.items():
        axes.axhline(value, color=PAPER, linewidth=1, linestyle="--")
        _name_point(axes, f"{row} (published)", (0.98, value), PAPER, xycoords=("axes fraction", "data"), ha="right")
    _add_legend(axes, empty=not any(goal.name in trial.scores for trial in trials) and not papers)
    return axes


def _point(scores: Mapping[str, float], names: Sequence[str]) -> tuple[float, ...] | None:
    at = tuple(scores.get(name, math.nan) for name in names)
    return at if all(map(math.isfinite, at)) else None


def plot_text(text: str, longest: int = 60) -> str:
    """Return text as matplotlib shows it as it is: no formulas between dollars, one line, its end where it is long."""
    line = " ".join(text.split())
    return (line if len(line) <= longest else "..." + line[-longest + 3 :]).replace("$", r"\$")


def _titled(goal: Goal) -> str:
    return f"{heading(goal)}\n{plot_text(goal.on, 40)}"


def _scatter(axes: Axes, points: Iterable[Sequence[float]], marker: str, colour: str, label: str) -> None:
    if places := list(points):
        xs, ys = zip(*places, strict=True)
        axes.scatter(xs, ys, c=colour, marker=marker, label=label)


def _name_point(axes: Axes, text: str, at: tuple[float, ...], colour: str = "#222222", **how: Any) -> None:
    axes.annotate(plot_text(text, 40), (at[0], at[1]), (6, 3), textcoords="offset points", color=colour, **SMALL, **how)


def _add_legend(axes: Axes, *, legend: bool = True, empty: bool = False) -> None:
    """Put the legend beside the axes; say so where nothing was measured."""
    if known := axes.get_legend():
        known.remove()
    if legend and axes.get_legend_handles_labels()[1]:
        axes.legend(bbox_to_anchor=(1.02, 1), loc="upper left", borderaxespad=0, fontsize=8)
    if empty:
        axes.text(0.5, 0.5, "no trial has a score", ha="center", va="center", transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])


def shown_range(values: Iterable[float], always_shown: Iterable[float] = ()) -> tuple[float, float] | None:
    """Return the range of values that is worth showing: one collapsed trial would squeeze all others to a dot.

    Args:
        values: what is no number, or infinite, is left out; None where no other is there.
        kept: those of them that are shown in any case.
    """
    numbers = [value for value in values if math.isfinite(value)]
    if not numbers:
        return None
    lower, upper = (float(value) for value in np.quantile(numbers, [0.25, 0.75]))
    whisker = FAR_OUT * (upper - lower) or math.inf
    low, high = min([lower - whisker, *always_shown]), max([upper + whisker, *always_shown])
    inside = [value for value in numbers if low <= value <= high]
    return min(inside), max(inside)


def _limit_axis(axes: Axes, side: str, groups: Sequence[Sequence[float]], always_shown: Sequence[float]) -> None:
    """Leave values that lie far out of their group outside the axes; those of the first in `always_shown` are shown."""
    ranges = [found for i, group in enumerate(groups) if (found := shown_range(group, () if i else always_shown))]
    if not ranges:
        return
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    far = sum(not low <= value <= high for group in groups for value in group if math.isfinite(value))
    if far:
        axes.set(**{f"{side}lim": (low - 0.05 * (high - low), high + 0.05 * (high - low))})
        axes.text(1.02, 0.05 * (side == "y"), f"{far} far out, not shown", transform=axes.transAxes, **SMALL)


@contextmanager
def _drawing() -> Iterator[None]:
    """Optuna draws by pyplot: neither its style nor its figures outlive a picture, nor is a window opened."""
    with plt.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that the font lacks become boxes
        plt.switch_backend("agg")
        plt.rcParams["axes.formatter.useoffset"] = False
        try:
            yield
        finally:
            plt.close("all")


def _stacked(drawn: Sequence[Any]) -> bytes | None:
    """Return pictures one below the other as one PNG, or None without pictures."""
    if not drawn:
        return None
    parts = []
    for axes in drawn:
        content = io.BytesIO()
        axes.figure.savefig(content, format="png", dpi=110, bbox_inches="tight")
        parts.append(Image.open(content).convert("RGB"))
    whole = Image.new("RGB", (max(part.width for part in parts), sum(part.height for part in parts)), "white")
    for part, top in zip(parts, accumulate((part.height for part in parts), initial=0), strict=False):
        whole.paste(part, (0, top))
    content = io.BytesIO()
    whole.save(content, format="png")
    return content.getvalue()
