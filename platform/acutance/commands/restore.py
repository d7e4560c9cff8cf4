"""A model on a picture, a folder of pictures or an s3:// prefix: one in this process, many with Ray Data."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow.fs as pafs

from acutance import storage
from acutance.cluster.connect import connect
from acutance.cluster.hardware import capacity, device_of, gpus_for
from acutance.console import progress
from acutance.data.folders import folder_sources
from acutance.errors import DataError
from acutance.inference.encode import SUFFIXES
from acutance.inference.picture_file import Outcome, open_restorer, read_model, restore_file
from acutance.silence import silence_libraries

ATTEMPTS = 3
"""How often a picture is begun that takes its worker down."""

DIED = "the process that worked on it died, perhaps of the memory it needs"

Pair = tuple[str, str]
"""Where a picture lies and where the restored one goes: absolute paths or s3:// URIs."""


def restore_pictures(
    model: str, source: str, target: str, *, address: str | None = None, strip: bool = False
) -> list[Outcome]:
    """Restore a picture into a PNG, JPEG or WebP file, or a folder of them into PNG files of the same names.

    PNG files that this model made of the same pictures are kept, so that what was interrupted goes on; each file is
    written whole or not at all.

    Args:
        model: URI of a model file.
        source: a picture, a folder or an s3:// prefix.
        target: a file with its suffix, a folder or an s3:// prefix.
        address: a Ray cluster, see `connect`. A single picture needs none, and then starts none.
        strip: leave out EXIF, XMP and dots per inch, which tell when, where and by whom it was taken.

    Returns:
        What became of each picture, sorted by where it lies.

    Raises:
        DataError: when the input does not exist or holds no picture, for an output that cannot be, and for a single
            picture that cannot be restored.
        ModelError: when the model cannot be read.
    """
    pairs = find_pairs(source, target)
    content = read_model(model)
    if address is None and [pair[0] for pair in pairs] == [_absolute(source)]:
        name = PurePosixPath(pairs[0][0]).name
        with progress(f"restore {name}", 100) as update:
            restorer = open_restorer(*content)
            outcome = restore_file(restorer, *pairs[0], lambda done, of: update(100 * done // of, "%"), strip=strip)
            if outcome.state == "failed":
                raise DataError(outcome.why, where=pairs[0][0])
            return [outcome]
    with connect(address), progress("restore", len(pairs)) as update:
        return sorted(_restored(pairs, content, strip, update))


def find_pairs(source: str, target: str) -> list[Pair]:
    """Return the pictures to restore, and where to.

    Raises:
        DataError: when there is none, or the output would be taken for an input or overwrite one.
    """
    source, target = _absolute(source), _absolute(target, keep_slash=True)
    kind = _kind(source)
    if kind == pafs.FileType.NotFound:
        raise DataError("there is no such picture or folder", where=source, fix="check the path")
    if kind == pafs.FileType.File:
        return [(source, _single_target(source, target))]
    target = target.rstrip("/")
    if _inside(target, source):
        raise DataError(
            "the output lies inside the input, and would be taken for it the next time",
            where=target,
            fix="give another folder",
        )
    if PurePosixPath(target).suffix.lower() in SUFFIXES or _kind(target) == pafs.FileType.File:
        raise DataError("a folder of pictures goes to a folder", where=target, fix="give the name of a folder")
    pictures = folder_sources(source, "check the path")
    return [(picture.path, storage.join(target, f"{picture.name}.png")) for picture in pictures]


def _absolute(uri: str, *, keep_slash: bool = False) -> str:
    slash = "/" if keep_slash and uri.endswith("/") else ""
    return (uri.rstrip("/") if storage.is_remote(uri) else str(Path(uri).absolute())) + slash


def _kind(uri: str) -> Any:
    if not storage.exists(uri):
        return pafs.FileType.NotFound
    fs, path = storage.filesystem(uri)
    return fs.get_file_info(path).type


def _single_target(source: str, target: str) -> str:
    if target.endswith("/") or _kind(target) == pafs.FileType.Directory:
        target = storage.join(target, f"{PurePosixPath(source).stem}.png")
    if PurePosixPath(target).suffix.lower() not in SUFFIXES:
        raise DataError(
            "pictures are written as PNG, JPEG or WebP",
            where=target,
            fix=f"give a name that ends in {', '.join(SUFFIXES)}, or a folder that exists",
        )
    if _inside(target, source):
        raise DataError("the output would overwrite the input", where=target, fix="give another name")
    return target


def _inside(inner: str, outer: str) -> bool:
    """Return whether a URI is another one or lies below it."""
    if storage.is_remote(inner) != storage.is_remote(outer):
        return False
    if storage.is_remote(inner):
        return f"{inner}/".startswith(f"{outer}/")
    return Path(inner).resolve().is_relative_to(Path(outer).resolve())


def _restored(
    pairs: list[Pair], model: tuple[bytes, str], strip: bool, update: Callable[[int, str], None]
) -> Iterator[Outcome]:
    """Yield what becomes of each picture, as it ends."""
    import ray
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what fails is told at the end
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = -1  # a block is a picture: only the one that fails is missing
    shared = (ray.put(model), ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Begun).remote())
    missing = dict(pairs)
    with ray.data.DataContext.current(context):
        rows = [{"source": source, "target": target} for source, target in pairs]
        pictures = ray.data.from_items(rows, override_num_blocks=len(rows))
        gpus = gpus_for("auto", cpus=0, setting="--address", what="restore")
        most = min(capacity().room({"GPU": 1}), len(rows))
        given = (*shared, gpus, strip)
        outcomes = _on_gpus(pictures, given, most) if gpus else _on_cpus(pictures, given)
        for batch in outcomes.iter_batches(batch_size=None, prefetch_batches=0):  # or each is told after the next
            for outcome in map(Outcome, *(batch[name].tolist() for name in Outcome._fields)):
                del missing[outcome.source]
                update(len(pairs) - len(missing), PurePosixPath(outcome.target).name)
                yield outcome
    for source, target in missing.items():
        yield Outcome(source, target, "failed", DIED)


def _on_gpus(pictures: Any, shared: tuple[Any, ...], most: int) -> Any:
    """An actor a GPU keeps the model there."""
    from ray.data import ActorPoolStrategy

    pool = ActorPoolStrategy(min_size=1, max_size=most, max_tasks_in_flight_per_actor=1)
    return pictures.map(Worker, fn_constructor_args=shared, compute=pool, num_gpus=1)


def _on_cpus(pictures: Any, shared: tuple[Any, ...]) -> Any:
    """Tasks take the CPUs that are free at the time; the processes that run them keep the model."""
    return pictures.map(_restore_row, fn_args=shared, num_cpus=1)


def _restore_row(row: dict[str, str], model: Any, begun: Any, gpus: float, strip: bool) -> dict[str, str]:
    return _worker(model, begun, gpus, strip)(row)


@lru_cache(maxsize=1)
def _worker(model: Any, begun: Any, gpus: float, strip: bool) -> Worker:
    return Worker(model, begun, gpus, strip)


class Begun:
    """An actor that counts how often each picture was begun: one that takes its worker down Ray would try for ever."""

    def __init__(self) -> None:
        self.times: Counter[str] = Counter()

    def begin(self, source: str) -> int:
        """Count a picture, and return how often it was begun, this time included."""
        self.times[source] += 1
        return self.times[source]


class Worker:
    """The model in a process of the cluster."""

    def __init__(self, model: Any, begun: Any, gpus: float, strip: bool) -> None:
        """Build the network from the reference to its file's bytes and SHA-256, on the GPU that Ray gives, if any."""
        import ray

        silence_libraries()
        content, sha256 = ray.get(model)
        self.restorer, self.begun = open_restorer(content, sha256, device_of(gpus)), begun
        self.strip = strip

    def __call__(self, row: dict[str, str]) -> dict[str, str]:
        """Restore the `source` of a row into its `target`; return the Outcome as a row."""
        import ray

        source, target = row["source"], row["target"]
        if ray.get(self.begun.begin.remote(source)) > ATTEMPTS:
            return Outcome(source, target, "failed", DIED)._asdict()
        return restore_file(self.restorer, source, target, strip=self.strip)._asdict()
