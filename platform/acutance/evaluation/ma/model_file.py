"""The authors' parameter file: three random forests and a linear map, as MATLAB saved them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from acutance.errors import WeightsError
from acutance.evaluation.ma.forest import Forest

PARAMETERS = "model.mat"
FEATURES = {"local frequency": 18, "global frequency": 45, "singular values": 75}
NODES = ("lDau", "rDau", "mbest", "upper", "avnode")
"""Of each node: its daughters and its feature (counted from 1, 0 in a leaf), threshold, mean score."""
HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class Model:
    """A regression forest for each family of features, and the linear weights (4,) of 1 and the three predictions."""

    forests: tuple[Forest, ...]
    linear: np.ndarray


@cache
def stored_model(path: Path) -> Model:
    """Read the authors' `model.mat`; once for each path.

    The file is inflated to several hundred MB for a moment; what is kept is the nodes that are in use.

    Raises:
        WeightsError: when the file cannot be read, or does not hold what the authors' does.
    """
    with open(path, "rb") as file:
        # MATLAB puts 512 bytes of its own before the HDF5 of version 7.3
        if HDF5 in file.read(520):
            fix = "save it in MATLAB by save('model.mat', 'model', '-v7'), or put the published file there"
            raise WeightsError("the file is a MATLAB v7.3 (HDF5) file; v5 to v7 are read", where=str(path), fix=fix)
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        # texts stay as characters: the authors' file keeps binary node states in them, which are not used
        stored = loadmat(path, variable_names=["model"], chars_as_strings=False)
        return _model(stored["model"])
    except (MatReadError, ValueError, TypeError, LookupError, OSError, EOFError, zlib.error, MemoryError) as error:
        raise WeightsError(
            f"the file does not hold the parameters of Ma's metric ({str(error).splitlines()[0][:200]})",
            where=str(path),
            fix="put the published file there",
        ) from error


def _model(stored: np.ndarray) -> Model:
    fields = _fields(stored, "model", ("rf", "linear"))
    linear = np.asarray(fields["linear"], dtype=np.float64).ravel()
    if linear.shape != (1 + len(FEATURES),) or not np.isfinite(linear).all():
        raise ValueError(f"model.linear is not {1 + len(FEATURES)} numbers")
    cells = fields["rf"].ravel()
    if cells.dtype != object or len(cells) != len(FEATURES):
        raise ValueError(f"model.rf is not a cell array of {len(FEATURES)} forests")
    names = [f"the forest of {family}" for family in FEATURES]
    return Model(tuple(map(_forest, cells, names, FEATURES.values())), linear)


def _forest(stored: np.ndarray, name: str, features: int) -> Forest:
    """Check what would crash a prediction, or keep it going for ever, and keep the nodes that are in use."""
    fields = _fields(stored, name, NODES)
    shape = fields["lDau"].shape
    if len(shape) != 2 or not all(shape) or any(fields[field].shape != shape for field in NODES):
        raise ValueError(f"{name} does not have {', '.join(NODES)} of one size, nodes by trees")
    used = max(1, int(fields["lDau"].max()), int(fields["rDau"].max()))
    left, right, feature = (fields[field][:used].astype(np.int32) - 1 for field in NODES[:3])
    threshold, value = (fields[field][:used].astype(np.float64) for field in NODES[3:])
    own = np.arange(len(left), dtype=np.int32)[:, None]
    leaf = left < 0
    # a daughter always has a higher number than its mother: no way down can turn back
    inner_wrong = (np.minimum(left, right) <= own) | (np.maximum(left, right) >= len(left))
    inner_wrong |= (feature < 0) | (feature >= features) | ~np.isfinite(threshold)
    if (inner_wrong & ~leaf).any() or not np.isfinite(value).all():
        raise ValueError(f"{name} has nodes that are none, of {features} features")
    left, right = np.where(leaf, own, left), np.where(leaf, own, right)
    return Forest(left, right, np.where(leaf, 0, feature), threshold, _unbiased(value, stored))


def _unbiased(value: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """Apply the forest's correction of bias, a + b y; the authors did not ask for one, so theirs is zero."""
    coefficients = np.ravel(stored["coef"][0, 0]) if "coef" in (stored.dtype.names or ()) else np.zeros(0)
    return coefficients[0] + coefficients[1] * value if coefficients.any() else value


def _fields(stored: np.ndarray, name: str, wanted: tuple[str, ...]) -> dict[str, np.ndarray]:
    missing = [field for field in wanted if field not in (stored.dtype.names or ())]
    if missing or stored.shape != (1, 1):
        raise ValueError(f"{name} is not a structure with {', '.join(missing or wanted)}")
    return {field: stored[field][0, 0] for field in wanted}
