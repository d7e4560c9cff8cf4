"""Ray Tune runs the trials; what to try and whom to stop, it asks the ledger."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ray import tune
from ray.tune.execution.placement_groups import PlacementGroupFactory
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from acutance.campaign import Search
from acutance.campaign.settings import Resources
from acutance.errors import TrainingError
from acutance.hardware import gpus_for
from acutance.tuning.ledger import Assignment, Ledger
from acutance.tuning.study import Attempt
from acutance.tuning.trial import StageTrial, TrialSetup, upstream_of

RETRIES = 3
"""How many times a trial starts again after its process died or failed."""

LOST = f"its process died or failed {RETRIES + 1} times"

OnReport = Callable[[int, int, dict[str, float]], None]
"""Called with a trial's number, its step and its newest losses."""

OnEnd = Callable[[Attempt, str], None]
"""Called with a trial that has ended, and the id of its MLflow run ('' where there is none)."""


@dataclass(frozen=True)
class Listener:
    """Who hears of trials."""

    on_report: OnReport
    on_end: OnEnd


def search(ledger: Ledger, plan: Search, setup: TrialSetup, listener: Listener) -> None:
    """Run a campaign's trials until the ledger has no more; the caller has connected to Ray.

    Raises:
        TrainingError: when Ray gave up.
    """
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # its own CSV, JSON and TensorBoard files
    campaign = plan.campaign
    conductor = _Conductor(ledger, setup, listener)
    bundles = PlacementGroupFactory([setup.resources] * campaign.resources.workers)
    # Ray's own files are of no use to a restart: the study and the stages' checkpoints are.
    with tempfile.TemporaryDirectory(prefix="acutance-tune-") as scratch, contextlib.redirect_stdout(None):
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(StageTrial, setup=setup), bundles),
            tune_config=tune.TuneConfig(
                search_alg=_Proposer(conductor),
                scheduler=_Judge(conductor),
                num_samples=-1,
                # As many may also wait for their resources, so that all the nodes they need are started at once.
                max_concurrent_trials=campaign.concurrency,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name="trials",
                storage_path=scratch,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=RETRIES),
            ),
        )
        try:
            tuner.fit()
        except Exception as error:
            raise TrainingError(f"the search stopped: {error}", fix="go on with --resume") from error


class _Conductor:
    """Between Ray Tune's two extension points and the ledger; knows which of Ray's trials has which number."""

    def __init__(self, ledger: Ledger, setup: TrialSetup, listener: Listener) -> None:
        self.ledger, self.setup, self.listener = ledger, setup, listener
        self.numbers: dict[str, int] = {}
        self.runs: dict[int, str] = {}
        self.claims: dict[int, set[str]] = {}
        self.held: Assignment | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Ray keeps copies of what it is given; they are never used."""
        return {}

    def propose(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next trial's config, None to be asked again, FINISHED where there is nothing more."""
        assignment = self.held or self.ledger.ask()
        if assignment == "done":
            return Searcher.FINISHED
        if assignment == "wait":
            return None
        assert isinstance(assignment, Assignment)
        needed = upstream_of(self.setup, assignment)
        if any(needed & claimed for claimed in self.claims.values()):
            self.held = assignment  # another trial is training what this one starts from
            return None
        self.held, self.claims[assignment.number] = None, needed
        self.numbers[trial_id] = assignment.number
        return {"assignment": assignment.to_json()}

    def hear(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Take note of a result; return whether the trial goes on."""
        number = self.numbers[trial_id]
        if number not in self.ledger.live:
            return False
        if self.ledger.late():
            del self.ledger.live[number]  # stays interrupted in the study, for a campaign with more hours
            return False
        report = json.loads(result["report"])
        if "failed" in report:
            self._end(number, self.ledger.fail(number, report["failed"]))
            return False
        self.claims.pop(number, None)
        self.runs[number] = report["run"]
        self.ledger.note(number, model=report["model"])
        self.listener.on_report(number, report["step"], report["losses"])
        if report["scores"]:
            reason = self.ledger.report(number, report["step"], report["scores"], report["spread"])
            if reason is not None:
                self._end(number, self.ledger.end(number, reason))
                return False
        return True

    def complete(self, trial_id: str, error: bool) -> None:
        """End a trial that trained to its end, or that Ray gave up."""
        number = self.numbers.pop(trial_id, None)
        if number in self.ledger.live:
            self._end(number, self.ledger.fail(number, LOST) if error else self.ledger.end(number))

    def _end(self, number: int, attempt: Attempt) -> None:
        self.claims.pop(number, None)
        self.listener.on_end(attempt, self.runs.pop(number, ""))


class _Proposer(Searcher):
    """Ray Tune's searcher."""

    def __init__(self, conductor: _Conductor) -> None:
        super().__init__()
        self.conductor = conductor

    def suggest(self, trial_id: str) -> Any:
        return self.conductor.propose(trial_id)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.conductor.complete(trial_id, error)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the study is the state."""


class _Judge(FIFOScheduler):
    """Ray Tune's scheduler."""

    def __init__(self, conductor: _Conductor) -> None:
        super().__init__()
        self.conductor = conductor

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        goes_on = self.conductor.hear(trial.trial_id, result)
        return TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP


def worker_resources(wanted: Resources) -> dict[str, float]:
    """Return what Ray reserves for each worker of a trial; errors as of `gpus_for`."""
    gpus = gpus_for(wanted.gpus, workers=wanted.workers, cpus=wanted.cpus, setting="resources.gpus", what="a trial")
    return {"CPU": wanted.cpus, **({"GPU": gpus} if gpus else {})}
