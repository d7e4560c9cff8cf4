"""4PP-EUSR from pictures to a model: the whole graph of stages, undisturbed and killed again and again."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from acutance.data.distorted import distort
from acutance.data.folders import Source
from acutance.models.model_file import load_model
from acutance.models.nima import NIMA
from command_line import REPOSITORY, acutance, environment
from process_family import alive, family

pytestmark = [pytest.mark.e2e, pytest.mark.long]

PREDICTORS = ("aesthetic_head", "aesthetic", "subjective_head", "subjective")
STAGES = ("eusr", *PREDICTORS, "perceptual")
SYNTHETIC = "scores: synthetic"


@pytest.fixture(scope="module")
def overrides(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the smoke profile needs besides itself: scored pictures for both predictors."""
    folder = tmp_path_factory.mktemp("scored") / "tid-like"
    pictures = sorted((data_root / "train" / "BSDS500" / "train").glob("*.jpg"))
    distort([Source(path.stem, str(path)) for path in pictures], folder, references=5)
    keys = [f"stages.{stage}.{key}" for stage in PREDICTORS for key in ("data.train", "validation.on")]
    return [f"{key}={folder}" for key in keys]


@pytest.fixture(scope="module")
def undisturbed(
    overrides: list[str], data_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Path]]:
    """A finished run: its storage, and the model file of each stage."""
    root = tmp_path_factory.mktemp("undisturbed")
    command = ("pipelines/eusr_4pp.yaml", *overrides, "--profile", "smoke", "--storage", str(root), "--json")
    here = {"ACUTANCE_DATA": str(data_root), "ACUTANCE_WEIGHTS": str(data_root)}
    done = acutance("run", *command, **here)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["model"] == "models:/sr-x4-4pp-eusr-smoke/1"
    trained = acutance("train", *command, **here)
    assert "everything is done already" in trained.stderr
    return root, {stage["name"]: Path(stage["model"]) for stage in json.loads(trained.stdout)["stages"]}


def test_the_whole_graph_ends_with_a_registered_model(undisturbed: tuple[Path, dict[str, Path]]) -> None:
    root, models = undisturbed
    assert set(models) == set(STAGES)
    notes = {name: load_model(str(file))[1]["notes"] for name, file in models.items()}
    assert notes["eusr"] == []
    assert all(notes[name] == sorted([NIMA.untrained, SYNTHETIC]) for name in (*PREDICTORS, "perceptual"))
    client = MlflowClient(f"sqlite:///{root}/mlflow.db")
    run = client.get_run(client.get_model_version_by_alias("sr-x4-4pp-eusr-smoke", "candidate").run_id)
    children = client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
    runs = {child.info.run_name: child for child in children}
    assert set(runs) == set(STAGES)
    assert SYNTHETIC in runs["perceptual"].data.tags["acutance.notes"]
    losses = ("reconstruction", "adversarial", "aesthetic_score", "aesthetic_representation", "subjective_score",
              "subjective_representation", "aesthetic_score.restored", "discriminator_image")  # fmt: skip
    for loss in losses:
        points = client.get_metric_history(runs["perceptual"].info.run_id, loss)
        assert [point.step for point in points] == [1, 2, 3, 4], loss
    for form in ("earth_mover.root", "earth_mover.sum"):
        assert runs["subjective"].data.metrics[form] > 0


@pytest.mark.timeout(1500)
def test_killed_at_three_random_moments_it_ends_with_the_same_weights(
    undisturbed: tuple[Path, dict[str, Path]], overrides: list[str], data_root: Path, tmp_path: Path
) -> None:
    _, models = undisturbed
    folders = {name: tmp_path / "eusr_4pp" / file.parent.name for name, file in models.items()}
    seed = time.time_ns()
    # Of 26 steps in all, four of which are those of the last stage.
    moments = sorted(random.Random(seed).sample(range(22), 3))
    command = ["train", "pipelines/eusr_4pp.yaml", *overrides, "--profile", "smoke", "--storage", str(tmp_path)]
    here = {"ACUTANCE_DATA": str(data_root)}
    for moment in moments:
        with open(tmp_path / "said", "w") as said:
            driver = subprocess.Popen(
                [sys.executable, "-m", "acutance", *command],
                cwd=REPOSITORY,
                env=environment(**here),
                stdout=said,
                stderr=said,
            )
        limit = time.monotonic() + 300
        while sum(taken(folder) for folder in folders.values()) < moment:
            assert time.monotonic() < limit, (seed, moments, (tmp_path / "said").read_text())
            assert driver.poll() is None, (seed, moments, (tmp_path / "said").read_text())
            time.sleep(0.02)
        time.sleep(random.Random(moment).random())
        kill_all(driver)
    done = acutance(*command, **here)
    assert done.returncode == 0, done.stderr
    for name, file in models.items():
        assert (folders[name] / file.name).read_bytes() == file.read_bytes(), (name, seed, moments)


def taken(folder: Path) -> int:
    """Return how many steps a stage has kept."""
    if (folder / "done.json").exists():
        return int(json.loads((folder / "done.json").read_text())["steps"])
    names = [path.name for path in (folder / "checkpoints").glob("step-*.safetensors")]
    return max((int(re.findall(r"\d+", name)[0]) for name in names), default=0)


def kill_all(driver: subprocess.Popen[bytes]) -> None:
    """Kill a driver and all that it started, its Ray with it."""
    started = family(driver.pid)
    driver.kill()
    for pid in started:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    driver.wait()
    limit = time.monotonic() + 30
    while alive(started):
        assert time.monotonic() < limit, [started[pid] for pid in alive(started)]
        time.sleep(0.05)
