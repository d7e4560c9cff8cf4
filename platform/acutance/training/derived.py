"""The derived columns of a batch, made in the step before any network sees it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from acutance.config.data import DerivedColumn
from acutance.config.pipeline import Stage
from acutance.config.size import grown
from acutance.imaging.derivations import derive_columns
from acutance.losses.pixel import inside

Batch = dict[str, Tensor]


@torch.no_grad()
def with_derived(stage: Stage, margin: int, batch: Batch) -> Batch:
    """Return the batch with its derived columns, without the margin that only they see.

    Each picture keeps as many of its own pixels around it as the smallest one has.

    Args:
        stage: its `derive` says what is made.
        margin: HR pixels around the patch.
        batch: column -> (B, C, H, W), with the margin; labels (B, n).
    """
    _, whole = grown(stage.patch, margin)
    around = {name: margin * picture.shape[-1] // whole for name, picture in batch.items() if picture.ndim == 4}
    least = min(around.values())
    seen = {name: inside(t, around[name] - least) if name in around else t for name, t in batch.items()}
    found = derive_columns(seen, stage.derive)
    left = dict.fromkeys(around, least)
    for name in found.keys() - batch.keys():
        if found[name].ndim == 4:
            left[name] = _margin_of(name, stage.derive, found, least)
    return {name: inside(tensor, left[name]) if left.get(name) else tensor for name, tensor in found.items()}


def _margin_of(name: str, derived: Mapping[str, DerivedColumn], found: Batch, least: int) -> int:
    """Return the pixels of margin of a derived column: those of its first source, fewer where it is smaller."""
    if name not in derived:
        return least
    first = derived[name].sources[0]
    return _margin_of(first, derived, found, least) * found[name].shape[-1] // found[first].shape[-1]
