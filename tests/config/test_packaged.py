"""What comes with the package is found wherever one stands, and files of one's own beside it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from acutance.commands.context import open_pipeline
from acutance.config import packaged
from acutance.config import search_space as campaigns
from acutance.config.packaged import locate
from acutance.data.datasets import catalogue_for
from acutance.errors import ConfigError
from command_line import REPOSITORY


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own in which the user stands."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("named", ["quickstart", "pipelines/quickstart.yaml"])
def test_a_packaged_pipeline_is_run_from_anywhere(outside: Path, named: str) -> None:
    work = open_pipeline(named, [], "smoke", str(outside))
    assert (work.file, work.name) == (REPOSITORY / "pipelines" / "quickstart.yaml", "quickstart")
    assert len(work.catalogue.find("photographs_train")) == 8


def test_a_packaged_search_space_finds_its_pipeline(outside: Path) -> None:
    found = campaigns.load("dual_perceptual", table="table_1")
    assert found.file == REPOSITORY / "pipelines" / "srgan_dp.yaml"


def test_files_of_ones_own_come_first(outside: Path) -> None:
    own = outside / "pipelines"
    own.mkdir()
    (own / "quickstart.yaml").write_text((REPOSITORY / "pipelines" / "quickstart.yaml").read_text())
    (own / "datasets.yaml").write_text(
        "datasets:\n  mine: {about: a, source: s, licence: l, folder: m}\n"
        "  Set5: {about: my own, source: s, licence: l, folder: five}\n"
    )
    assert locate("quickstart", "pipelines") == Path("pipelines/quickstart.yaml")
    assert locate("dsrgan", "pipelines") == REPOSITORY / "pipelines" / "dsrgan.yaml"
    for catalogue in (catalogue_for(), catalogue_for(str(own / "quickstart.yaml"))):
        assert {"mine", "Set14"} <= catalogue.entries.keys()
        assert catalogue.entries["Set5"].about == "my own"


@pytest.mark.parametrize("named", ["quickstrat", "pipelines/quickstrat.yaml"])
def test_an_unknown_name_is_told_the_nearest(outside: Path, named: str) -> None:
    with pytest.raises(ConfigError, match="no such file; did you mean 'quickstart'"):
        open_pipeline(named, [], None, None)


def test_an_installed_package_has_them_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    monkeypatch.setattr(packaged, "HOME", tmp_path / "site" / "acutance")
    monkeypatch.chdir(tmp_path)
    for kind in packaged.POLICY:
        names = {file.name for file in (REPOSITORY / kind).glob("*.yaml")}
        assert {file.name for folder in packaged.folders(kind) for file in folder.glob("*.yaml")} == names
    assert locate("quickstart", "pipelines").is_relative_to(tmp_path / "site")
    assert "photographs_train" in catalogue_for().entries
    templates = {path.relative_to(REPOSITORY / "platform") for path in (REPOSITORY / "platform").rglob("*.j2")}
    assert templates
    assert all((tmp_path / "site" / template).is_file() for template in templates)
