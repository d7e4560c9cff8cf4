"""The training stream: the batch of step s is a pure function of (shards, stage, seed, step).

No random generator keeps a state. A stage's name and seed give a key. Sample i of the stream is row
`order(epoch)[i mod N]` with a crop, flips and noise drawn from (key, i); step s has the samples s * batch ..
(s + 1) * batch - 1. So batches do not depend on the number of workers, on the order of calls, or on restarts.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from acutance.config.data import Turning
from acutance.config.size import fits, grown, shown, sides, uneven
from acutance.data.encoded import EncodedPictures
from acutance.data.manifest import Coding
from acutance.errors import ConfigError
from acutance.imaging.degradations import degraded
from acutance.imaging.draws import bits

TURNED: dict[Turning, tuple[int, ...]] = {"turns": (63, 62, 61), "flips": (63, 62), "mirror": (62,), "none": ()}
"""Bits of a random word that decide how a sample is turned: vertical flip, horizontal flip, transposition."""

_ORDER, _SAMPLE = 0, 1
# Detail layers are stored as 16-bit logarithms, so 2^x is a table: exact, and equal for all batch sizes, which
# vectorised functions do not guarantee.
with np.errstate(all="ignore"):
    _EXP2 = np.exp2(np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float64)).astype(np.float32)


class _Draw(NamedTuple):
    """The random draws of one sample: its row, crop, turning, and the seed of its degradations."""

    row: int
    seed: int
    top: int
    left: int
    flip_vertical: bool
    flip_horizontal: bool
    transpose: bool


class Stream:
    """Random patches of a shard set, augmented, in batches.

    Args:
        columns: by name, (N, H / divisor, W / divisor, channels): uint8 pixels, or float16 derived columns;
            labels (N, ...). Or `EncodedPictures`, whose patches lie anywhere in them.
        divisors: by name, how many times smaller than HR the column is.
        codings: by name, the coding of its values.
        patch: side, or height and width, in HR pixels. It starts at multiples of the least common multiple of the
            divisors.
        batch: samples a step, over all workers.
        key: 0 to 2^64 - 1; of a stage, `key_of` its seed and name.
        augment: flips and transposition, both flips, or the horizontal flip; each applied to half of the samples.
        pad: HR pixels of value 0 around the rows, into which patches may extend.
        degrade: degradations that make `lr` from each sample's `hr` after cutting and turning, by the sample's seed.

    Raises:
        ConfigError: when patch or pad are no multiple of the divisors, or the patch is larger than the sub-images.
    """

    def __init__(
        self,
        columns: Mapping[str, Any],
        *,
        divisors: Mapping[str, int],
        codings: Mapping[str, Coding],
        patch: int | tuple[int, int],
        batch: int,
        key: int,
        augment: Turning = "turns",
        pad: int = 0,
        degrade: Sequence[dict[str, Any]] = (),
    ) -> None:
        self.columns, self.divisors, self.codings = dict(columns), dict(divisors), dict(codings)
        self.patch, self.batch_size, self.key, self.augment, self.degrade = sides(patch), batch, key, augment, degrade
        name = next(name for name, coding in codings.items() if coding != "label")
        self.rows, self.pad = len(columns[name]), pad
        height, width = (side * divisors[name] for side in columns[name].shape[1:3])
        self.size = grown((height, width), pad)
        self.grid = math.lcm(*(divisors[name] for name in columns if codings[name] != "label"))
        self._orders: dict[int, np.ndarray] = {}
        for what, pixels in (("patch", patch), ("pad", pad)):
            if uneven(pixels, [self.grid]):
                fault = f"{what} {shown(pixels)} is no multiple of the scale {self.grid}"
                raise ConfigError(fault, fix="choose a multiple")
        if augment == "turns" and self.patch[0] != self.patch[1]:
            raise ConfigError(f"patch {shown(patch)} cannot be turned", fix="use augment: flips")
        if not fits(patch, self.size):
            raise ConfigError(
                f"patch {shown(patch)} is larger than the sub-images ({shown(self.size)})",
                fix="make one smaller, the other larger",
            )

    def batch(self, step: int, rank: int = 0, world: int = 1) -> dict[str, torch.Tensor]:
        """Return the batch of worker `rank` of `world` in a step, counted from 0.

        Returns:
            By column, float32 (batch / world, channels, height / divisor, width / divisor): pixels in 0..1,
            derived columns as 2^x or as stored; an `lr` that is made here may leave 0..1; labels
            (batch / world, ...). The batches of all workers, concatenated, are the batch of one worker alone.

        Raises:
            ConfigError: when the workers cannot share the batch evenly.
        """
        if self.batch_size % world:
            raise ConfigError(
                f"a batch of {self.batch_size} cannot be shared by {world} workers",
                fix="choose a multiple of them",
            )
        return self._batch_of(self._draws(step, rank, world))

    def upright(self, rows: Iterable[int]) -> dict[str, torch.Tensor]:
        """Return patches of these rows from their upper left corner, not turned, in the format of `batch`."""
        return self._batch_of([_Draw(row, row, 0, 0, False, False, False) for row in rows])

    def samples(self, step: int, rank: int = 0, world: int = 1) -> list[int]:
        """Return the shard rows of worker `rank` of `world` in a step."""
        return [draw.row for draw in self._draws(step, rank, world)]

    def _draws(self, step: int, rank: int, world: int) -> list[_Draw]:
        share = self.batch_size // world
        first = step * self.batch_size + rank * share
        return [self._draw(sample) for sample in range(first, first + share)]

    def _draw(self, sample: int) -> _Draw:
        epoch, place = divmod(sample, self.rows)
        top, left, turns, seed = random_words(self.key, sample, _SAMPLE, 4)
        bits = [bit in TURNED[self.augment] and bool(turns >> bit & 1) for bit in (63, 62, 61)]
        return _Draw(int(self._order(epoch)[place]), seed, top, left, *bits)

    def _start(self, word: int, whole: int, part: int) -> int:
        """Return where a patch begins along a side of `whole` HR pixels; all positions are equally likely."""
        return self.grid * (word % ((whole - part) // self.grid + 1))

    def _order(self, epoch: int) -> np.ndarray:
        """Return the order of the rows in an epoch; a batch seldom spans more than two epochs."""
        if epoch not in self._orders:
            words = bits(self.key, epoch, _ORDER).random_raw(self.rows)
            while len(self._orders) > 3:
                self._orders.pop(next(iter(self._orders)))
            self._orders[epoch] = np.argsort(words, kind="stable")
        return self._orders[epoch]

    def _batch_of(self, draws: list[_Draw]) -> dict[str, torch.Tensor]:
        labels = {name for name in self.columns if self.codings[name] == "label"}
        batch = {name: torch.from_numpy(self.columns[name][[draw.row for draw in draws]]) for name in labels}
        crops = {name: self._crops(name, draws) for name in self.columns if name not in labels}
        batch |= {name: _channels_first(_decoded(crop, self.codings[name])) for name, crop in crops.items()}
        return {**batch, "lr": self._degraded(crops["hr"], draws)} if self.degrade else batch

    def _crops(self, name: str, draws: list[_Draw]) -> np.ndarray:
        column, divisor = self.columns[name], self.divisors[name]
        (high, wide), rows = (side // divisor for side in self.patch), [draw.row for draw in draws]
        crops = np.zeros((len(draws), high, wide, column.shape[-1]), column.dtype)
        pictures = column.decoded(rows) if isinstance(column, EncodedPictures) else (column[row] for row in rows)
        for crop, draw, picture in zip(crops, draws, pictures, strict=True):
            height, width = (pixels * divisor + 2 * self.pad for pixels in picture.shape[:2])
            top = (self._start(draw.top, height, self.patch[0]) - self.pad) // divisor
            left = (self._start(draw.left, width, self.patch[1]) - self.pad) // divisor
            visible = picture[max(top, 0) : max(top + high, 0), max(left, 0) : max(left + wide, 0)]
            above, before = max(-top, 0), max(-left, 0)
            _upright(crop, draw)[above : above + visible.shape[0], before : before + visible.shape[1]] = visible
        return crops

    def _degraded(self, crops: np.ndarray, draws: list[_Draw]) -> torch.Tensor:
        """Return `lr`, sample by sample: it must not depend on the other samples of the batch."""
        hr = _channels_first(torch.from_numpy(crops))
        return torch.stack([degraded(one, self.degrade, draw.seed) for one, draw in zip(hr, draws, strict=True)])


def _channels_first(values: torch.Tensor) -> torch.Tensor:
    return values.permute(0, 3, 1, 2).contiguous()


def _decoded(crops: np.ndarray, coding: Coding) -> torch.Tensor:
    """Return float32 values as networks get them."""
    if coding == "log2":
        return torch.from_numpy(_EXP2[crops.view(np.uint16)])
    values = torch.from_numpy(crops).float()
    return values.div_(255) if coding in ("pixels", "encoded") else values


def _upright(crop: np.ndarray, draw: _Draw) -> np.ndarray:
    """Return a view of (height, width, channels) that is flipped and then transposed."""
    crop = crop.swapaxes(0, 1) if draw.transpose else crop
    return crop[:: -1 if draw.flip_vertical else 1, :: -1 if draw.flip_horizontal else 1]


def key_of(seed: int, stage: str) -> int:
    """Return the 64-bit key of a stage; stages of one seed have different keys."""
    return int.from_bytes(hashlib.blake2b(f"{seed} {stage}".encode(), digest_size=8).digest(), "big")


def random_words(key: int, index: int, purpose: int, count: int) -> list[int]:
    """Return 64-bit words of a bit generator: NumPy keeps them between versions, unlike draws of its Generator."""
    return bits(key, index, purpose).random_raw(count).tolist()
