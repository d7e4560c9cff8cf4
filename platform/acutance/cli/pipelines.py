"""Pipelines and campaigns: run, prepare, train, tune."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from acutance.cli.options import (
    Address,
    DryRun,
    Json,
    Overrides,
    PipelineFile,
    Profile,
    Settings,
    StageName,
    Storage,
    ray_at,
    require_file,
)
from acutance.cli.show import campaign_table, show, show_files, show_outcome, show_plan
from acutance.console import say
from acutance.errors import ConfigError

if TYPE_CHECKING:
    from acutance.commands.context import PipelineContext

app = typer.Typer()


@app.command()
def run(
    pipeline: PipelineFile,
    overrides: Overrides = None,
    profile: Profile = None,
    from_trial: Annotated[
        str | None, typer.Option(metavar="STUDY/NUMBER", help="use the hyperparameters of this trial of a campaign")
    ] = None,
    address: Address = None,
    storage: Storage = None,
    dry_run: DryRun = False,
    settings: Settings = False,
    as_json: Json = False,
) -> None:
    """Run a pipeline: prepare, train, evaluate and register. Finished work is not done again.

    \b
    acutance run quickstart                      # comes with the package
    acutance run pipelines/quickstart.yaml
    acutance run pipelines/quickstart.yaml stages.gan.objective.adversarial.weight=0.01
    acutance run pipelines/quickstart.yaml --profile smoke --dry-run
    acutance run pipelines/quickstart.yaml --from-trial quickstart-b1624847/3
    """
    require_file(pipeline, overrides, profile)
    from acutance.commands.context import open_pipeline, plan_summary

    context = open_pipeline(pipeline, overrides or [], profile, storage, from_trial)
    if dry_run or settings:
        show_plan(plan_summary(context), as_json, settings)
        return
    _run(context, address, as_json)


def _run(context: PipelineContext, address: str | None, as_json: bool) -> None:
    from acutance.commands import run as runs

    outcome = runs.finished(context)
    if outcome is None:
        runs.require_held_out(context)
        with ray_at(address, context.root):
            outcome = runs.run(context)
    else:
        say("everything is done already")
    show_outcome(context, outcome, as_json)


@app.command()
def prepare(
    pipeline: PipelineFile,
    overrides: Overrides = None,
    profile: Profile = None,
    address: Address = None,
    storage: Storage = None,
    dry_run: DryRun = False,
    settings: Settings = False,
    as_json: Json = False,
) -> None:
    """Turn pictures into Parquet shards of sub-images, LR pictures and detail layers.

    \b
    acutance prepare pipelines/quickstart.yaml
    acutance prepare pipelines/quickstart.yaml data.train=./my-pictures data.bad_pictures=stop
    """
    require_file(pipeline, overrides, profile)
    from acutance.commands.context import open_pipeline, plan_summary
    from acutance.commands.prepare import prepare_data
    from acutance.data.manifest import read_manifest
    from acutance.training.shards import shard_sets

    context = open_pipeline(pipeline, overrides or [], profile, storage)
    if dry_run or settings:
        show_plan(plan_summary(context), as_json, settings)
        return
    sets = shard_sets(context.plans())
    if all(shards.done() for shards in sets):
        say("everything is done already")
    else:
        with ray_at(address, context.root):
            prepare_data(context)
    manifests = {shards.folder: read_manifest(shards.folder) for shards in sets if shards.done()}
    result = {"shards": [{"folder": folder, **m.model_dump(mode="json")} for folder, m in manifests.items()]}
    lines = [
        f"{made.rows} rows of {len(made.sources)} pictures in {len(made.shards)} shards\n{folder}"
        for folder, made in manifests.items()
    ]
    show(result, as_json, "\n".join(lines))
    if waiting := len(sets) - len(manifests):
        say(f"{waiting} more shard sets are made later: a stage enlarges their pictures after its training")


@app.command()
def train(
    pipeline: PipelineFile,
    overrides: Overrides = None,
    stage: StageName = None,
    origin: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="CHECKPOINT",
            help="train --stage on from PIPELINE:STAGE@step=N (or @best, @last, a file), with the settings given here",
        ),
    ] = "",
    profile: Profile = None,
    address: Address = None,
    storage: Storage = None,
    dry_run: DryRun = False,
    settings: Settings = False,
    as_json: Json = False,
) -> None:
    """Train one stage or all, from the newest checkpoint on. Missing shards are made first.

    \b
    acutance train pipelines/quickstart.yaml
    acutance train pipelines/quickstart.yaml --stage fidelity stages.fidelity.steps=2000
    acutance train quickstart --stage gan --from quickstart:gan@step=200 stages.gan.optimiser.learning_rate=1e-4
    """
    require_file(pipeline, overrides, profile)
    if origin and not stage:
        raise ConfigError("a checkpoint is of one stage", where="--from", fix="name the stage: --stage NAME")
    from acutance.commands.context import open_pipeline, plan_summary

    context = open_pipeline(pipeline, overrides or [], profile, storage)
    if dry_run or settings:
        show_plan(plan_summary(context, stage), as_json, settings)
        return
    from acutance.commands.model_names import checkpoint_file
    from acutance.commands.run import require_held_out
    from acutance.commands.train import planned_stages, train_all
    from acutance.training.scores import require_accepted

    origin = checkpoint_file(origin, context.root) if origin else ""
    plans = planned_stages(context, stage, origin)
    if all(plan.done() for plan in plans):
        for plan in plans:
            require_accepted(plan)
        say("everything is done already")
    else:
        if stage is None:
            require_held_out(context, absent=True)
        with ray_at(address, context.root):
            plans = train_all(context, stage, origin)
    result = {"stages": [{"name": plan.name, "fingerprint": plan.fingerprint, "model": plan.model} for plan in plans]}
    if as_json:
        show(result, as_json, None)
    else:
        show_files(context, plans)


@app.command()
def tune(
    search_space: Annotated[
        str, typer.Argument(metavar="SEARCH_SPACE", help="a search-space file, or the name of a packaged one")
    ],
    overrides: Overrides = None,
    trials: Annotated[int | None, typer.Option(help="number of trials; default: as in the file")] = None,
    table: Annotated[
        str | None, typer.Option(metavar="NAME", help="run this table of the file, not its search")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="continue a campaign that was started before")] = False,
    then: Annotated[
        Literal["run"] | None,
        typer.Option(help="run: train the best trial's values at full length and register the model"),
    ] = None,
    address: Address = None,
    storage: Storage = None,
    dry_run: DryRun = False,
    settings: Settings = False,
    as_json: Json = False,
) -> None:
    """Search a stage's hyperparameters, or run a paper's table. MLflow records trials and report.

    \b
    acutance tune search_spaces/quickstart.yaml
    acutance tune search_spaces/quickstart.yaml --trials 12 sampler.type=random
    acutance tune search_spaces/quickstart.yaml --trials 12 --resume
    acutance tune search_spaces/quickstart.yaml --then run
    acutance tune search_spaces/dual_perceptual.yaml --table table_1 tables.table_1.seeds=3 budget.steps=2000
    acutance tune search_spaces/dual_perceptual.yaml --table transfer    # and first the tables that it starts from
    """
    from acutance.commands.tune.context import open_campaign, plan_campaign

    extra = [f"budget.trials={trials}"] if trials is not None else []
    context = open_campaign(search_space, [*(overrides or []), *extra], storage, table)
    if dry_run or settings:
        show_plan(plan_campaign(context), as_json, settings)
        return
    from acutance.commands.tune.campaign import finished, run_campaign
    from acutance.commands.tune.outcome import as_dict, winner_context

    outcome = finished(context)
    if outcome is None:
        with ray_at(address, context.base.root):
            outcome = run_campaign(context, resume=resume)
    else:
        say("everything is done already")
    show(as_dict(outcome), as_json, campaign_table(context, outcome))
    say(f"report:     {escape(outcome.report)}\nMLflow run: {outcome.run_id}")
    if then == "run":
        _run(winner_context(context, outcome), address, as_json)
