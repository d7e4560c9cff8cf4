"""Which pictures are restored and where to; a single one, without Ray."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from acutance.commands.restore import find_pairs, restore_pictures
from acutance.data.pictures import read_picture, write_picture
from acutance.errors import DataError, ModelError
from acutance.inference.restore import restore
from acutance.models.model_file import load_model, save_model
from acutance.models.rrdbnet import RRDBNet

PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = str(tmp_path / "m.safetensors")
    description = {"network": {"type": "rrdbnet", "blocks": 1, "channels": 4}, "scale": 4}
    save_model(path, RRDBNet(blocks=1, channels=4), description)
    return path


def album(folder: Path, *names: str) -> Path:
    for name in names:
        write_picture(folder / name, PICTURE)
    return folder


def names(pairs: list[tuple[str, str]], target: Path) -> list[str]:
    return [Path(to).relative_to(target).as_posix() for _, to in pairs]


def refused(source: Path | str, target: Path | str) -> str:
    with pytest.raises(DataError) as caught:
        find_pairs(str(source), str(target))
    return str(caught.value)


def test_a_picture_goes_to_a_file_or_into_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = album(tmp_path / "in", "a.jpg") / "a.jpg"
    (tmp_path / "there").mkdir()
    expected = {
        "b.png": "b.png",
        "b.WEBP": "b.WEBP",
        "there": "there/a.png",
        "new/": "new/a.png",
        "new/c.jpeg": "new/c.jpeg",
    }
    for target, file in expected.items():
        given = str(tmp_path / target) + ("/" if target.endswith("/") else "")
        assert find_pairs(str(source), given) == [(str(source), str(tmp_path / file))]
    monkeypatch.chdir(tmp_path)
    assert find_pairs("in/a.jpg", "b.png") == [(str(source), str(tmp_path / "b.png"))]


def test_a_folder_keeps_its_names(tmp_path: Path) -> None:
    source = album(tmp_path / "in", "b.jpg", "sub/a.png", "a.JPG", "a.tif", ".hidden.png", ".dir/a.png")
    (source / "notes.txt").write_text("no picture")
    assert names(find_pairs(str(source), str(tmp_path / "out")), tmp_path / "out") == [
        "a.JPG.png",
        "a.tif.png",
        "b.png",
        "sub/a.png",
    ]


def test_what_cannot_be_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    source = album(tmp_path / "in", "a.png", "b.png")
    (tmp_path / "empty").mkdir()
    assert "no such picture" in refused(tmp_path / "none", tmp_path / "out")
    assert "no picture" in refused(tmp_path / "empty", tmp_path / "out")
    assert "PNG, JPEG or WebP" in refused(source / "a.png", tmp_path / "b.tif")
    assert "PNG, JPEG or WebP" in refused(source / "a.png", tmp_path / "b")
    assert "overwrite" in refused(source / "a.png", source / "a.png")
    assert "overwrite" in refused(source / "a.png", source)
    assert "overwrite" in refused(source / "a.png", tmp_path / "in" / ".." / "in" / "a.png")
    assert "inside the input" in refused(source, source)
    assert "inside the input" in refused(source, source / "large")
    assert "goes to a folder" in refused(source, tmp_path / "out.png")
    assert "goes to a folder" in refused(source, album(tmp_path, "file.tif") / "file.tif")
    (tmp_path / "link").symlink_to(source)
    assert "inside the input" in refused(source, tmp_path / "link" / "large")
    assert find_pairs(str(source), str(tmp_path / "in-large"))


def test_one_picture_is_restored_here(tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    source = album(tmp_path / "in", "a.png") / "a.png"
    (outcome,) = restore_pictures(model, str(source), str(tmp_path / "b.png"))
    assert outcome.state == "written"
    assert np.array_equal(read_picture(tmp_path / "b.png"), restore(*load_model(model), PICTURE)["image"])
    assert [outcome.state for outcome in restore_pictures(model, str(source), str(tmp_path / "b.png"))] == ["kept"]


def test_a_model_that_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    source = album(tmp_path / "in", "a.png", "b.png")
    with pytest.raises(ModelError, match="no readable model"):
        restore_pictures(str(tmp_path / "none"), str(source), str(tmp_path / "out"))
    with pytest.raises(ModelError, match="not a model of ours"):
        restore_pictures(str(source / "a.png"), str(source), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
