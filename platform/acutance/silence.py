"""Keeps third parties quiet and private: no usage statistics, no telemetry, no warning floods."""

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
    """Set the quiet environment; a value the user has set already stays as it is.

    The command line calls this, and what runs in processes that it starts: such a process is ours. Who imports this
    package keeps warnings, logs and environment as they were.
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
    # It prints the whole statement and a traceback of each write that a database refuses; we say which and why.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def stay_silent() -> None:
    """Silence once more where this process is ours: MLflow and Ray set their loggers when they come in."""
    if _silenced:
        silence_libraries()
