"""Where runs and models are recorded: an MLflow server, or by default an SQLite file beside the outputs.

Everything goes through an `MlflowClient` that is handed around. MLflow's module-level state (active run,
tracking URI) is never touched, so threads and processes cannot disturb one another.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from acutance.errors import RefusedError, UnreachableError, UserError
from acutance.redact import redacted
from acutance.registry.database import bring_up_to_date
from acutance.registry.moved import follow
from acutance.silence import stay_silent
from acutance.storage import is_remote
from acutance.storage.disk import complaint_of, complaint_of_database
from acutance.storage.patience import patiently

stay_silent()  # importing MLflow has just set its loggers to INFO

BUSY_SECONDS = 20
"""How long a write waits for another process to let go of the SQLite file (MLflow itself waits as long)."""

CHECK = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "8",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}
"""A server answers the first request within seconds or not at all; MLflow's own patience is minutes."""

FEW_RETRIES = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
"""Where we wait ourselves, and say so, MLflow need not do it in silence."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

REFUSALS = {"UNAUTHENTICATED", "PERMISSION_DENIED"}


def tracking_uri(storage: str) -> str:
    """Return the address of the tracking store: `MLFLOW_TRACKING_URI`, else `<storage>/mlflow.db`.

    Raises:
        UserError: when the address cannot be used, or there is none and the storage is remote.
    """
    given = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if given:
        return _absolute(given)
    if is_remote(storage):
        raise UserError(
            "runs and models need a tracking server when the storage is remote",
            where=f"storage {storage}",
            fix="set MLFLOW_TRACKING_URI, for example to http://mlflow.example:5000",
        )
    return _sqlite(Path(storage).absolute() / "mlflow.db", storage)


def _absolute(uri: str) -> str:
    """A relative SQLite path would mean another file in each process: workers have folders of their own."""
    if uri.startswith("sqlite:///"):
        path = uri.removeprefix("sqlite:///")
        return _sqlite(Path(path).absolute(), uri)
    if "://" not in uri or uri.startswith("file:"):
        raise UserError(
            "MLflow no longer records runs in a plain folder",
            where=f"MLFLOW_TRACKING_URI {uri}",
            fix="give a server (http://host:5000) or a database file (sqlite:////folder/mlflow.db)",
        )
    return uri


def _sqlite(path: Path, where: str) -> str:
    if set("%?#") & set(str(path)):
        raise UserError(
            "an SQLite tracking file cannot lie in a folder with %, ? or # in its name",
            where=where,
            fix="choose another storage folder, or set MLFLOW_TRACKING_URI",
        )
    return f"sqlite:///{path}"


def sqlite_path(uri: str) -> Path | None:
    """Return the database file of an SQLite address, None for any other."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def connect(storage: str) -> MlflowClient:
    """Return a client of the tracking store, made sure within seconds that it answers.

    A missing SQLite file is created, with the folder around it.

    Raises:
        UserError: see `tracking_uri`.
        UnreachableError: when nothing answers there, or it is no tracking store.
        RefusedError: when it wants a user, a password or a token.
    """
    uri = tracking_uri(storage)
    path = sqlite_path(uri)
    if path:
        _open(path)
    client = client_of(uri)

    def look() -> None:
        with answers(uri), _environment(CHECK):
            client.search_experiments(max_results=1)

    patiently("the tracking server", uri, look)
    return client


def client_of(uri: str) -> MlflowClient:
    """Return a client of an address that `tracking_uri` gave, without asking whether it answers."""
    try:
        return MlflowClient(uri, os.environ.get("MLFLOW_REGISTRY_URI") or uri)
    except (ImportError, MlflowException) as error:
        raise UnreachableError(
            f"this tracking store cannot be used: {str(error).splitlines()[0][:200]}",
            where=uri,
            fix="check MLFLOW_TRACKING_URI",
        ) from error


@contextmanager
def answers(uri: str) -> Iterator[None]:
    """Turn the failures of a store that is away, or that refuses, into an error that names it.

    Raises:
        UnreachableError: when it does not answer.
        RefusedError: when it takes no request from us, or its disk cannot be written to.
        FullError: when its disk is full.
    """
    try:
        yield
    except (OSError, MlflowException) as error:  # requests' are among the first
        if refused := _refused_by_disk(error, uri):
            raise refused from error
        what = _complaint(error)
        if what is None:
            raise
        if "refuses" in what:
            fix = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            raise RefusedError(what, where=uri, fix=fix) from error
        fix = "check that the server runs and that MLFLOW_TRACKING_URI names it"
        raise UnreachableError(what, where=uri, fix=fix) from error


def _refused_by_disk(error: Exception, uri: str) -> UserError | None:
    """Return the error for a database, or a folder of models' files, that cannot be written."""
    if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
        return complaint_of(error)
    path = sqlite_path(uri)
    return complaint_of_database(error, path.parent) if path else None


def _complaint(error: Exception) -> str | None:
    """Return a message about the store; None when the error is about the request."""
    text, status = redacted(str(error)), _status(error)
    if status in {401, 403}:
        return "the tracking server refuses the request"
    if status == 404 or "not in a valid JSON format" in text:
        return "what answers at this address is no MLflow server"
    if isinstance(error, requests.RequestException) or isinstance(error.__context__, requests.RequestException):
        causes = re.findall(r"Errno -?\d+\] ([\w ]+)\W*$", text)
        return f"the tracking server does not answer{': ' + causes[-1].lower() if causes else ''}"
    if getattr(error, "error_code", None) == "TEMPORARILY_UNAVAILABLE":
        return f"the tracking store does not answer: {text.splitlines()[0][:200]}"
    return None


def _status(error: Exception) -> int | None:
    """Return the HTTP status of an answer that is not MLflow's own JSON, or that refuses."""
    if getattr(error, "error_code", None) in REFUSALS:
        return 403
    found = re.search(r"failed with error code (\d+)", str(error))
    return int(found[1]) if found else None


def waited_for(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Have a function whose first argument is a client wait for a store that has answered before and is away now.

    What it does it may do twice.
    """

    @wraps(function)
    def patient(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        client: Any = arguments[0]

        def attempt() -> Result:
            with answers(client.tracking_uri), few_retries():
                return function(*arguments, **named)

        return patiently("the tracking server", client.tracking_uri, attempt)

    return patient


def few_retries() -> AbstractContextManager[None]:
    """Have MLflow try only twice: our own code waits, and says so on the screen."""
    return _environment(FEW_RETRIES)


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """MLflow reads its patience from the environment; what the user has set there stays."""
    added = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _open(path: Path) -> None:
    """Try the SQLite file first, and have its tables made: MLflow retries for minutes where it will never open."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.rollback()
        bring_up_to_date(path)
        follow(path)
    except (OSError, sqlite3.Error) as error:
        if refused := _refused_by_disk(error, f"sqlite:///{path}"):
            raise refused from error
        raise UnreachableError(
            f"the tracking database cannot be opened for writing: {error}",
            where=str(path),
            fix="check the folder's permissions and free space, or set MLFLOW_TRACKING_URI",
        ) from error
