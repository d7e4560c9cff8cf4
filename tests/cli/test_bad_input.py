"""What a user does wrong: each a clear message, exit code 2, no traceback, nothing half-written."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import skimage.data

from acutance.cli import pipelines
from acutance.data.pictures import write_picture
from acutance.errors import ConfigError
from command_line import REPOSITORY, Here

QUICKSTART = "pipelines/quickstart.yaml"


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def test_a_typo_in_a_key_names_file_path_and_nearest_name(here: Here, tmp_path: Path) -> None:
    file = tmp_path / "typo.yaml"
    text = (REPOSITORY / QUICKSTART).read_text().replace("    steps: 200", "    stepps: 200")
    file.write_text(text)
    refused(here("run", str(file), "--dry-run"), "stages.highpass.stepps", "did you mean 'steps'", str(file))


def test_an_override_of_an_unknown_key(here: Here, tmp_path: Path) -> None:
    done = here("train", QUICKSTART, "stages.gan.optimiser.lerning_rate=1", "--storage", str(tmp_path))
    refused(done, "stages.gan.optimiser.lerning_rate", "did you mean 'learning_rate'")
    assert list(tmp_path.iterdir()) == []


def test_unknown_stage_profile_protocol_and_command(here: Here) -> None:
    refused(here("train", QUICKSTART, "--stage", "fidelty", "--dry-run"), "did you mean 'fidelity'")
    refused(here("run", QUICKSTART, "--profile", "smok", "--dry-run"), "did you mean 'smoke'")
    refused(here("trian", QUICKSTART), "No such command")


def test_an_empty_folder(here: Here, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    done = here("prepare", QUICKSTART, f"data.train={tmp_path}/pictures", "--storage", str(tmp_path / "out"))
    refused(done, "no picture", f"{tmp_path}/pictures")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["run", "train"])
def test_pictures_that_cannot_be_measured_are_named_before_ray_starts(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(pipelines, "ray_at", lambda *_: pytest.fail("Ray started"))
    write_picture(tmp_path / "mine" / "small.png", skimage.data.astronaut()[:16, 100:116])
    changes = (f"evaluate.on=[{tmp_path}/mine/]", "evaluate.metrics=[ssim_y]", "register.gate={}")
    done = here(command, QUICKSTART, *changes, "--storage", f"{tmp_path}/o")
    refused(done, "SSIM-Y has no value on any picture of", str(tmp_path / "mine"))


def test_a_training_alone_goes_on_without_the_pictures_to_be_measured_on_and_says_so(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: object) -> None:
        raise ConfigError("Ray would start")

    monkeypatch.setattr(pipelines, "ray_at", start)
    arguments = (QUICKSTART, "evaluate.on=[/nowhere/at/all]", "--storage", f"{tmp_path}/o")
    refused(here("train", *arguments), "will need pictures to measure on that are not here", "Ray would start")
    alone = here("train", *arguments, "--stage", "fidelity")
    refused(alone, "Ray would start")
    assert "will need" not in alone.stderr


def test_an_evaluation_set_that_is_not_here_is_missed_before_training(here: Here, tmp_path: Path) -> None:
    done = here("run", QUICKSTART, "evaluate.on=[Urban100]", "--storage", str(tmp_path / "out"))
    refused(done, "ACUTANCE_DATA")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["inventory"]  # the checksums of the others


@pytest.mark.e2e
def test_bad_pictures_are_reported_and_skipped_or_stop_the_run(here: Here, cluster: None, tmp_path: Path) -> None:
    """Which pictures are bad, and why, is what tests/data/test_prepare.py looks at."""
    folder = tmp_path / "pictures"
    write_picture(folder / "good.png", skimage.data.astronaut()[:128, 100:228])
    write_picture(folder / "small.png", np.zeros((64, 64, 3), np.uint8))
    (folder / "text.png").write_text("I am a text")
    command = ("prepare", QUICKSTART, f"data.train={folder}", "--storage", str(tmp_path / "out"))
    done = here(*command, "--json")
    assert done.returncode == 0, done.stderr
    [manifest] = json.loads(done.stdout)["shards"]
    assert [source["name"] for source in manifest["sources"]] == ["good"]
    assert [skipped["name"] for skipped in manifest["skipped"]] == ["small", "text"]
    for name in ("small", "text"):
        assert f"left out {name}" in done.stderr
    stopped = here(*command, "data.bad_pictures=stop")
    refused(stopped)
    assert any(name in stopped.stderr for name in ("small", "text"))
    assert len(list((tmp_path / "out" / "shards").glob("*/manifest.json"))) == 1


def test_nothing_answers_at_the_ray_address(here: Here, tmp_path: Path) -> None:
    refused(here("run", QUICKSTART, "--address", "127.0.0.1:1", "--storage", str(tmp_path)), "127.0.0.1:1")


def test_nothing_answers_at_the_mlflow_server(here: Here, tmp_path: Path) -> None:
    done = here("models", "list", "--storage", str(tmp_path), MLFLOW_TRACKING_URI="http://me:hunter2@127.0.0.1:9")
    refused(done, "127.0.0.1:9")
    assert "hunter2" not in done.stderr


def test_nothing_answers_at_the_bucket(here: Here) -> None:
    secrets = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "hunter2"}
    done = here(
        "prepare", QUICKSTART, "--storage", "s3://nowhere/acutance", AWS_ENDPOINT_URL="http://127.0.0.1:9", **secrets
    )
    refused(done, "s3://nowhere")
    assert "hunter2" not in done.stderr


def test_a_model_that_is_not_there(here: Here, tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", np.zeros((9, 9, 3), np.uint8))
    paths = (str(tmp_path / "a.png"), str(tmp_path / "b.png"), "--storage", str(tmp_path))
    refused(here("restore", "models:/none@champion", *paths), "none")
    refused(here("restore", "none.safetensors", *paths), "none.safetensors")
    refused(here("restore", f"{QUICKSTART}:gan", *paths), "not trained yet")


def test_a_dry_run_needs_no_data_and_writes_nothing(here: Here, tmp_path: Path) -> None:
    done = here("run", QUICKSTART, "data.train=Set5", "--dry-run", "--json", "--storage", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert [stage["name"] for stage in plan["stages"]] == ["highpass", "fidelity", "gan"]
    assert all(not stage["done"] and stage["parameters"]["network"] > 0 for stage in plan["stages"])
    assert set(plan["stages"][2]["parameters"]["discriminators"]) == {"image", "detail"}
    assert any("ACUTANCE_DATA" in problem for problem in plan["missing"])
    assert not (tmp_path / "out").exists()


def test_every_command_has_help_with_an_example(here: Here) -> None:
    for command in ("run", "prepare", "train", "evaluate", "tune", "restore", "doctor", "schema", "serve",
                    "models list", "models show", "models promote", "models rollback", "models history",
                    "models export", "models relocate", "jobs submit", "jobs list", "jobs status", "jobs logs",
                    "jobs stop", "jobs manifest", "data list", "data fetch"):  # fmt: skip
        done = here(*command.split(), "--help")
        assert done.returncode == 0
        assert f"acutance {command}" in done.stdout.replace("\n", " "), command


def test_the_help_of_evaluate_tells_each_protocol(here: Here) -> None:
    from acutance.config.metrics import PROTOCOLS

    printed = here("evaluate", "--help").stdout
    assert all(f"{name} " in printed for name in PROTOCOLS)


@pytest.mark.e2e
def test_an_unknown_protocol_is_named(here: Here, cluster: None) -> None:
    done = here("evaluate", "bicubic", "--on", "photographs_heldout", "--protocol", "y_crop")
    refused(done, "did you mean 'y_crop4'?")


def test_the_schema_is_json_schema(here: Here) -> None:
    schema = json.loads(here("schema", "pipeline").stdout)
    assert schema["properties"]["stages"]["type"] == "object"
    networks = schema["$defs"]["Stage"]["properties"]["network"]["oneOf"]
    assert {"blocks", "growth", "init"} <= next(
        network["properties"].keys() for network in networks if network["properties"]["type"]["const"] == "rrdbnet"
    )
