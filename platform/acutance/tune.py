"""A campaign from end to end: what the trials share is made once, trials run, the front is drawn and recorded."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from acutance import campaign as campaigns
from acutance import storage
from acutance.campaign import Campaign
from acutance.console import progress
from acutance.data import Source
from acutance.fingerprint import fingerprint
from acutance.pipeline import Pipeline
from acutance.registry import tracking
from acutance.run import prepare_data, train_stages
from acutance.training.loop import Losses
from acutance.training.plan import StageJob
from acutance.tuning.report import pareto_front, pareto_picture
from acutance.tuning.search import TrialResult, search
from acutance.tuning.trial import TrialSetup
from acutance.work import Work, catalogue_for, plan, storage_root


@dataclass(frozen=True)
class CampaignWork:
    """A campaign with the pipeline that it searches."""

    file: Path
    campaign: Campaign
    base: Work

    def fingerprint(self) -> str:
        """Return the fingerprint of all that determines the campaign."""
        settings = self.campaign.model_dump(mode="json", by_alias=True, exclude={"concurrency", "pipeline"})
        return fingerprint({"campaign": settings, "stages": [job.fingerprint for job in self.base.jobs()]})


@dataclass(frozen=True)
class CampaignOutcome:
    """What a campaign came to; `front` holds the numbers of the trials on the Pareto front."""

    trials: list[TrialResult]
    front: list[int]
    picture: str
    run_id: str
    fresh: bool


@dataclass(frozen=True)
class OpenTrialRun:
    """Opens a trial's MLflow run in the trial's own process, below the campaign's."""

    uri: str
    parent: str

    def __call__(self, job: StageJob, values: dict[str, Any]) -> TrialTracker:
        client = tracking.client_of(self.uri)
        run = tracking.stage_run(client, self.parent, f"trial {job.fingerprint[:6]}", job.fingerprint, values)
        return TrialTracker(tracking.StageTracker(self.uri, run))


@dataclass(frozen=True)
class TrialTracker:
    """Where a trial's losses and scores go."""

    stage: tracking.StageTracker

    def metrics(self, rows: list[tuple[int, Losses]]) -> None:
        """Record (step, losses or scores) rows."""
        self.stage.metrics([(step, {_plain(name): value for name, value in row.items()}) for step, row in rows])


def _plain(name: str) -> str:
    """Metric names of MLflow know fewer characters than a data set given as a folder."""
    return "".join(c if c.isalnum() or c in "_-. /" else "_" for c in name)


def open_campaign(file: str, overrides: list[str], root: str | None) -> CampaignWork:
    """Read a search space and the pipeline it names.

    Raises:
        ConfigError: see `acutance.campaign.load`.
    """
    campaign, pipeline_file, base = campaigns.load(file, overrides)
    work = Work(pipeline_file, base, catalogue_for(str(pipeline_file)), storage_root(root))
    return CampaignWork(Path(file), campaign, work)


def plan_campaign(work: CampaignWork) -> dict[str, Any]:
    """Return what a campaign would do, without doing it and without data present."""
    settings = work.campaign.model_dump(mode="json", by_alias=True)
    return {**plan(work.base, work.campaign.stage), "config": {"campaign": settings}}


def finished(work: CampaignWork) -> CampaignOutcome | None:
    """Return what an earlier run of the very same campaign came to; None when it has not ended."""
    result = storage.join(_folder(work), "campaign.json")
    if not storage.exists(result):
        return None
    known = storage.read_json(result)
    trials = [TrialResult(**trial) for trial in known["trials"]]
    return CampaignOutcome(trials, known["front"], storage.join(_folder(work), "pareto.png"), known["run"], False)


def run_campaign(work: CampaignWork) -> CampaignOutcome:
    """Run a campaign; the caller has connected to Ray."""
    campaign, base = work.campaign, work.base
    tracking.connect(base.root)
    prepare_data(base)
    for stage in base.pipeline.upstream(campaign.stage):
        train_stages(base, stage)
    client = tracking.connect(base.root)
    run = tracking.pipeline_run(
        client, campaign.title, work.file.stem, work.fingerprint(), {"acutance.kind": "campaign"}
    )
    setup = TrialSetup(
        campaign=campaign.model_dump(mode="json", by_alias=True),
        pipeline=_settings(base.pipeline),
        dataset=base.dataset,
        root=base.root,
        pictures=_pictures(work),
        steps=base.pipeline.stages[campaign.stage].steps,
        open_tracker=OpenTrialRun(client.tracking_uri, run),
    )
    try:
        with progress("trials", campaign.trials) as update:
            ended: list[TrialResult] = []

            def on_trial(result: TrialResult) -> None:
                ended.append(result)
                update(len(ended), _line(result))

            trials = search(campaign, setup, f"{work.file.stem}-{work.fingerprint()}", on_trial=on_trial)
    except BaseException as error:
        tracking.finish_children(client, run)
        tracking.finish(client, run, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    return _recorded(work, client, run, trials)


def _recorded(work: CampaignWork, client: Any, run: str, trials: list[TrialResult]) -> CampaignOutcome:
    goals = work.campaign.objectives
    front = [result.number for result in pareto_front(trials, goals)]
    picture = storage.join(_folder(work), "pareto.png")
    storage.write_bytes(picture, pareto_picture(trials, goals, work.campaign.title))
    with tempfile.TemporaryDirectory() as scratch:
        local = Path(scratch) / "pareto.png"
        local.write_bytes(storage.read_bytes(picture))
        tracking.log_file(client, run, local)
    rows = [
        {"trial": t.number, **t.values, **t.scores, "step": t.step, "on the front": t.number in front} for t in trials
    ]
    tracking.log_table(client, run, "trials.json", rows)
    tracking.finish_children(client, run)
    tracking.finish(client, run)
    known = {"trials": [asdict(trial) for trial in trials], "front": front, "run": run}
    storage.write_json(storage.join(_folder(work), "campaign.json"), known)
    return CampaignOutcome(trials, front, picture, run, True)


def _folder(work: CampaignWork) -> str:
    return storage.join(work.base.root, "campaigns", f"{work.file.stem}-{work.fingerprint()}")


def _settings(pipeline: Pipeline) -> dict[str, Any]:
    return pipeline.model_dump(mode="json", by_alias=True)


def _pictures(work: CampaignWork) -> dict[str, list[Source]]:
    names = sorted({goal.on for goal in work.campaign.objectives})
    return {name: work.base.catalogue.find(name) for name in names}


def _line(result: TrialResult) -> str:
    scores = ", ".join(f"{name} {value:.3f}" for name, value in result.scores.items())
    return f"trial {result.number}: {scores}{' (stopped)' if result.stopped else ''}"
