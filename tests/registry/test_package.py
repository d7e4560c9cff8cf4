from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import mlflow.pyfunc
import numpy as np
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from acutance.errors import ModelError
from acutance.fingerprint import file_sha256
from acutance.inference.restore import restore
from acutance.models.model_file import build_network, load_model, save_model
from acutance.parts.names import PARTS
from acutance.process import this_process
from acutance.registry.card import Facts
from acutance.registry.package import CODE, REQUIREMENTS, log_model, save_package
from acutance.registry.promotion import Measurements, promote
from acutance.registry.runs import OWNER

NAME = "sr-x2-test"

ModelFile = Callable[[int], Path]


def test_package_gives_what_restore_gives_and_refuses_other_inputs(
    model_file: ModelFile, picture: np.ndarray, tmp_path: Path
) -> None:
    save_package(tmp_path / "package", model_file(1), picture, "# card\n")
    served = mlflow.pyfunc.load_model(str(tmp_path / "package"))
    expected = restore(*load_model(str(model_file(1))), picture)["image"]
    batch = served.predict(np.stack([picture, picture[::-1]]))
    assert (batch.dtype, batch.shape) == (np.uint8, (2, 42, 68, 3))
    assert np.array_equal(batch[0], expected)
    assert not np.array_equal(batch[1], expected)
    for wrong in (np.zeros((1, 8, 8, 3), np.float32), np.zeros((8, 8, 3), np.uint8)):
        with pytest.raises(MlflowException, match=r"dtype|shape"):
            served.predict(wrong)


def test_package_holds_all_it_should_and_no_pickle(model_file: ModelFile, picture: np.ndarray, tmp_path: Path) -> None:
    (Path.cwd() / "uv.lock").write_text("version = 1")
    (Path.cwd() / "pyproject.toml").write_text("[project]")
    folder = tmp_path / "package"
    save_package(folder, model_file(1), picture, "# card\n")
    for name in ("uv.lock", "pyproject.toml"):
        (Path.cwd() / name).unlink()
        assert not (folder / name).exists(), "a stranger's project file was taken along"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"MLmodel", "README.md", "served_model.py", "input_example.json", "requirements.txt"} <= files
    assert {"artifacts/model.safetensors", "LICENSE", "code/acutance/models/rrdbnet.py"} <= files
    assert "sheet.png" not in files
    assert "END OF TERMS AND CONDITIONS" in (folder / "LICENSE").read_text()
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".pt", ".pth"))]
    assert "acutance" not in (folder / "requirements.txt").read_text(), "an index may hold a stranger of that name"
    assert "+" not in (folder / "requirements.txt").read_text()
    signature = yaml.safe_load((folder / "MLmodel").read_text())["signature"]
    for side in ("inputs", "outputs"):
        (tensor,) = json.loads(signature[side])
        assert tensor["tensor-spec"] == {"dtype": "uint8", "shape": [-1, -1, -1, 3]}


ELSEWHERE = """
import importlib.util, json, sys
sys.path.append(sys.argv[1])  # without -S its .pth files would bring the editable install back
import mlflow.pyfunc, numpy as np, torch
found = importlib.util.find_spec("acutance")
assert found is None or found.origin is None  # pipelines lie there, but no code
seen = []
watched = {"socket.connect", "socket.getaddrinfo", "pickle.find_class", "subprocess.Popen", "os.system"}
sys.addaudithook(lambda event, _: seen.append(event) if event in watched else None)
torch.set_num_threads(1)
served = mlflow.pyfunc.load_model(sys.argv[2])
np.save(sys.argv[4], served.predict(np.load(sys.argv[3])))
ours = [module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "acutance"]
print(json.dumps({"seen": seen, "ours": ours}))
"""


def test_package_runs_where_acutance_is_not_installed_and_nothing_is_printed(
    model_file: ModelFile, picture: np.ndarray, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    package, given, made = tmp_path / "package", tmp_path / "given.npy", tmp_path / "made.npy"
    capfd.readouterr()
    save_package(package, model_file(1), picture, "# card\n")
    assert capfd.readouterr() == ("", "")
    np.save(given, picture[None])
    site_packages = str(Path(np.__file__).parents[1])
    command = [sys.executable, "-I", "-S", "-c", ELSEWHERE, site_packages, str(package), str(given), str(made)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["seen"] == [], "it reached for the network, ran a command or unpickled something"
    assert len(found["ours"]) > 15
    assert all(Path(file).is_relative_to(package / "code") for file in found["ours"])
    assert np.array_equal(np.load(made)[0], restore(*load_model(str(model_file(1))), picture)["image"])


def test_requirements_are_what_loading_and_restoring_import() -> None:
    graph = grimp.build_graph("acutance", include_external_packages=True, cache_dir=None)
    # MLflow runs a copy of the file, so the room around it is not imported.
    reached, todo = set[str](), [*graph.find_modules_directly_imported_by(f"acutance.registry.{CODE.stem}")]
    todo += [place.partition(":")[0] for kind in ("network", "derivation") for place in PARTS[kind].values()]
    while todo:
        if (name := todo.pop()) not in reached:
            reached.add(name)
            todo += graph.find_modules_directly_imported_by(name)
            todo += [name.rpartition(".")[0]] if "." in name else []  # a package runs before what lies in it
    others = {name for name in reached if not name.startswith("acutance")} - sys.stdlib_module_names
    known = packages_distributions()
    needed = {name if name in known.get(name, []) else known[name][0] for name in others}
    needed -= {"triton"}  # which comes with torch where there is a GPU for it
    assert {name.lower() for name in needed} == set(REQUIREMENTS)


def test_network_that_makes_no_picture_is_refused(
    client: MlflowClient, run_id: str, tmp_path: Path, picture: np.ndarray
) -> None:
    settings = {"type": "highpass", "channels": 4, "kernel": 3}
    save_model(str(tmp_path / "m.safetensors"), build_network(settings), {"network": settings, "scale": 1})
    with pytest.raises(ModelError, match="makes no picture"):
        log_model(client, run_id, tmp_path / "m.safetensors", NAME, picture)
    assert client.search_registered_models() == []


def test_registered_package_has_its_card_and_sheet(
    client: MlflowClient, run_id: str, model_file: ModelFile, picture: np.ndarray, tmp_path: Path
) -> None:
    (tmp_path / "made.png").write_bytes(b"a picture")
    facts = Facts(paper={"title": "A Paper", "authors": "A. Author", "year": 2021})
    version = log_model(client, run_id, model_file(1), NAME, picture, facts=facts, sheet=tmp_path / "made.png")
    folder = Path(client.get_model_version_download_uri(NAME, str(version.version)).removeprefix("file://"))
    card = (folder / "README.md").read_text()
    assert (folder / "sheet.png").read_bytes() == b"a picture"
    assert "![held-out pictures, restored](sheet.png)" in card
    assert "A. Author, *A Paper*, 2021" in card
    assert "How it was made" in version.description
    assert "sheet.png" not in version.description, "where it is shown there is no such file"


def test_version_is_the_candidate_and_says_where_it_comes_from(
    client: MlflowClient, run_id: str, model_file: ModelFile, picture: np.ndarray
) -> None:
    tags, metrics = {"acutance.dataset": "d" * 16}, {"psnr_y": 27.5, "niqe": float("nan")}
    version = log_model(client, run_id, model_file(1), NAME, picture, tags=tags, metrics=metrics)
    assert (str(version.version), version.run_id, version.aliases) == ("1", run_id, ["candidate"])
    assert version.tags["acutance.fingerprint"] == f"{1:016x}"
    assert version.tags["acutance.sha256"] == file_sha256(model_file(1))
    assert version.tags["acutance.dataset"] == "d" * 16
    run = client.get_run(run_id)
    assert run.data.metrics["psnr_y"] == 27.5
    (output,) = run.outputs.model_outputs
    logged = client.get_logged_model(output.model_id)
    assert (logged.status.value, logged.source_run_id) == ("READY", run_id)
    assert {metric.key: metric.value for metric in logged.metrics}["psnr_y"] == 27.5


def test_same_model_is_registered_once(
    client: MlflowClient, run_id: str, model_file: ModelFile, picture: np.ndarray
) -> None:
    for seed in (1, 1, 2, 1):
        version = log_model(client, run_id, model_file(seed), NAME, picture)
    assert (str(version.version), version.aliases) == ("1", ["candidate"])
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 2


def test_champion_does_not_become_a_candidate_again(
    client: MlflowClient, run_id: str, model_file: ModelFile, picture: np.ndarray
) -> None:
    log_model(client, run_id, model_file(1), NAME, picture)
    promote(client, NAME, measure=lambda *_: Measurements({}, None, {}), who="a test")
    log_model(client, run_id, model_file(2), NAME, picture)
    assert log_model(client, run_id, model_file(1), NAME, picture).aliases == ["champion"]
    assert str(client.get_model_version_by_alias(NAME, "candidate").version) == "2"


def test_failure_leaves_no_half_model(
    client: MlflowClient,
    run_id: str,
    model_file: ModelFile,
    picture: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(client, "log_model_artifacts", full)
    with pytest.raises(OSError, match="no space"):
        log_model(client, run_id, model_file(1), NAME, picture)
    assert client.search_model_versions(f"name = '{NAME}'") == []
    assert client.search_logged_models([client.get_run(run_id).info.experiment_id]) == []


def test_what_a_killed_process_had_half_logged_is_deleted_by_the_next_one(
    client: MlflowClient, run_id: str, model_file: ModelFile, picture: np.ndarray
) -> None:
    experiment = client.get_run(run_id).info.experiment_id
    owners = {"dead": this_process() + "1", "at work": this_process(), "elsewhere": "elsewhere 1 2"}
    half = {
        who: client.create_logged_model(experiment, who, run_id, tags={OWNER: owner}) for who, owner in owners.items()
    }
    stored = Path(half["dead"].artifact_location.removeprefix("file://"))
    stored.mkdir(parents=True)
    (stored / "part").write_bytes(b"1")
    log_model(client, run_id, model_file(1), NAME, picture)
    assert {model.name for model in client.search_logged_models([experiment])} == {NAME, "at work", "elsewhere"}
    assert not stored.exists()


def test_file_of_another_origin_is_refused(
    client: MlflowClient, run_id: str, tmp_path: Path, picture: np.ndarray
) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"no model")
    with pytest.raises(ModelError):
        log_model(client, run_id, tmp_path / "weights.safetensors", NAME, picture)
    assert client.search_registered_models() == []
