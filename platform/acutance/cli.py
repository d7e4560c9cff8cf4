"""The front door: one short function a command. What a command does lives in the rooms; what it prints, here."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from acutance.console import say, stdout
from acutance.errors import AcutanceError

app = typer.Typer(
    help="Train, tune and ship perceptual image restorers on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
models_app = typer.Typer(help="The registry: list, show, promote, roll back.", no_args_is_help=True)
jobs_app = typer.Typer(help="Ray Jobs: submit, follow, stop.", no_args_is_help=True)
data_app = typer.Typer(help="The data sets.", no_args_is_help=True)
app.add_typer(models_app, name="models")
app.add_typer(jobs_app, name="jobs")
app.add_typer(data_app, name="data")

PipelineFile = Annotated[
    str, typer.Argument(metavar="PIPELINE", help="a pipeline file, e.g. pipelines/quickstart.yaml")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="overrides by dotted path, e.g. stages.gan.steps=100"),
]
Address = Annotated[str | None, typer.Option(help="a Ray cluster; default: RAY_ADDRESS, else one on this machine")]
Storage = Annotated[
    str | None,
    typer.Option(help="folder or s3:// prefix of all outputs; default: ACUTANCE_STORAGE, else ./outputs"),
]
Profile = Annotated[str | None, typer.Option(help="a named set of overrides in the file, e.g. smoke")]
StageName = Annotated[str | None, typer.Option("--stage", help="this stage and what it needs")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="print the plan and do nothing")]
Json = Annotated[bool, typer.Option("--json", help="print the result as JSON on standard output")]
ModelReference = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="models:/NAME@ALIAS, models:/NAME/VERSION, PIPELINE:STAGE, or a file"),
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="the id that submit and list print")]
ModelName = Annotated[str, typer.Argument(metavar="NAME", help="a registered model")]


def main() -> None:
    """Run a command; a failure of the user's exits with 2 and no traceback, one of ours with 1."""
    try:
        code = app(standalone_mode=False)
    except AcutanceError as error:
        fail(error)
    except typer.Abort:
        sys.exit(130)
    except KeyboardInterrupt:
        say("stopped; run the same command again to go on")
        sys.exit(130)
    except Exception as error:
        if hasattr(error, "exit_code") and hasattr(error, "show"):  # a mistake on the command line
            error.show()
            sys.exit(error.exit_code)
        cause = _ours(error)
        if cause is None:
            raise
        fail(cause)
    sys.exit(code if isinstance(code, int) else 0)


def fail(error: AcutanceError) -> None:
    """Print a failure and exit with its code."""
    say(f"[bold red]error[/]: {_escape(str(error))}")
    sys.exit(error.exit_code)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _ours(error: BaseException | None) -> AcutanceError | None:
    """Find our own error inside what Ray wrapped around it."""
    while error is not None:
        if isinstance(error, AcutanceError):
            return error
        error = getattr(error, "cause", None) or error.__cause__
    return None


def _show(result: dict[str, Any], as_json: bool, text: Any) -> None:
    if as_json:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
    else:
        stdout.print(text)


@app.command()
def run(
    pipeline: PipelineFile,
    overrides: Overrides = None,
    profile: Profile = None,
    address: Address = None,
    storage: Storage = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Prepare, train, evaluate and register; what is done already is not done again.

    \b
    acutance run pipelines/quickstart.yaml
    acutance run pipelines/quickstart.yaml stages.gan.objective.adversarial.weight=0.01
    acutance run pipelines/quickstart.yaml --profile smoke --dry-run
    """
    from acutance import run as runs

    work = runs.open_work(pipeline, overrides or [], profile, storage)
    if dry_run:
        _show_plan(runs.plan(work), as_json)
        return
    outcome = runs.finished(work)
    if outcome is None:
        with _ray(address):
            outcome = runs.run(work)
    else:
        say("everything is done already")
    _show_outcome(work, outcome, as_json)


@app.command()
def prepare(
    pipeline: PipelineFile,
    overrides: Overrides = None,
    profile: Profile = None,
    address: Address = None,
    storage: Storage = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Turn pictures into Parquet shards of sub-images, LR pictures and detail layers.

    \b
    acutance prepare pipelines/quickstart.yaml
    acutance prepare pipelines/quickstart.yaml data.train=./my-pictures data.bad_pictures=stop
    """
    from acutance import run as runs
    from acutance.data import is_prepared, read_manifest

    work = runs.open_work(pipeline, overrides or [], profile, storage)
    if dry_run:
        _show_plan(runs.plan(work), as_json)
        return
    if is_prepared(work.root, work.dataset()):
        say("everything is done already")
        manifest = read_manifest(work.shards())
    else:
        with _ray(address):
            manifest = runs.prepare_data(work)
    text = f"{manifest.rows} sub-images of {len(manifest.sources)} pictures in {len(manifest.shards)} shards"
    _show(manifest.model_dump(mode="json"), as_json, f"{text}\n{work.shards()}")


@app.command()
def train(
    pipeline: PipelineFile,
    overrides: Overrides = None,
    stage: StageName = None,
    profile: Profile = None,
    address: Address = None,
    storage: Storage = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Train one stage, or all, from the newest checkpoint on; make the shards first where they are missing.

    \b
    acutance train pipelines/quickstart.yaml
    acutance train pipelines/quickstart.yaml --stage fidelity stages.fidelity.steps=2000
    """
    from acutance import run as runs

    work = runs.open_work(pipeline, overrides or [], profile, storage)
    if dry_run:
        _show_plan(runs.plan(work, stage), as_json)
        return
    jobs = work.jobs(stage)
    if all(job.done() for job in jobs):
        say("everything is done already")
    else:
        with _ray(address):
            runs.prepare_data(work)
            jobs = runs.train_stages(work, stage)
    result = {"stages": [{"name": j.name, "fingerprint": j.fingerprint, "model": j.model} for j in jobs]}
    _show(result, as_json, _table("stage", "model file", rows=[(job.name, job.model) for job in jobs]))


@app.command()
def evaluate(
    model: ModelReference,
    on: Annotated[list[str], typer.Option("--on", help="a data set's name or a folder; may be given several times")],
    protocol: Annotated[str, typer.Option(help="y_crop4: Y rounded to uint8, a border of `scale` cropped")] = "y_crop4",
    metric: Annotated[list[str] | None, typer.Option("--metric", help="default: all")] = None,
    scale: Annotated[int, typer.Option(help="for MODEL = bicubic; a model knows its own")] = 4,
    address: Address = None,
    storage: Storage = None,
    as_json: Json = False,
) -> None:
    """Measure a model, or `bicubic`, on whole pictures.

    \b
    acutance evaluate models:/quickstart-x4@champion --on photographs_heldout
    acutance evaluate bicubic --on Set5 --on Set14 --json
    """
    from acutance import run as runs
    from acutance.evaluation.report import table

    root = runs.storage_root(storage)
    with _ray(address):
        evaluation, folder = runs.evaluate_model(model, on, protocol=protocol, metrics=metric, scale=scale, root=root)
    _show(evaluation.to_json(), as_json, table(evaluation))
    say(f"pictures: {folder}/sheet.png")


@app.command()
def tune(
    search_space: Annotated[str, typer.Argument(metavar="SEARCH_SPACE", help="e.g. search_spaces/quickstart.yaml")],
    overrides: Overrides = None,
    trials: Annotated[int | None, typer.Option(help="how many, in place of the file's number")] = None,
    address: Address = None,
    storage: Storage = None,
    as_json: Json = False,
) -> None:
    """Search a stage's numbers: trials, a Pareto front, everything in MLflow.

    \b
    acutance tune search_spaces/quickstart.yaml
    acutance tune search_spaces/quickstart.yaml --trials 12 sampler.type=random
    """
    from acutance import tune as campaigns

    extra = [f"trials={trials}"] if trials is not None else []
    work = campaigns.open_campaign(search_space, [*(overrides or []), *extra], storage)
    outcome = campaigns.finished(work)
    if outcome is None:
        with _ray(address):
            outcome = campaigns.run_campaign(work)
    else:
        say("everything is done already")
    _show(_campaign_json(outcome), as_json, _campaign_table(work, outcome))
    say(f"Pareto front: {outcome.picture}\nMLflow run:   {outcome.run_id}")


@app.command()
def upscale(
    model: ModelReference,
    source: Annotated[str, typer.Argument(metavar="INPUT", help="a picture, or a folder of pictures")],
    target: Annotated[str, typer.Argument(metavar="OUTPUT", help="a PNG file, or a folder")],
    storage: Storage = None,
    as_json: Json = False,
) -> None:
    """Restore a picture, or a folder of them; pictures that cannot be read are listed at the end.

    \b
    acutance upscale models:/quickstart-x4@champion photo.png photo-x4.png
    acutance upscale pipelines/quickstart.yaml:gan ./small ./large
    """
    from acutance import run as runs
    from acutance.upscale import upscale_pictures

    written, failed = upscale_pictures(runs.model_file(model, runs.storage_root(storage)), source, target)
    result = {"written": [str(path) for path in written], "failed": failed}
    rows = [(str(path), "written") for path in written] + [(name, why) for name, why in failed.items()]
    _show(result, as_json, _table("picture", "", rows=rows))
    if failed:
        sys.exit(2)


@app.command()
def doctor(address: Address = None, storage: Storage = None, as_json: Json = False) -> None:
    """Try what works here: GPU, Ray, MLflow, storage, weights, data.

    \b
    acutance doctor
    acutance doctor --address 10.0.0.1:6379 --storage s3://bucket/acutance
    """
    from acutance.doctor import examine
    from acutance.run import catalogue_for, storage_root

    colours = {"ok": "green", "missing": "yellow", "failed": "red"}
    findings = []
    for finding in examine(storage_root(storage), address, catalogue_for()):
        findings.append(finding)
        if not as_json:
            _print_row((8, finding.state, colours[finding.state]), (34, finding.what, ""), (None, finding.note, "dim"))
    if as_json:
        _show({"findings": [vars(finding) for finding in findings]}, True, None)
    if any(finding.state == "failed" for finding in findings):
        sys.exit(2)


@app.command()
def schema(of: Annotated[str, typer.Argument(metavar="pipeline|search-space")]) -> None:
    """Print the JSON schema of a file format, for editors.

    \b
    acutance schema pipeline > pipeline.schema.json
    """
    from acutance.campaign import Campaign
    from acutance.errors import ConfigError
    from acutance.pipeline import Pipeline

    models: dict[str, Any] = {"pipeline": Pipeline, "search-space": Campaign}
    if of not in models:
        raise ConfigError(f"there is no schema {of!r}", fix=f"choose {' or '.join(models)}")
    sys.stdout.write(json.dumps(models[of].model_json_schema(), indent=2) + "\n")


def _ray(address: str | None) -> Any:
    from acutance.cluster.connect import connect

    return connect(address)


def _table(*columns: str, rows: list[tuple[Any, ...]]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_escape(str(cell)) for cell in row))
    return table


def _print_row(*cells: tuple[int | None, str, str]) -> None:
    """Print one line of a table whose other lines are not known yet: (width, text, style) a cell."""
    from rich.table import Table

    row = Table.grid(padding=(0, 2, 0, 0))
    for width, _, style in cells:
        row.add_column(width=width, style=style, overflow="fold")
    row.add_row(*(_escape(text) for _, text, _ in cells))
    stdout.print(row)


def _show_plan(plan: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _show(plan, True, None)
        return
    for problem in plan["missing"]:
        say(f"[yellow]missing[/]: {_escape(problem)}")
    stdout.print(_yaml(plan["config"]))
    rows = []
    for stage in plan["stages"]:
        counts = stage["parameters"]
        judges = ", ".join(f"{name} {count:,}" for name, count in counts["discriminators"].items())
        state = "done" if stage["done"] else "to do"
        rows.append((stage["name"], state, f"{stage['steps']:,}", f"{counts['network']:,}", judges or "-"))
    stdout.print(_table("stage", "", "steps", "parameters", "discriminators", rows=rows))


def _yaml(content: dict[str, Any]) -> str:
    import io

    from ruamel.yaml import YAML

    text = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = None
    yaml.width = 100
    yaml.dump(content, text)
    return _escape(text.getvalue())


def _show_outcome(work: Any, outcome: Any, as_json: bool) -> None:
    from acutance.evaluation.report import table
    from acutance.registry.address import shown, tracking_uri

    reference = f"models:/{outcome.model}/{outcome.version}"
    result = {
        "fresh": outcome.fresh,
        "evaluation": outcome.evaluation.to_json(),
        "sheet": outcome.sheet,
        "mlflow_run": outcome.run_id,
        "model": reference,
    }
    _show(result, as_json, table(outcome.evaluation))
    if as_json:
        return
    stdout.print(f"pictures    {_escape(outcome.sheet)}")
    stdout.print(f"MLflow run  {outcome.run_id} in {_escape(shown(tracking_uri(work.root)))}")
    stdout.print(f"model       {reference} (alias: candidate)\n")
    stdout.print("next")
    stdout.print(f"  acutance models promote {outcome.model}")
    stdout.print(f"  acutance upscale {reference} PICTURE.png LARGE.png")
    stdout.print("  acutance tune search_spaces/quickstart.yaml")


def _campaign_json(outcome: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(outcome)


def _campaign_table(work: Any, outcome: Any) -> Any:
    goals, names = work.campaign.objectives, list(work.campaign.parameters)
    rows = [
        (
            f"{trial.number}{' *' if trial.number in outcome.front else ''}",
            *(_short(trial.values[name]) for name in names),
            f"{trial.step}{' stopped' if trial.stopped else ''}",
            *(f"{trial.scores[goal.name]:.3f}" for goal in goals),
        )
        for trial in outcome.trials
    ]
    return _table("trial", *names, "steps", *(f"{goal.name} ({goal.goal})" for goal in goals), rows=rows)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@models_app.command("list")
def models_list(storage: Storage = None, as_json: Json = False) -> None:
    """List the registered models and who holds their aliases.

    \b
    acutance models list
    """
    from acutance.registry import connect, listing
    from acutance.run import storage_root

    found = listing(connect(storage_root(storage)))
    rows = [(m.name, m.versions, ", ".join(f"{alias} = {v}" for alias, v in m.aliases.items())) for m in found]
    _show(
        {"models": [vars(model) for model in found]},
        as_json,
        _table("model", "versions", "aliases", rows=rows),
    )


@models_app.command("show")
def models_show(name: ModelName, storage: Storage = None, as_json: Json = False) -> None:
    """Show a model's versions and what was decided about each.

    \b
    acutance models show quickstart-x4
    """
    from acutance.registry import connect, history
    from acutance.run import storage_root

    found = history(connect(storage_root(storage)), name)
    rows = [(v.version, ", ".join(v.aliases), v.created, v.decision, v.reason, v.who) for v in found]
    table = _table("version", "aliases", "made", "decision", "reason", "by", rows=rows)
    _show({"name": name, "versions": [vars(version) for version in found]}, as_json, table)


@models_app.command("promote")
def models_promote(name: ModelName, address: Address = None, storage: Storage = None, as_json: Json = False) -> None:
    """Make the candidate the champion if it is not worse on the held-out pictures; exit code 1 where it is refused.

    \b
    acutance models promote quickstart-x4
    """
    from dataclasses import asdict

    from acutance import run as runs

    with _ray(address):
        decision = runs.promote_model(name, runs.storage_root(storage))
    verdict = "champion" if decision.accepted else "refused"
    _show(asdict(decision), as_json, f"version {decision.version}: {verdict}: {_escape(decision.reason)}")
    if not decision.accepted:
        sys.exit(1)


@models_app.command("rollback")
def models_rollback(name: ModelName, storage: Storage = None, as_json: Json = False) -> None:
    """Give the alias `champion` back to the version that had it before.

    \b
    acutance models rollback quickstart-x4
    """
    from dataclasses import asdict

    from acutance.registry import connect, rollback, user
    from acutance.run import storage_root

    decision = rollback(connect(storage_root(storage)), name, who=user())
    text = f"version {decision.version} is the champion again, in place of {decision.previous}"
    _show(asdict(decision), as_json, text)


@jobs_app.command("submit", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def jobs_submit(
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="what follows `acutance`")],
    address: Address = None,
    storage: Storage = None,
    detach: Annotated[bool, typer.Option("--detach", help="do not follow the log")] = False,
    as_json: Json = False,
) -> None:
    """Run a command of this program on a cluster and follow its log; Ctrl-C leaves the job running.

    \b
    acutance jobs submit -- run pipelines/quickstart.yaml
    acutance jobs submit --address http://127.0.0.1:8265 -- tune search_spaces/quickstart.yaml
    """
    from acutance.cluster import jobs
    from acutance.run import storage_root

    def describe(package: Any) -> None:
        folders = Counter(str(Path(file).parent) for file, _ in package.files)
        say(f"package: {package.size / 1024:.0f} KiB of code and YAML, no data, no outputs, no secrets")
        for folder, files in sorted(folders.items()):
            say(f"  {folder}: {files} file{'s' if files > 1 else ''}")

    job_id = jobs.submit(command, address=address, storage=storage_root(storage), on_package=describe)
    say(f"job {job_id}")
    if detach:
        there = f" --address {address}" if address else ""
        _show({"id": job_id}, as_json, f"follow it with: acutance jobs logs {job_id} --follow{there}")
        return
    job = jobs.watch(address, job_id, say_line if as_json else print_line)
    _show(vars(job), as_json, f"{job.id}: {job.status} {_escape(job.message)}")
    sys.exit(job.exit_code)


def print_line(line: str) -> None:
    """Print a line of a job's log as it is."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def say_line(line: str) -> None:
    """Print a line of a job's log on standard error, where standard output is for JSON."""
    sys.stderr.write(line + "\n")


@jobs_app.command("list")
def jobs_list(address: Address = None, as_json: Json = False) -> None:
    """List the jobs that a cluster remembers.

    \b
    acutance jobs list --address http://127.0.0.1:8265
    """
    from acutance.cluster import jobs

    found = jobs.listing(address)
    rows = [(job.id, job.status, job.command) for job in found]
    _show({"jobs": [vars(job) for job in found]}, as_json, _table("job", "status", "command", rows=rows))


@jobs_app.command("status")
def jobs_status(job_id: JobId, address: Address = None, as_json: Json = False) -> None:
    """Tell how a job stands.

    \b
    acutance jobs status raysubmit_abc
    """
    from acutance.cluster import jobs

    job = jobs.status(address, job_id)
    _show(vars(job), as_json, f"{job.id}: {job.status} {_escape(job.message)}")


@jobs_app.command("logs")
def jobs_logs(
    job_id: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on until the job ends")] = False,
    address: Address = None,
) -> None:
    """Print what a job has written; with --follow, exit with 1 if it fails.

    \b
    acutance jobs logs raysubmit_abc --follow
    """
    from acutance.cluster import jobs

    if follow:
        sys.exit(jobs.watch(address, job_id, print_line).exit_code)
    for line in jobs.logs(address, job_id):
        print_line(line)


@jobs_app.command("stop")
def jobs_stop(job_id: JobId, address: Address = None, as_json: Json = False) -> None:
    """Stop a job.

    \b
    acutance jobs stop raysubmit_abc
    """
    from acutance.cluster import jobs

    job = jobs.stop(address, job_id)
    _show(vars(job), as_json, f"{job.id}: {job.status}")


@data_app.command("list")
def data_list(as_json: Json = False) -> None:
    """List the data sets that have a name, and whether they are here.

    \b
    ACUTANCE_DATA=~/pictures acutance data list
    """
    from acutance.run import catalogue_for

    found = catalogue_for().listing()
    rows = [(r.name, "yes" if r.present else "no", r.pictures or "", r.where) for r in found]
    _show(
        {"datasets": [vars(row) for row in found]},
        as_json,
        _table("data set", "here", "pictures", "", rows=rows),
    )
