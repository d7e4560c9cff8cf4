"""What a job takes along: the code, the YAML files, and nothing that could be a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

import acutance
from acutance.cluster.package import build, environment
from acutance.errors import UserError
from command_line import REPOSITORY

CODE = Path(acutance.__file__).parent


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with everything in it that must stay at home."""
    root = tmp_path / "checkout"
    for name in (
        "platform/acutance/__init__.py",
        "pipelines/mine.yaml",
        "pipelines/.env",
        "pipelines/.hidden.yaml",
        "pipelines/credentials.yaml",
        "pipelines/old/Secrets/all.yaml",
        "pipelines/notes.txt",
        "search_spaces/papers/mine.yml",
        ".env",
        ".git/config",
        ".venv/lib/x.py",
        ".venv/x.yaml",
        "outputs/config.yaml",
        "outputs/model.safetensors",
        "data/picture.png",
        "elsewhere/extra.yaml",
        "run",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("key: s3cr3t")
    (tmp_path / "private.yaml").write_text("key: s3cr3t")
    (root / "pipelines" / "link.yaml").symlink_to(tmp_path / "private.yaml")
    return root


def names(checkout: Path, folder: Path, *command: str) -> set[str]:
    """Return what lies in the package besides the code, after comparing it with what the package says."""
    folder.mkdir()
    package = build(list(command), checkout, folder)
    there = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    assert there == dict(package.files)
    assert package.size == sum(there.values())
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    return {name for name in there if not name.startswith("platform/acutance/")}


def test_only_yaml_of_the_policy_folders_and_what_the_command_names(checkout: Path, tmp_path: Path) -> None:
    policy = {"pipelines/mine.yaml", "search_spaces/papers/mine.yml"}
    assert names(checkout, tmp_path / "a", "run", "pipelines/mine.yaml", "data", "stages.gan.steps=3") == policy
    assert names(checkout, tmp_path / "b", "run", "elsewhere/extra.yaml") == {*policy, "elsewhere/extra.yaml"}


def test_the_code_is_all_of_the_package_that_is_running(tmp_path: Path) -> None:
    package = build(["doctor"], REPOSITORY, tmp_path)
    code = {name.removeprefix("platform/acutance/") for name, _ in package.files if name.startswith("platform/")}
    files = {path.relative_to(CODE) for path in CODE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert code == {path.as_posix() for path in files}, "a file of the package would be missing in jobs"


def test_paths_are_those_of_where_the_user_stands(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    package = build(["run", "mine.yaml", "--dry-run"], checkout / "pipelines", tmp_path / "a")
    assert package.command == ("run", "pipelines/mine.yaml", "--dry-run")
    (tmp_path / "b").mkdir()
    absolute = str(checkout / "elsewhere" / "extra.yaml")
    assert build(["run", absolute], checkout, tmp_path / "b").command == ("run", "elsewhere/extra.yaml")


@pytest.mark.parametrize(
    "word",
    ["../private.yaml", "pipelines/link.yaml", "pipelines/credentials.yaml", ".venv/x.yaml", "data/picture.png"],
)
def test_files_that_cannot_come_along(checkout: Path, tmp_path: Path, word: str) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    with pytest.raises(UserError) as refused:
        build(["run", word], checkout, folder)
    assert refused.value.where == word
    assert refused.value.fix
    assert list(folder.iterdir()) == []


def test_absolute_pictures_and_models_are_left_to_the_cluster(checkout: Path, tmp_path: Path) -> None:
    words = ["upscale", "models:/sr@champion", str(checkout / "data" / "picture.png"), "/tmp/out.png", "x" * 5000]
    assert build(words, checkout, tmp_path).command == tuple(words)


def test_the_environment_of_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "s3cr3t")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cr3t")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///runs/mlflow.db")
    variables = environment("outputs")
    assert variables["ACUTANCE_STORAGE"] == str(tmp_path / "outputs")
    assert variables["MLFLOW_TRACKING_URI"] == f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert variables["PYTHONPATH"] == "platform"
    assert variables["RAY_USAGE_STATS_ENABLED"] == "0"
    assert "s3cr3t" not in str(variables)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")
    variables = environment("s3://bucket/outputs")
    assert variables["ACUTANCE_STORAGE"] == "s3://bucket/outputs"
    assert variables["MLFLOW_TRACKING_URI"] == "http://mlflow.example:5000"


@pytest.mark.parametrize(
    "uri",
    [
        "http://me:s3cr3t@mlflow.example",
        "https://s3cr3t@mlflow.example",
        "postgresql://me:s3cr3t@db/mlflow",
        "postgresql://db/mlflow?user=me&password=s3cr3t",
    ],
)
def test_a_tracking_address_with_a_password_is_refused(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match="MLFLOW_TRACKING_PASSWORD") as refused:
        environment("outputs")
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize("storage", ["s3://key:s3cr3t@bucket/x", "ftp://host/x"])
def test_a_storage_no_job_can_use(storage: str) -> None:
    with pytest.raises(UserError) as refused:
        environment(storage)
    assert "s3cr3t" not in str(refused.value)
