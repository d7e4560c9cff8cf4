"""Ma et al.'s metric of super-resolved pictures, learned from people's scores, and PIRM's perceptual index.

Ma, Yang, Yang, Yang: Learning a no-reference quality metric for single-image super-resolution, CVIU 2017. Three
families of features, a random forest for each, and a linear map of the three. Everything follows the authors' MATLAB
code, github.com/chaoma99/sr-metric, also where Python ports of it differ.
"""

from __future__ import annotations

import numpy as np

from acutance.evaluation.ma.forest import predict
from acutance.evaluation.ma.model_file import PARAMETERS, stored_model
from acutance.evaluation.niqe import niqe
from acutance.weights import find_weights

__all__ = ["PARAMETERS", "ma", "perceptual_index"]


def ma(plane: np.ndarray) -> float:
    """Return Ma's quality of a picture, 0 to 10, the higher the better; nothing clips it to that range.

    Args:
        plane: Y in 0..255, (h, w), as the protocol rounded and cropped it.

    Raises:
        Unmeasurable: for a constant picture, or one that is too small: see `features.features`.
        WeightsError: when the authors' parameter file is not found, or is not that file.
    """
    from acutance.evaluation.ma.features import features  # with it comes scipy, which takes a second to import

    model = stored_model(find_weights(PARAMETERS))
    scores = [predict(forest, family) for forest, family in zip(model.forests, features(plane), strict=True)]
    return float(model.linear @ [1.0, *scores])


def perceptual_index(plane: np.ndarray) -> float:
    """Return the perceptual index, ((10 - Ma) + NIQE) / 2, the lower the better.

    Blau, Mechrez, Timofte, Michaeli, Zelnik-Manor: The 2018 PIRM challenge on perceptual image super-resolution.

    Args:
        plane: Y in 0..255, (h, w), as the protocol rounded and cropped it.

    Raises:
        Unmeasurable: where Ma's metric or NIQE cannot be measured.
        WeightsError: when the parameter file of one of them is not found, or is not that file.
    """
    return ((10 - ma(plane)) + niqe(plane)) / 2
