"""Which columns a stage reads, and which column an output is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acutance.config.pipeline.stage import Stage

TARGETS = {"image": "hr", "detail": "hr_detail", "logits": "class"}


def target_of(output: str) -> str:
    """Return the batch column an output is compared with: of other outputs the one of their own name."""
    return TARGETS.get(output, output)


def columns_needed(stage: Stage) -> set[str]:
    """Return the columns that a stage's network, terms, masks and discriminators read."""
    read = set(stage.network.part.inputs)
    read |= {target_of(term.on) for term in stage.objective if term.part.reads == "outputs"}
    read |= {target_of(discriminator.on) for discriminator in stage.discriminators.values()}
    for term in stage.objective:
        read |= term.mask.columns() if term.mask else set()
    return read
