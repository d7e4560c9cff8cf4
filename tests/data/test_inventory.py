"""How often files are read: once when they are new, never again; and what is known of pictures that are gone."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from acutance import storage
from acutance.commands.context import PipelineContext, plan_summary
from acutance.commands.prepare import prepare_data
from acutance.config.data import DataSettings
from acutance.config.mistakes import validate
from acutance.config.pipeline import Pipeline
from acutance.data import inventory as inventories
from acutance.data.datasets import Catalogue, load_catalogue
from acutance.data.entries import Entry
from acutance.data.inputs import find_inputs
from acutance.data.inventory import checksums
from acutance.data.manifest import Manifest
from acutance.data.pictures import write_picture
from acutance.data.prepare import prepare
from acutance.errors import AbsentError, DataError
from acutance.training.loop import train_stage
from acutance.training.shards import make_shards, shard_sets
from made_buckets import Bucket

REPOSITORY = Path(__file__).resolve().parents[2]
CUTS = {"size": 32, "stride": 16}


class Opened(Counter[str]):
    """How often this process opened each file below a folder."""

    below = ""


OPENED = Opened()


def _count(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and OPENED.below and str(arguments[0]).startswith(OPENED.below):
        OPENED[Path(str(arguments[0])).name] += 1


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    if not hasattr(sys, "acutance_counts_opens"):
        sys.addaudithook(_count)
        sys.acutance_counts_opens = True  # type: ignore[attr-defined]
    OPENED.clear()
    OPENED.below = str(tmp_path / "pictures")
    yield OPENED
    OPENED.below = ""


@pytest.fixture
def sure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of this moment are vouched for."""
    monkeypatch.setattr(inventories, "RACY", 0)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in "abc":
        write_picture(tmp_path / "pictures" / f"{name}.png", rng.integers(0, 256, (50, 60, 3), dtype=np.uint8))
    return tmp_path / "pictures"


def settings(train: str, **changes: object) -> DataSettings:
    return validate(DataSettings, {"train": train, "subimages": CUTS, **changes}, "a test")


def work_on(pictures: str | Path, **data: object) -> PipelineContext:
    stage = {
        "network": {"type": "rrdbnet", "blocks": 1, "channels": 4, "growth": 4, "scale": 2},
        "objective": [{"name": "pixel", "type": "pixel"}],
        "optimiser": {"type": "adam", "learning_rate": 0.001},
        "steps": 1,
        "batch": 2,
        "patch": 32,
    }
    pipeline = {"title": "a test", "scale": 2, "stages": {"fidelity": stage}}
    pipeline["data"] = {"train": str(pictures), "subimages": CUTS, **data}
    root = str(Path(str(pictures)).parent / "out") if "://" not in str(pictures) else f"{pictures}-out"
    return PipelineContext(Path("test.yaml"), validate(Pipeline, pipeline, "a test"), Catalogue({}, ""), root)


def shards_of(work: PipelineContext) -> list[Manifest]:
    """As `prepare_data` does, in this process."""
    return [
        make_shards(s, work.catalogue, work.root, inputs=work.inputs.get(s.settings.source), in_process=True)
        for s in shard_sets(work.plans())
    ]


@pytest.mark.usefixtures("sure")
def test_a_picture_is_read_once_for_its_check_sum_and_once_for_its_shard(pictures: Path, opened: Opened) -> None:
    [made] = shards_of(work_on(pictures))
    assert made.fresh
    assert opened == {"a.png": 2, "b.png": 2, "c.png": 2}
    opened.clear()
    work = work_on(pictures)
    assert [manifest.fresh for manifest in shards_of(work)] == [False]
    assert plan_summary(work)["missing"] == []
    assert opened == {}
    shutil.copyfile(pictures / "b.png", pictures / "c.png")
    assert work_on(pictures).plans()[0].trained_on.fingerprint != made.fingerprint
    assert opened.keys() == {"b.png", "c.png"}


@pytest.mark.usefixtures("sure")
def test_classified_pictures_are_not_read_again_either(tmp_path: Path, opened: Opened) -> None:
    file = tmp_path / "pictures.npz"
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    arrays = {
        f"{kind}_{split}": pixels if kind == "x" else np.arange(6)
        for kind in "xy"
        for split in ("train", "val", "test")
    }
    np.savez(file, **arrays, class_names=np.array(list("abcdef")))
    wanted, catalogue, root = (
        settings(str(file), label="class", subimages=None),
        Catalogue({}, ""),
        str(tmp_path / "out"),
    )
    prepare(wanted, 1, catalogue, root, in_process=True)
    opened.clear()
    assert not prepare(wanted, 1, catalogue, root, in_process=True).fresh
    assert opened == {}


def test_a_file_that_was_changed_just_now_is_not_vouched_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may change again in the same tick of the clock, and keep its size."""
    file, root = tmp_path / "a.png", str(tmp_path / "out")
    file.write_bytes(b"one")
    state = storage.states([str(file)])[str(file)]
    for age, same in ((0.5, False), (5.0, True)):
        monkeypatch.setattr(
            storage, "states", lambda uris, age=age: {str(file): state._replace(stamp=str(age), modified=NOW - age)}
        )
        monkeypatch.setattr(inventories.time, "time", lambda: NOW)
        file.write_bytes(b"one")
        before = checksums([str(file)], root, "a set")
        file.write_bytes(b"two")
        assert (checksums([str(file)], root, "a set") == before) is same


NOW = 1e9


def test_what_two_find_at_once_is_kept_of_both(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventories, "RACY", 0)
    uris, root, read = [str(pictures / f"{name}.png") for name in "ab"], str(tmp_path / "out"), inventories._sha256

    def meanwhile(uri: str) -> str:
        monkeypatch.setattr(inventories, "_sha256", read)
        checksums(uris[1:], root, "a set")
        return read(uri)

    monkeypatch.setattr(inventories, "_sha256", meanwhile)
    checksums(uris[:1], root, "a set")
    [file] = (tmp_path / "out" / "inventory").glob("*.json")
    assert storage.read_json(str(file)).keys() == set(uris)


@pytest.mark.usefixtures("sure")
def test_an_entry_that_is_wrong_is_found_out_and_mended(pictures: Path) -> None:
    work = work_on(pictures)
    work.contents()
    [file] = Path(work.root, "inventory").glob("*.json")
    entries = storage.read_json(str(file))
    entries[str(pictures / "b.png")][2] = "0" * 64
    storage.write_json(str(file), entries)
    with pytest.raises(DataError, match="this picture changed"):
        shards_of(work_on(pictures))
    assert shards_of(work_on(pictures))[0].fresh


@pytest.mark.usefixtures("sure")
def test_complete_shards_are_enough_where_the_pictures_are_gone(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [made] = shards_of(work_on(pictures))
    pictures.rename(pictures.with_name("elsewhere"))
    capsys.readouterr()
    work = work_on(pictures)
    assert plan_summary(work)["missing"] == []
    assert [manifest.fingerprint for manifest in prepare_data(work)] == [made.fingerprint]
    assert f"the pictures of {pictures} are not here (they were {pictures}); its 1 shards" in capsys.readouterr().err

    [plan] = work.plans()
    train_stage(plan)
    assert plan.done()

    other = work_on(pictures, subimages={"size": 48, "stride": 48})
    assert plan_summary(other)["missing"] == [f"{pictures}: neither its pictures are here nor complete shards of them"]
    with pytest.raises(AbsentError, match="no such folder"):
        prepare_data(other)
    with pytest.raises(AbsentError, match="no such folder"):
        work_on(pictures.with_name("never")).plans()


@pytest.mark.usefixtures("sure")
def test_pictures_that_are_here_and_differ_win(pictures: Path) -> None:
    [made] = shards_of(work_on(pictures))
    (pictures / "c.png").unlink()
    assert work_on(pictures).plans()[0].trained_on.fingerprint != made.fingerprint
    for file in pictures.iterdir():
        file.unlink()  # as where a disk is not mounted
    assert work_on(pictures).plans()[0].trained_on.fingerprint == made.fingerprint


def test_a_data_set_that_is_here_in_part_is_an_error(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(pictures, pictures.with_name("noisy"))
    monkeypatch.setenv("ACUTANCE_DATA", str(pictures.parent))
    entry = Entry(about="", source="a page", licence="free", folder=".", hr="pictures", lr={1: "noisy"})
    catalogue, wanted = Catalogue({"pairs": entry}, ""), settings("pairs", degradation={"type": "paired"})
    root = str(pictures.parent / "out")
    prepare(wanted, 1, catalogue, root, in_process=True)
    shutil.rmtree(pictures.with_name("noisy"))
    with pytest.raises(DataError, match="no such folder") as caught:
        find_inputs(wanted, 1, catalogue, root)
    assert not isinstance(caught.value, AbsentError)


@pytest.mark.usefixtures("sure")
def test_pictures_in_a_bucket_make_the_same_shards_and_are_read_as_often(
    pictures: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    [local] = shards_of(work_on(pictures))
    for file in pictures.iterdir():
        storage.write_bytes(f"{bucket.uri}/pictures/{file.name}", file.read_bytes())
    monkeypatch.setattr(inventories, "RACY", -2)  # its clock has whole seconds
    bucket.requests.clear()
    [remote] = shards_of(work_on(f"{bucket.uri}/pictures"))
    assert remote.fingerprint == local.fingerprint
    assert [bucket.count("GET", f"{name}.png") for name in "abc"] == [2, 2, 2]
    bucket.requests.clear()
    assert not shards_of(work_on(f"{bucket.uri}/pictures"))[0].fresh
    assert bucket.count("GET", ".png") == 0
    bucket.requests.clear()
    monkeypatch.setenv("ACUTANCE_DATA", bucket.uri)
    entry = Entry(about="", source="a page", licence="free", folder="pictures")
    assert [s.path for s in Catalogue({"set": entry}, "").find("set", 4)] == [
        f"{bucket.uri}/pictures/{name}.png" for name in "abc"
    ]


@pytest.mark.parametrize("layout", ["tid2013", "cifar10"])
def test_scored_and_classified_pictures_may_lie_in_a_bucket(layout: str, bucket: Bucket) -> None:
    catalogue = load_catalogue(REPOSITORY / "pipelines" / "datasets.yaml")
    if layout == "tid2013":
        storage.write_bytes(f"{bucket.uri}/tid/mos_with_names.txt", b"5.5 i04_01_1.bmp\n")
        storage.write_bytes(f"{bucket.uri}/tid/mos_std.txt", b"0.1\n")
        storage.write_bytes(f"{bucket.uri}/tid/distorted_images/I04_01_1.BMP", b"a picture")
        [found] = catalogue.scored(f"{bucket.uri}/tid")
        assert found.path == f"{bucket.uri}/tid/distorted_images/I04_01_1.BMP"
        return
    folder = f"{bucket.uri}/cifar/cifar-10-batches-bin"
    storage.write_bytes(f"{folder}/batches.meta.txt", b"cat\ndog\n")
    storage.write_bytes(f"{folder}/test_batch.bin", bytes(3073 * 10_000))
    assert catalogue.classified(f"{bucket.uri}/cifar", "test").pixels.shape == (10_000, 32, 32, 3)
    with pytest.raises(DataError, match="there is no data_batch_1"):
        catalogue.classified(f"{bucket.uri}/cifar", "train")
