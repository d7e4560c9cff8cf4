"""What a step computes of its batch before any network sees it."""

from __future__ import annotations

import torch
from torch import Tensor

from acutance.config.pipeline import DERIVATIONS, Stage
from acutance.data.size import grown
from acutance.losses.pixel import inside

Batch = dict[str, Tensor]


@torch.no_grad()
def derived(stage: Stage, batch: Batch) -> Batch:
    """Return the batch with what is computed of it, without the margin that only this computation sees.

    Each picture keeps as many of its own pixels around it as the smallest one has.
    """
    _, whole = grown(stage.patch, stage.margin)
    pictures = {name: tensor for name, tensor in batch.items() if tensor.ndim == 4}
    around = {name: stage.margin * picture.shape[-1] // whole for name, picture in pictures.items()}
    least = min(around.values())
    made = {}
    for name, derivation in stage.derive.items():
        name_of_source, *besides = derivation.reads()
        source = inside(batch[name_of_source], around[name_of_source] - least)
        result = DERIVATIONS[derivation.type](source, *(batch[b] for b in besides), **derivation.arguments())
        made[name] = inside(result, least * result.shape[-1] // source.shape[-1])
    kept = {name: inside(picture, around[name]) for name, picture in pictures.items()} if stage.margin else {}
    return {**batch, **kept, **made}
