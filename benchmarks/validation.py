"""What does validation cost a training? The quickstart's `fidelity` stage with one every 100 steps, and without any.

Both take the same steps on the same shards, in turn, in one process on one core, which is the worst case: nothing is
free beside the training that could measure. Seconds of each, and the median of their ratios, round by round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from machine import cpu

from acutance.commands.context import open_pipeline
from acutance.console import say_through
from acutance.data.prepare import prepare
from acutance.training.loop import train_stage
from acutance.training.stage_plan import StagePlan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--every", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    say_through(lambda _: None)
    print(f"$ python benchmarks/{Path(sys.argv[0]).name} {' '.join(sys.argv[1:])}".rstrip())
    print(f"{cpu()}, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}, {arguments.steps} steps\n")
    with tempfile.TemporaryDirectory() as folder:
        plans = {name: plan_of(name, arguments, folder) for name in ("without", "with")}
        spec = plans["with"].trained_on
        prepare(
            spec.settings, spec.scale, open_pipeline("quickstart", [], None, folder).catalogue, folder, in_process=True
        )
        print(f"{'round':>5} {'without':>9} {'with':>9} {'ratio':>7}")
        ratios = []
        for number in range(arguments.rounds + 1):
            names = list(plans) if number % 2 else list(reversed(plans))
            seconds = {name: timed(replace(plans[name], folder=f"{folder}/{name}-{number}")) for name in names}
            if number:  # the first round fills the caches
                ratios.append(seconds["with"] / seconds["without"])
                print(f"{number:>5} {seconds['without']:>8.2f}s {seconds['with']:>8.2f}s {ratios[-1]:>7.3f}")
    print(f"\nmedian ratio {statistics.median(ratios):.3f}")


def plan_of(name: str, arguments: argparse.Namespace, folder: str) -> StagePlan:
    """Return the plan of the stage, which measures as often as asked, the untrained network included, or never."""
    validation = f"{{on: photographs_heldout, metrics: [psnr_y], every: {arguments.every}, pictures: 2}}"
    changes = [
        f"stages.fidelity.steps={arguments.steps}",
        f"stages.fidelity.validation={validation if name == 'with' else 'null'}",
    ]
    return open_pipeline("quickstart", changes, None, folder).plans("fidelity")[-1]


def timed(plan: StagePlan) -> float:
    """Train a stage in a folder of its own; return the seconds."""
    began = time.perf_counter()
    train_stage(plan, device="cpu")
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
