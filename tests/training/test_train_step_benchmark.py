"""The benchmark of the training step runs on a machine without Ray and MLflow, and all its ways take the same step."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from command_line import REPOSITORY, environment

BARE = """
import runpy, sys
sys.modules.update(dict.fromkeys(("ray", "mlflow", "optuna")))  # as if they were not installed
program = sys.argv.pop(1)
sys.path.insert(0, program.rpartition("/")[0])  # as Python does for a script
runpy.run_path(program, run_name="__main__")
"""


def test_every_way_is_timed_and_starts_from_the_same_loss() -> None:
    small = ["--blocks", "1", "--channels", "4", "--batch", "2", "--patch", "32", "--rounds", "1", "--no-compile"]
    done = subprocess.run(
        [sys.executable, "-c", BARE, str(REPOSITORY / "benchmarks" / "train_step.py"), *small],
        env=environment(OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    fidelity, gan = done.stdout.split("\n\n")[1:]
    for table, ways in ((fidelity, 5), (gan, 6)):
        rows = [line for line in table.splitlines() if re.match(r"textbook|acutance|  \+ ", line)]
        assert len(rows) == ways
        assert rows[0].split()[3] == "1.00", "ratios are to the textbook's step"
        losses = [float(loss) for loss in re.findall(r"\d\.\d{5}", table.splitlines()[-1])]
        assert len(losses) == ways
        assert losses == pytest.approx([losses[0]] * ways, rel=0.01)
