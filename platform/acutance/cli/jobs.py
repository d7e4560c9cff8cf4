"""Ray Jobs: submit, follow, stop."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from acutance.cli.options import Address, JobId, Json, Storage
from acutance.cli.show import show, table_of
from acutance.console import say

app = typer.Typer(help="Ray Jobs: submit, follow, stop.", no_args_is_help=True)


@app.command("submit", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
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
    from acutance.work import storage_root

    def describe(package: Any) -> None:
        folders = Counter(str(Path(file).parent) for file, _ in package.files)
        say(f"package: {package.size / 1024:.0f} KiB of code and YAML, no data, no outputs, no secrets")
        for folder, files in sorted(folders.items()):
            say(f"  {folder}: {files} file{'s' if files > 1 else ''}")

    job_id = jobs.submit(command, address=address, storage=storage_root(storage), on_package=describe)
    say(f"job {job_id}")
    if detach:
        there = f" --address {address}" if address else ""
        show({"id": job_id}, as_json, f"follow it with: acutance jobs logs {job_id} --follow{there}")
        return
    job = jobs.watch(address, job_id, say_line if as_json else print_line)
    show(vars(job), as_json, f"{job.id}: {job.status} {escape(job.message)}")
    sys.exit(job.exit_code)


def print_line(line: str) -> None:
    """Print a line of a job's log as it is."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def say_line(line: str) -> None:
    """Print a line of a job's log on standard error, where standard output is for JSON."""
    sys.stderr.write(line + "\n")


@app.command("list")
def jobs_list(address: Address = None, as_json: Json = False) -> None:
    """List the jobs that a cluster remembers.

    \b
    acutance jobs list --address http://127.0.0.1:8265
    """
    from acutance.cluster import jobs

    found = jobs.listing(address)
    rows = [(job.id, job.status, job.command) for job in found]
    show({"jobs": [vars(job) for job in found]}, as_json, table_of("job", "status", "command", rows=rows))


@app.command("status")
def jobs_status(job_id: JobId, address: Address = None, as_json: Json = False) -> None:
    """Tell how a job stands.

    \b
    acutance jobs status raysubmit_abc
    """
    from acutance.cluster import jobs

    job = jobs.status(address, job_id)
    show(vars(job), as_json, f"{job.id}: {job.status} {escape(job.message)}")


@app.command("logs")
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


@app.command("stop")
def jobs_stop(job_id: JobId, address: Address = None, as_json: Json = False) -> None:
    """Stop a job.

    \b
    acutance jobs stop raysubmit_abc
    """
    from acutance.cluster import jobs

    job = jobs.stop(address, job_id)
    show(vars(job), as_json, f"{job.id}: {job.status}")
