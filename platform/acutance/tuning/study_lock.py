"""One driver at a time: where a campaign's lease lies, in the study itself, so that it holds for whoever opens that."""

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

from acutance.storage.lease import Lease, Sign, alone
from acutance.storage.lock import locked

DRIVER = "driver"


def alone_on(study: Study) -> AbstractContextManager[Lease]:
    """Be the driver of a study for the length of a `with` block; errors as of `acutance.lease.alone`."""
    return alone(InStudy(study), "this campaign", study.study_name)


class InStudy:
    """An attribute of a study. Optuna sets one whatever was there, so a database is asked directly."""

    def __init__(self, study: Study) -> None:
        self.study = study
        kept: Any = study._storage
        self.storage: Any = kept._backend if isinstance(kept, _CachedStorage) else kept

    def read(self) -> Sign | None:
        """Return the sign."""
        found: Sign | None = self.study.user_attrs.get(DRIVER)
        return found

    def swap(self, old: Sign | None, new: Sign | None) -> bool:
        """Exchange the sign, in one."""
        if isinstance(self.storage, RDBStorage):
            return _swapped(self.storage.engine, self.study._study_id, old, new)
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


def _swapped(engine: Engine, study: int, old: Sign | None, new: Sign | None) -> bool:
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
