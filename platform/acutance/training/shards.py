"""The shard sets that stages read: for training and for validation."""

from __future__ import annotations

from collections.abc import Iterable

from acutance.cluster.hardware import GpuRequest
from acutance.data.dataset_record import write_record
from acutance.data.datasets import Catalogue
from acutance.data.inputs import Inputs, record_of
from acutance.data.manifest import Manifest, read_manifest
from acutance.data.prepare import OnProgress, prepare
from acutance.training.stage_plan import ShardSpec, StagePlan


def shard_sets(plans: Iterable[StagePlan]) -> list[ShardSpec]:
    """Return the shard sets that stages read, without repetition."""
    sets = [shards for plan in plans for shards in (plan.trained_on, plan.measured_on) if shards]
    return list({shards.fingerprint: shards for shards in sets}.values())


def make_shards(
    shards: ShardSpec,
    catalogue: Catalogue,
    root: str,
    *,
    inputs: Inputs | None = None,
    gpus: GpuRequest = "auto",
    on_progress: OnProgress | None = None,
    in_process: bool = False,
) -> Manifest:
    """Make a shard set, or return at once when it is there; arguments and errors as for `data.prepare`."""
    if shards.done():
        if inputs is not None:
            write_record(record_of(inputs, shards.settings, catalogue), shards.settings, shards.scale, catalogue, root)
        return read_manifest(shards.folder)
    return prepare(
        shards.settings,
        shards.scale,
        catalogue,
        root,
        inputs=inputs,
        enlarge=shards.enlarger,
        enlarger=shards.enlarger.fingerprint if shards.enlarger else "",
        gpus=gpus,
        on_progress=on_progress,
        in_process=in_process,
    )
