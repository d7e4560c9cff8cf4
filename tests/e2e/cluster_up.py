"""A cluster as a team has one, on this machine: Postgres, an S3 endpoint, MLflow's server, a Ray head and two workers.

    python tests/e2e/cluster_up.py

brings it up, says how to use it, and takes it down on Ctrl-C. Each part is a process of its own with the settings of
infra/compose.yaml: every one of them asks for a password, a key or a token. Postgres comes from Debian's packages
(`apt-get install postgresql`), S3 is moto's server.

The nodes may also be hosts of their own, see `cluster_up_hosts.py`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cluster_up_servers as beside
from cluster_up_process import Host, answers, free_port, process, wait_for


@dataclass(frozen=True)
class Node:
    """A Ray node of its own: the process of `ray start`, and where it runs."""

    host: Host
    process: subprocess.Popen[bytes]


@dataclass(frozen=True)
class Team:
    """What is running.

    Attributes:
        folder: logs and files of all of it.
        dashboard: where jobs are submitted.
        tracking: MLflow's address.
        s3: the S3 endpoint's.
        secrets: variables with passwords, keys and the token, for those who may have them.
        head, workers: Ray's nodes.
    """

    folder: Path
    dashboard: str
    tracking: str
    s3: str
    secrets: dict[str, str]
    head: Node
    workers: list[Node] = field(default_factory=list)

    def submitter(self) -> dict[str, str]:
        """The environment of one who submits jobs: Ray's token and nothing else."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.secrets["RAY_AUTH_TOKEN"]}

    def reader(self) -> dict[str, str]:
        """The environment of one who reads runs, models and outputs from outside."""
        return {"MLFLOW_TRACKING_URI": self.tracking, "AWS_ENDPOINT_URL": self.s3, **self.secrets}


def missing() -> str | None:
    """Return why none of this can run here, None where it can."""
    if not beside.postgres_folder():
        return "Postgres is not installed: apt-get install postgresql"
    for module in ("psycopg2", "flask_wtf", "moto"):
        if importlib.util.find_spec(module) is None:
            return f"Python lacks {module}: make test-e2e installs it"
    if os.getuid() == 0 and beside.unprivileged() is None:
        return "Postgres does not run as root, and there is neither a user postgres nor nobody"
    return None


@contextmanager
def team(
    folder: Path,
    *,
    servers: Host | None = None,
    head: Host | None = None,
    workers: Sequence[Host] = (),
    head_cpus: int = 0,
) -> Iterator[Team]:
    """Bring all of it up; take it down when the block ends, however it ends.

    Args:
        folder: empty; keep its path short, for a socket's path has at most 107 characters.
        servers, head, workers: where they run; by default all of them here, with two workers.
        head_cpus: of the head; each worker has one.
    """
    servers, head, workers = servers or Host(), head or Host(), workers or (Host(), Host())
    keys = {name: secrets.token_hex(16) for name in ("database", "studies", "mlflow", "jobs", "flask")}
    keys |= {"AWS_ACCESS_KEY_ID": secrets.token_hex(8), "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16)}
    aws = {name: keys[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    with ExitStack() as stack:
        database, studies = stack.enter_context(
            beside.postgres(folder / "pg", servers, keys["database"], keys["studies"])
        )
        s3 = stack.enter_context(beside.s3(folder, servers, aws))
        tracking = stack.enter_context(beside.mlflow(folder, servers, database, s3, aws, keys))
        known = {
            **aws,
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "MLFLOW_TRACKING_USERNAME": "jobs",
            "MLFLOW_TRACKING_PASSWORD": keys["jobs"],
            "ACUTANCE_STUDIES": studies,
        }
        inside = {"RAY_AUTH_MODE": "token", "MLFLOW_TRACKING_URI": tracking, "AWS_ENDPOINT_URL": s3, **known}
        inside["AWS_DEFAULT_REGION"] = "us-east-1"
        first, address, dashboard = stack.enter_context(_ray_head(folder, head, head_cpus, inside))
        others = [
            stack.enter_context(_ray(folder, f"w{index}", host, [f"--address={address}", "--num-cpus=1"], inside))
            for index, host in enumerate(workers)
        ]
        wait_for(lambda: _nodes(dashboard, known["RAY_AUTH_TOKEN"]) == 1 + len(others), "Ray's nodes")
        yield Team(folder, dashboard, tracking, s3, known, first, others)


@contextmanager
def _ray_head(folder: Path, host: Host, cpus: int, environment: dict[str, str]) -> Iterator[tuple[Node, str, str]]:
    port, dashboard = free_port(), free_port()
    options = [
        f"--port={port}",
        f"--dashboard-host={host.address}",
        f"--dashboard-port={dashboard}",
        f"--num-cpus={cpus}",
    ]
    options += ["--head", "--ray-client-server-port", str(free_port())]
    with _ray(folder, "head", host, options, environment) as node:
        wait_for(lambda: answers(f"http://{host.address}:{dashboard}/api/version"), "Ray's dashboard")
        yield node, f"{host.address}:{port}", f"http://{host.address}:{dashboard}"


@contextmanager
def _ray(folder: Path, name: str, host: Host, options: list[str], environment: dict[str, str]) -> Iterator[Node]:
    """Start a node.

    The nodes of one machine draw their workers' ports at random, or they would draw the same; and they have folders
    of their own, or one would unpack a job's package anew where the other has it in use.
    """
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", *options]
    command += [f"--node-ip-address={host.address}", "--min-worker-port=0", "--max-worker-port=0"]
    command += [f"--temp-dir={folder}/{name}", "--object-store-memory=200000000"]
    command += ["--dashboard-agent-listen-port=0"]
    settings = {**environment, "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}
    log = folder / f"{name}.log"
    with process(command, log, host, settings) as started:
        wait_for(lambda: started.poll() is not None or b"Ray runtime started" in log.read_bytes(), f"Ray's {name}")
        if started.poll() is not None:
            raise RuntimeError(f"Ray's {name} ended: {log.read_text()[-2000:]}")
        yield Node(host, started)


def _nodes(dashboard: str, token: str) -> int:
    """Return how many nodes Ray counts."""
    request = urllib.request.Request(f"{dashboard}/nodes?view=summary", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            nodes = json.load(answer)["data"]["summary"]
    except (OSError, KeyError):
        return 0
    return sum(node["raylet"].get("state") == "ALIVE" for node in nodes)


def main() -> None:
    """Bring it up until Ctrl-C."""
    if reason := missing():
        sys.exit(f"error: {reason}")
    for each in (signal.SIGINT, signal.SIGTERM):  # a shell in the background has the first one ignored
        signal.signal(each, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="act-", dir="/tmp") as made:
        folder = Path(made)
        folder.chmod(0o755)  # Postgres runs as another user
        with team(folder) as running:
            print(f"export RAY_AUTH_MODE=token RAY_AUTH_TOKEN={running.secrets['RAY_AUTH_TOKEN']}")
            print(f"acutance jobs submit --address {running.dashboard} --storage s3://acutance/outputs -- COMMAND")
            print(f"MLflow is {running.tracking} (jobs, {running.secrets['MLFLOW_TRACKING_PASSWORD']})")
            print("Ctrl-C takes all of it down", flush=True)
            try:
                signal.pause()
            except KeyboardInterrupt:
                print("taking it down")


if __name__ == "__main__":
    main()
