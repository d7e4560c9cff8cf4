"""What all figures have in common: colours, axes, what lies too far out, PNG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from acutance.config.search_space import Goal
from acutance.tuning.report.front import heading
from acutance.tuning.study import TrialRecord

BEST, PLAIN, FAINT, PAPER = "#c0392b", "#3465a4", "#a8a8a8", "#1e8449"

FAR_OUT = 3.0
"""Quartile distances beyond which a point counts as far out (Tukey) and is left outside the axes."""


def png(figure: Figure) -> bytes:
    """Return a figure as PNG; letters that the font lacks become boxes, without a word."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Gg]lyph")
        figure.savefig(content, format="png", dpi=130)
    return content.getvalue()


def worded(text: str, longest: int = 60) -> str:
    """Return text as matplotlib shows it as it is: no formulas between dollars, one line, its end where it is long."""
    line = " ".join(text.split())
    return (line if len(line) <= longest else "..." + line[-longest + 3 :]).replace("$", r"\$")


def axis_title(goal: Goal) -> str:
    """Return what is written beside an axis of an objective."""
    return f"{heading(goal)}\n{worded(goal.on, 40)}"


def name_point(axes: Axes, text: str, x: float, y: float, colour: str = "#222222") -> None:
    """Write a name beside a point; nothing of a point outside the axes."""
    axes.annotate(
        worded(text, 24),
        (x, y),
        xytext=(6, 4),
        textcoords="offset points",
        annotation_clip=True,
        fontsize=8.5,
        color=colour,
    )


def count_trials(axes: Axes, attempts: Sequence[TrialRecord]) -> None:
    """Let a horizontal axis bear the numbers of trials."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(-0.6, len(attempts) - 0.4)


def dress(axes: Axes, x: str, y: str) -> None:
    """Give axes their titles, a faint grid, and a legend where something has a label."""
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.ticklabel_format(useOffset=False)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=8)


def in_view(values: Sequence[float], kept: Sequence[float] = ()) -> tuple[float, float]:
    """Return the range of values that is worth showing: one collapsed trial would squeeze all others to a dot.

    Args:
        values: those that are no numbers, or infinite, are left out; where no other is there, any range serves.
        kept: those of them that are shown in any case.
    """
    values = [value for value in values if np.isfinite(value)]
    if not values:
        return 0.0, 1.0
    lower, upper = (float(value) for value in np.quantile(values, [0.25, 0.75]))
    reach = FAR_OUT * (upper - lower) or np.inf
    low, high = min([lower - reach, *kept]), max([upper + reach, *kept])
    inside = [value for value in values if low <= value <= high]
    return min(inside), max(inside)


def cut_off(
    axes: Axes, groups: Sequence[Sequence[tuple[float, float]]], kept: Sequence[tuple[float, float]] = ()
) -> None:
    """Leave points that lie far out of their group outside the axes, and say how many they are.

    Args:
        groups: of (x, y); an x that needs no cut is the same for all. Where nothing was measured, all are empty.
        kept: points of the first group that are shown in any case.
    """
    if not any(groups):
        return
    outside: set[tuple[float, float]] = set()
    for side, limit in ((0, axes.set_xlim), (1, axes.set_ylim)):
        ranges = [
            in_view([point[side] for point in group], [point[side] for point in kept if group is groups[0]])
            for group in groups
            if group
        ]
        low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
        far = {point for group in groups for point in group if not low <= point[side] <= high}
        if far:
            outside |= far
            margin = 0.05 * (high - low)
            limit(low - margin, high + margin)
    if outside:
        text = f"{len(outside)} far out, not shown"
        axes.text(1, 1, text, ha="right", va="bottom", fontsize=8, style="italic", transform=axes.transAxes)
