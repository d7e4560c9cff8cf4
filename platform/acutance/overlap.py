"""Pictures that a model is both trained on and judged by: what is measured on them says little about others."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from acutance.data import Source
from acutance.data.inventory import checksums


def overlaps(
    trained: Collection[str], measured: Mapping[str, Sequence[Source]], *, scale: int, root: str, by: str
) -> list[str]:
    """Return a sentence for each data set that shares pictures with a training, by their content.

    Args:
        trained: SHA-256 of the files that are trained on.
        measured: data set -> pictures that a model is judged by.
        root: URI of the storage root, which keeps check sums.
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
