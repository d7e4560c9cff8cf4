"""Arguments and options that several commands have."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from acutance.parts.sources import CONSENT

PipelineFile = Annotated[
    str, typer.Argument(metavar="PIPELINE", help="a pipeline file, or the name of a packaged one: quickstart")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="overrides by dotted path, e.g. stages.gan.steps=100"),
]
Address = Annotated[
    str | None, typer.Option(help="address of a Ray cluster; default: RAY_ADDRESS, else Ray starts on this machine")
]
Storage = Annotated[
    str | None,
    typer.Option(help="folder or s3:// prefix of all outputs; default: ACUTANCE_STORAGE, else ./outputs"),
]
Profile = Annotated[str | None, typer.Option(help="a named set of overrides in the file, e.g. smoke")]
StageName = Annotated[str | None, typer.Option("--stage", help="train only this stage and the stages that it needs")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="print the plan and do nothing")]
Settings = Annotated[bool, typer.Option("--settings", help="print the plan and every resolved setting, and do nothing")]
Json = Annotated[bool, typer.Option("--json", help="print the result as JSON on standard output")]
ModelReference = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="models:/NAME@ALIAS, models:/NAME/VERSION, PIPELINE:STAGE[@best|@last|@step=N], or a file"
    ),
]


def _allow_code(given: bool) -> bool:
    """Note for this process and its workers that models may execute the code they carry."""
    if given:
        os.environ[CONSENT] = "1"
    return given


AllowCode = Annotated[
    bool,
    typer.Option(
        "--allow-code",
        callback=_allow_code,
        help=f"execute the code of its author that a model carries; or set {CONSENT} to that code's SHA-256",
    ),
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="the id that submit and list print")]
ModelName = Annotated[str, typer.Argument(metavar="NAME", help="a registered model")]


def require_file(pipeline: str, overrides: list[str] | None, profile: str | None) -> None:
    """Say what is wrong with a pipeline file before anything is imported that takes seconds."""
    from acutance.config import pipeline as pipelines
    from acutance.config.packaged import locate

    pipelines.require_file(locate(pipeline, "pipelines"), overrides or [], profile=profile)


def ray_at(address: str | None, root: str = "") -> Any:
    """Connect to Ray for a `with` block; Ray is imported only now.

    Args:
        root: the storage root, if the block writes to it. A folder that cannot be written is an error at once.
    """
    from acutance.cluster.connect import connect
    from acutance.storage.disk import require_writable

    if root and "://" not in root:
        require_writable(root)

    return connect(address)
