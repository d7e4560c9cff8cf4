"""Random numbers that depend only on a seed and a position, and not on the device, the batch or PyTorch's generators.

NumPy's draws may change with its version.
"""

from __future__ import annotations

import numpy as np

from acutance.errors import ConfigError

NOISE, KERNEL, CHOICE, STEP = range(4)
"""The purposes of draws; draws of one seed and position for two purposes are 2^192 numbers apart."""


def generator(name: str, seed: int, index: int, purpose: int) -> np.random.Generator:
    """Return a counter-based generator, Philox.

    Args:
        name: what to call the seed in an error.
        seed: 0 to 2^64 - 1.
        index: of the picture in its batch, or of the step in a sequence.
        purpose: `NOISE`, `KERNEL`, `CHOICE` or `STEP`.

    Raises:
        ConfigError: seed is out of its range.
    """
    if not 0 <= seed < 2**64:
        raise ConfigError(f"the seed is {seed}", where=name, fix="it must be from 0 to 2^64 - 1")
    return np.random.Generator(bits(seed, index, purpose))


def bits(key: int, index: int, purpose: int) -> np.random.Philox:
    """Return counter-based random bits for one purpose; purposes are 2^192 draws apart.

    Philox 4x64, Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.

    Args:
        key: 0 to 2^64 - 1, as `index` and `purpose`.
        index: of what is drawn: a sample, a picture, a step.
    """
    return np.random.Philox(
        key=np.array([key, index], dtype=np.uint64), counter=np.array([0, 0, 0, purpose], dtype=np.uint64)
    )


def step_seed(seed: int, position: int) -> int:
    """Return the seed of one step of a sequence; the seeds of different steps are unrelated."""
    return int(generator("seed", seed, position, STEP).integers(2**64, dtype=np.uint64))
