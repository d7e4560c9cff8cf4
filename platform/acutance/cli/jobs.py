"""Ray Jobs: submit, follow, stop."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from acutance import __version__
from acutance.cli.options import Address, AllowCode, JobId, Json, Storage
from acutance.cli.show import show, table_of
from acutance.console import say

app = typer.Typer(help="Ray Jobs: submit a command to a cluster, follow it, stop it.", no_args_is_help=True)

TAKES_A_COMMAND = {"allow_extra_args": True, "ignore_unknown_options": True}
Command = Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="the command to run, without `acutance`")]
Variables = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        metavar="NAME[=VALUE]",
        help="environment variable of the job, e.g. ACUTANCE_DATA=/mnt/pictures; no secrets, everyone can read it",
    ),
]


@app.command("submit", context_settings=TAKES_A_COMMAND)
def jobs_submit(
    command: Command,
    address: Address = None,
    storage: Storage = None,
    env: Variables = None,
    detach: Annotated[bool, typer.Option("--detach", help="do not follow the log")] = False,
    allow_code: AllowCode = False,
    as_json: Json = False,
) -> None:
    """Run a command of this program on a cluster and follow its log; Ctrl-C leaves the job running.

    \b
    acutance jobs submit -- run pipelines/quickstart.yaml
    acutance jobs submit --address http://127.0.0.1:8265 -- tune search_spaces/quickstart.yaml
    acutance jobs submit --env ACUTANCE_DATA=/mnt/pictures -- run pipelines/mine.yaml
    """
    from acutance.cluster import jobs
    from acutance.storage.outputs import storage_root

    def describe(package: Any) -> None:
        folders = Counter(str(Path(file).parent) for file, _ in package.files)
        say(f"package: {package.size / 1024:.0f} KiB of code and YAML, no data, no outputs, no secrets")
        for folder, files in sorted(folders.items()):
            say(f"  {folder}: {files} file{'s' if files > 1 else ''}")

    job_id = jobs.submit(command, address=address, storage=storage_root(storage), given=env or [], on_package=describe)
    say(f"job {job_id}")
    if detach:
        there = f" --address {address}" if address else ""
        show({"id": job_id}, as_json, f"follow it with: acutance jobs logs {job_id} --follow{there}")
        return
    job = jobs.watch(address, job_id, say_line if as_json else print_line)
    show(vars(job), as_json, f"{job.id}: {job.status} {escape(job.message)}")
    sys.exit(job.exit_code)


@app.command("manifest", context_settings=TAKES_A_COMMAND)
def jobs_manifest(
    command: Command,
    storage: Storage = None,
    env: Variables = None,
    image: Annotated[
        str, typer.Option(help="container image, built from infra/Containerfile")
    ] = f"acutance:{__version__}",
    name: Annotated[str | None, typer.Option(help="name of the RayJob; default: made from the command")] = None,
    namespace: Annotated[str | None, typer.Option(help="Kubernetes namespace; default: kubectl's current one")] = None,
    workers: Annotated[int, typer.Option(min=1, help="number of Ray workers, one pod each")] = 2,
    cpus: Annotated[int, typer.Option(min=1, help="CPUs of each worker")] = 4,
    gpus: Annotated[int, typer.Option(min=0, help="GPUs of each worker")] = 0,
    memory: Annotated[str, typer.Option(help="memory of each worker")] = "16Gi",
    secret: Annotated[str, typer.Option(help="name of a Secret with AWS_ACCESS_KEY_ID and the like")] = "acutance",
) -> None:
    """Print a KubeRay RayJob that runs a command. It names a Secret and holds no secret values.

    \b
    export ACUTANCE_STORAGE=s3://acutance/outputs MLFLOW_TRACKING_URI=http://mlflow:5000
    acutance jobs manifest --workers 4 --gpus 1 -- run pipelines/mine.yaml
    acutance jobs manifest -- tune search_spaces/mine.yaml --resume | kubectl apply -f -
    """
    from acutance.cluster.manifest import Pods, rayjob
    from acutance.storage.outputs import storage_root

    pods = Pods(image, workers, cpus, gpus, memory)
    job = rayjob(
        command, pods, storage=storage_root(storage), name=name, namespace=namespace, secret=secret, given=env or []
    )
    sys.stdout.write(job)
    if command[0] == "tune" and "--resume" not in command:
        say("KubeRay starts a lost cluster again, and then only `tune ... --resume` continues the campaign")


def print_line(line: str) -> None:
    """Print a line of a job's log as it is."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def say_line(line: str) -> None:
    """Print a line of a job's log on standard error, where standard output is for JSON."""
    sys.stderr.write(line + "\n")


@app.command("list")
def jobs_list(address: Address = None, as_json: Json = False) -> None:
    """List the jobs of a cluster.

    \b
    acutance jobs list --address http://127.0.0.1:8265
    """
    from acutance.cluster import jobs

    found = jobs.listing(address)
    rows = [(job.id, job.status, job.command) for job in found]
    show({"jobs": [vars(job) for job in found]}, as_json, table_of("job", "status", "command", rows=rows))


@app.command("status")
def jobs_status(job_id: JobId, address: Address = None, as_json: Json = False) -> None:
    """Show the state of a job and Ray's message about it.

    \b
    acutance jobs status raysubmit_abc
    """
    from acutance.cluster import jobs

    job = jobs.status(address, job_id)
    show(vars(job), as_json, f"{job.id}: {job.status} {escape(job.message)}")


@app.command("logs")
def jobs_logs(
    job_id: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="print new lines until the job ends")] = False,
    address: Address = None,
) -> None:
    """Print the log of a job. With --follow the exit code is 1 if the job fails.

    \b
    acutance jobs logs raysubmit_abc --follow
    """
    from acutance.cluster import jobs

    if follow:
        sys.exit(jobs.watch(address, job_id, print_line).exit_code)
    for line in jobs.logs(address, job_id):
        print_line(line)


@app.command("stop")
def jobs_stop(job_id: JobId, address: Address = None, as_json: Json = False) -> None:
    """Stop a job.

    \b
    acutance jobs stop raysubmit_abc
    """
    from acutance.cluster import jobs

    job = jobs.stop(address, job_id)
    show(vars(job), as_json, f"{job.id}: {job.status}")
