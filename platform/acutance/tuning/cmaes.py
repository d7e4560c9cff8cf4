"""CMA-ES without pickles: its state follows from the trials of its generations, which a study holds as plain data."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial


class CmaEs(optuna.samplers.CmaEsSampler):
    """Optuna's sampler (Hansen and Ostermeier 2001), whose state is computed anew from the trials for each proposal.

    Optuna keeps the state in the study as a pickle, so that whoever may write there could run code in the process that
    reads it. Here nothing of that is written or read.
    """

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> None:
        self._completed = completed_trials

    def _init_optimizer(self, trans: Any, direction: StudyDirection) -> Any:
        optimizer = super()._init_optimizer(trans, direction)
        sign, size = 1 if direction == StudyDirection.MINIMIZE else -1, optimizer.population_size
        while len(members := self._get_solution_trials(self._completed, optimizer.generation)) >= size:
            optimizer.tell([(trans.transform(one.params), sign * one.values[0]) for one in members[:size]])
        return optimizer
