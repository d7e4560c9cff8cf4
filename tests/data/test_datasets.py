"""Names of datasets become lists of pictures, or say what is missing."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from pydantic import TypeAdapter

from acutance.config.data import DataSetName
from acutance.data import folders
from acutance.data.datasets import Catalogue, load_catalogue
from acutance.data.pictures import read_picture
from acutance.errors import ConfigError, DataError

REPOSITORY = Path(__file__).resolve().parents[2]

# Different files that show one scene, or one photograph in two cuts.
SAME_SCENE = [{"motorcycle_left", "motorcycle_right"}]


@pytest.fixture
def catalogue() -> Catalogue:
    return load_catalogue(REPOSITORY / "pipelines" / "datasets.yaml")


@pytest.fixture
def benchmarks(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACUTANCE_DATA", str(data_root))
    return data_root


def names(catalogue: Catalogue, dataset: str) -> list[str]:
    return [source.name for source in catalogue.find(dataset)]


def test_the_packaged_photographs_are_colour_pictures(catalogue: Catalogue) -> None:
    train, heldout = (catalogue.find(name) for name in ("photographs_train", "photographs_heldout"))
    assert (len(train), len(heldout)) == (8, 3)
    for source in [*train, *heldout]:
        pixels = read_picture(source.path)
        assert min(pixels.shape[:2]) >= 300
        assert (pixels[..., 0] != pixels[..., 2]).any()


def test_no_picture_and_no_scene_is_on_both_sides_of_the_split(catalogue: Catalogue) -> None:
    train, heldout = (catalogue.find(name) for name in ("photographs_train", "photographs_heldout"))
    contents = [{hashlib.sha256(Path(s.path).read_bytes()).hexdigest() for s in side} for side in (train, heldout)]
    pixels = [{hashlib.sha256(read_picture(s.path)).hexdigest() for s in side} for side in (train, heldout)]
    assert not contents[0] & contents[1]
    assert not pixels[0] & pixels[1]
    sides = [{source.name for source in side} for side in (train, heldout)]
    assert not sides[0] & sides[1]
    for scene in SAME_SCENE:
        assert not (scene & sides[0] and scene & sides[1])


def test_packages_are_found_without_being_imported() -> None:
    code = (
        "import sys; from acutance.data.datasets import load_catalogue;"
        f"load_catalogue({str(REPOSITORY / 'pipelines' / 'datasets.yaml')!r}).find('photographs_train');"
        "sys.exit(' '.join({'skimage', 'sklearn', 'ray'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("name", "count"), [("Set5", 5), ("Set14", 14), ("BSD100", 100)])
def test_benchmarks_have_stored_lr_pictures(catalogue: Catalogue, benchmarks: Path, name: str, count: int) -> None:
    for scale in (2, 4):
        sources = catalogue.find(name, scale)
        assert len(sources) == count
        assert [s.name for s in sources] == sorted(s.name for s in sources)
        for source in sources:
            with Image.open(source.hr_path(scale)) as hr, Image.open(source.lr_paths[scale]) as lr:
                assert hr.size == (lr.width * scale, lr.height * scale)
    assert sources[0].path == str(benchmarks / "benchmarks" / name / "HR" / "img_001.png")


def test_three_pictures_of_set14_have_another_ground_truth_at_x2(
    catalogue: Catalogue,
    benchmarks: Path,
) -> None:
    others = {s.name for s in catalogue.find("Set14", 2) if s.hr_path(2) != s.path}
    assert others == {"img_005", "img_007", "img_014"}
    assert all(s.hr_path(4) == s.path for s in catalogue.find("Set14", 4))


def test_training_photographs_are_not_in_the_benchmarks(
    catalogue: Catalogue,
    benchmarks: Path,
) -> None:
    assert len(catalogue.find("BSDS500_train")) == 199
    assert len(catalogue.find("BSDS500_test")) == 200
    assert not set(names(catalogue, "BSDS500_train")) & set(names(catalogue, "BSDS500_test"))


def test_missing_data_says_where_it_was_looked_for(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ACUTANCE_DATA", raising=False)
    with pytest.raises(DataError, match="ACUTANCE_DATA is not set"):
        catalogue.find("Set5")
    monkeypatch.setenv("ACUTANCE_DATA", str(tmp_path))
    with pytest.raises(DataError) as caught:
        catalogue.find("Set5")
    assert caught.value.where == str(tmp_path / "benchmarks" / "Set5" / "HR")
    assert "SelfExSR" in str(caught.value.fix)
    assert "ACUTANCE_DATA" in str(caught.value.fix)


def test_a_misspelt_name_is_answered_with_the_nearest(catalogue: Catalogue) -> None:
    with pytest.raises(ConfigError, match="did you mean 'photographs_train'"):
        catalogue.find("photograph_train")


def test_the_listing_tells_what_is_here(catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACUTANCE_DATA", str(tmp_path))
    rows = {row.name: row for row in catalogue.listing()}
    assert list(rows) == sorted(rows)
    here = rows["photographs_train"]
    assert (here.present, here.pictures, here.where) == (True, 8, "inside scikit-image, scikit-learn")
    gone = rows["BSD100"]
    assert (gone.present, gone.pictures) == (False, 0)
    assert str(tmp_path) in gone.where


def test_any_folder_is_a_dataset(catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = catalogue.find("photographs_heldout")[0].path
    for name in ("b.png", "sub/a.JPG", "sub/a.png", ".hidden/c.png", "notes.txt"):
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, tmp_path / "mine" / name)
    expected = ["b", "sub/a.JPG", "sub/a.png"]  # the two that would share a name keep their extension
    assert names(catalogue, str(tmp_path / "mine")) == expected
    monkeypatch.chdir(tmp_path)
    assert names(catalogue, "mine") == names(catalogue, "./mine") == expected
    assert all(Path(source.path).is_absolute() for source in catalogue.find("mine"))


def test_a_folder_without_pictures_is_an_error(catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("nothing")
    with pytest.raises(DataError, match="no picture"):
        catalogue.find(str(tmp_path))
    with pytest.raises(DataError, match="no such folder"):
        catalogue.find(str(tmp_path / "absent"))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("folder: x, packaged: [{package: p, file: f}]", "give one of 'packaged', 'folder', 'file' and 'of'"),
        ("lr: {}", "give one of 'packaged', 'folder', 'file' and 'of'"),
        ("foldr: x", "did you mean 'folder'"),
        ("folder: x, lr: {two: LR}", "datasets.mine.lr"),
    ],
)
def test_mistakes_in_a_catalogue_are_named(tmp_path: Path, entry: str, message: str) -> None:
    path = tmp_path / "datasets.yaml"
    path.write_text(f"datasets:\n  mine: {{about: a, source: s, licence: l, {entry}}}\n")
    with pytest.raises(ConfigError, match=message) as caught:
        load_catalogue(path)
    assert caught.value.where == str(path)


def test_a_package_that_is_not_installed_is_named(tmp_path: Path) -> None:
    path = tmp_path / "datasets.yaml"
    packaged = "packaged: [{package: no_such_package, file: a.png, distribution: no-such}]"
    path.write_text(f"datasets:\n  mine: {{about: a, source: s, licence: l, {packaged}}}\n")
    with pytest.raises(DataError, match="no_such_package") as caught:
        load_catalogue(path).find("mine")
    assert caught.value.fix == "pip install no-such"


def test_what_is_passed_over_in_a_folder_is_counted_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    monkeypatch.setattr(folders, "say", heard.append)
    for name in ("a.jpe", "b.JFIF", "c.pbm", "d.heic", "e.HEIC", "f.txt", "g", ".hidden.txt", "a.png"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere")
    for _ in range(2):
        found = folders.folder_sources(str(tmp_path / "in"), "")
    assert [source.name for source in found] == ["a.jpe", "a.png", "b", "c"]
    assert len(heard) == 1
    assert heard[0].endswith("2 of .heic, 1 of .txt, 1 of no suffix, 1 links to folders")


def test_a_folder_whose_name_is_no_text_is_named_at_the_start(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    with pytest.raises(ConfigError, match=r"no UTF-8(.|\n)*caf\\xe9"):
        Catalogue({}, "a test").find(str(folder))


def test_a_folder_is_one_data_set_however_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    adapter = TypeAdapter(DataSetName)
    ways = {"./a": ["./a", "./a/", ".//a", "./b/../a"], "a/b": ["a/b", "a//b", "./a/b/"], "Set5": ["Set5"]}
    ways |= {
        "/a/b": ["/a/b/", "/a//b"],
        "../a": ["../a/"],
        "/home/me/a": ["~/a/", "~//a", "/home/me/a"],
        "s3://bucket/a": ["s3://bucket/a/", "s3://bucket/a"],
    }
    for one, written in ways.items():
        assert {adapter.validate_python(name) for name in written} == {one}
