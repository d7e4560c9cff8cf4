"""Finds pictures that a model is both trained and measured on, whose values say little about other pictures."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from acutance.data.datasets import Source
from acutance.data.inventory import checksums
from acutance.data.manifest import read_manifest
from acutance.data.prepare import found_shards


def trained_on(description: Mapping[str, Any], root: str) -> set[str]:
    """Return the SHA-256 of the pictures that a model's own stage was trained on, as its shards say.

    Empty where they are not here, as for a model that comes from elsewhere.
    """
    mark = str(description.get("dataset") or "")
    shards = found_shards(root, mark) if mark else None
    return {source.sha256 for source in read_manifest(shards).sources} if shards else set()


def overlaps(
    trained: Collection[str], measured: Mapping[str, Sequence[Source]], *, scale: int, root: str, by: str
) -> list[str]:
    """Return a sentence for each data set that shares pictures with a training, by their content.

    Args:
        trained: SHA-256 of the files that are trained on.
        measured: data set -> pictures that a model is judged by.
        root: URI of the storage root, which keeps checksums.
        by: what judges: evaluation, validation, objective.
    """
    found = []
    for dataset, sources in measured.items():
        known = checksums((source.hr_path(scale) for source in sources), root, dataset)
        shared = [source.name for source in sources if known[source.hr_path(scale)] in trained]
        if shared:
            count = f"{len(shared)} of {len(sources)} pictures of {dataset}"
            found.append(f"trained on what it is judged by ({by}): {count}, the first {shared[0]}")
    return found
