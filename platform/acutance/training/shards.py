"""The shard sets that stages read: for training and for validation."""

from __future__ import annotations

from collections.abc import Iterable

from acutance.cluster.hardware import Asked
from acutance.data import Catalogue, Manifest, prepare, read_manifest
from acutance.data.dataset_record import remember
from acutance.data.inputs import Originals, known_of
from acutance.data.prepare import OnProgress
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
    found: Originals | None = None,
    gpus: Asked = "auto",
    on_progress: OnProgress | None = None,
    alone: bool = False,
) -> Manifest:
    """Make a shard set, or return at once when it is there; arguments and errors as for `data.prepare`."""
    if shards.done():
        if found is not None:
            remember(known_of(found, shards.settings, catalogue), shards.settings, shards.scale, catalogue, root)
        return read_manifest(shards.folder)
    return prepare(
        shards.settings,
        shards.scale,
        catalogue,
        root,
        found=found,
        enlarge=shards.enlarger,
        enlarger=shards.enlarger.fingerprint if shards.enlarger else "",
        gpus=gpus,
        on_progress=on_progress,
        alone=alone,
    )
