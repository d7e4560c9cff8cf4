"""Tracking as other rooms use it: `runs` opens and ends runs, `run_files` keeps their files, `tracker` records metrics.

`spool` takes metrics from a training, which does not wait for them to be recorded.
"""

from acutance.registry.address import client_of, connect, tracking_uri
from acutance.registry.flatten import flatten
from acutance.registry.provenance import git_commit, user
from acutance.registry.run_files import log_file, log_json, log_table, read_json
from acutance.registry.runs import (
    FINGERPRINT,
    GIT_COMMIT,
    KIND,
    PARENT,
    Status,
    finish,
    finish_children,
    linked,
    pipeline_run,
    stage_run,
)
from acutance.registry.spool import Spool, record_kept
from acutance.registry.stage_run import StageRun
from acutance.registry.tracker import NON_FINITE, StageTracker, finite, last_steps

__all__ = [
    "FINGERPRINT",
    "GIT_COMMIT",
    "KIND",
    "NON_FINITE",
    "PARENT",
    "Spool",
    "StageRun",
    "StageTracker",
    "Status",
    "client_of",
    "connect",
    "finish",
    "finish_children",
    "finite",
    "flatten",
    "git_commit",
    "last_steps",
    "linked",
    "log_file",
    "log_json",
    "log_table",
    "pipeline_run",
    "read_json",
    "record_kept",
    "stage_run",
    "tracking_uri",
    "user",
]
