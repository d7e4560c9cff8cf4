"""The registry: runs, the models that they produced, and which model is used. All of it is stored in MLflow.

`address` finds the tracking store and makes sure that it answers, `database` makes it where it is a file; `tracking`
keeps a run for a pipeline and one below it for each stage; `package` wraps a model file, with its `card` and our
code, so that `mlflow models serve` runs it anywhere; `export` writes it for other software; `resolve`
turns `models:/NAME@champion` into a file; `gate` and `promotion` decide which version is the champion, `decision_log`
keeps what was decided and `reconcile` brings MLflow's aliases in line with it.
"""

from acutance.registry.address import connect, tracking_uri
from acutance.registry.decision_log import Decision
from acutance.registry.gate import GateResult, Measurements, decide
from acutance.registry.package import log_model, save_package
from acutance.registry.promotion import history, promote, rollback
from acutance.registry.resolve import resolve_model
from acutance.registry.tracking import (
    StageTracker,
    finish,
    git_commit,
    log_file,
    log_json,
    log_table,
    pipeline_run,
    stage_run,
    user,
)
from acutance.registry.versions import ModelRecord, VersionRecord, is_recorded, listing, version_records

__all__ = [
    "Decision",
    "GateResult",
    "Measurements",
    "ModelRecord",
    "StageTracker",
    "VersionRecord",
    "connect",
    "decide",
    "finish",
    "git_commit",
    "history",
    "is_recorded",
    "listing",
    "log_file",
    "log_json",
    "log_model",
    "log_table",
    "pipeline_run",
    "promote",
    "resolve_model",
    "rollback",
    "save_package",
    "stage_run",
    "tracking_uri",
    "user",
    "version_records",
]
