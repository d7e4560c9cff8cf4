"""Shards and their manifest: complete or absent, checked when they are read, decoded once a node."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from acutance import storage
from acutance.data import shards
from acutance.data.manifest import SHARD_VERSION, Column, Manifest, Shard, is_intact, read_manifest, write_manifest
from acutance.data.shards import ShardWriter, open_columns
from acutance.errors import ConfigError, DataError, FullError

COLUMNS = {
    "hr": Column(dtype="uint8", shape=(16, 16, 3), divisor=1, coding="pixels"),
    "lr": Column(dtype="uint8", shape=(4, 4, 3), divisor=4, coding="pixels"),
    "hr_detail": Column(dtype="float16", shape=(16, 16, 1), divisor=1, coding="log2"),
}
ROWS = [(2, 3), (4,), (1, 1)]  # shard by shard, the rows of each picture


def content(rows: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    made = {name: rng.integers(0, 256, (rows, *column.shape), np.uint8) for name, column in COLUMNS.items()}
    made["hr_detail"] = rng.normal(0, 2, made["hr_detail"].shape).astype(np.float16)
    return made


@pytest.fixture
def stored(tmp_path: Path) -> tuple[str, dict[str, np.ndarray]]:
    """A shard set, and what its columns must hold."""
    folder, written, parts = str(tmp_path / "set"), [], []
    for number, pictures in enumerate(ROWS):
        writer = ShardWriter(COLUMNS)
        for index, rows in enumerate(pictures):
            parts.append(content(rows, 10 * number + index))
            at = [(4 * row, 8) for row in range(rows)]
            writer.add(f"picture {number}.{index}", "0" * 64, at, parts[-1])
        written.append(writer.store(folder, f"{number:05d}.parquet"))
    write_manifest(folder, manifest(written))
    return folder, {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}


def manifest(written: list[Shard], **changes: object) -> Manifest:
    values = {
        "version": SHARD_VERSION,
        "fingerprint": "0123456789abcdef",
        "settings": {},
        "columns": COLUMNS,
        "rows": sum(shard.rows for shard in written),
        "shards": written,
        "sources": [],
        "skipped": [],
    }
    return Manifest(**{**values, **changes})


def test_columns_come_back_as_they_were_written(stored: tuple[str, dict[str, np.ndarray]], tmp_path: Path) -> None:
    folder, expected = stored
    columns = open_columns(folder, COLUMNS, tmp_path / "scratch")
    assert list(columns) == list(COLUMNS)
    for name, column in columns.items():
        assert isinstance(column, np.memmap)
        assert column.dtype == expected[name].dtype
        assert np.array_equal(column, expected[name])
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 0


def test_shards_are_written_alike_every_time(tmp_path: Path) -> None:
    def write(folder: str) -> Shard:
        writer = ShardWriter(COLUMNS)
        writer.add("a", "0" * 64, [(0, 0), (0, 4)], content(2, 1))
        return writer.store(folder, "00000.parquet")

    assert write(str(tmp_path / "one")) == write(str(tmp_path / "two"))
    assert is_intact(str(tmp_path / "one"), write(str(tmp_path / "one")))


def test_a_plain_parquet_reader_understands_them(stored: tuple[str, dict[str, np.ndarray]]) -> None:
    folder, expected = stored
    code = f"""
import sys, pyarrow.parquet as pq
table = pq.read_table({folder + "/00001.parquet"!r})
print(table.schema.metadata[b"acutance.shard_version"].decode(), *table.column_names)
print(table.schema.field("hr").type, table["picture"][0], table["top"].to_pylist())
print(table["hr"].chunk(0).to_numpy_ndarray().astype("int64").sum())
assert not {{"ray", "acutance"}} & set(sys.modules)
"""
    lines = subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()
    assert lines[0] == f"{SHARD_VERSION} picture sha256 top left hr lr hr_detail"
    assert lines[1].startswith("extension<arrow.fixed_shape_tensor[value_type=uint8, shape=[16,16,3]")
    assert lines[1].endswith("picture 1.0 [0, 4, 8, 12]")
    assert int(lines[2]) == expected["hr"][5:9].astype(int).sum()
    file = pq.ParquetFile(f"{folder}/00000.parquet")
    assert [file.metadata.row_group(group).num_rows for group in range(2)] == [2, 3]  # a group a picture


def test_a_damaged_shard_is_named(stored: tuple[str, dict[str, np.ndarray]], tmp_path: Path) -> None:
    folder, _ = stored
    path = Path(folder) / "00001.parquet"
    whole = path.read_bytes()
    damages = {
        "checksum": bytes([*whole[:500], whole[500] ^ 1, *whole[501:]]),
        "bytes, not": whole[:-100],
        "missing": None,
    }
    for message, damaged in damages.items():
        path.unlink(missing_ok=True)
        if damaged is not None:
            path.write_bytes(damaged)
        with pytest.raises(DataError, match=message) as caught:
            open_columns(folder, ["hr"], tmp_path / "scratch")
        assert caught.value.where == str(path)
        assert not is_intact(folder, read_manifest(folder).shards[1])
        left = [p.name for p in (tmp_path / "scratch").rglob("*") if p.is_file()]
        assert sorted(left) == ["lock", "used"]
    path.write_bytes(whole)
    assert len(open_columns(folder, ["hr"], tmp_path / "scratch")["hr"]) == 11


@pytest.mark.parametrize("place", [0, 4000, -1, "note"])
def test_a_damaged_decoded_copy_is_decoded_again_and_it_is_said(
    stored: tuple[str, dict[str, np.ndarray]], tmp_path: Path, capsys: pytest.CaptureFixture[str], place: int | str
) -> None:
    """Other bytes of the same length would train another model."""
    folder, expected = stored
    open_columns(folder, ["hr", "lr"], tmp_path / "scratch")
    (file,) = (tmp_path / "scratch").rglob("hr.bin")
    altered = bytearray(file.read_bytes())
    if isinstance(place, int):
        altered[place] ^= 1
        file.write_bytes(altered)
    else:
        file.with_suffix(".json").write_bytes(b"{}")
    seen = open_columns(folder, ["hr", "lr"], tmp_path / "scratch")
    assert all(np.array_equal(seen[name], expected[name]) for name in seen)
    said = capsys.readouterr().err.replace("\n", "")
    assert said.count("damaged and are decoded again") == 1
    assert "hr.bin" in said
    open_columns(folder, ["hr", "lr"], tmp_path / "scratch")
    assert not capsys.readouterr().err


def test_a_disk_that_does_not_keep_what_is_decoded_is_named(
    stored: tuple[str, dict[str, np.ndarray]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "file_checksum", lambda _: "0" * 32)
    with pytest.raises(DataError, match="decoded shards change after they were written"):
        open_columns(stored[0], ["hr"], tmp_path / "scratch")


def test_a_manifest_that_miscounts_is_found_out(stored: tuple[str, dict[str, np.ndarray]], tmp_path: Path) -> None:
    folder, _ = stored
    found = read_manifest(folder)
    wrong = [found.shards[0].model_copy(update={"rows": 6}), *found.shards[1:]]
    write_manifest(folder, manifest(wrong))
    with pytest.raises(DataError, match="not what the manifest says"):
        open_columns(folder, ["hr"], tmp_path / "scratch")
    other = {**COLUMNS, "hr": Column(dtype="uint8", shape=(12, 16, 4), divisor=1, coding="pixels")}
    write_manifest(folder, manifest(found.shards, columns=other))
    with pytest.raises(DataError, match="not what the manifest says"):
        open_columns(folder, ["hr"], tmp_path / "scratch")


def test_a_set_without_manifest_does_not_exist(stored: tuple[str, dict[str, np.ndarray]], tmp_path: Path) -> None:
    folder, _ = stored
    (Path(folder) / "manifest.json").unlink()
    with pytest.raises(DataError, match="no complete shard set") as caught:
        open_columns(folder, ["hr"], tmp_path / "scratch")
    assert "acutance prepare" in str(caught.value.fix)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", f'{{"version": {SHARD_VERSION}}}'])
def test_a_damaged_manifest_is_named(stored: tuple[str, dict[str, np.ndarray]], text: str) -> None:
    folder, _ = stored
    (Path(folder) / "manifest.json").write_text(text)
    with pytest.raises(DataError, match="manifest is damaged"):
        read_manifest(folder)


def test_another_version_is_not_read(stored: tuple[str, dict[str, np.ndarray]]) -> None:
    folder, _ = stored
    uri = f"{folder}/manifest.json"
    storage.write_json(uri, {**storage.read_json(uri), "version": SHARD_VERSION + 1})
    with pytest.raises(DataError, match=f"version {SHARD_VERSION + 1}"):
        read_manifest(folder)


def test_a_column_that_is_not_there_is_answered_with_the_nearest(
    stored: tuple[str, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="did you mean 'hr_detail'"):
        open_columns(stored[0], ["hr_detial"], tmp_path / "scratch")


def test_shards_are_decoded_once_a_node(
    stored: tuple[str, dict[str, np.ndarray]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, expected = stored
    reads, read = [], shards._read_shard
    monkeypatch.setattr(shards, "_read_shard", lambda *a: reads.append(a[1].file) or read(*a))
    opened: list[dict[str, np.memmap]] = []
    threads = [
        threading.Thread(target=lambda: opened.append(open_columns(folder, ["hr", "lr"], tmp_path / "scratch")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 4
    assert all(np.array_equal(columns["lr"], expected["lr"]) for columns in opened)
    assert sorted(reads) == ["00000.parquet", "00001.parquet", "00002.parquet"]
    open_columns(folder, ["hr"], tmp_path / "scratch")
    assert len(reads) == 3
    open_columns(folder, ["hr", "hr_detail"], tmp_path / "scratch")
    assert len(reads) == 6


def test_a_half_written_cache_is_never_read(stored: tuple[str, dict[str, np.ndarray]], tmp_path: Path) -> None:
    folder, expected = stored
    [whole] = [Path(str(open_columns(folder, ["hr"], tmp_path / "scratch")["hr"].filename))]
    whole.write_bytes(whole.read_bytes()[:-1])
    whole.with_suffix(".part").write_bytes(b"left by a process that was killed")
    assert np.array_equal(open_columns(folder, ["hr"], tmp_path / "scratch")["hr"], expected["hr"])
    assert not whole.with_suffix(".part").exists()


def test_a_set_made_anew_does_not_meet_its_old_cache(stored: tuple[str, dict[str, np.ndarray]], tmp_path: Path) -> None:
    folder, _ = stored
    open_columns(folder, ["lr"], tmp_path / "scratch")
    writer, changed = ShardWriter(COLUMNS), content(11, 99)
    writer.add("a", "0" * 64, [(0, 0)] * 11, changed)
    write_manifest(folder, manifest([writer.store(folder, "00000.parquet")]))
    assert np.array_equal(open_columns(folder, ["lr"], tmp_path / "scratch")["lr"], changed["lr"])


def test_a_shard_that_is_gone_is_missed_beside_a_decoded_copy(
    stored: tuple[str, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    open_columns(stored[0], ["hr"], tmp_path / "scratch")
    (Path(stored[0]) / "00001.parquet").unlink()
    with pytest.raises(DataError, match="a shard is missing") as caught:
        open_columns(stored[0], ["hr"], tmp_path / "scratch")
    assert caught.value.where == str(Path(stored[0]) / "00001.parquet")


def test_a_full_disk_is_the_users_to_mend(
    stored: tuple[str, dict[str, np.ndarray]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr(shards.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(FullError, match=r"there is no room for 8.4 kB: its disk has 100 bytes free") as caught:
        open_columns(stored[0], ["hr"], tmp_path / "scratch")
    assert str(tmp_path / "scratch") in str(caught.value.where)
