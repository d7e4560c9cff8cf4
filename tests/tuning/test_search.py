"""Campaigns of seconds under Ray Tune: seeds, workers, shared stages, killed trials and drivers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from mlflow import MlflowClient
from ruamel.yaml import YAML

from acutance.commands.tune import campaign
from acutance.commands.tune.campaign import run_campaign
from acutance.commands.tune.context import CampaignContext, open_campaign
from acutance.commands.tune.outcome import CampaignOutcome
from acutance.data.pictures import read_picture, write_picture
from acutance.data.prepare import prepare
from acutance.errors import ConfigError
from acutance.evaluation.evaluate import evaluate_one
from acutance.evaluation.png_size import compressed_size
from acutance.models.model_file import load_model
from acutance.tuning.study import trial_records
from acutance.tuning.study_lock import exclusive_driver
from command_line import REPOSITORY, environment

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("cluster")]

TRIAL = "ray::ResourceTrainable"
"""How the process of a trial calls itself: Ray Tune wraps it in a class of this name."""

Found = TypeVar("Found")
Opened = Callable[..., CampaignContext]

RATES = {"optimiser.learning_rate": [1e-4, 1e-3]}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures to train on and one to measure on."""
    folder, draw = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for name in ("train/a", "train/b", "test/c"):
        coarse = draw.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        write_picture(folder / f"{name}.png", np.kron(coarse, np.ones((8, 8, 1), np.uint8)))
    return folder


def search_space(folder: Path, pictures: Path, *, steps: int = 6, **changes: Any) -> str:
    """Write a search space over a network of a few thousand weights."""
    content = {
        "title": "Made",
        "pipeline": str(REPOSITORY / "pipelines" / "quickstart.yaml"),
        "stage": "fidelity",
        "profile": "smoke",
        "overrides": {
            "data.train": str(pictures / "train"),
            "data.subimages": {"size": 48, "stride": 48},
            "evaluate.on": [str(pictures / "test")],
            "stages.*.validation": None,
            "stages.highpass.patch": 32,
            "stages.fidelity.patch": 32,
            "stages.fidelity.batch": 4,
            "stages.fidelity.report_every": 2,
            "stages.gan.patch": 32,
            "stages.gan.discriminators.image.network.size": 32,
            "stages.gan.discriminators.detail.network.size": 32,
            "stages.gan.batch": 4,
        },
        "objectives": [{"metric": "psnr_y", "on": str(pictures / "test"), "goal": "maximize"}],
        "budget": {"steps": steps},
        "tables": {"rates": {"vary": RATES, "columns": [{"metric": "psnr_y", "on": str(pictures / "test")}]}},
        **changes,
    }
    path = folder / "space.yaml"
    with open(path, "w") as file:
        YAML().dump(content, file)
    return str(path)


@pytest.fixture(scope="module")
def opened(pictures: Path, empty_database: Path) -> Opened:
    """Opens a campaign in a folder of its own; its shards and its tracking store are there."""

    def opened(folder: Path, table: str | None = "rates", **changes: Any) -> CampaignContext:
        (folder / "out").mkdir(parents=True)
        shutil.copy(empty_database, folder / "out")
        work = open_campaign(search_space(folder, pictures, **changes), [], str(folder / "out"), table)
        prepare(work.base.pipeline.data, 4, work.base.catalogue, work.base.root, in_process=True)
        return work

    return opened


def scores(outcome: CampaignOutcome) -> list[float]:
    return [next(iter(trial.scores.values())) for trial in outcome.trials]


def weights(outcome: CampaignOutcome) -> list[np.ndarray]:
    networks = [load_model(trial.model)[0] for trial in outcome.trials]
    return [np.concatenate([p.detach().numpy().ravel() for p in network.parameters()]) for network in networks]


def test_a_trial_trains_with_several_workers_and_several_seeds(tmp_path: Path, pictures: Path, opened: Opened) -> None:
    import ray

    search = {"sampler": {"type": "grid"}, "parameters": {"optimiser.learning_rate": {"choice": [1e-3]}}}
    work = opened(tmp_path / "seeds", table=None, seeds=2, **search)
    averaged = run_campaign(work)
    test = str(pictures / "test")
    sources = {test: work.base.catalogue.find(test)}
    each = [
        evaluate_one(*load_model(str(file)), sources, scale=4, protocol="y_crop4", metrics=["psnr_y"])
        for file in (tmp_path / "seeds" / "out").glob("campaigns/*/trial-0-*/model.safetensors")
    ]
    one, other = (found.mean("candidate", "psnr_y") for found in each)
    assert one != other
    assert scores(averaged) == [pytest.approx(np.mean([one, other]), abs=1e-9)]
    [spread] = averaged.trials[0].spread.values()
    assert spread == pytest.approx(np.std([one, other]), abs=1e-9)

    together = run_campaign(opened(tmp_path / "two", table=None, resources={"workers": 2}, **search))
    np.testing.assert_allclose(weights(averaged)[0], weights(together)[0], atol=2e-5)
    wait_for(lambda: ray.available_resources()["CPU"] == 2)  # nothing holds on to a worker


@pytest.mark.long
def test_what_trials_share_is_made_once_and_what_they_do_not_share_by_the_first(
    tmp_path: Path, pictures: Path, opened: Opened
) -> None:
    columns = [{"metric": "psnr_y", "on": str(pictures / "test")}]
    vary = {"data.derive.*.alpha": [2, 4], "stages.fidelity.steps": [2, 4]}
    work = opened(tmp_path, stage="gan", tables={"rates": {"vary": vary, "columns": columns}}, concurrency=2)
    on_ctrl_c = signal.getsignal(signal.SIGINT)
    outcome = run_campaign(work)
    assert signal.getsignal(signal.SIGINT) is on_ctrl_c, "Ray Tune's own handler swallows the next Ctrl-C"
    assert [trial.state for trial in outcome.trials] == ["complete"] * 4
    assert len(list((tmp_path / "out" / "shards").iterdir())) == 2
    stages = [json.loads(file.read_text())["stage"] for file in (tmp_path / "out").glob("*/**/done.json")]
    # The two lengths of `fidelity`, not that of the file, which no trial needs; one high-pass network; four trials.
    assert sorted(stages) == ["fidelity"] * 2 + ["gan"] * 4 + ["highpass"]


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, pictures: Path, opened: Opened
) -> tuple[CampaignContext, CampaignOutcome, list[int]]:
    """A campaign of two trials at the same time, begun while the cluster was full, and how many waited for room."""
    test = str(pictures / "test")
    columns = [
        {"metric": metric, "on": on}
        for metric, on in (("selected_percent", "training"), ("png_megabytes", "training"), ("png_megabytes", test))
    ]
    mask = {
        "stages.fidelity.objective.pixel.mask": {"type": "column", "column": "hr_weight"},
        "data.derive.hr_differences": {"type": "difference_statistics", "of": "hr", "stored": True},
        "data.derive.hr_weight": {"type": "weight_map", "of": ["hr", "hr_differences"], "margin": 1, "alpha": 0},
    }
    table = {"overrides": mask, "vary": {"data.derive.hr_weight.alpha": [0, 0.5]}, "columns": columns}
    work = opened(tmp_path_factory.mktemp("pair") / "campaign", tables={"rates": table}, concurrency=2, steps=2)
    most: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(campaign, "search", begun_when_full(campaign.search, most))
        return work, run_campaign(work), most


def test_amounts_are_of_the_shards_which_all_maps_share_and_of_restored_pictures(
    pictures: Path, pair: tuple[CampaignContext, CampaignOutcome, list[int]]
) -> None:
    work, outcome, _ = pair
    test = str(pictures / "test")
    assert len(list((Path(work.base.root) / "shards").iterdir())) == 1
    everything, some = (trial.scores for trial in outcome.trials)
    assert everything["selected_percent on training"] == 100
    assert 1 < some["selected_percent on training"] < 60  # within the squares nothing differs
    cut = [read_picture(file) for file in sorted((pictures / "train").glob("*.png"))]
    files = [compressed_size(p[t : t + 48, at : at + 48]) for p in cut for t in (0, 48) for at in (0, 48)]
    assert everything["png_megabytes on training"] == some["png_megabytes on training"]
    assert some["png_megabytes on training"] == pytest.approx(sum(files) / 1e6)
    network, description = load_model(outcome.trials[1].model)
    sources = {test: work.base.catalogue.find(test)}
    restored = evaluate_one(
        network, description, sources, scale=4, protocol="y_crop4", metrics=["compressed_size"]
    ).values("candidate", "compressed_size")
    assert some[f"png_megabytes on {test}"] == pytest.approx(sum(restored.values()) / 1e6)
    assert some[f"png_megabytes on {test}"] != everything[f"png_megabytes on {test}"]


def test_a_population_goes_on_from_its_best_weights(tmp_path: Path, opened: Opened) -> None:
    population = {"type": "pbt", "population": 2, "every": 4, "quantile": 0.5}
    parameters = {"optimiser.learning_rate": {"float": [1e-4, 1e-2], "log": True}}
    changes = {"scheduler": population, "parameters": parameters, "budget": {"trials": 4}}
    outcome = run_campaign(opened(tmp_path, table=None, **changes))
    first, second = outcome.trials[:2], outcome.trials[2:]
    winner = max(first, key=lambda trial: next(iter(trial.scores.values()))).number
    assert [trial.step for trial in outcome.trials] == [4, 4, 8, 8]
    assert [trial.parent for trial in second] == [winner, winner]
    kept = [sorted(file.name for file in (Path(t.model).parent / "checkpoints").iterdir()) for t in second]
    assert kept == [["step-00000008.safetensors"]] * 2  # the next generation could go on from it
    client = MlflowClient(f"sqlite:///{tmp_path}/out/mlflow.db")
    below = f"tags.`mlflow.parentRunId` = '{outcome.run_id}'"
    runs = client.search_runs([client.get_run(outcome.run_id).info.experiment_id], below)
    steps = [{point.step for point in client.get_metric_history(run.info.run_id, "total")} for run in runs]
    assert sorted(map(min, steps)) == [1, 1, 5, 5], "its first four steps are its parent's"
    inherited, own = weights(outcome)[winner], weights(outcome)[2 + winner]
    assert 0 < np.abs(inherited - own).max() < 0.1


def begun_when_full(search: Callable[..., None], most: list[int]) -> Callable[..., None]:
    """Have a search begin while the cluster is full; room is made once two trials wait, or none more comes."""
    from ray.util import placement_group, placement_group_table, remove_placement_group

    def pending() -> int:
        return sum(one["state"] == "PENDING" for one in placement_group_table().values())

    def begun(*arguments: Any) -> None:
        held = placement_group([{"CPU": 2}])
        wait_for(lambda: held.wait(1))

        def free_at_two() -> None:
            limit = time.monotonic() + 20
            while pending() < 2 and time.monotonic() < limit:
                time.sleep(0.1)
            most.append(pending())
            remove_placement_group(held)

        threading.Thread(target=free_at_two).start()
        search(*arguments)

    return begun


def test_as_many_trials_as_run_at_the_same_time_wait_for_nodes_at_the_same_time(
    pair: tuple[CampaignContext, CampaignOutcome, list[int]],
) -> None:
    """An autoscaler starts the nodes that are asked for: one by one where one trial waits at a time."""
    _, outcome, most = pair
    assert most == [2]
    assert [trial.state for trial in outcome.trials] == ["complete"] * 2


def processes(words: str, mark: str) -> list[int]:
    """Return the processes with these words in their name that descend from one that was marked."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            environ = (folder / "environ").read_bytes().split(b"\0")
            if f"ACUTANCE_TEST={mark}".encode() in environ and words.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except (OSError, ValueError):
            continue
    return found


def wait_for(condition: Callable[[], Found], seconds: float = 120) -> Found:
    limit = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < limit, "what was waited for did not come"
        time.sleep(0.05)
    return found


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("workers", "victim"), [(1, TRIAL), (2, "ray::Peer")])
def test_killed_trials_workers_and_drivers_change_no_bit(
    tmp_path: Path, pictures: Path, opened: Opened, workers: int, victim: str
) -> None:
    columns = [{"metric": "psnr_y", "on": str(pictures / "test")}]
    changes: dict[str, Any] = {
        "tables": {"rates": {"vary": {"optimiser.learning_rate": [1e-4, 1e-3]}, "columns": columns}},
        "steps": 300,
        "resources": {"workers": workers},
        "concurrency": 1,
    }
    broken = tmp_path / "broken"
    undisturbed = run_campaign(opened(tmp_path / "whole", **changes))
    work = opened(broken, **changes)
    mark = f"{os.getpid()}-{workers}"
    command = [
        sys.executable, "-m", "acutance", "tune", str(broken / "space.yaml"), "--table", "rates",
        "--storage", str(broken / "out"), "--json",
    ]  # fmt: skip
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    driver = subprocess.Popen(command, env=environment(ACUTANCE_TEST=mark), cwd=REPOSITORY, **quiet)
    wait_for(lambda: [*(broken / "out" / "campaigns").glob("*/trial-*/checkpoints/*")])
    os.kill(wait_for(lambda: processes(victim, mark))[0], signal.SIGKILL)
    wait_for(lambda: any(record.state == "complete" for record in trial_records(work.study())))
    driver.kill()
    driver.wait()
    ended = {a.number: a.seconds for a in trial_records(work.study()) if a.state == "complete"}
    assert len(ended) == 1, "the driver was killed too late"
    wait_for(lambda: not processes(TRIAL, mark) + processes("ray::Peer", mark))

    refused = subprocess.run(command, env=environment(), cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "--resume goes on with it" in refused.stderr
    resumed = run_campaign(work, resume=True)
    assert [trial.state for trial in resumed.trials] == ["complete"] * 2
    assert {number: resumed.trials[number].seconds for number in ended} == ended  # not run again
    assert scores(resumed) == scores(undisturbed)
    for mine, theirs in zip(weights(resumed), weights(undisturbed), strict=True):
        assert (mine == theirs).all()
    client = MlflowClient(f"sqlite:///{broken}/out/mlflow.db")
    parent = client.get_run(resumed.run_id)
    runs = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{resumed.run_id}'")
    assert len(runs) == 2
    assert {run.info.status for run in [parent, *runs]} == {"FINISHED"}
    for run in runs:
        steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "total")]
        assert sorted(steps) == list(range(1, 301))


def test_a_second_command_beside_a_campaign_is_told_that_it_runs(tmp_path: Path, opened: Opened) -> None:
    work = opened(tmp_path)
    study = work.study()
    study.ask()
    for resume in (False, True):
        words = r"running already: process \d+ on \S+, since \d"
        with exclusive_driver(study), pytest.raises(ConfigError, match=words):
            run_campaign(work, resume=resume)
    with pytest.raises(ConfigError, match="begun before: 0 of 2 trials have ended"):
        run_campaign(work)
