"""Switches off usage statistics, telemetry and most warnings of third-party libraries."""

from __future__ import annotations

import logging
import os
import warnings

DEFAULTS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "DO_NOT_TRACK": "true",
    "TOKENIZERS_PARALLELISM": "false",
    "MPLBACKEND": "Agg",
    "GIT_PYTHON_REFRESH": "quiet",
}


_silenced = False


def silence_libraries() -> None:
    """Set the quiet environment; values that the user has set stay.

    Called by the command line and in the processes that it starts. A program that imports this package keeps its
    warnings, logs and environment.
    """
    global _silenced  # noqa: PLW0603
    _silenced = True
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    if os.environ.get("ACUTANCE_DEBUG"):
        return
    warnings.filterwarnings("ignore")
    for name in ("ray", "ray.data", "ray.train", "ray.tune", "mlflow", "alembic", "optuna", "matplotlib"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # It prints the statement and a traceback for each write that a database refuses; our error says which and why.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def stay_silent() -> None:
    """Repeat `silence_libraries` where it was called before: MLflow and Ray set log levels when they are imported."""
    if _silenced:
        silence_libraries()
