"""The benchmarks of campaigns still run, at sizes of seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from acutance.data.pictures import write_picture
from acutance.tuning.ask_tell import Assignment
from command_line import REPOSITORY, environment

BENCHMARKS = REPOSITORY / "benchmarks"


@pytest.fixture(autouse=True)
def _as_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts find one another, and what they set for their own process does not stay in this one."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")


def test_pruning_compares_the_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import pruning

    plot = tmp_path / "pruning.png"
    settings = ["--seeds", "2", "--budget", "6", "--only", "synthetic", "--plot", str(plot)]
    monkeypatch.setattr(sys, "argv", ["pruning.py", *settings])
    monkeypatch.setattr(pruning, "RESAMPLES", 50)
    pruning.main()
    told = capsys.readouterr().out
    rows = {way: [line.split() for line in told.splitlines() if line.startswith(f"{way:12} ")] for way in pruning.WAYS}
    assert {way: len(lines) for way, lines in rows.items()} == {"random": 4, "TPE": 4, "TPE, ASHA": 4, "as complete": 3}
    assert all(line[1:3] == ["6.0", "6.0"] for way in ("random", "TPE") for line in rows[way])
    assert all(float(line[2]) > 6 > float(line[3]) for way in ("TPE, ASHA", "as complete") for line in rows[way])
    assert 10_000 < plot.stat().st_size < 300_000


def test_pruning_counts_steps_until_random_search_is_met() -> None:
    from pruning import NOTCHES, sooner

    random = np.repeat([4.0, 3.0, 2.0, 1.0], NOTCHES)
    fast = np.repeat([4.0, 1.0, 1.0, 1.0], NOTCHES)
    assert sooner(random, random) == 1
    assert sooner(fast, random) == pytest.approx(2)  # after two trainings' worth of steps in place of four
    assert sooner(random + 0.1, random) == 0


def test_pruning_knows_the_optimum() -> None:
    from problems.synthetic import BLOCKS, KIND, MOMENTUM, RATE, STEPS, curve, hypervolume, lost

    best = {RATE: 1e-3, MOMENTUM: 0.7, KIND: "adam", BLOCKS: 6}
    assert lost(best) == 0
    assert all(lost({**best, name: other}) > 0 for name, other in ((RATE, 2e-3), (MOMENTUM, 0.6), (KIND, "sgd")))
    assert curve(0, best, 20, 30, 1) == 20
    assert curve(STEPS, best, 20, 30, 1) == 30
    assert hypervolume([(30.0, 6.0), (27.0, 3.0), (26.0, 5.0)]) == 6 * 3 + 3 * 3


def test_pruning_trains_a_point_of_the_real_stage_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from problems import stage
    from problems.problem import PSNR_NAME

    draw = np.random.default_rng(0)
    write_picture(tmp_path / "train" / "a.png", draw.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    monkeypatch.setitem(stage.SMALL, "data.train", str(tmp_path / "train"))
    monkeypatch.setitem(stage.SMALL, "stages.fidelity.steps", 2)

    def asked(number: int, rate: float, looks: list[int]) -> Assignment:
        others = {"batch": 2, "network.channels": 4, "optimiser.schedule.milestones": []}
        values = {f"stages.fidelity.{name}": value for name, value in {stage.RATE: rate, **others}.items()}
        return Assignment(number, values, looks)

    real = stage.stage_in(tmp_path / "out", [1, 2])
    first = dict(real.train(asked(0, 1e-3, [1]), 0))
    both = dict(real.train(asked(1, 1.05e-3, [1, 2]), 1))
    assert real.training.count == 2  # steps: the second trial's first step was the first trial's
    assert first[1] == both[1]
    assert 5 < both[2][PSNR_NAME] < 40
    assert dict(real.train(asked(2, 2e-3, [1, 2]), 2))[2] != both[2]
    assert real.training.count == 4


@pytest.mark.e2e
@pytest.mark.long
def test_trial_overhead_times_both_ways() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "trial_overhead.py"), "--trials", "2", "--rounds", "1"],
        cwd=REPOSITORY,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {line[:22].strip(): line[22:].split() for line in done.stdout.splitlines() if line[22:33].strip()}
    own, ours, theirs = (float(rows[name][0]) for name in ("own work alone", "ours", "Ray Tune's defaults"))
    assert min(own, ours, theirs) > 0
