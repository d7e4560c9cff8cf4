"""The code of every model package. MLflow copies this file into the package and runs it to load the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from acutance.inference.restore import restore
from acutance.models.model_file import load_model


class ServedRestorer(PythonModel):
    """Pictures in, restored pictures out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the weights: tensors and JSON, nothing that could be run."""
        network, self.description = load_model(context.artifacts["model"])
        self.network = network.to("cuda" if torch.cuda.is_available() else "cpu")

    def predict(self, context: PythonModelContext, model_input: np.ndarray, params: Any = None) -> np.ndarray:
        """Restore uint8 (N,h,w,3) RGB to uint8 (N,H,W,3)."""
        return np.stack([restore(self.network, self.description, one)["image"] for one in model_input])


set_model(ServedRestorer())
