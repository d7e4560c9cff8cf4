"""The database of studies; calls are repeated while it does not answer for some minutes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from acutance.errors import UnreachableError, UserError
from acutance.redact import redacted
from acutance.storage.disk import complaint_of_database
from acutance.storage.patience import patiently

OTHERS = re.compile(r"no such (table|column)|syntax error")
"""What an OperationalError says of SQLite where the database is there."""

BESIDES = {"_create_new_trial", "_set_trial_param", "_get_best_trial_id", "_get_trials"}
"""What Optuna calls besides a storage's public methods."""


class WaitingStorage(RDBStorage):
    """Optuna's storage in a database, whose methods wait for it as long as patience lasts.

    Of a trial that was begun as the database went away there may be a second one, which stays RUNNING until the
    campaign is resumed.

    Raises:
        UnreachableError: when it stays away, or never answered.
        FullError, RefusedError: when its disk is full, or it is read-only.
    """


def _waited_for(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def patient(self: WaitingStorage, *arguments: Any, **named: Any) -> Any:
        tried = False

        def attempt() -> Any:
            nonlocal tried
            again, tried = tried, True
            try:
                return method(self, *arguments, **named)
            except UpdateFinishedTrialError:
                if again:  # it was carried out, and the answer was lost on its way
                    return True
                raise
            except (SQLAlchemyError, StorageInternalError) as error:
                complaint = complaint_about(self.url, error)
                if complaint is None:
                    raise
                raise complaint from error

        return patiently("the database of studies", self.url, attempt)

    return patient


def complaint_about(url: str, error: BaseException) -> UserError | None:
    """Return the error for a database that does not answer or cannot be written; None for other failures."""
    for cause in _causes(error):
        refused = complaint_of_database(cause, Path(url.removeprefix("sqlite:///")).parent) if "sqlite" in url else None
        if refused:
            return refused
        if isinstance(cause, OperationalError | InterfaceError) and not OTHERS.search(str(cause)):
            what = redacted(str(cause.orig).strip().splitlines()[0])
            return UnreachableError(f"the database of studies does not answer: {what}", where=url, fix="start it")
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


for _name in BESIDES | {name for name in vars(BaseStorage) if not name.startswith("_")}:
    if _name in vars(RDBStorage):
        setattr(WaitingStorage, _name, _waited_for(getattr(RDBStorage, _name)))
