"""Pictures to shards: bad pictures; on a real Ray also a run that is killed, and storage on S3."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acutance import storage
from acutance.config.data import DataSettings, SubImages
from acutance.config.mistakes import validate
from acutance.data.datasets import load_catalogue
from acutance.data.manifest import Manifest, read_manifest
from acutance.data.pictures import read_picture, write_picture
from acutance.data.prepare import found_shards, prepare
from acutance.data.shards import open_columns
from acutance.data.subimages import corners, crop_to_multiple, layers
from acutance.errors import ConfigError, DataError
from made_buckets import Bucket

CATALOGUE = load_catalogue(Path(__file__).resolve().parents[2] / "pipelines" / "datasets.yaml")


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    return read_picture(CATALOGUE.find("photographs_heldout")[0].path)


def details(**changes: object) -> dict[str, dict[str, object]]:
    return {f"{of}_detail": {"type": "lgs", "of": of, "stored": True, **changes} for of in ("hr", "lr")}


def settings(folder: Path | str, **changes: object) -> DataSettings:
    cuts = {"size": 48, "stride": 32}
    content = {"train": str(folder), "subimages": cuts, "derive": details(), **changes}
    return validate(DataSettings, content, "a test")


def made(root: Path | str, manifest: Manifest) -> str:
    return str(found_shards(str(root), manifest.fingerprint))


@pytest.fixture
def good(tmp_path: Path, photograph: np.ndarray) -> Path:
    """Five good pictures of different sizes."""
    for number in range(5):
        write_picture(tmp_path / "good" / f"{number}.png", photograph[: 90 + 10 * number, number:121])
    return tmp_path / "good"


@pytest.mark.e2e
@pytest.mark.usefixtures("cluster")
def test_prepare_makes_a_shard_set_once(good: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    calls: list[tuple[int, int, str]] = []
    capfd.readouterr()
    first = prepare(
        settings(good, pictures_per_shard=2),
        4,
        CATALOGUE,
        str(tmp_path),
        on_progress=lambda *c: calls.append(c),
    )
    assert capfd.readouterr() == ("", "")  # progress is the caller's to show; Ray Data says nothing
    assert first.fresh
    assert calls[0] == (0, 5, "3 shards to make")
    assert calls[-1][:2] == (5, 5)
    folder = made(tmp_path, first)
    assert read_manifest(folder) == first.model_copy(update={"fresh": False})
    _check_contents(first, folder, good, tmp_path / "scratch")

    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in Path(folder).iterdir()}
    assert sorted(path.name for path in before) == [
        *(f"0000{n}.{kind}" for n in range(3) for kind in ("json", "parquet")),
        "manifest.json",
    ]
    calls.clear()
    shutil.copytree(good, tmp_path / "moved")
    for train in (good, tmp_path / "moved"):
        again = prepare(
            settings(train, pictures_per_shard=2),
            4,
            CATALOGUE,
            str(tmp_path),
            on_progress=lambda *c: calls.append(c),
        )
        assert not again.fresh
        assert again == first.model_copy(update={"fresh": False})
    assert calls == []
    assert before == {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in Path(folder).iterdir()}


def _check_contents(manifest: Manifest, folder: str, pictures: Path, scratch: Path) -> None:
    """Every row must be a crop of the layers of its whole picture."""
    columns = open_columns(folder, manifest.columns, scratch)
    assert set(columns) == {"hr", "lr", "hr_detail", "lr_detail"}
    row = 0
    for source in manifest.sources:
        hr = crop_to_multiple(read_picture(pictures / f"{source.name}.png"), [4])
        whole = layers(hr, settings(pictures), 4)
        at = corners(*hr.shape[:2], SubImages(size=48, stride=32))
        assert source.rows == len(at)
        for top, left in at:
            for name, column in columns.items():
                d = manifest.columns[name].divisor
                crop = whole[name][top // d : (top + 48) // d, left // d : (left + 48) // d]
                assert np.array_equal(column[row], crop), (source.name, name, top, left)
            row += 1
    assert row == manifest.rows == len(columns["hr"])


@pytest.fixture
def mixed(tmp_path: Path, photograph: np.ndarray) -> Path:
    """A folder such as people have."""
    folder = tmp_path / "mixed"
    picture = photograph[:96, :96]
    write_picture(folder / "good.png", picture)
    write_picture(folder / "grey.png", picture[..., 0])
    Image.fromarray(np.dstack([picture, np.full((96, 96), 255, np.uint8)])).save(folder / "rgba.png")
    Image.fromarray(picture[..., 0].astype(np.uint16) * 257).save(folder / "deep.png")
    Image.fromarray(picture).convert("CMYK").save(folder / "cmyk.jpg")
    whole = (folder / "good.png").read_bytes()
    (folder / "corrupt.png").write_bytes(whole[:2000] + b"\0" * 50 + whole[2050:])
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (folder / "text.png").write_text("this is a text")
    (folder / "empty.png").touch()
    write_picture(folder / "pixel.png", picture[:1, :1])
    write_picture(folder / "small.png", picture[:47, :90])
    Image.fromarray(np.dstack([picture, picture[..., 0]])).save(folder / "transparent.png")
    return folder


REASONS = {
    "corrupt": "corrupt or truncated",
    "empty": "empty",
    "pixel": "1x1",
    "small": "smaller than a sub-image",
    "text": "known format",
    "transparent": "transparent",
    "truncated": "corrupt or truncated",
}


def test_bad_pictures_are_skipped_and_reported(mixed: Path, tmp_path: Path) -> None:
    manifest = prepare(settings(mixed, pictures_per_shard=3), 4, CATALOGUE, str(tmp_path), in_process=True)
    assert [source.name for source in manifest.sources] == ["cmyk", "deep", "good", "grey", "rgba"]
    assert [skipped.name for skipped in manifest.skipped] == list(REASONS)
    for skipped in manifest.skipped:
        assert REASONS[skipped.name] in skipped.reason
    hr = open_columns(made(tmp_path, manifest), ["hr"], tmp_path / "scratch")["hr"]
    rows = {s.name: 9 * index for index, s in enumerate(manifest.sources)}
    assert np.array_equal(hr[rows["good"]], hr[rows["rgba"]])
    assert np.array_equal(hr[rows["deep"]], hr[rows["grey"]])
    assert np.array_equal(hr[rows["grey"], ..., 0], hr[rows["good"], ..., 0])


@pytest.mark.e2e
@pytest.mark.usefixtures("cluster")
def test_a_bad_picture_stops_the_run_where_the_pipeline_says_so(mixed: Path, tmp_path: Path) -> None:
    chosen = settings(mixed, bad_pictures="stop", pictures_per_shard=100)
    with pytest.raises(DataError, match="corrupt or truncated") as caught:
        prepare(chosen, 4, CATALOGUE, str(tmp_path))
    assert caught.value.where == str(mixed / "corrupt.png")
    assert "bad_pictures=skip" in str(caught.value.fix)
    assert not list(tmp_path.rglob("manifest.json"))


def test_without_a_usable_picture_there_is_no_set(mixed: Path, tmp_path: Path) -> None:
    for name in ("good.png", "grey.png", "rgba.png", "deep.png", "cmyk.jpg"):
        (mixed / name).unlink()
    with pytest.raises(DataError, match=r"no usable picture:\n  corrupt: .*\n(  .*\n){4}  ... and 2 more"):
        prepare(settings(mixed), 4, CATALOGUE, str(tmp_path), in_process=True)
    assert not list(tmp_path.rglob("manifest.json"))
    assert not list(tmp_path.rglob("*.parquet"))


def test_mistakes_are_found_before_anything_is_written(good: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    with pytest.raises(ConfigError, match="no multiple of the scale"):
        prepare(settings(good, subimages={"size": 50, "stride": 32}), 4, CATALOGUE, str(root), in_process=True)
    with pytest.raises(ConfigError, match=r"derive.hr_detail.iterations: .*greater than 0"):
        prepare(settings(good, derive=details(iterations=0)), 4, CATALOGUE, str(root), in_process=True)
    with pytest.raises(DataError, match="no such folder"):
        prepare(settings(tmp_path / "absent"), 4, CATALOGUE, str(root), in_process=True)
    assert not list(tmp_path.rglob("manifest.json"))


KILLED = """
import os, signal, sys
from acutance.config.data import DataSettings
from acutance.data.datasets import load_catalogue
from acutance.data.prepare import prepare

def die(done, total, text):
    if done >= 4:
        os.kill(os.getpid(), signal.SIGKILL)

settings, catalogue = DataSettings.model_validate_json(sys.argv[1]), load_catalogue(sys.argv[2])
prepare(settings, 4, catalogue, sys.argv[3], in_process=True, on_progress=die)
"""


@pytest.mark.e2e
@pytest.mark.usefixtures("cluster")
def test_a_killed_run_resumes_and_ends_alike(tmp_path: Path, photograph: np.ndarray) -> None:
    for number in range(8):
        write_picture(tmp_path / "many" / f"{number:02d}.png", photograph[number : number + 96, :128])
    chosen = settings(tmp_path / "many", pictures_per_shard=1)
    root = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, chosen.model_dump_json(), CATALOGUE.file, str(root)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    [folder] = (root / "shards").iterdir()
    assert folder.name.startswith("many-")
    assert not (folder / "manifest.json").exists()
    with pytest.raises(DataError, match="no complete shard set"):
        open_columns(str(folder), ["hr"], tmp_path / "scratch")
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("*.json") if path.stem.isdecimal()}
    assert 4 <= len(kept) < 8
    shards = {path: path.with_suffix(".parquet").stat().st_mtime_ns for path in kept}
    damaged = min(kept).with_suffix(".parquet")
    damaged.write_bytes(damaged.read_bytes()[:-1])

    said: list[str] = []
    resumed = prepare(chosen, 4, CATALOGUE, str(root), on_progress=lambda *call: said.append(call[2]))
    numbers = {int(text.split()[-1]) for text in said if text.startswith("kept")}
    assert {int(path.stem) for path in sorted(kept)[1:]} <= numbers
    assert int(damaged.stem) not in numbers
    assert len(numbers) < 8
    assert all(path.stat().st_mtime_ns == kept[path] for path in sorted(kept)[1:])
    assert all(path.with_suffix(".parquet").stat().st_mtime_ns == shards[path] for path in sorted(shards)[1:])
    undisturbed = prepare(chosen, 4, CATALOGUE, str(tmp_path / "undisturbed"))
    assert resumed == undisturbed
    manifests = [Path(made(path, resumed)) / "manifest.json" for path in (root, tmp_path / "undisturbed")]
    assert manifests[0].read_bytes() == manifests[1].read_bytes()
    assert json.loads(manifests[0].read_text())["rows"] == resumed.rows == 8 * 3 * 4


@pytest.mark.e2e
@pytest.mark.usefixtures("cluster")
def test_two_runs_at_once_do_not_disturb_each_other(good: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(prepare, settings(good), 4, CATALOGUE, str(tmp_path)) for _ in range(2)]
        one, other = (run.result().model_copy(update={"fresh": False}) for run in runs)
    assert one == other == read_manifest(made(tmp_path, one))
    _check_contents(one, made(tmp_path, one), good, tmp_path / "scratch")


@pytest.mark.e2e
@pytest.mark.usefixtures("cluster")
def test_shards_may_live_on_s3(good: Path, tmp_path: Path, bucket: Bucket) -> None:
    remote = prepare(settings(good), 4, CATALOGUE, f"{bucket.uri}/root")
    local = prepare(settings(good), 4, CATALOGUE, str(tmp_path), in_process=True)
    assert remote == local
    folder = made(f"{bucket.uri}/root", remote)
    assert storage.names(folder) == sorted(os.listdir(made(tmp_path, local)))
    assert not prepare(settings(good), 4, CATALOGUE, f"{bucket.uri}/root").fresh
    columns = open_columns(folder, ["lr", "hr_detail"], tmp_path / "one")
    expected = open_columns(made(tmp_path, local), ["lr", "hr_detail"], tmp_path / "two")
    assert all(np.array_equal(columns[name], expected[name]) for name in expected)


def test_the_packaged_photographs_can_be_prepared(tmp_path: Path) -> None:
    manifest = prepare(settings("photographs_heldout", derive={}), 4, CATALOGUE, str(tmp_path), in_process=True)
    assert [source.name for source in manifest.sources] == ["chelsea", "china", "coffee"]
    assert manifest.skipped == []
    assert set(manifest.columns) == {"hr", "lr"}
