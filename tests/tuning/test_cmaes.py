"""CMA-ES proposes what Optuna's own would, and neither writes nor reads a pickle."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import optuna
import pytest

from acutance.tuning.cmaes import CmaEs

OPTIMISER = "cma:optimizer"


def sphere(trial: optuna.Trial) -> float:
    return sum((trial.suggest_float(name, -5, 5) - 2) ** 2 for name in "ab")


def played(sampler: optuna.samplers.BaseSampler, trials: int, direction: str = "minimize") -> optuna.Study:
    study = optuna.create_study(sampler=sampler, direction=direction)
    sign = 1 if direction == "minimize" else -1
    study.optimize(lambda trial: sign * sphere(trial), n_trials=trials)
    return study


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_it_finds_the_minimum_without_a_pickle_in_the_study(direction: str) -> None:
    study = played(CmaEs(seed=0), 120, direction)
    assert abs(study.best_value) < 0.05
    assert not [key for trial in study.trials for key in trial.system_attrs if key.startswith(OPTIMISER)]


def test_its_state_is_the_one_that_optuna_would_keep() -> None:
    theirs = optuna.samplers.CmaEsSampler(seed=0)
    study = played(theirs, 60)
    kept = theirs._restore_optimizer(study.trials)
    space = optuna._transform._SearchSpaceTransform(study.trials[-1].distributions, transform_0_1=True)
    ours = CmaEs(seed=1)
    ours._restore_optimizer(study.trials[: study.trials[-1].number])
    found = ours._init_optimizer(space, study.direction)
    assert found.generation == kept.generation > 5
    for name in ("mean", "_C", "_sigma"):
        assert np.allclose(getattr(found, name), getattr(kept, name), rtol=1e-9), name


class Payload:
    """What would make a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


def test_a_pickle_that_somebody_put_into_the_study_is_not_read(tmp_path: Path) -> None:
    study = played(optuna.samplers.RandomSampler(seed=0), 20)
    study.sampler = CmaEs(seed=0)
    for trial in study.trials:
        content = pickle.dumps(Payload(tmp_path / "run")).hex()
        study.sampler._get_trials(study)[trial.number].system_attrs[f"{OPTIMISER}:0"] = content
    study.optimize(sphere, n_trials=4)
    assert len(study.trials) == 24
    assert not (tmp_path / "run").exists()
