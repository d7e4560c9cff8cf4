"""The study: everything proposed, measured and decided, in an Optuna storage that outlives every process.

Optuna Dashboard opens it. Of several objectives Optuna keeps final values alone, so the scores on the way are
attributes of the trial, `scores.STEP`; of a single one they are intermediate values as well.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from acutance import storage
from acutance.config.search_space import Goal
from acutance.errors import ConfigError, UnreachableError, nearest
from acutance.storage.disk import complaint_of_database, written_to
from acutance.tuning.database import WaitingStorage

ADDRESS_VARIABLE = "ACUTANCE_STUDIES"
SCORES = "scores."
STATES = {
    TrialState.RUNNING: "running",
    TrialState.WAITING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "stopped",
    TrialState.FAIL: "failed",
}


@dataclass(frozen=True)
class TrialRecord:
    """One trial as the study knows it.

    Attributes:
        state: running (or interrupted), complete, stopped (by the scheduler) or failed.
        values: dotted path inside the pipeline -> value.
        row, seed: of a table, which row with which seed.
        history: step -> objective -> value.
        spread: objective -> standard deviation over the seeds of this trial, where it has several.
        model: the model file of its first seed, by its path below the storage root.
        reason: why it was stopped or failed.
        parent: of population based training, the trial whose weights it went on from.
        seconds: it has taken, None while it runs.
    """

    number: int
    state: str
    values: dict[str, Any]
    row: str = ""
    seed: int | None = None
    history: dict[int, dict[str, float]] = field(default_factory=dict)
    spread: dict[str, float] = field(default_factory=dict)
    model: str = ""
    reason: str = ""
    parent: int | None = None
    seconds: float | None = None

    @property
    def step(self) -> int:
        """The last step with a measurement; 0 without one."""
        return max(self.history, default=0)

    @property
    def scores(self) -> dict[str, float]:
        """Objective -> value at `step`."""
        return self.history.get(self.step, {})


def study_address(root: str) -> str:
    """Return the address of the studies: ACUTANCE_STUDIES, else `studies.db` in a local storage root.

    Raises:
        ConfigError: when the root is remote and the variable is not set: a database cannot lie in an object store.
    """
    address = os.environ.get(ADDRESS_VARIABLE)
    if address:
        return address
    if storage.is_remote(root):
        raise ConfigError(
            "a study needs a database, and the storage has none",
            where=root,
            fix=f"set {ADDRESS_VARIABLE} to one, such as postgresql+psycopg2://HOST/NAME or sqlite:////shared/studies.db",
        )
    with written_to(root):
        Path(root).mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{Path(root).absolute() / 'studies.db'}"


def open_storage(address: str) -> BaseStorage:
    """Open an Optuna storage: a database by its URL, or a journal by the path of a file ending in .journal.

    Raises:
        UnreachableError: when the database does not answer; its address is not printed, it may hold a password.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    if address.endswith(".journal"):
        return JournalStorage(JournalFileBackend(address))
    try:
        waits = {"connect_args": {"timeout": 60}} if address.startswith("sqlite") else {"pool_pre_ping": True}
        return WaitingStorage(address, engine_kwargs=waits)
    except (SQLAlchemyError, ImportError) as error:
        if refused := complaint_of_database(error, Path(address.removeprefix("sqlite:///")).parent):
            raise refused from None
        raise UnreachableError(
            f"the database of studies does not open: {str(error).strip().splitlines()[0]}",
            where=f"{ADDRESS_VARIABLE} {address}",
            fix="start it, or unset the variable to keep studies below the storage root",
        ) from None


def open_study(storage: BaseStorage, name: str, goals: Sequence[Goal]) -> optuna.Study:
    """Return the study of this name, made where it is not there."""
    if name in optuna.study.get_all_study_names(storage):  # a study can be read from a database without write access
        return optuna.load_study(study_name=name, storage=storage)
    study = optuna.create_study(
        storage=storage, study_name=name, directions=[goal.goal for goal in goals], load_if_exists=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if study.metric_names is None:  # what the dashboard calls the objectives
            study.set_metric_names([goal.name for goal in goals])
    return study


def find_trial(address: str, name: str) -> TrialRecord:
    """Return the trial that STUDY/NUMBER names.

    Raises:
        ConfigError: naming the studies, or the numbers, that there are.
    """
    storage = open_storage(address)
    study, _, number = name.rpartition("/")
    names = optuna.study.get_all_study_names(storage)
    if study not in names:
        raise ConfigError(f"there is no study {study!r}{nearest(study, names)}", where=name, fix="write STUDY/NUMBER")
    found = trial_records(optuna.load_study(study_name=study, storage=storage))
    if not number.isdigit() or int(number) >= len(found):
        raise ConfigError(f"the study has no trial {number!r}", where=name, fix=f"it has 0 to {len(found) - 1}")
    return found[int(number)]


def trial_records(study: optuna.Study) -> list[TrialRecord]:
    """Return the trials in the order in which they were proposed."""
    return [trial_record(trial) for trial in study.get_trials(deepcopy=False)]


def trial_record(trial: FrozenTrial) -> TrialRecord:
    """Return a trial as the study knows it."""
    attributes = trial.user_attrs
    history = {int(key.removeprefix(SCORES)): scores for key, scores in attributes.items() if key.startswith(SCORES)}
    return TrialRecord(
        number=trial.number,
        state=STATES[trial.state],
        values=attributes.get("values", {}),
        row=attributes.get("row", ""),
        seed=attributes.get("seed"),
        history={step: {n: math.nan if v is None else v for n, v in history[step].items()} for step in sorted(history)},
        spread=attributes.get("spread", {}),
        model=attributes.get("model", ""),
        reason=attributes.get("reason", ""),
        parent=attributes.get("parent"),
        seconds=trial.duration.total_seconds() if trial.duration else None,
    )
