"""What does stopping trials early save, when the sampler is told the truth about it?

Campaigns by random search, by TPE that stops nothing, and by TPE with ASHA, with the `AskTell` of real
campaigns, one trial at a time and without Ray: ask, train to the next look, report, go on or end. Counted are the
training steps of all trials, stopped ones included. What a campaign has found is judged by the trials that were
trained to their end. The problems:

- a function of four numbers whose optimum is known, approached from below, at a pace that depends on the numbers
- the same where the pace depends on them so much that a good start tells little of the end
- the same approached from above, as the PSNR of a GAN stage is that starts from a fidelity network
- two objectives with a known front, stopped by dominance
- a real stage: quickstart's `fidelity`, very small, on the packaged photographs

"As complete" is TPE with ASHA where Optuna hears of a stopped trial that it is complete, with its last value: so does
Ray Tune's own OptunaSearch (`on_trial_complete`, Ray 2.60).
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import optuna
import torch
from machine import cpu
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from optuna.storages import InMemoryStorage
from problems.problem import STEPS, Problem
from problems.stage import QUICKSTART, Stage, real_stage, stage_in
from problems.synthetic import one_objective, two_objectives
from scipy.stats import spearmanr

from acutance.config import pipeline as pipelines
from acutance.config.mistakes import validate
from acutance.config.pipeline import Pipeline
from acutance.config.search_space import DOMINANCE, Asha, Campaign, Goal, Search
from acutance.tuning.ask_tell import AskTell, Assignment
from acutance.tuning.pruners import measurement_steps, ranking_losses
from acutance.tuning.study import TrialRecord, open_study

RANDOM, TPE, ASHA, TOLD = WAYS = ("random", "TPE", "TPE, ASHA", "as complete")
COLOURS = dict(zip(WAYS, ("tab:grey", "tab:blue", "tab:red", "tab:orange"), strict=True))
STOPPING = Asha(type="asha", first_rung=STEPS // 9, reduction_factor=3)
NOTCHES = 9
"""How often in a training's worth of steps it is noted what a campaign has found."""

RESAMPLES = 2000

Ended = list[tuple[int, TrialRecord]]
"""Of a campaign, in order: how many steps were spent when a trial ended, and the trial."""

Means = dict[str, np.ndarray]
"""Way -> mean loss after one training's worth of steps, and each notch from there."""


@dataclass(frozen=True)
class Outcome:
    """What the campaigns of one way came to: `losses` is (campaigns, notches)."""

    campaigns: list[Ended]
    losses: np.ndarray

    def counts(self) -> tuple[float, float]:
        """Return how many trials a campaign began, and how many of them were trained to their end; means."""
        whole = [sum(trial.step == STEPS for _, trial in campaign) for campaign in self.campaigns]
        return float(np.mean([len(campaign) for campaign in self.campaigns])), float(np.mean(whole))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="campaigns of each way")
    parser.add_argument("--budget", type=int, default=30, help=f"of a campaign, in trainings of {STEPS} steps")
    parser.add_argument("--only", choices=["synthetic", "real"])
    parser.add_argument("--plot", type=Path, help="PNG file to draw")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    heading(arguments.seeds, arguments.budget)
    problems, results = [] if arguments.only == "real" else known_problems(), []
    with tempfile.TemporaryDirectory() as folder:
        if arguments.only != "synthetic":
            stage = stage_in(Path(folder), measurement_steps(STOPPING, STEPS))
            problems.append(real_stage("Quickstart's fidelity stage", stage, WAYS[:3]))
        for problem in problems:
            results.append((problem, compared(problem, arguments.seeds, arguments.budget)))
            print(table(*results[-1]), flush=True)
        if arguments.only != "synthetic":
            print(cost(stage))
    if arguments.plot:
        picture(results).savefig(arguments.plot, dpi=80)


def known_problems() -> list[Problem]:
    """Return the problems whose optimum is known."""
    return [
        one_objective("Known optimum, from below", 20, 0.4, WAYS),
        one_objective("Known optimum, misleading starts", 20, 1.0, WAYS),
        one_objective("Known optimum, from above", 32, 0.4, WAYS),
        two_objectives("Two objectives, stopped by dominance", 0.4, WAYS[:3]),
    ]


# The campaigns


class ToldAsComplete(AskTell):
    """An `AskTell` that tells Optuna of every trial that it is complete."""

    def end(self, number: int, reason: str | None = None) -> TrialRecord:
        """Tell Optuna so, whatever the reason."""
        return super().end(number)


def compared(problem: Problem, seeds: int, budget: int) -> dict[str, Outcome]:
    """Play every way with every seed, with as many steps as `budget` trainings have."""
    outcomes = {}
    for way in problem.ways:
        campaigns = [played(problem, way, seed, budget * STEPS) for seed in range(seeds)]
        outcomes[way] = Outcome(campaigns, np.array([followed(problem, campaign, budget) for campaign in campaigns]))
    return outcomes


def played(problem: Problem, way: str, seed: int, budget: int) -> Ended:
    """Play one campaign until its steps are spent."""
    ask_tell, spent, ended = ask_tell_for(problem, way, seed), 0, []
    while spent < budget:
        assignment = ask_tell.ask()
        assert isinstance(assignment, Assignment)
        before, reason = 0, None
        for step, scores in problem.train(assignment, seed):
            spent, before = spent + step - before, step
            reason = ask_tell.report(assignment.number, step, scores)
            if reason is not None:
                break
        ended.append((spent, ask_tell.end(assignment.number, reason)))
    return ended


def ask_tell_for(problem: Problem, way: str, seed: int) -> AskTell:
    """Return the `AskTell` of a campaign that has not begun."""
    objective = DOMINANCE if len(problem.goals) > 1 else ""
    content = {
        "title": problem.title,
        "pipeline": str(QUICKSTART),
        "stage": problem.stage,
        "parameters": problem.parameters,
        "objectives": problem.goals,
        "sampler": {"type": "random" if way == RANDOM else "tpe", "seed": seed},
        "scheduler": {**STOPPING.model_dump(), "objective": objective} if way in (ASHA, TOLD) else None,
        "budget": {"trials": 2**31 - 1},
    }
    campaign = validate(Campaign, content, "the benchmark")
    study = open_study(InMemoryStorage(), "benchmark", campaign.objectives)
    kind = ToldAsComplete if way == TOLD else AskTell
    return kind(study, Search(campaign, QUICKSTART, quickstart()), STEPS)


@cache
def quickstart() -> Pipeline:
    """Return the pipeline that campaigns name; which is not read."""
    return pipelines.load(QUICKSTART)


def followed(problem: Problem, campaign: Ended, budget: int) -> list[float]:
    """Return the loss at each notch. No campaign stops its first trial, so from one training on there is one."""
    ends = [(spent, trial) for spent, trial in campaign if trial.step == STEPS]
    losses = [problem.loss([trial for _, trial in ends[:count]]) for count in range(1, len(ends) + 1)]
    notches = np.arange(STEPS, budget * STEPS + 1, STEPS // NOTCHES)
    return [losses[count - 1] for count in np.searchsorted([spent for spent, _ in ends], notches, side="right")]


# What came of them


def sooner(way: np.ndarray, random: np.ndarray) -> float:
    """Return how many times fewer steps one way needs to be where random search is in the end, 0 if it never is.

    Args:
        way, random: mean losses at each notch.
    """
    if way.min() > random[-1]:
        return 0.0
    notches = NOTCHES + np.arange(len(way))
    return float(notches[np.argmax(random <= random[-1])] / notches[np.argmax(way <= random[-1])])


def resampled(outcomes: dict[str, Outcome], draw: np.random.Generator) -> Means:
    """Return the mean losses over campaigns drawn with replacement."""
    count = len(outcomes[RANDOM].campaigns)
    return {way: one.losses[draw.integers(0, count, count)].mean(axis=0) for way, one in outcomes.items()}


def foretold(problem: Problem, campaigns: list[Ended]) -> tuple[float, float]:
    """Return how scores at ASHA's first look rank like those at the end: of all trials, and of the best fifth.

    Args:
        campaigns: whose trials are trained once more, with all looks.
    """
    rungs, goals = measurement_steps(STOPPING, STEPS), [Goal(**goal) for goal in problem.goals]
    objective = DOMINANCE if len(goals) > 1 else goals[0].name
    curves = [
        dict(problem.train(Assignment(trial.number, trial.values, rungs), seed))
        for seed, campaign in enumerate(campaigns)
        for _, trial in campaign
    ]
    early, late = (
        np.array(
            list(
                ranking_losses(objective, goals, {number: curve[step] for number, curve in enumerate(curves)}).values()
            )
        )
        for step in (rungs[0], rungs[-1])
    )
    best = late <= np.quantile(late, 0.2)
    return float(spearmanr(early, late).statistic), float(spearmanr(early[best], late[best]).statistic)


def heading(seeds: int, budget: int) -> None:
    """Print what made the figures, and how to read them."""
    *rungs, last = measurement_steps(STOPPING, STEPS)
    print(f"$ python {' '.join([str(Path('benchmarks') / Path(sys.argv[0]).name), *sys.argv[1:]])}")
    print(f"{cpu()}, one core, {platform.system()}, Python {platform.python_version()}")
    print(", ".join(f"{name} {version(name)}" for name in ("numpy", "optuna", "torch")))
    print(f"\n{seeds} campaigns of each way, each of {budget} x {last} steps; ASHA looks after {rungs} of {last} steps")
    print("trials: begun by a campaign, and of these trained to their end")
    print("in the end: mean over the campaigns; in brackets 90% of the means of resampled campaigns")
    print("sooner: how many times fewer steps until the mean is where that of random search ends; 0 where it never is")


def table(problem: Problem, outcomes: dict[str, Outcome]) -> str:
    """Return a problem's figures, and in words what they show."""
    draw, sign = np.random.default_rng(0), 1 if problem.known else -1
    means = [{way: one.losses.mean(axis=0) for way, one in outcomes.items()}]
    means += [resampled(outcomes, draw) for _ in range(RESAMPLES)]
    every, best = foretold(problem, outcomes[RANDOM].campaigns)
    lines = [f"\n{problem.title}: {problem.axis}"]
    lines.append(f"rank correlation of first look and end {every:.2f}, among the best fifth {best:.2f}")
    heads = f"{'trials':>8}{'whole':>7}{'in the end':>13}{'(90%)':>21}{'median':>10}{'sooner':>13}{'(90%)':>21}"
    lines.append(f"\n{'':12}{heads}")
    for way, one in outcomes.items():
        begun, whole = one.counts()
        end = spread([sign * mean[way][-1] for mean in means], 4)
        times = "" if way == RANDOM else spread([sooner(mean[way], mean[RANDOM]) for mean in means], 2)
        lines.append(f"{way:12}{begun:8.1f}{whole:7.1f}{end}{sign * np.median(one.losses[:, -1]):10.4f}{times}")
    return "\n".join([*lines, "", *words(means), *misled(problem, outcomes)])


def spread(values: list[float], digits: int) -> str:
    """Write the first value, and between what 90% of the others lie."""
    low, high = np.percentile(values[1:], [5, 95])
    return f"{values[0]:13.{digits}f}{f'({low:.{digits}f} to {high:.{digits}f})':>21}"


def words(means: list[Means]) -> list[str]:
    """Say which ways end better than which, by the resampled campaigns."""
    said = []
    for one, other in ((TPE, RANDOM), (ASHA, RANDOM), (ASHA, TPE), (TOLD, ASHA)):
        if one in means[0]:
            better = np.mean([mean[one][-1] < mean[other][-1] for mean in means[1:]])
            verdict = "ends better than" if better > 0.95 else "ends worse than" if better < 0.05 else "not resolved:"
            said.append(f"{one} {verdict} {other} (better in {better:.0%} of the resamples)")
    return said


def misled(problem: Problem, outcomes: dict[str, Outcome]) -> list[str]:
    """Say how often a study that was told of stopped trials as complete takes one of them for the best."""
    if TOLD not in outcomes:
        return []
    name = Goal(**problem.goals[0]).name
    best = [max((a for _, a in campaign), key=lambda a: a.scores[name]) for campaign in outcomes[TOLD].campaigns]
    stopped = sum(trial.step < STEPS for trial in best)
    return [f"{TOLD}: Optuna takes a stopped trial for the best in {stopped} of {len(best)} studies"]


def cost(stage: Stage) -> str:
    """Say what looking costs beside training."""
    steps, points = stage.measuring.each / stage.training.each, len(stage.curves)
    return f"\nA measurement takes as long as {steps:.1f} steps. {points} points were trained, each once."


def picture(results: list[tuple[Problem, dict[str, Outcome]]]) -> Figure:
    """Draw what was found along the steps: the means, and between what 90% of the means of resampled campaigns lie."""
    columns = min(3, len(results))
    rows = -(-len(results) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.7 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (problem, outcomes) in zip(panels, results, strict=False):
        panel(axes, problem, outcomes)
    for axes in panels[len(results) :]:
        axes.remove()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def panel(axes: Axes, problem: Problem, outcomes: dict[str, Outcome]) -> None:
    """Draw one problem; the dashed line is the noise of a measurement, or the best that any campaign found."""
    draw, sign = np.random.default_rng(0), 1 if problem.known else -1
    means = [resampled(outcomes, draw) for _ in range(RESAMPLES)]
    for way, one in outcomes.items():
        trainings = 1 + np.arange(one.losses.shape[1]) / NOTCHES
        low, high = np.percentile([sign * mean[way] for mean in means], [5, 95], axis=0)
        axes.fill_between(trainings, low, high, color=COLOURS[way], alpha=0.15, linewidth=0)
        axes.plot(trainings, sign * one.losses.mean(axis=0), color=COLOURS[way], label=way)
    if problem.known:
        axes.set_yscale("log")
    line = problem.noise if problem.known else -min(one.losses.min() for one in outcomes.values())
    if line:
        axes.axhline(line, color="black", linestyle="--", linewidth=0.8)
    axes.set_title(problem.title, fontsize=10)
    axes.set_xlabel(f"steps spent, in trainings of {STEPS}")
    axes.set_ylabel(problem.axis)
    axes.grid(alpha=0.25)


if __name__ == "__main__":
    main()
