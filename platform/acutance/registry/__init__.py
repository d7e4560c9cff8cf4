"""The registry room: what was run, which models came of it, and which one is used. All of it lives in MLflow.

`address` finds the tracking store and makes sure that it answers; `tracking` keeps a run for a pipeline and
one below it for each stage; `package` wraps a model file so that `mlflow models serve` runs it; `resolve`
turns `models:/NAME@champion` into a file; `gate` and `promotion` decide which version is the champion.
"""

from acutance.registry.address import connect, tracking_uri
from acutance.registry.gate import Decision, Verdict, decide
from acutance.registry.package import log_model, save_package
from acutance.registry.promotion import ModelRecord, VersionRecord, history, listing, promote, rollback
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

__all__ = [
    "Decision",
    "ModelRecord",
    "StageTracker",
    "Verdict",
    "VersionRecord",
    "connect",
    "decide",
    "finish",
    "git_commit",
    "history",
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
]
