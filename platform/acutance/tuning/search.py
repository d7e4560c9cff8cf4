"""Runs the trials of a campaign by Ray Tune; `AskTell` proposes them and decides which are stopped."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ray import tune
from ray.tune.execution.placement_groups import PlacementGroupFactory
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from acutance import errors, storage
from acutance.cluster.hardware import gpus_for
from acutance.config.search_space import Pbt, Search
from acutance.config.search_space.settings import Resources
from acutance.console import say
from acutance.errors import AcutanceError, LostError, TrainingError
from acutance.storage.lease import Lease
from acutance.storage.scratch import working_folder
from acutance.training.messages import open_messages, shown
from acutance.training.process_group import is_node_loss, last_line
from acutance.tuning.ask_tell import AskTell, Assignment
from acutance.tuning.study import TrialRecord
from acutance.tuning.trial import CAMPAIGN_ERRORS, StageTrial, TrialSetup, upstream_of

RETRIES = 3
"""How many times in a row a trial is started again without progress, after a failure or the loss of a process."""

OnReport = Callable[[int, int, dict[str, float]], None]
"""Called with a trial's number, its step and its newest losses."""

OnEnd = Callable[[TrialRecord, str], None]
"""Called with a trial that has ended, and the id of its MLflow run ('' without one)."""


@dataclass(frozen=True)
class Listener:
    """Functions that are called with trials."""

    on_report: OnReport
    on_end: OnEnd


def search(ask_tell: AskTell, space: Search, setup: TrialSetup, listener: Listener, lease: Lease | None = None) -> None:
    """Run a campaign's trials until `ask_tell` proposes no more; the caller has connected to Ray.

    Args:
        lease: of the study, to which nothing is written once another process holds it.

    Raises:
        FullError, RefusedError: when a disk or a store does not take what trials write.
        UnreachableError: when a store or server that trials need did not answer for longer than `patience.limit`.
        LostError: when nodes were lost again and again.
        TrainingError: when Ray gave up.
    """
    messages = open_messages()
    setup = replace(setup, messages=messages)
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # its own CSV, JSON and TensorBoard files
    campaign = space.campaign
    coordinator = _Coordinator(ask_tell, setup, listener, lease)
    bundles = PlacementGroupFactory([setup.resources] * campaign.resources.workers)
    # Ray's own files are of no use to a restart: the study and the stages' checkpoints are.
    with working_folder("tune") as scratch, contextlib.redirect_stdout(None):
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(StageTrial, setup=setup), bundles),
            tune_config=tune.TuneConfig(
                search_alg=_Searcher(coordinator),
                scheduler=_Scheduler(coordinator),
                num_samples=-1,
                # As many may also wait for their resources, so that all the nodes they need are started at once.
                max_concurrent_trials=campaign.concurrency,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name="trials",
                storage_path=str(scratch),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=RETRIES),
            ),
        )
        try:
            with shown(messages), _same_interrupt_handler():
                tuner.fit()
        except AcutanceError:  # of the database of studies, say
            raise
        except Exception as error:
            raise TrainingError(f"the search stopped: {last_line(error)}", fix="go on with --resume") from error
    if coordinator.interruption is not None:
        raise coordinator.interruption


@contextlib.contextmanager
def _same_interrupt_handler() -> Iterator[None]:
    """Put the handler of Ctrl-C back: Ray Tune leaves its own one behind, which swallows the next Ctrl-C."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():  # in others Ray Tune sets none
            signal.signal(signal.SIGINT, before)


class _Coordinator:
    """Connects Ray Tune's searcher and scheduler with `AskTell`; maps Ray's trials to numbers."""

    def __init__(self, ask_tell: AskTell, setup: TrialSetup, listener: Listener, lease: Lease | None = None) -> None:
        self.ask_tell, self.setup, self.listener, self.lease = ask_tell, setup, listener, lease
        self.numbers: dict[str, int] = {}
        self.runs: dict[int, str] = {}
        self.checkpoints: dict[int, list[str]] = {}
        self.causes: dict[int, BaseException] = {}
        self.claims: dict[int, set[str]] = {}
        self.postponed: Assignment | None = None
        self.steps: dict[int, int] = {}
        self.worker_losses: dict[int, int] = {}
        self.interruption: AcutanceError | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Ray keeps copies of the results; they are never used."""
        return {}

    def propose(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the config of the next trial; None to be asked again; FINISHED after the last one."""
        if self.interruption is not None or self._is_taken_over():
            return Searcher.FINISHED
        assignment = self.postponed or self.ask_tell.ask()
        if assignment == "done":
            return Searcher.FINISHED
        if assignment == "wait":
            return None
        assert isinstance(assignment, Assignment)
        try:
            needed = upstream_of(self.setup, assignment)
        except CAMPAIGN_ERRORS as error:
            self._interrupt(assignment.number, error)
            return Searcher.FINISHED
        if any(needed & claimed for claimed in self.claims.values()):
            self.postponed = assignment  # another trial is training what this one starts from
            return None
        self.postponed, self.claims[assignment.number] = None, needed
        self.numbers[trial_id] = assignment.number
        return {"assignment": assignment.to_json()}

    def on_result(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Take note of a result; return whether the trial goes on."""
        number = self.numbers[trial_id]
        if self._is_taken_over() or number not in self.ask_tell.live:
            return False
        if self.ask_tell.time_is_up():
            del self.ask_tell.live[number]  # stays interrupted in the study, for a campaign with more hours
            return False
        report = json.loads(result["report"])
        if "failed" in report:
            self._end(number, self.ask_tell.fail(number, report["failed"]))
            return False
        if "stop" in report:
            kind, what, where, fix = report["stop"]
            fix = "; then ".join(filter(None, [fix, "go on with --resume"]))
            self._interrupt(number, getattr(errors, kind)(what, where=where, fix=fix))
            return False
        if "lost" in report:
            return self._on_lost_worker(number, report["lost"])
        self._note_progress(number, report["step"])
        self.claims.pop(number, None)
        self.runs[number], self.checkpoints[number] = report["run"], report["checkpoints"]
        self.ask_tell.set_attributes(number, model=report["model"])
        self.listener.on_report(number, report["step"], report["losses"])
        if report["scores"]:
            reason = self.ask_tell.report(number, report["step"], report["scores"], report["spread"])
            if reason is not None:
                self._end(number, self.ask_tell.end(number, reason))
                return False
        return True

    def made_progress(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return whether a result is beyond a trial's earlier ones; called before `on_result`."""
        return bool(json.loads(result["report"]).get("step", -1) > self.steps.get(self.numbers[trial_id], -1))

    def on_failure(self, trial_id: str, error: BaseException | None) -> None:
        """Take note of why a trial failed; Ray starts it again, or gives it up."""
        if error is not None and trial_id in self.numbers:
            self.causes[self.numbers[trial_id]] = error

    def on_complete(self, trial_id: str, error: bool) -> None:
        """End a trial that trained to its end, or that Ray gave up."""
        number = self.numbers.pop(trial_id, None)
        if self._is_taken_over() or number not in self.ask_tell.live:
            return
        if not error:
            self._end(number, self.ask_tell.end(number))
            return
        cause = self.causes.get(number)
        what = f"it failed {RETRIES + 1} times in a row without coming further" + (
            f": {last_line(cause)}" if cause else ""
        )
        if cause is not None and is_node_loss(cause):
            self._interrupt(number, LostError(f"trial {number}: {what}", fix="go on with --resume"))
        else:
            self._end(number, self.ask_tell.fail(number, what))

    def _is_taken_over(self) -> bool:
        """Return whether another process goes on with the study: to its trials nothing more is done here."""
        return self.lease is not None and not self.lease.held()

    def _on_lost_worker(self, number: int, what: str) -> bool:
        """Let a trial that lost a worker go on from its last checkpoint, unless that leads nowhere."""
        self.worker_losses[number] = self.worker_losses.get(number, 0) + 1
        if self.worker_losses[number] <= RETRIES:
            say(f"trial {number} goes on from its last checkpoint: {what.splitlines()[0]}")
            return True
        self._interrupt(number, LostError(f"trial {number}: {what.splitlines()[0]}", fix="go on with --resume"))
        return False

    def _note_progress(self, number: int, step: int) -> None:
        if step > self.steps.get(number, -1):
            self.steps[number] = step
            self.worker_losses.pop(number, None)

    def _interrupt(self, number: int, error: AcutanceError) -> None:
        """Leave a trial as it is in the study, for a campaign that is resumed, and begin no others."""
        del self.ask_tell.live[number]
        self.claims.pop(number, None)
        self.interruption = self.interruption or error

    def _end(self, number: int, trial: TrialRecord) -> None:
        self.claims.pop(number, None)
        checkpoints = self.checkpoints.pop(number, [])
        if not isinstance(self.ask_tell.campaign.scheduler, Pbt):  # there others go on from them
            self._delete_checkpoints(checkpoints)
        self.listener.on_end(trial, self.runs.pop(number, ""))

    def _delete_checkpoints(self, checkpoints: list[str]) -> None:
        """Delete a trial's checkpoints: with their optimisers they are several times as large as its model."""
        try:
            for folder in checkpoints:
                storage.delete(folder)
        except (AcutanceError, OSError) as error:
            say(f"a trial's checkpoints could not be deleted: {error}")


class _Searcher(Searcher):
    """Ray Tune's searcher."""

    def __init__(self, coordinator: _Coordinator) -> None:
        super().__init__()
        self.coordinator = coordinator

    def suggest(self, trial_id: str) -> Any:
        return self.coordinator.propose(trial_id)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.coordinator.on_complete(trial_id, error)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the study is the state."""


class _Scheduler(FIFOScheduler):
    """Ray Tune's scheduler."""

    def __init__(self, coordinator: _Coordinator) -> None:
        super().__init__()
        self.coordinator = coordinator

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self.coordinator.on_failure(trial.trial_id, trial.get_pickled_error())

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if self.coordinator.made_progress(trial.trial_id, result):
            trial.max_failures = trial.num_failures + RETRIES  # those before it led somewhere
        goes_on = self.coordinator.on_result(trial.trial_id, result)
        return TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP


def worker_resources(wanted: Resources) -> dict[str, float]:
    """Return what Ray reserves for each worker of a trial; errors as of `gpus_for`."""
    gpus = gpus_for(wanted.gpus, workers=wanted.workers, cpus=wanted.cpus, setting="resources.gpus", what="a trial")
    return {"CPU": wanted.cpus, **({"GPU": gpus} if gpus else {})}
