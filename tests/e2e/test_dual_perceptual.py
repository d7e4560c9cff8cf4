"""The dual perceptual loss from pictures to models: the pipelines, and the paper's procedure as a campaign."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from ruamel.yaml import YAML

from acutance.commands.tune.campaign import finished, run_campaign
from acutance.commands.tune.context import open_campaign, plan_campaign
from acutance.errors import DataError
from acutance.tuning.study import trial_records
from command_line import REPOSITORY, acutance, environment

pytestmark = pytest.mark.e2e
LONG = pytest.mark.long
SPACE = str(REPOSITORY / "search_spaces" / "dual_perceptual.yaml")
PSNR = "psnr_y on photographs_heldout"
SETTINGS = "objective.dual_perceptual"


def test_the_plan_of_the_procedure_has_the_tables_in_order(tmp_path: Path) -> None:
    plan = plan_campaign(open_campaign(SPACE, [], str(tmp_path), "transfer"))
    starts = {row["table"]: row["start"] for row in plan["rows"]}
    assert list(starts.items()) == [
        ("find_mu", ""),
        ("find_tap", "the best of find_mu"),
        ("transfer", "the best of find_tap"),
    ]
    assert plan["trials"] == len(plan["rows"]) == 7 + 4 + 2
    assert plan["rows"][8]["values"] == {f"stages.gan.{SETTINGS}.taps": ["b24"], "stages.gan.seed": 0}
    assert plan["stages"][0]["parameters"]["network"] == 16_697_987


@pytest.mark.parametrize(
    ("table", "message"), [("transfer", "tables.find_tap.after.best"), ("table_3", "lpips_alex on Set5 cannot be")]
)
def test_what_could_not_be_measured_is_refused_before_anything_starts(
    table: str, message: str, tmp_path: Path, data_root: Path, weights: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACUTANCE_DATA", str(data_root))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    work = open_campaign(SPACE, ["overrides={data.train: photographs_train}"], str(tmp_path), table)
    with pytest.raises(DataError) as caught:
        run_campaign(work)
    assert message in str(caught.value)
    assert "alexnet-owt-7be5be79.pth" in str(caught.value)
    assert not (tmp_path / "studies.db").exists()


@LONG
@pytest.mark.parametrize("pipeline", ["srgan", "esrgan", "srgan_dp", "esrgan_dp"])
def test_a_small_run_ends_with_a_registered_model(pipeline: str, tmp_path: Path, data_root: Path) -> None:
    here = {"ACUTANCE_DATA": str(data_root), "ACUTANCE_WEIGHTS": str(data_root)}
    command = ("run", f"pipelines/{pipeline}.yaml", "--profile", "smoke", "--storage", str(tmp_path), "--json")
    done = acutance(*command, **here)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    name = f"{pipeline.replace('_', '-')}-x4-smoke"
    assert result["model"] == f"models:/{name}/1"
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    assert client.get_model_version_by_alias(name, "candidate").run_id == result["mlflow_run"]
    parent = client.get_run(result["mlflow_run"])
    (stage,) = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    parts = ("dual_perceptual.first", "dual_perceptual.second", "dual_perceptual.ratio")
    for term in ("pixel", "adversarial", *(parts if pipeline.endswith("_dp") else ("perceptual",))):
        assert [point.step for point in client.get_metric_history(stage.info.run_id, term)] == list(range(1, 21)), term
    (restored,) = [row for row in result["evaluation"]["rows"] if row["candidate"] == "gan"]
    assert (restored["dataset"], restored["pictures"]) == ("Set14", 14)
    assert restored["metrics"]["psnr_rgb"] > 20


@pytest.fixture
def cluster(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import ray

    monkeypatch.setenv("ACUTANCE_WEIGHTS", str(data_root))
    ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    yield
    ray.shutdown()


def procedure(folder: Path) -> str:
    """Write the paper's procedure over networks of some thousand weights; return the file."""
    network = {"blocks": 1, "channels": 8}
    columns = [{"metric": "psnr_y", "on": "photographs_heldout"}, {"metric": "psnr_y", "on": "Urban100"}]
    content: dict[str, Any] = {
        "title": "Made",
        "pipeline": str(REPOSITORY / "pipelines" / "srgan_dp.yaml"),
        "stage": "gan",
        "profile": "smoke",
        "overrides": {
            "data.train": "photographs_train",
            "data.subimages": {"size": 32, "stride": 1024},
            "stages.gan.network": {"type": "msrresnet", "skip": "bilinear", **network},
            "stages.gan.discriminators.image.network.size": 32,
            "stages.gan.patch": 32,
            "stages.gan.batch": 4,
        },
        "objectives": [{"metric": "psnr_y", "on": "photographs_heldout", "goal": "maximize"}],
        "budget": {"steps": 4},
        "concurrency": 1,
        "tables": {
            "find_mu": {"vary": {f"{SETTINGS}.mu": [0.5, 1, 20]}, "columns": columns},
            "find_tap": {
                "after": {"table": "find_mu", "best": PSNR},
                "rows": {tap: {f"{SETTINGS}.taps": [tap]} for tap in ("fire5", "fire3")},
                "columns": columns,
            },
            "transfer": {
                "after": {"table": "find_tap", "best": PSNR},
                "pipeline": str(REPOSITORY / "pipelines" / "esrgan_dp.yaml"),
                "overrides": {
                    "stages.gan.network": {"type": "rrdbnet", "skip": "bicubic", "growth": 4, **network},
                },
                "rows": {"ESRGAN-DP": {}},
                "columns": columns,
            },
        },
    }
    with open(folder / "space.yaml", "w") as file:
        YAML().dump(content, file)
    return str(folder / "space.yaml")


@LONG
def test_the_papers_procedure_killed_in_the_middle_ends_as_an_undisturbed_one(
    tmp_path: Path, data_root: Path, cluster: None
) -> None:
    space, broken = procedure(tmp_path), str(tmp_path / "broken")
    command = [sys.executable, "-m", "acutance", "tune", space, "--table", "transfer", "--storage", broken]
    with open(tmp_path / "said", "w") as said:
        here = environment(ACUTANCE_WEIGHTS=str(data_root))
        driver = subprocess.Popen(command, env=here, cwd=REPOSITORY, stdout=said, stderr=said)
    first = open_campaign(space, [], broken, "find_mu").study()
    limit = time.monotonic() + 200
    while sum(attempt.state == "complete" for attempt in trial_records(first)) < 2:
        assert time.monotonic() < limit, (tmp_path / "said").read_text()
        assert driver.poll() is None, (tmp_path / "said").read_text()
        time.sleep(0.1)
    driver.kill()
    driver.wait()
    work = open_campaign(space, [], broken, "transfer")
    assert finished(work) is None, "the driver was killed too late"
    resumed = run_campaign(work, resume=True)
    whole = run_campaign(open_campaign(space, [], str(tmp_path / "whole"), "transfer"))

    assert whole.table is not None
    assert resumed.table == whole.table
    assert resumed.start == whole.start
    assert whole.start is not None
    assert whole.start.values.keys() == {f"{SETTINGS}.mu", f"{SETTINGS}.taps"}
    found = finished(open_campaign(space, [], broken, "find_tap"))
    assert found is not None
    assert found.table is not None
    scores = {row.name: row.cells[PSNR].measured for row in found.table.rows}
    assert max(scores, key=lambda row: scores[row].mean if scores[row] else 0.0) == whole.start.row
    # fire5, the pipeline's own tap, has been trained for the best mu already; the rest once each
    assert len(list((tmp_path / "broken" / "campaigns").glob("*/trial-*/done.json"))) == 3 + 1 + 1
    assert "Not measured: psnr_y on Urban100" in whole.table.about
    again = finished(open_campaign(space, [], broken, "transfer"))
    assert again == resumed
