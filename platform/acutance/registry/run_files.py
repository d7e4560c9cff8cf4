"""Files of a run: JSON, tables that MLflow shows, and any others."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from acutance.registry.address import waited_for

TABLES = "mlflow.loggedArtifacts"


@waited_for
def log_json(client: MlflowClient, run_id: str, name: str, content: Any) -> None:
    """Keep a value as the file `name` of a run; a file of that name is replaced."""
    client.log_text(run_id, json.dumps(content, indent=2, sort_keys=True, default=str) + "\n", name)


@waited_for
def read_json(client: MlflowClient, run_id: str, name: str) -> Any:
    """Return the value that `log_json` wrote.

    Raises:
        MlflowException: when the run has no such file.
    """
    with tempfile.TemporaryDirectory() as folder:
        return json.loads(Path(client.download_artifacts(run_id, name, folder)).read_text(encoding="utf-8"))


@waited_for
def log_file(client: MlflowClient, run_id: str, path: str | Path, folder: str | None = None) -> None:
    """Keep a local file with a run, in a folder of the run's files."""
    client.log_artifact(run_id, str(path), folder)


@waited_for
def log_table(client: MlflowClient, run_id: str, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Keep rows as a table that MLflow's pages show; unlike MLflow's own, a second call replaces the first.

    Args:
        name: of the file, ending in `.json`.
        rows: mappings of column to value; a value that is missing, NaN or infinite is left empty.
    """
    rows = list(rows)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    data = [[_cell(row.get(column)) for column in columns] for row in rows]
    client.log_text(run_id, json.dumps({"columns": columns, "data": data}), name)
    tables = json.loads(client.get_run(run_id).data.tags.get(TABLES, "[]"))
    entry = {"path": name, "type": "table"}
    if entry not in tables:
        client.set_tag(run_id, TABLES, json.dumps([*tables, entry]))


def _cell(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
