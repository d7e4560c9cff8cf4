"""What a job takes along: the code, the YAML files, and nothing that could be a secret."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

import acutance
from acutance.cluster import package as packages
from acutance.cluster.package import build
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
        "pipelines/model.safetensors",
        "pipelines/id_rsa",
        "home/.aws/credentials",
        "home/.aws/config.yaml",
        "run",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("key: s3cr3t")
    (tmp_path / "private.yaml").write_text("key: s3cr3t")
    (root / "pipelines" / "link.yaml").symlink_to(tmp_path / "private.yaml")
    (root / "pipelines" / "home").symlink_to(root / "home")
    (root / "search_spaces" / "up").symlink_to("../..")
    (root / "pipelines" / "loop").symlink_to(".")
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
    [
        "../private.yaml",
        "pipelines/link.yaml",
        "search_spaces/up/private.yaml",
        "pipelines/credentials.yaml",
        ".venv/x.yaml",
        "home/.aws/config.yaml",
        "pipelines/home/.aws/config.yaml",
        "data/picture.png",
        "pipelines/mistyped.yaml",
    ],
)
def test_files_that_cannot_come_along(checkout: Path, tmp_path: Path, word: str) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    with pytest.raises(UserError) as refused:
        build(["run", word], checkout, folder)
    assert refused.value.where == word
    assert refused.value.fix
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("restore", "models:/sr@champion", "s3://album/in.png", "out.png"),
        ("restore", "models:/sr@champion", "./in", "s3://album/out"),
        ("models", "export", "models:/sr@champion", "sr.onnx"),
        ("run", "pipelines/mine.yaml", "data.train=./data"),
        ("run", "pipelines/mine.yaml", "data.train={hr: ./data/hr, lr: /mnt/lr}"),
        ("run", "pipelines/mine.yaml", "data.train=home/.aws"),
        ("run", "pipelines/mine.yaml", "evaluate.on=[Set5, ../held-out]"),
        ("run", "pipelines/mine.yaml", "--storage", "outputs"),
        ("run", "pipelines/mine.yaml", "--storage=outputs"),
        ("evaluate", "bicubic", "--on", "~/pictures"),
    ],
)
def test_a_relative_path_is_another_one_on_the_cluster(checkout: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=r"another one on the cluster|only YAML files travel"):
        build(list(words), checkout, tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        ("run", "pipelines/mine.yaml", "--from-trial", "quickstart-b1624847/3", "--storage", "s3://bucket/outputs"),
        ("run", "./pipelines/mine.yaml", "data.train=s3://bucket/pictures", "stages.gan.betas=[0.9, 0.99]"),
        ("train", "pipelines/mine.yaml", "stages.gan.network.init={main: RRDB_PSNR_x4.pth}", "--storage", "/mnt/out"),
        ("evaluate", "models:/sr@champion", "--on", "Set5", "data", "/mnt/pictures", "title=a/b"),
    ],
)
def test_names_and_absolute_paths_go_along(checkout: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    assert build(list(words), checkout, tmp_path).command[2:] == words[2:]


def test_absolute_pictures_and_models_are_left_to_the_cluster(checkout: Path, tmp_path: Path) -> None:
    words = ["restore", "models:/sr@champion", str(checkout / "data" / "picture.png"), "/tmp/out.png", "x" * 5000]
    words += ["/mnt/nowhere/pipelines/mine.yaml", "s3://bucket/mine.yaml", "pipeline=pipelines/nowhere.yaml"]
    assert build(words, checkout, tmp_path).command == tuple(words)


def test_a_policy_folder_that_leads_out_stays_at_home(checkout: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "theirs.yaml").write_text("key: s3cr3t")
    shutil.rmtree(checkout / "search_spaces")
    (checkout / "search_spaces").symlink_to(outside)
    assert names(checkout, tmp_path / "a", "doctor") == {"pipelines/mine.yaml"}


def test_a_gigabyte_of_outputs_costs_nothing(checkout: Path, tmp_path: Path) -> None:
    with open(checkout / "outputs" / "huge.yaml", "wb") as file:
        file.truncate(1 << 30)
    (tmp_path / "a").mkdir()
    began = time.monotonic()
    package = build(["run", "pipelines/mine.yaml"], checkout, tmp_path / "a")
    assert package.size < 2 << 20
    assert time.monotonic() - began < 5


def test_too_much_is_refused_and_the_largest_file_named(checkout: Path, tmp_path: Path) -> None:
    with open(checkout / "pipelines" / "huge.yaml", "wb") as file:
        file.truncate(packages.MOST + 1)
    (tmp_path / "a").mkdir()
    with pytest.raises(UserError, match=r"at most 20 may go along") as refused:
        build(["run", "pipelines/mine.yaml"], checkout, tmp_path / "a")
    assert refused.value.where == "pipelines/huge.yaml (20.0 MiB)"
    assert list((tmp_path / "a").iterdir()) == [], "it is copied only when it may go along"


def test_code_with_a_secret_beside_it_leaves_the_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "acutance"
    for name in (".env", "__init__.py", "keys.pem", ".netrc.py", "data/__init__.py", "data/picture.png", "outputs.db"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("s3cr3t")
    monkeypatch.setattr(packages, "HOME", home)
    (tmp_path / "a").mkdir()
    package = build(["doctor"], tmp_path, tmp_path / "a")
    code = {name.removeprefix("platform/acutance/") for name, _ in package.files}
    assert {name for name in code if not name.startswith("files/")} == {"__init__.py", "data/__init__.py"}
    assert "files/pipelines/quickstart.yaml" in code, "what comes with the package goes along from anywhere"
