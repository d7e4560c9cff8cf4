"""What does a trial cost beyond its own work, in a campaign of ours and with Ray Tune as it comes?

A trial trains a network of a few thousand weights for one step and measures it on one small picture. Two slots on two
cores, one local Ray; the ways take turns:

- ours: `acutance.commands.tune.campaign.run_campaign`, with its study, its MLflow runs and its checkpoints
- Ray Tune's defaults: a function that imports what it needs, OptunaSearch, the default loggers, a process for each
  trial; it keeps no run and no study

The slot time of a trial is the time between two trials' ends times the number of slots, counted from when each slot
has ended two trials. Its own work, which is subtracted, is the same training and measuring in two plain processes
side by side.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
from machine import cpu
from ruamel.yaml import YAML

from acutance.cluster.connect import connect
from acutance.commands.tune.campaign import run_campaign
from acutance.commands.tune.context import CampaignContext, open_campaign
from acutance.data.datasets import Source
from acutance.data.pictures import write_picture
from acutance.data.prepare import prepare
from acutance.fingerprint import fingerprint
from acutance.training.stage_plan import StagePlan

REPOSITORY = Path(__file__).resolve().parent.parent
SLOTS = 2
RATE = "stages.fidelity.optimiser.learning_rate"


@dataclass(frozen=True)
class Timed:
    """Seconds of one campaign: slot time of a trial, until the slots were warm, and after the last trial."""

    slot: float
    start: float
    rest: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=16, help="of each campaign")
    parser.add_argument("--rounds", type=int, default=3, help="campaigns of each way")
    arguments = parser.parse_args()
    if arguments.trials < 2:
        parser.error("at least two trials")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:SLOTS])
    heading(arguments.trials)
    alone, ours, theirs = [], [], []
    with tempfile.TemporaryDirectory() as folder, connect("local", num_cpus=SLOTS), contextlib.redirect_stderr(None):
        draw_pictures(Path(folder))
        for turn in range(arguments.rounds):
            work = campaign(Path(folder) / str(turn), Path(folder), arguments.trials)
            alone.append(plain_processes(work, arguments.trials))
            ours.append(our_campaign(work, arguments.trials))
            theirs.append(their_campaign(work, arguments.trials))
    report(alone, ours, theirs, warm_after(arguments.trials))


def draw_pictures(folder: Path) -> None:
    """Draw one small picture to train on and one to measure on."""
    draw = np.random.default_rng(0)
    for name in ("train/a", "test/b"):
        coarse = draw.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        write_picture(folder / f"{name}.png", np.kron(coarse, np.ones((4, 4, 1), np.uint8)))


def campaign(folder: Path, pictures: Path, trials: int) -> CampaignContext:
    """Open a campaign of trivial trials whose shards are made."""
    content = {
        "title": "Trivial trials",
        "pipeline": str(REPOSITORY / "pipelines" / "quickstart.yaml"),
        "stage": "fidelity",
        "profile": "smoke",
        "overrides": {
            "data.train": str(pictures / "train"),
            "data.subimages": {"size": 48, "stride": 48},
            "evaluate.on": [str(pictures / "test")],
            "stages.highpass.patch": 32,
            "stages.fidelity.patch": 32,
            "stages.fidelity.batch": 2,
            "stages.gan.patch": 32,
            "stages.gan.discriminators.image.network.size": 32,
            "stages.gan.discriminators.detail.network.size": 32,
        },
        "parameters": {"optimiser.learning_rate": {"float": [1e-4, 1e-2], "log": True}},
        "objectives": [{"metric": "psnr_y", "on": str(pictures / "test"), "goal": "maximize"}],
        "budget": {"trials": trials, "steps": 1},
        "concurrency": SLOTS,
    }
    folder.mkdir()
    with open(folder / "trivial.yaml", "w") as file:
        YAML().dump(content, file)
    work = open_campaign(str(folder / "trivial.yaml"), [], str(folder / "outputs"))
    prepare(work.base.pipeline.data, work.base.pipeline.scale, work.base.catalogue, work.base.root, in_process=True)
    return work


# The ways


def our_campaign(work: CampaignContext, trials: int) -> Timed:
    """Run a campaign of ours."""
    started = time.time()
    run_campaign(work)
    ends = [trial.datetime_complete.timestamp() for trial in work.study().get_trials() if trial.datetime_complete]
    return timed(started, ends, trials)


def their_campaign(work: CampaignContext, trials: int) -> Timed:
    """Run as many trials by Ray Tune's defaults."""
    from ray import tune as ray_tune
    from ray.tune.search.optuna import OptunaSearch

    job, pictures, folder = first_job(work), measured_on(work), Path(work.base.root).parent / "theirs"

    def trainable(config: dict[str, Any]) -> None:
        from ray import tune as ray_tune

        psnr = do_work(variant(job, config["learning_rate"], str(folder)), pictures)
        ray_tune.report({"psnr_y": psnr})

    ends: list[float] = []

    class Ends(ray_tune.Callback):
        def on_trial_complete(self, *_: Any, **__: Any) -> None:
            ends.append(time.time())

    tuner = ray_tune.Tuner(
        trainable,
        param_space={"learning_rate": ray_tune.loguniform(1e-4, 1e-2)},
        tune_config=ray_tune.TuneConfig(
            metric="psnr_y",
            mode="max",
            num_samples=trials,
            search_alg=OptunaSearch(seed=0),
            max_concurrent_trials=SLOTS,
        ),
        run_config=ray_tune.RunConfig(name="trials", storage_path=str(folder), verbose=0, callbacks=[Ends()]),
    )
    started = time.time()
    with contextlib.redirect_stdout(None):
        tuner.fit()
    return timed(started, ends, trials)


def plain_processes(work: CampaignContext, trials: int) -> float:
    """Return the seconds of a trial's own work, in as many processes as there are slots."""
    spawning, job, pictures = multiprocessing.get_context("spawn"), first_job(work), measured_on(work)
    folders = [f"{work.base.root}/alone-{slot}" for slot in range(SLOTS)]
    with ProcessPoolExecutor(SLOTS, mp_context=spawning) as pool:
        seconds = pool.map(work_alone, [job] * SLOTS, [pictures] * SLOTS, folders, [trials] * SLOTS)
        return statistics.median(second for each in seconds for second in each)


def work_alone(job: StagePlan, pictures: list[Source], folder: str, count: int) -> list[float]:
    """Do the work of some trials; return the seconds of each, without the first."""
    seconds = []
    for number in range(count + 1):
        started = time.perf_counter()
        do_work(variant(job, 1e-4 * (1 + number), folder), pictures)
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def do_work(job: StagePlan, pictures: list[Source]) -> float:
    """Train one trial and measure it, as a trial of ours does."""
    import torch

    from acutance.evaluation.evaluate import evaluate_one
    from acutance.training.loop import training_reports

    torch.set_num_threads(1)
    reports = training_reports(job)
    network = next(reports).learner.final_network
    measured = evaluate_one(
        network, job.model_description(), {"test": pictures}, scale=job.scale, protocol="y_crop4", metrics=["psnr_y"]
    )
    assert next(reports, None) is None  # writes the model
    return measured.mean("candidate", "psnr_y", "test") or 0.0


def first_job(work: CampaignContext) -> StagePlan:
    """Return the job that every trial varies."""
    return work.base.plans("fidelity")[-1]


def measured_on(work: CampaignContext) -> list[Source]:
    """Return the pictures that trials are measured on."""
    return work.base.catalogue.find(work.campaign.objectives[0].on)


def variant(job: StagePlan, rate: float, folder: str) -> StagePlan:
    """Return the job with another learning rate and a folder of its own."""
    mark = fingerprint([job.fingerprint, rate])
    optimiser = job.stage.optimiser.model_copy(update={"learning_rate": rate})
    stage = job.stage.model_copy(update={"optimiser": optimiser})
    return replace(job, stage=stage, fingerprint=mark, folder=f"{folder}/stages/{mark}")


# What came of them


def timed(started: float, ends: list[float], trials: int) -> Timed:
    """Return what the ends of trials say."""
    if len(ends) != trials:
        sys.exit(f"{len(ends)} of {trials} trials have ended")
    ends, warm = sorted(ends), warm_after(trials)
    slot = SLOTS * (ends[-1] - ends[warm - 1]) / (trials - warm)
    return Timed(slot, ends[warm - 1] - started, time.time() - ends[-1])


def warm_after(trials: int) -> int:
    """Return after how many ended trials the processes count as warm: two in each slot, where there are as many."""
    return min(2 * SLOTS, trials // 2)


def heading(trials: int) -> None:
    """Print what makes the figures."""
    print(f"$ python {' '.join([str(Path('benchmarks') / Path(sys.argv[0]).name), *sys.argv[1:]])}")
    print(f"{cpu()}, {SLOTS} cores, {platform.system()}, Python {platform.python_version()}")
    print(", ".join(f"{name} {version(name)}" for name in ("mlflow", "optuna", "ray", "torch")))
    print(f"{trials} trials a campaign, {SLOTS} at a time; medians over the campaigns, in seconds", flush=True)


def report(alone: list[float], ours: list[Timed], theirs: list[Timed], warm: int) -> None:
    """Print the table."""
    own = statistics.median(alone)
    rows = {"ours": ours, "Ray Tune's defaults": theirs}
    slot = {name: statistics.median(one.slot for one in each) for name, each in rows.items()}
    beyond = {name: seconds - own for name, seconds in slot.items()}
    print(f"\n{'':22}{'slot time':>11}{'(each)':>22}{'beyond its work':>17}{'ratio':>8}{'start':>8}{'rest':>8}")
    print(f"{'own work alone':22}{own:11.2f}{_each(alone):>22}")
    for name, each in rows.items():
        start, rest = (statistics.median(getattr(one, part) for one in each) for part in ("start", "rest"))
        ratio = beyond[name] / beyond["ours"]
        times = f"{slot[name]:11.2f}{_each([one.slot for one in each]):>22}"
        print(f"{name:22}{times}{beyond[name]:17.2f}{ratio:8.2f}{start:8.1f}{rest:8.1f}")
    print(f"\nstart: until {warm} trials have ended, Ray running before; rest: after the last (ours writes a report)")


def _each(seconds: list[float]) -> str:
    return " ".join(f"{second:.2f}" for second in seconds)


if __name__ == "__main__":
    main()
