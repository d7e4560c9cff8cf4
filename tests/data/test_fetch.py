"""Datasets that may be downloaded, from a server on this machine, and the layouts of the others."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acutance.data.classified import CIFAR
from acutance.data.datasets import Catalogue, load_catalogue
from acutance.data.fetch import fetch_dataset
from acutance.errors import ConfigError, DataError, UnreachableError
from file_server import FileServer, serving

REPOSITORY = Path(__file__).resolve().parents[2]
PREFIXES = {"DIV2K_train": "DIV2K/DIV2K_train_", "DIV2K_valid": "DIV2K/DIV2K_valid_", "Flickr2K": "Flickr2K/Flickr2K_"}


def png(side: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def packed(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


HR = packed({"HR/": b"", "HR/0001.png": png(8), "HR/0002.png": png(8), "../outside.png": png(8)})
LR = packed({"LR/X2/0001x2.png": png(4), "LR/X2/0002x2.png": png(4)})


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("ACUTANCE_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def server(root: Path) -> Iterator[FileServer]:
    with serving() as server:
        server.files |= {"/HR.zip": HR, "/LR.zip": LR}
        yield server


def catalogue_of(server: FileServer, tmp_path: Path, hr: bytes = HR, holds: str = "HR") -> Catalogue:
    def archive(name: str, content: bytes, holds: str) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        return f"{{url: '{server.url}/{name}', checksum: 'sha256:{sha256}', holds: {holds}}}"

    path = tmp_path / "datasets.yaml"
    path.write_text(
        "datasets:\n  Tiny: {about: two pictures, source: example.org, licence: none, folder: tiny, hr: HR,\n"
        "    lr: {2: LR/X2}, lr_suffix: 'x{scale}',\n"
        f"    archives: [{archive('HR.zip', hr, holds)}, {archive('LR.zip', LR, 'LR/X2')}]}}\n"
    )
    return load_catalogue(path)


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


WHOLE = {"tiny/HR/0001.png", "tiny/HR/0002.png", "tiny/LR/X2/0001x2.png", "tiny/LR/X2/0002x2.png"}


def test_archives_become_a_dataset_with_its_lr(server: FileServer, root: Path, tmp_path: Path) -> None:
    catalogue = catalogue_of(server, tmp_path)
    assert fetch_dataset(catalogue, "Tiny") == str(root / "tiny")
    assert files(root) == WHOLE
    first = catalogue.find("Tiny", 2)[0]
    assert (first.name, first.lr_paths) == ("0001", {2: str(root / "tiny" / "LR" / "X2" / "0001x2.png")})
    assert not list(tmp_path.rglob("outside.png"))
    asked = len(server.asked)
    fetch_dataset(catalogue, "Tiny")
    assert len(server.asked) == asked


def test_what_is_there_is_not_downloaded_again(server: FileServer, root: Path, tmp_path: Path) -> None:
    catalogue = catalogue_of(server, tmp_path)
    del server.files["/LR.zip"]
    with pytest.raises(UnreachableError, match="404"):
        fetch_dataset(catalogue, "Tiny")
    assert files(root) == {"tiny/HR/0001.png", "tiny/HR/0002.png"}
    server.files["/LR.zip"] = LR
    fetch_dataset(catalogue, "Tiny")
    assert files(root) == WHOLE
    assert [path for path, _ in server.asked].count("/HR.zip") == 1


def test_an_archive_put_there_by_hand_is_checked(server: FileServer, root: Path, tmp_path: Path) -> None:
    catalogue = catalogue_of(server, tmp_path)
    (root / "tiny").mkdir(parents=True)
    (root / "tiny" / "HR.zip").write_bytes(LR)
    with pytest.raises(DataError, match="not the published archive") as caught:
        fetch_dataset(catalogue, "Tiny")
    assert caught.value.where == str(root / "tiny" / "HR.zip")
    (root / "tiny" / "HR.zip").write_bytes(HR)
    fetch_dataset(catalogue, "Tiny")
    assert files(root) == WHOLE
    assert [path for path, _ in server.asked] == ["/LR.zip"]


@pytest.mark.parametrize(
    ("content", "holds", "message"),
    [
        (HR[: len(HR) // 2], "HR", "damaged"),
        (HR.replace(png(8)[-60:], b"?" * 60), "HR", "damaged"),
        (HR, "pictures", "does not hold pictures"),
    ],
)
def test_an_archive_that_cannot_be_unpacked_leaves_no_picture(
    server: FileServer, root: Path, tmp_path: Path, content: bytes, holds: str, message: str
) -> None:
    server.files["/HR.zip"] = content
    with pytest.raises(DataError, match=message):
        fetch_dataset(catalogue_of(server, tmp_path, content, holds), "Tiny")
    assert files(root) == {"tiny/HR.zip"}
    assert not any(path.name.startswith(".") for path in root.rglob("*"))


@pytest.fixture
def shipped() -> Catalogue:
    return load_catalogue(REPOSITORY / "pipelines" / "datasets.yaml")


@pytest.mark.parametrize(
    "name",
    ["Urban100", "General100", "Flickr2K", "BSD100", "REDS_val", "SIDD_train", "TID2013", "AVA", "CIFAR10_subset"],
)
def test_what_may_not_be_downloaded_says_where_it_is_published(root: Path, shipped: Catalogue, name: str) -> None:
    with pytest.raises(DataError, match=f"{name} cannot be downloaded") as caught:
        fetch_dataset(shipped, name)
    assert shipped.entry(name).source in str(caught.value.fix)
    assert str(root) in str(caught.value.fix)
    assert not root.exists()


def test_installed_pictures_need_no_download_and_unknown_names_are_refused(shipped: Catalogue) -> None:
    assert fetch_dataset(shipped, "photographs_heldout") == "inside scikit-image, scikit-learn"
    with pytest.raises(ConfigError, match="did you mean 'Urban100'"):
        fetch_dataset(shipped, "Urban10")


def test_every_archive_gives_a_folder_that_its_dataset_reads(shipped: Catalogue) -> None:
    for name, entry in shipped.entries.items():
        if entry.archives:
            read = {entry.hr, *entry.lr.values()} if entry.kind == "pictures" else {CIFAR[entry.layout].folder}
            assert {archive.holds for archive in entry.archives} == read, name
            assert all(archive.url.startswith("https://") for archive in entry.archives)


@pytest.mark.parametrize("name", [*PREFIXES, "Urban100"])
def test_lr_pictures_whose_stem_ends_in_the_scale(root: Path, shipped: Catalogue, name: str) -> None:
    prefix = PREFIXES.get(name, "benchmarks/Urban100/")
    for picture in ("0001", "0002"):
        for path in (f"HR/{picture}", *(f"LR_bicubic/X{scale}/{picture}x{scale}" for scale in (2, 4))):
            (root / f"{prefix}{path}.png").parent.mkdir(parents=True, exist_ok=True)
            (root / f"{prefix}{path}.png").write_bytes(png(8))
    found = shipped.find(name, 4, [2, 4])
    assert [source.name for source in found] == ["0001", "0002"]
    assert found[1].path == str(root / f"{prefix}HR/0002.png")
    lr = {scale: str(root / f"{prefix}LR_bicubic/X{scale}/0002x{scale}.png") for scale in (2, 4)}
    assert found[1].lr_paths == lr

    (root / f"{prefix}LR_bicubic/X4/0002x4.png").rename(root / f"{prefix}LR_bicubic/X4/0002.png")
    with pytest.raises(DataError, match="the LR of 1 of 2 pictures is missing, the first that of 0002") as caught:
        shipped.find(name, 4)
    assert caught.value.where == str(root / f"{prefix}LR_bicubic/X4")
    assert len(shipped.find(name, 2)) == 2  # which reads no LR of x4


def test_a_dataset_without_its_lr_says_how_to_use_the_pictures_alone(root: Path, shipped: Catalogue) -> None:
    folder = root / "DIV2K" / "DIV2K_valid_HR"
    folder.mkdir(parents=True)
    (folder / "0801.png").write_bytes(png(8))
    with pytest.raises(DataError) as caught:
        shipped.find("DIV2K_valid", 4)
    assert "acutance data fetch DIV2K_valid" in str(caught.value.fix)
    assert f"name {folder} in place of DIV2K_valid" in str(caught.value.fix)
    assert [source.name for source in shipped.find(str(folder))] == ["0801"]


def test_general100_is_its_bitmaps(root: Path, shipped: Catalogue) -> None:
    (root / "General100").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(root / "General100" / "im_1.bmp")
    assert [source.name for source in shipped.find("General100")] == ["im_1"]


BATCHES = "cifar-10-batches-bin"
MEMBERS = {
    f"{BATCHES}/batches.meta.txt": b"cat\ndog\n\n",
    **{f"{BATCHES}/data_batch_{number}.bin": bytes(3073) for number in range(1, 6)},
    f"{BATCHES}/test_batch.bin": bytes(3073),
    f"{BATCHES}/readme.html": b"",
}


def tarred(files: dict[str, bytes], link: str | None = None) -> bytes:
    """Pack files as .tar.gz; `link` is a member that points outside."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        if link:
            member = tarfile.TarInfo(link)
            member.type, member.linkname = tarfile.SYMTYPE, "../../../.."
            archive.addfile(member)
    return file.getvalue()


@pytest.fixture
def small_cifar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of one record."""
    monkeypatch.setitem(CIFAR, "cifar10", replace(CIFAR["cifar10"], records={"train": 1, "test": 1}))


def cifar_catalogue(server: FileServer, tmp_path: Path, content: bytes) -> Catalogue:
    server.files["/cifar.tar.gz"] = content
    md5 = hashlib.md5(content).hexdigest()
    archive = f"{{url: '{server.url}/cifar.tar.gz', checksum: 'md5:{md5}', holds: {BATCHES}}}"
    path = tmp_path / "datasets.yaml"
    path.write_text(
        "datasets:\n  Ten: {about: small pictures, source: example.org, licence: none, folder: ten, layout: cifar10,\n"
        f"    archives: [{archive}]}}\n"
    )
    return load_catalogue(path)


def test_a_tar_of_classified_pictures(server: FileServer, root: Path, tmp_path: Path, small_cifar: None) -> None:
    catalogue = cifar_catalogue(server, tmp_path, tarred({**MEMBERS, "../outside": b"", "other/file": b""}))
    assert fetch_dataset(catalogue, "Ten") == str(root / "ten")
    assert files(root) == {f"ten/{name}" for name in MEMBERS}
    assert not list(tmp_path.rglob("outside"))
    assert catalogue.classified("Ten", "train").pixels.shape == (5, 32, 32, 3)
    fetch_dataset(catalogue, "Ten")
    assert len(server.asked) == 1


def test_another_tar_is_not_unpacked(server: FileServer, root: Path, tmp_path: Path) -> None:
    catalogue = cifar_catalogue(server, tmp_path, tarred(MEMBERS))
    server.files["/cifar.tar.gz"] = tarred({f"{BATCHES}/evil": b"evil"})
    with pytest.raises(DataError, match="its MD5 is"):
        fetch_dataset(catalogue, "Ten")
    assert files(root) == set()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tarred(MEMBERS)[:200], "damaged"),
        (b"no tar", "damaged"),
        (tarred(MEMBERS, link=f"{BATCHES}/link"), "damaged: .*outside the destination"),
        (tarred({f"{BATCHES}/../../../outside": b""}), "damaged: .*outside the destination"),
        (tarred({"other/file": b""}), f"does not hold {BATCHES}"),
    ],
    ids=["cut", "no tar", "a link", "outside", "other files"],
)
def test_a_tar_that_cannot_be_unpacked_leaves_no_file(
    server: FileServer, root: Path, tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        fetch_dataset(cifar_catalogue(server, tmp_path, content), "Ten")
    assert files(root) == {"ten/cifar.tar.gz"}
    assert not list(tmp_path.rglob("outside"))


def test_what_is_there_in_part_says_how_to_get_it_again(
    server: FileServer, root: Path, tmp_path: Path, small_cifar: None
) -> None:
    catalogue = cifar_catalogue(server, tmp_path, tarred(MEMBERS))
    fetch_dataset(catalogue, "Ten")
    (root / "ten" / BATCHES / "data_batch_4.bin").write_bytes(bytes(3000))
    with pytest.raises(DataError, match=r"data_batch_4.bin has 3,000 bytes, not 3,073") as caught:
        fetch_dataset(catalogue, "Ten")
    assert f"remove {BATCHES} from {root / 'ten'}" in str(caught.value.fix)
