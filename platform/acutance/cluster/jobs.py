"""Ray Jobs: a command of ours runs on a cluster, is followed, looked at and stopped from anywhere."""

from __future__ import annotations

import asyncio
import shlex
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acutance.cluster.client import answering, client_of
from acutance.cluster.job_environment import environment, refuse_secret_words
from acutance.cluster.package import BESIDE, Package, build
from acutance.errors import UnreachableError, UserError
from acutance.redact import redacted

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

ENDED = {"SUCCEEDED", "FAILED", "STOPPED"}
STOP_SECONDS = 60


@dataclass(frozen=True)
class Job:
    """A job as the cluster sees it.

    Attributes:
        id: its name on the cluster.
        status: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED.
        command: what it runs.
        started, ended: seconds since 1970, None where that is still to come.
        message: Ray's one line about how it stands.
        driver_exit_code: of the command itself, once it has ended.
    """

    id: str
    status: str
    command: str
    started: float | None
    ended: float | None
    message: str
    driver_exit_code: int | None

    @property
    def exit_code(self) -> int:
        """What following it should exit with: 1 when it failed or was stopped, else 0."""
        return 1 if self.status in {"FAILED", "STOPPED"} else 0


def submit(
    command: list[str],
    *,
    address: str | None = None,
    storage: str,
    given: Iterable[str] = (),
    working_dir: str | Path = ".",
    on_package: Callable[[Package], None] | None = None,
) -> str:
    """Have a cluster run `acutance COMMAND`; return the job's id as soon as it is accepted.

    Args:
        command: what follows `acutance`.
        address: see `client_of`.
        storage: storage root of the job's outputs; every node must reach it. A local one is made absolute.
        given: further variables, see `acutance.cluster.job_environment.environment`.
        working_dir: where the command's YAML files are looked for.
        on_package: called with what is about to be uploaded.

    Raises:
        UserError: when the command names a file that cannot come along, a variable may not, or an address holds a
            password.
        UnreachableError: when no cluster answers.
    """
    if not command:
        raise UserError("there is no command to submit", fix="acutance jobs submit -- run pipelines/quickstart.yaml")
    refuse_secret_words(command)
    variables = environment(storage, given)
    client, target = client_of(address)
    with tempfile.TemporaryDirectory(prefix="acutance-job-") as folder:
        package = build(command, Path(working_dir), Path(folder))
        if on_package:
            on_package(package)
        entrypoint = shlex.join(["python", "-m", "acutance", *package.command])
        with answering(target):
            return submit_entrypoint(client, entrypoint, package.folder, variables)


def submit_entrypoint(client: JobSubmissionClient, entrypoint: str, folder: Path, variables: dict[str, str]) -> str:
    """Upload a folder and start a shell command in it; return the job's id."""
    runtime_env = {"working_dir": str(folder), "env_vars": {**variables, **BESIDE}}
    return client.submit_job(entrypoint=entrypoint, runtime_env=runtime_env)


def listing(address: str | None = None) -> list[Job]:
    """Return the submitted jobs that a cluster remembers, the newest first."""
    client, target = client_of(address)
    with answering(target):
        return _listing(client)


def _listing(client: JobSubmissionClient) -> list[Job]:
    jobs = [_job(details) for details in client.list_jobs() if details.submission_id]
    return sorted(jobs, key=lambda job: job.started or 0.0, reverse=True)


def status(address: str | None, job_id: str) -> Job:
    """Return how a job stands.

    Raises:
        UserError: when the cluster knows no such job.
        UnreachableError: when no cluster answers.
    """
    client, target = client_of(address)
    with answering(target):
        return _status(client, target, job_id)


def _status(client: JobSubmissionClient, target: str, job_id: str) -> Job:
    try:
        return _job(client.get_job_info(job_id))
    except RuntimeError as error:
        if "status code 404" not in str(error):
            raise
    known = [job.id for job in _listing(client)]
    near = get_close_matches(job_id, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"it knows {', '.join(known[:5]) or 'none'}"
    raise UserError(f"the cluster knows no job {job_id!r}", where=target, fix=hint)


def logs(address: str | None, job_id: str, follow: bool = False) -> Iterator[str]:
    """Yield the lines that a job has written; with `follow` go on until it ends.

    Raises:
        UserError: when the cluster knows no such job.
        UnreachableError: when no cluster answers, or the connection breaks off.
    """
    client, target = client_of(address)
    with answering(target):
        _status(client, target, job_id)
        if not follow:
            yield from client.get_job_logs(job_id).splitlines()
            return
        yield from _lines(_tail(client, job_id))
        if _status(client, target, job_id).status not in ENDED:
            raise UnreachableError(
                "the connection to the job's log broke off; the job goes on",
                where=target,
                fix=_return_to(job_id, address),
            )


def _tail(client: JobSubmissionClient, job_id: str) -> Iterator[str]:
    stream = client.tail_job_logs(job_id)

    async def following() -> str | None:
        return await anext(stream, None)

    with asyncio.Runner() as runner:
        while (text := runner.run(following())) is not None:
            yield text


def _lines(chunks: Iterator[str]) -> Iterator[str]:
    rest = ""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split("\n")
        yield from lines
    if rest:
        yield rest


def watch(address: str | None, job_id: str, on_line: Callable[[str], None]) -> Job:
    """Hand every line of a job's log to `on_line` until it ends; return the job.

    Ctrl-C ends the watching, not the job, and says how to come back.
    """
    try:
        for line in logs(address, job_id, follow=True):
            on_line(line)
    except KeyboardInterrupt:
        on_line(f"the job goes on; {_return_to(job_id, address)}")
    return status(address, job_id)


def _return_to(job_id: str, address: str | None) -> str:
    where = f" --address {redacted(address)}" if address else ""
    return f"follow it with: acutance jobs logs {job_id} --follow{where}"


def stop(address: str | None, job_id: str) -> Job:
    """Stop a job and return how it ended; one that has ended stays as it is.

    The command gets SIGTERM and time to write a checkpoint (`job_environment.STOP`), then SIGKILL.

    Raises:
        UserError: when the cluster knows no such job.
        UnreachableError: when no cluster answers.
    """
    client, target = client_of(address)
    with answering(target):
        job = _status(client, target, job_id)
        if job.status not in ENDED:
            client.stop_job(job_id)
        limit = time.monotonic() + STOP_SECONDS
        while job.status not in ENDED and time.monotonic() < limit:
            time.sleep(0.2)
            job = _status(client, target, job_id)
        return job


def _job(details: JobDetails) -> Job:
    message, _, _ = (details.message or "").partition(", last available logs")
    return Job(
        id=details.submission_id or details.job_id or "",
        status=str(details.status.value if hasattr(details.status, "value") else details.status),
        command=redacted(details.entrypoint.removeprefix("python -m acutance ")),
        started=_seconds(details.start_time),
        ended=_seconds(details.end_time),
        message=message.strip(),
        driver_exit_code=details.driver_exit_code,
    )


def _seconds(milliseconds: Any) -> float | None:
    return milliseconds / 1000 if milliseconds else None
