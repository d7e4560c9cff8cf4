"""Where the parameter files are, and where they are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from made_for_evaluation import build_backbone
from made_for_ma import grown_forests, made_fields
from scipy.io import savemat

from acutance.evaluation import ma, niqe, perceptual
from free_pictures import ORACLES


@pytest.fixture(scope="session")
def made_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files for every metric, of random weights: features alone, without a classifier."""
    folder = tmp_path_factory.mktemp("weights")
    for name, backbone in perceptual.BACKBONES.items():
        weights = {f"features.{key}": tensor for key, tensor in build_backbone(name).state_dict().items()}
        torch.save(weights, folder / backbone.file)
    window = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    window = np.outer(window, window) / window.sum() ** 2
    photographs = {"mu_pris_param": np.ones((1, 36)), "cov_pris_param": np.eye(36), "gaussian_window": window}
    np.savez(folder / niqe.PARAMETERS, **photographs)
    savemat(folder / ma.PARAMETERS, {"model": made_fields(grown_forests())}, oned_as="column")
    return folder


@pytest.fixture
def niqe_parameters(monkeypatch: pytest.MonkeyPatch) -> Path:
    """NIQE's own parameter file, as it comes with BasicSR."""
    monkeypatch.setenv("ACUTANCE_WEIGHTS", str(ORACLES))
    return ORACLES / niqe.PARAMETERS


@pytest.fixture
def made_weights(made_files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Parameter files of random weights are where metrics look first."""
    monkeypatch.setenv("ACUTANCE_WEIGHTS", str(made_files))
    return made_files
