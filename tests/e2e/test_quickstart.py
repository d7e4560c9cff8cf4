"""The main job on real photographs, from pictures to a champion that is served."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pytest
from mlflow import MlflowClient

from acutance.data.pictures import read_picture, write_picture
from command_line import Here, Quickstart, acutance

pytestmark = pytest.mark.e2e
TERMS = ("pixel", "feature", "adversarial", "detail_pixel", "detail_adversarial")


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_fidelity_beats_bicubic_and_the_gan_is_sharper(demo: Quickstart, weights: dict[str, str]) -> None:
    assert demo.mean("fidelity", "psnr_y") >= demo.mean("bicubic", "psnr_y") + 0.3
    truth = demo.mean("ground truth", "high_frequency")
    fidelity, gan = (abs(demo.mean(name, "high_frequency") - truth) for name in ("fidelity", "gan"))
    assert gan < 0.9 * fidelity
    if weights:
        truth = demo.mean("ground truth", "niqe")
        assert abs(demo.mean("gan", "niqe") - truth) < abs(demo.mean("fidelity", "niqe") - truth)


@pytest.mark.long
def test_a_stage_of_a_pipeline_file_is_a_model(demo: Quickstart, tmp_path: Path) -> None:
    write_picture(tmp_path / "small.png", read_picture(_photograph("coffee.png"))[:20, :30])
    files = (str(tmp_path / "small.png"), str(tmp_path / "large.png"))
    done = acutance("restore", "pipelines/quickstart.yaml:gan", *files, "--storage", str(demo.root))
    assert done.returncode == 0, done.stderr
    assert read_picture(tmp_path / "large.png").shape == (80, 120, 3)


def test_a_network_that_begins_as_bicubic_loses_nothing_in_a_few_steps(quickstart: Quickstart) -> None:
    assert abs(quickstart.mean("fidelity", "psnr_y") - quickstart.mean("bicubic", "psnr_y")) < 0.05


def test_what_it_prints_is_about_the_job(quickstart: Quickstart) -> None:
    for noise in ("Warning", "WARNING", "INFO ", "Traceback", "usage stats", "(pid="):
        assert noise not in quickstart.messages


def test_the_sheet_is_a_picture(quickstart: Quickstart) -> None:
    assert min(read_picture(quickstart.result["sheet"]).shape[:2]) > 500


def test_every_stage_has_a_run_with_its_settings_and_each_term_by_step(quickstart: Quickstart) -> None:
    client = MlflowClient(f"sqlite:///{quickstart.root}/mlflow.db")
    parent = client.get_run(quickstart.result["mlflow_run"])
    runs = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    stages = {run.info.run_name: run for run in runs}
    assert stages.keys() == {"highpass", "fidelity", "gan"}
    assert {run.info.status for run in [parent, *runs]} == {"FINISHED"}
    losses = [point.value for point in client.get_metric_history(stages["highpass"].info.run_id, "total")]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5]), "it learns"
    gan = stages["gan"]
    assert gan.info.start_time >= max(stages[name].info.end_time for name in ("highpass", "fidelity"))
    assert gan.data.params["stage.objective.feature.network"] == "highpass"
    for term in (*TERMS, "discriminator_image", "discriminator_detail", "total"):
        history = client.get_metric_history(gan.info.run_id, term)
        steps = [point.step for point in history]
        assert steps == list(range(1, len(steps) + 1)), term
        assert len(steps) == int(gan.data.params["stage.steps"])
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"sheet.png", "pictures.json", "config.json"} <= files


def test_the_model_is_registered_as_candidate_with_its_origin(quickstart: Quickstart) -> None:
    client = MlflowClient(f"sqlite:///{quickstart.root}/mlflow.db")
    version = client.get_model_version_by_alias("quickstart-x4", "candidate")
    assert {
        "acutance.fingerprint",
        "acutance.dataset",
        "acutance.sha256",
        "acutance.evaluation_spec",
    } <= version.tags.keys()
    assert version.run_id == quickstart.result["mlflow_run"]


def test_a_second_run_does_nothing_and_says_so(quickstart: Quickstart, here: Here, weights: dict[str, str]) -> None:
    stages = sorted(path.stat().st_mtime_ns for path in quickstart.root.rglob("model.safetensors"))
    again = here(*quickstart.command, "--storage", str(quickstart.root), "--json", **weights)
    assert again.returncode == 0
    assert "everything is done already" in again.stderr
    assert json.loads(again.stdout) == {**quickstart.result, "fresh": False}
    assert stages == sorted(path.stat().st_mtime_ns for path in quickstart.root.rglob("model.safetensors"))


@pytest.mark.long
def test_promotion_by_the_gate_then_nothing_to_roll_back(quickstart: Quickstart) -> None:
    storage = ("--storage", str(quickstart.root))
    first = acutance("models", "promote", "quickstart-x4", *storage, "--json")
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["reason"] == "no champion yet"
    again = acutance("models", "promote", "quickstart-x4", *storage)
    assert "champion already" in again.stdout
    back = acutance("models", "rollback", "quickstart-x4", *storage)
    assert back.returncode == 2
    assert "nothing to roll back to" in back.stderr
    shown = json.loads(acutance("models", "show", "quickstart-x4", *storage, "--json").stdout)
    assert shown["versions"][0]["decision"] == "accepted"


def test_restore_and_the_packaged_model_give_the_same_picture(
    quickstart: Quickstart, here: Here, tmp_path: Path
) -> None:
    """How packages are served over HTTP is what tests/registry/test_mlflow_server.py looks at."""
    small = read_picture(_photograph("chelsea.png"))[100:148, 100:164]
    write_picture(tmp_path / "small.png", small)
    reference = "models:/quickstart-x4@candidate"
    files = (str(tmp_path / "small.png"), str(tmp_path / "large.png"))
    done = here("restore", reference, *files, "--storage", str(quickstart.root))
    assert done.returncode == 0, done.stderr
    restored = read_picture(tmp_path / "large.png")
    assert restored.shape == (192, 256, 3)
    client = MlflowClient(f"sqlite:///{quickstart.root}/mlflow.db")
    package = client.get_model_version_download_uri("quickstart-x4", "1").removeprefix("file://")
    assert np.array_equal(restored, mlflow.pyfunc.load_model(package).predict(small[None])[0])


@pytest.mark.long
def test_restoring_a_folder_lists_what_cannot_be_read(quickstart: Quickstart, tmp_path: Path) -> None:
    write_picture(tmp_path / "in" / "good.png", read_picture(_photograph("coffee.png"))[:20, :30])
    (tmp_path / "in" / "bad.png").write_text("not a picture")
    done = acutance(
        "restore", "models:/quickstart-x4@candidate", str(tmp_path / "in"), str(tmp_path / "out"), "--json",
        "--storage", str(quickstart.root),
    )  # fmt: skip
    assert done.returncode == 2
    result = json.loads(done.stdout)
    assert [Path(path).name for path in result["written"]] == ["good.png"]
    assert [Path(path).name for path in result["failed"]] == ["bad.png"]
    assert read_picture(tmp_path / "out" / "good.png").shape == (80, 120, 3)


@pytest.mark.long
def test_a_campaign_shares_the_warm_start_and_ends_with_a_front(quickstart: Quickstart) -> None:
    storage = (f"overrides={json.dumps(quickstart.overrides)}", "--storage", str(quickstart.root))
    done = acutance("tune", "search_spaces/quickstart.yaml", *storage, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [trial["number"] for trial in result["trials"]] == [0, 1, 2, 3]
    assert len({json.dumps(trial["values"]) for trial in result["trials"]}) == 4
    assert result["winner"] in result["front"]
    assert {trial["state"] for trial in result["trials"]} <= {"complete", "stopped"}
    assert min(read_picture(result["picture"]).shape[:2]) > 300
    client = MlflowClient(f"sqlite:///{quickstart.root}/mlflow.db")
    parent = client.get_run(result["run_id"])
    runs = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert len(runs) == 4
    assert {run.info.status for run in [parent, *runs]} == {"FINISHED"}
    # of the trials only those that were not stopped have a model, and nothing that they share was trained again
    ended = [trial for trial in result["trials"] if trial["state"] == "complete"]
    models = [json.loads(file.read_text())["stage"] for file in (quickstart.root / "quickstart").glob("*/done.json")]
    assert sorted(models) == ["fidelity", "gan", "highpass"]
    assert len([*Path(result["report"]).parent.glob("trial-*/done.json")]) == len(ended)
    again = acutance("tune", "search_spaces/quickstart.yaml", *storage, "--json")
    assert "everything is done already" in again.stderr
    assert json.loads(again.stdout) == result


def _photograph(name: str) -> Path:
    import skimage

    return Path(skimage.__file__).parent / "data" / name
