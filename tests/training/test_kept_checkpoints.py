"""Which checkpoints are kept, over long trainings that are killed again and again."""

from __future__ import annotations

import random

import pytest

from acutance.config.pipeline.validation import Best, Keep
from acutance.training.checkpoint import kept_steps

KEEPS = {
    "last": Keep(last=3),
    "every": Keep(last=1, every=250),
    "best": Keep(last=2, best=Best(metric="psnr_y", count=3)),
    "all": Keep(last=2, best=Best(metric="psnr_y", count=2), every=400),
}


@pytest.mark.parametrize("keep", KEEPS.values(), ids=list(KEEPS))
def test_a_thousand_checkpoints_and_fifty_kills_leave_those_that_were_asked_for(keep: Keep) -> None:
    draw = random.Random(0)
    values = {step: draw.random() for step in range(10, 10_001, 10)}
    kills = set(draw.sample(sorted(values), 50))

    def ranked(until: int) -> list[int]:
        return sorted((step for step in values if step <= until), key=values.__getitem__, reverse=True)

    there: set[int] = set()
    step = 0
    while step < 10_000:
        step += 10
        there.add(step)
        if step in kills:  # after the checkpoint was written, before others were deleted: it goes on from the newest
            kills.remove(step)
            step = max(there)
            continue
        kept = kept_steps(there, keep, best=ranked(step))
        assert set(kept) <= there
        assert step in kept
        there = set(kept)

    wanted = set(sorted(values)[-keep.last :])
    wanted |= {step for step in values if keep.every and step % keep.every == 0}
    wanted |= set(ranked(10_000)[: keep.best.count]) if keep.best else set()
    assert there == wanted


def test_what_is_not_measured_yet_stays() -> None:
    keep = Keep(last=1, best=Best(metric="psnr_y"))
    assert kept_steps([10, 20, 30, 40], keep, best=[10], unmeasured=[20]) == [10, 20, 40]
