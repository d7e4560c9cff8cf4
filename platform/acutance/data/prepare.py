"""Makes shards from pictures with Ray Data: each task makes one shard from a fixed list of pictures.

After a kill, the next run makes the missing shards; the manifest is written last.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from acutance import errors, storage
from acutance.cluster.hardware import GpuRequest, gpus_for
from acutance.config.data import BICUBIC, DataSettings
from acutance.data.columns import columns_of, dataset_fingerprint
from acutance.data.dataset_record import write_record
from acutance.data.datasets import Catalogue
from acutance.data.inputs import Inputs, find_inputs, record_of
from acutance.data.inventory import forget
from acutance.data.manifest import SHARD_VERSION, Manifest, read_manifest, write_manifest
from acutance.data.shard_task import Enlarge, Part, Report, Task, run_task
from acutance.errors import DataError
from acutance.parts.sources import packed, sources_named
from acutance.storage.done import is_done
from acutance.storage.outputs import done_folder, folder_of

GPU_SHARE = 0.125
"""GPUs of a task, which spends most of its time on reading, cutting and writing."""

OnProgress = Callable[[int, int, str], None]


def shards_folder(root: str, settings: DataSettings, dataset: str) -> str:
    """Return the URI of the folder of a shard set, given the storage root and the set's fingerprint."""
    return folder_of("shards", storage.join(root, "shards"), settings.train, dataset)


def found_shards(root: str, dataset: str) -> str | None:
    """Return the URI of the folder of a complete shard set by its fingerprint; None where there is none."""
    return done_folder("shards", [storage.join(root, "shards")], dataset)


def prepare(
    settings: DataSettings,
    scale: int,
    catalogue: Catalogue,
    root: str,
    *,
    inputs: Inputs | None = None,
    enlarge: Enlarge | None = None,
    enlarger: str = "",
    gpus: GpuRequest = "auto",
    on_progress: OnProgress | None = None,
    in_process: bool = False,
) -> Manifest:
    """Make the shard set of `settings`, or return at once when it is complete.

    The caller has connected to Ray; pictures and storage have the same paths on every node.

    Args:
        inputs: the files that it is made from; None to find them.
        enlarge: the function of `settings.enlarge`.
        enlarger: the fingerprint of its model.
        gpus: for derived columns and models that enlarge, see `gpus_for`; layers from a GPU may differ in the last bit
            of their float16.
        in_process: make all shards in this process, whose GPUs are `gpus`: a Ray task that waited for Ray Data tasks
            could hold the resources that they need.
        scale: how many times smaller LR is than HR.
        root: a folder or s3:// prefix; the set is written to `shards/NAME-FINGERPRINT/` in it.
        on_progress: called with (inputs done, inputs in all, what was done).

    Returns:
        The manifest; `fresh` tells whether it was written just now.

    Raises:
        ConfigError: for an unknown dataset, or sub-images that do not fit the scale.
        DataError: for missing data, for a bad picture where `bad_pictures` is "stop", and when no picture is
            left; then there is no manifest. A picture over which two workers died is a bad one.
    """
    inputs = find_inputs(settings, scale, catalogue, root) if inputs is None else inputs
    record = record_of(inputs, settings, catalogue)
    dataset = dataset_fingerprint(settings, scale, record.inputs, enlarger)
    folder = shards_folder(root, settings, dataset)
    if is_done("shards", folder, dataset):
        write_record(record, settings, scale, catalogue, root)
        return read_manifest(folder)
    tasks = _tasks(inputs, settings, scale, folder, dataset)
    if in_process:
        reports = _run_in_process(tasks, enlarge, gpus)
    else:
        reports = _run_on_ray(tasks, enlarge, _gpu_share(settings, gpus))
    try:
        parts = _parts(tasks, reports, on_progress or (lambda *_: None))
    except DataError as error:  # perhaps a picture differs from its inventory entry
        forget(error.where or "", root, settings.train)
        raise
    manifest = _manifest(settings, scale, dataset, parts)
    if not manifest.rows:
        raise _no_pictures(settings, manifest)
    write_manifest(folder, manifest)
    write_record(record, settings, scale, catalogue, root)
    return manifest.model_copy(update={"fresh": True})


def _tasks(inputs: Inputs, settings: DataSettings, scale: int, folder: str, dataset: str) -> list[Task]:
    size = settings.pictures_per_shard
    shared: dict[str, Any] = {
        "settings": settings,
        "scale": scale,
        "folder": folder,
        "dataset": dataset,
        "run": uuid.uuid4().hex,
    }
    code = packed(sources_named(settings.model_dump(mode="json")))
    groups: list[Any] = [inputs[start : start + size] for start in range(0, len(inputs), size)]
    return [Task(code=code, number=number, inputs=group, **shared) for number, group in enumerate(groups)]


def _parts(tasks: list[Task], reports: Iterator[Report], on_progress: OnProgress) -> list[Part]:
    """Return the tasks' parts in order, from reports in any order."""
    total, done = sum(len(task.inputs) for task in tasks), 0
    parts: dict[int, Part] = {}
    on_progress(0, total, f"{len(tasks)} shards to make")
    for report in reports:
        if report.part is None:
            kind, what, where, fix = report.failure or ("AcutanceError", "a task gave no result", None, None)
            raise getattr(errors, kind)(what, where=where, fix=fix)
        parts[report.number] = report.part
        done += len(tasks[report.number].inputs)
        on_progress(done, total, f"{'kept' if report.kept else 'made'} shard {report.number}")
    return [parts[task.number] for task in tasks]


def _gpu_share(settings: DataSettings, gpus: GpuRequest) -> float:
    """Return the GPUs of a task: GPU_SHARE where a derived column or a model uses one, else 0."""
    derived = any(getattr(column.part, "on_gpus", False) for column in settings.stored.values())
    by_model = settings.enlarge is not None and settings.enlarge.by != BICUBIC
    return min(GPU_SHARE, gpus_for(gpus, setting="compute.gpus", what="prepare")) if derived or by_model else 0.0


def _run_in_process(tasks: list[Task], enlarge: Enlarge | None, gpus: GpuRequest) -> Iterator[Report]:
    resources = 0.0 if gpus == "auto" else gpus
    for task in tasks:
        yield Report.model_validate_json(run_task({"task": task.model_dump_json()}, enlarge, resources)["report"])


def _run_on_ray(tasks: list[Task], enlarge: Enlarge | None, gpus: float) -> Iterator[Report]:
    """Yield what each task reports, as it ends."""
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    rows = [{"task": task.model_dump_json()} for task in tasks]
    resources: dict[str, Any] = {"num_cpus": 1, **({"num_gpus": gpus} if gpus else {})}
    # One block for each task, so that each is scheduled, retried and reported separately.
    reports = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        run_task, fn_args=(enlarge, gpus), **resources
    )
    for row in reports.iter_rows():
        yield Report.model_validate_json(row["report"])


def _manifest(settings: DataSettings, scale: int, dataset: str, parts: list[Part]) -> Manifest:
    shards = [part.shard for part in parts if part.shard]
    return Manifest(
        version=SHARD_VERSION,
        fingerprint=dataset,
        settings={**settings.model_dump(mode="json", exclude={"train", "split"}), "scale": scale},
        columns=columns_of(settings, scale),
        rows=sum(shard.rows for shard in shards),
        shards=shards,
        sources=[source for part in parts for source in part.sources],
        skipped=[skipped for part in parts for skipped in part.skipped],
    )


def _no_pictures(settings: DataSettings, manifest: Manifest) -> DataError:
    reasons = [f"{skipped.name}: {skipped.reason}" for skipped in manifest.skipped]
    more = [f"... and {len(reasons) - 5} more"] if len(reasons) > 5 else []
    return DataError(
        "no usable picture:\n" + "\n".join(f"  {line}" for line in [*reasons[:5], *more]),
        where=settings.train,
        fix="give pictures that can be read and are no smaller than data.subimages.size",
    )
