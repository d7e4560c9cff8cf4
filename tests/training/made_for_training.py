"""A learner from a stage's settings, without shards or files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from acutance.config.pipeline import Stage
from acutance.losses.objective import Objective
from acutance.training.learner import Learner
from acutance.training.stage_plan import StagePlan


def learner_of(settings: dict[str, Any], frozen: Sequence[str] = (), margin: int = 0) -> Learner:
    """Return a learner at step 0; the same settings give the same weights."""
    torch.manual_seed(0)
    stage = Stage.model_validate(settings)
    network = stage.network.part(**stage.network.arguments())
    for part in frozen:
        network.get_submodule(part).requires_grad_(False)
    judges = {n: d.network.part(**d.network.arguments()) for n, d in stage.discriminators.items()}
    masks = [t.mask.part(**t.mask.arguments()) if t.mask else None for t in stage.objective]
    terms = [
        (t.name, t.part(**t.arguments()), t.on, t.weight, mask) for t, mask in zip(stage.objective, masks, strict=True)
    ]
    return Learner(stage, network, Objective(terms), judges, margin=margin)


def plan_in(folder: Path, settings: dict[str, Any], fingerprint: str = "print") -> StagePlan:
    """Return a plan of a stage without data, whose checkpoints lie below a folder."""
    return StagePlan("one", Stage.model_validate(settings), 4, 0, None, str(folder), fingerprint)  # type: ignore[arg-type]
