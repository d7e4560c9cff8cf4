"""A stream for a network of several scales: each step has one scale, drawn from (key, step)."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from acutance.data.stream import Stream, random_words

_SCALE = 2


class MultiScaleStream:
    """Each step's batch comes from one of several streams.

    Args:
        streams: scale -> its stream; their `lr` patches are of one size, their `hr` patches as many times larger.
        key: 0 to 2^64 - 1; that of the streams.
    """

    def __init__(self, streams: Mapping[int, Stream], key: int) -> None:
        self.streams, self.key = dict(sorted(streams.items())), key

    def scale(self, step: int) -> int:
        """Return the scale of a step; all are equally likely."""
        scales = list(self.streams)
        return scales[random_words(self.key, step, _SCALE, 1)[0] % len(scales)]

    def batch(self, step: int, rank: int = 0, world: int = 1) -> dict[str, torch.Tensor]:
        """Return what `Stream.batch` does, and `scale` (batch / world,) int64, the same number for each sample."""
        scale = self.scale(step)
        batch = self.streams[scale].batch(step, rank, world)
        return {**batch, "scale": torch.full((len(batch["hr"]),), scale)}

    def samples(self, step: int, rank: int = 0, world: int = 1) -> list[int]:
        """Return the rows of the shards of worker `rank` of `world` in a step."""
        return self.streams[self.scale(step)].samples(step, rank, world)
