"""Shards: Parquet files of sub-images, and memory-mapped access to them.

Each shard has native Arrow tensor columns (readable without Ray), a row for each sub-image. Before training, each node
decodes the columns it needs into flat files, which all of its processes map: reading a crop reads only its own pixels.
Both have checksums: a damaged shard is an error, a damaged flat file is decoded again.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from acutance import storage
from acutance.console import say
from acutance.data import decoded_columns
from acutance.data.encoded import EncodedPictures
from acutance.data.manifest import MANIFEST, SHARD_VERSION, Column, Manifest, Shard, read_manifest
from acutance.errors import ConfigError, DamagedError, DataError, nearest
from acutance.fingerprint import fingerprint
from acutance.storage.checksum import Checksum, file_checksum
from acutance.storage.disk import no_room, written_to
from acutance.storage.lock import locked
from acutance.storage.scratch import scratch as users_scratch

_ROW = [("picture", pa.string()), ("sha256", pa.string()), ("top", pa.int32()), ("left", pa.int32())]


def arrow_schema(columns: dict[str, Column], version: int = SHARD_VERSION) -> pa.Schema:
    """Return the Arrow schema of a shard: where each sub-image comes from, then its tensors."""
    tensors = [
        (n, pa.binary() if c.coding == "encoded" else pa.fixed_shape_tensor(pa.from_numpy_dtype(c.dtype), c.shape))
        for n, c in columns.items()
    ]
    return pa.schema([*_ROW, *tensors], metadata={"acutance.shard_version": str(version)})


class ShardWriter:
    """Collects a shard in memory, a row group for each picture, and writes it at once."""

    def __init__(self, columns: dict[str, Column]) -> None:
        self.schema, self.rows, self.encoded, self._file = arrow_schema(columns), 0, 0, io.BytesIO()
        tensors = [f"{name}.list.element" for name, column in columns.items() if column.coding != "encoded"]
        # Parquet keeps a uint8 as four bytes; split apart, zstd drops the empty ones. Of five layouts tried
        # on photographs this was the quickest to write and to read back, at 0.6 of the raw size.
        self._writer = pq.ParquetWriter(
            self._file,
            self.schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=False,
            column_encoding=dict.fromkeys(tensors, "BYTE_STREAM_SPLIT"),
            write_statistics=False,
            write_page_checksum=True,  # for readers of a few columns
        )

    def add(
        self, picture: str, sha256: str, corners: list[tuple[int, int]], tensors: Mapping[str, np.ndarray | list[bytes]]
    ) -> None:
        """Append the sub-images of one picture.

        Args:
            corners: (top, left) of each sub-image on the HR grid.
            tensors: by column, (N, H, W, channels), or N picture files.
        """
        rows = len(corners)
        tops, lefts = zip(*corners, strict=True)
        place = [[picture] * rows, [sha256] * rows, tops, lefts]
        arrays = [pa.array(values, kind) for values, (_, kind) in zip(place, _ROW, strict=True)]
        names = self.schema.names[len(_ROW) :]
        arrays += [_tensor_array(tensors[name], self.schema.field(name).type) for name in names]
        self._writer.write_table(pa.table(arrays, schema=self.schema), row_group_size=rows)
        self.rows += rows
        self.encoded += sum(len(file) for files in tensors.values() if isinstance(files, list) for file in files)

    def store(self, folder: str, file: str) -> Shard:
        """Write the shard, whole or not at all."""
        self._writer.close()
        content = self._file.getvalue()
        storage.write_bytes(storage.join(folder, file), content)
        sha256 = hashlib.sha256(content).hexdigest()
        return Shard(file=file, rows=self.rows, bytes=len(content), sha256=sha256, encoded=self.encoded)


def _tensor_array(values: np.ndarray | list[bytes], kind: pa.DataType) -> pa.Array:
    if isinstance(values, list):
        return pa.array(values, kind)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    rows = pa.FixedSizeListArray.from_arrays(flat, int(np.prod(kind.shape)))
    return pa.ExtensionArray.from_storage(kind, rows)


def open_columns(folder: str, columns: Iterable[str], scratch: Path | None = None) -> dict[str, Any]:
    """Return columns as read-only arrays (rows, H, W, channels) that all processes of this node share.

    Pictures that are stored as files are `EncodedPictures`.

    The first process of a node decodes them into flat files below `scratch`; the others wait for it. Then each process
    checks the checksums of the files.

    Args:
        folder: of the shard set, a path or an s3:// URI.
        scratch: a folder on a local disk; None for `storage.scratch`.

    Raises:
        ConfigError: for a column that the shard set lacks.
        DataError: for a shard that is missing or damaged.
        FullError: for a scratch folder without room.
    """
    manifest = read_manifest(folder)
    wanted = list(columns)
    for name in wanted:
        if name not in manifest.columns:
            raise ConfigError(f"the shards hold no column {name!r}{nearest(name, manifest.columns)}", where=folder)
    _require_files(folder, manifest)
    wanted += [f"{name}_bytes" for name in wanted if manifest.columns[name].coding == "encoded"]
    cache = _cache_folder(manifest, scratch or users_scratch())
    files = {name: cache / f"{name}.bin" for name in wanted}
    with locked(cache / "lock"):
        missing = {name: file for name, file in files.items() if not _complete(file, manifest.column_bytes(name))}
        if missing:
            _decode(folder, manifest, missing)
    for name, file in files.items():
        if not _intact(file):
            _repair(folder, manifest, name, file)
    mapped = {name: _mapped(file, manifest, name) for name, file in files.items()}
    for name in [name for name in mapped if manifest.columns[name].coding == "encoded"]:
        mapped[name] = EncodedPictures(mapped[name], mapped.pop(f"{name}_bytes"), manifest.columns[name].shape[0])
    return mapped


def _require_files(folder: str, manifest: Manifest) -> None:
    """Raise for a missing shard even if its decoded copy is on this node: other nodes have none."""
    present = set(storage.names(folder))
    for shard in manifest.shards:
        if shard.file not in present:
            raise DataError("a shard is missing", where=storage.join(folder, shard.file), fix=_repair_hint(folder))


def _repair_hint(folder: str) -> str:
    return f"delete {storage.join(folder, MANIFEST)} and run `acutance prepare` again: it mends the set"


def sub_images(folder: str) -> Iterator[tuple[slice, list[tuple[int, int]]]]:
    """Yield for each picture the rows of its sub-images in the shard set, and the (top, left) of each."""
    manifest, first = read_manifest(folder), 0
    for shard in manifest.shards:
        with storage.open_file(storage.join(folder, shard.file)) as file:
            places = pq.ParquetFile(file, page_checksum_verification=True)
            table = places.read(columns=["picture", "top", "left"]).to_pydict()
        rows = zip(table["picture"], table["top"], table["left"], strict=True)
        for _, held in groupby(rows, key=lambda row: row[0]):
            corners = [(top, left) for _, top, left in held]
            yield slice(first, first + len(corners)), corners
            first += len(corners)


def _cache_folder(manifest: Manifest, scratch: Path) -> Path:
    # The shards' checksums are part of the name, so a set that is made again by changed code has another folder.
    content = fingerprint([shard.sha256 for shard in manifest.shards])
    cache = scratch / "decoded" / f"{manifest.fingerprint}-{content[:8]}"
    decoded_columns.use(cache)
    decoded_columns.free(cache.parent)
    return cache


def _checksum_note(file: Path) -> Path:
    """Return the JSON file that holds the checksum of a flat file; it is written last."""
    return file.with_suffix(".json")


def _complete(file: Path, size: int) -> bool:
    return _checksum_note(file).exists() and file.exists() and file.stat().st_size == size


def _intact(file: Path) -> bool:
    """Return whether the checksum of a flat file is right; each process reads the file once."""
    try:
        state, note = file.stat(), storage.read_json(str(_checksum_note(file)))
    except (DamagedError, FileNotFoundError):
        return False
    return bool(note.get("content") == _checksum(file, state.st_ino, state.st_mtime_ns, state.st_size))


@lru_cache(maxsize=256)
def _checksum(file: Path, *_: int) -> str:
    return file_checksum(file)


def _repair(folder: str, manifest: Manifest, name: str, file: Path) -> None:
    """Decode a damaged flat file again, unless another process just did."""
    with locked(file.parent / "lock"):
        if _intact(file):
            return
        say(f"decoded shards are damaged and are decoded again: {file}")
        _checksum_note(file).unlink(missing_ok=True)
        _decode(folder, manifest, {name: file})
    if not _intact(file):
        raise DataError("decoded shards change after they were written", where=str(file), fix="set TMPDIR elsewhere")


def _decode(folder: str, manifest: Manifest, files: dict[str, Path]) -> None:
    """Write columns as flat files, each with a note of its checksum; they appear when they are complete."""
    scratch = next(iter(files.values())).parent
    needed = sum(manifest.column_bytes(name) for name in files)
    decoded_columns.free(scratch.parent, needed)
    if shutil.disk_usage(scratch).free < needed:
        raise no_room(scratch, needed)
    parts = {name: file.with_suffix(".part") for name, file in files.items()}
    try:
        with written_to(scratch, needed):
            sums = _fill(folder, manifest, parts)
            for name, part in parts.items():
                os.replace(part, files[name])
                storage.write_json(str(_checksum_note(files[name])), {"content": sums[name]})
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _fill(folder: str, manifest: Manifest, parts: dict[str, Path]) -> dict[str, str]:
    """Write columns; return the checksums of the written bytes."""
    sums = {name: Checksum() for name in parts}
    with ExitStack() as stack:
        opened = {name: stack.enter_context(open(part, "wb")) for name, part in parts.items()}
        for shard in manifest.shards:
            table = _read_shard(folder, shard, manifest, list(parts))
            for name, file in opened.items():
                for chunk in table[name].chunks:
                    values = _values(chunk)
                    sums[name].update(values)
                    file.write(values)
        for file in opened.values():
            file.flush()
            os.fsync(file.fileno())
    return {name: found.hexdigest() for name, found in sums.items()}


def _values(chunk: pa.Array) -> memoryview:
    if pa.types.is_binary(chunk.type):
        return memoryview(b"".join(chunk.to_pylist()))
    return memoryview(chunk.to_numpy_ndarray().reshape(-1).view(np.uint8))


def _read_shard(folder: str, shard: Shard, manifest: Manifest, columns: list[str]) -> pa.Table:
    uri = storage.join(folder, shard.file)
    fix = _repair_hint(folder)
    try:
        content = storage.read_bytes(uri)
    except FileNotFoundError:
        raise DataError("a shard is missing", where=uri, fix=fix) from None
    if len(content) != shard.bytes:
        raise DataError(f"this shard has {len(content)} bytes, not {shard.bytes}", where=uri, fix=fix)
    if hashlib.sha256(content).hexdigest() != shard.sha256:
        raise DataError("this shard is damaged: its checksum is wrong", where=uri, fix=fix)
    table = pq.ParquetFile(pa.BufferReader(content)).read(columns=columns)
    expected = arrow_schema(manifest.columns)
    if table.num_rows != shard.rows or any(table.field(n).type != expected.field(n).type for n in columns):
        raise DataError("this shard is not what the manifest says", where=uri, fix=fix)
    return table


def _mapped(file: Path, manifest: Manifest, name: str) -> Any:
    column = manifest.columns[name]
    if column.coding == "encoded":
        return np.memmap(file, np.uint8, "r")
    return np.memmap(file, dtype=column.dtype, mode="r", shape=(manifest.rows, *column.shape))
