"""One driver at a time: a campaign's lease is an attribute of its study, so all who open the study see it."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from optuna import Study
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb.models import StudyUserAttributeModel
from sqlalchemy import Engine, insert, update
from sqlalchemy.exc import IntegrityError

from acutance.storage.lease import Lease, LeaseRecord, exclusive
from acutance.storage.lock import locked

DRIVER = "driver"


def exclusive_driver(study: Study) -> AbstractContextManager[Lease]:
    """Be the only driver of a study for the length of a `with` block; errors as of `storage.lease.exclusive`."""
    return exclusive(InStudy(study), "this campaign", study.study_name)


class InStudy:
    """An attribute of a study. Optuna has no compare and swap of one, so a database is written directly."""

    def __init__(self, study: Study) -> None:
        self.study = study
        kept: Any = study._storage
        self.storage: Any = kept._backend if isinstance(kept, _CachedStorage) else kept

    def read(self) -> LeaseRecord | None:
        """Return the record."""
        found: LeaseRecord | None = self.study.user_attrs.get(DRIVER)
        return found

    def compare_and_swap(self, old: LeaseRecord | None, new: LeaseRecord | None) -> bool:
        """Replace the record atomically."""
        if isinstance(self.storage, RDBStorage):
            return _compare_and_swap(self.storage.engine, self.study._study_id, old, new)
        with self._locked():
            if self.read() != old:
                return False
            self.study.set_user_attr(DRIVER, new)
            return True

    def _locked(self) -> AbstractContextManager[None]:
        if not isinstance(self.storage, JournalStorage):
            return nullcontext()  # in this process's memory
        journal: Any = self.storage._backend
        return locked(Path(f"{journal._file_path}.lease"))


def _compare_and_swap(engine: Engine, study: int, old: LeaseRecord | None, new: LeaseRecord | None) -> bool:
    rows = StudyUserAttributeModel
    here = (rows.study_id == study) & (rows.key == DRIVER)
    with engine.begin() as connection:
        exchange = update(rows).where(here, rows.value_json == json.dumps(old)).values(value_json=json.dumps(new))
        if connection.execute(exchange).rowcount:
            return True
    if old is not None:
        return False
    try:
        with engine.begin() as connection:
            connection.execute(insert(rows).values(study_id=study, key=DRIVER, value_json=json.dumps(new)))
    except IntegrityError:  # another process was faster
        return False
    return True
