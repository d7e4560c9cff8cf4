"""Submitted jobs on a real head: code and settings that arrive, logs, failures, Ctrl-C, stopping."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from made_for_cluster import Head, processes
from ray.experimental import internal_kv

from acutance.cluster import jobs
from acutance.cluster.client import client_of
from acutance.cluster.job_environment import environment
from acutance.cluster.package import Package, build
from acutance.cluster.tokens import token_file
from acutance.errors import UnreachableError, UserError
from command_line import REPOSITORY

pytestmark = pytest.mark.e2e

PROBE = """
import json, os, platform, sys
from pathlib import Path
import acutance
from acutance.cluster.connect import connect

def look():
    import os, platform, acutance
    return [platform.__file__, acutance.__file__, os.environ["ACUTANCE_STORAGE"]]

with connect() as cluster:
    import ray
    task = ray.get(ray.remote(look).remote())
files = sorted(path.as_posix() for path in Path(".").rglob("*") if path.is_file())
driver = [platform.__file__, acutance.__file__, os.environ["ACUTANCE_STORAGE"]]
print("found " + json.dumps({"driver": driver, "task": task, "files": files, "cpus": cluster.cpus, "args": sys.argv}))
"""


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)


def start(head: Head, entrypoint: str, folder: Path) -> str:
    client, _ = client_of(head.dashboard)
    return jobs.submit_entrypoint(client, entrypoint, folder, environment("outputs"))


def test_a_job_runs_the_code_it_brought_and_platform_is_the_standard_library(head: Head, tmp_path: Path) -> None:
    package = build(["run", "pipelines/quickstart.yaml"], REPOSITORY, tmp_path)
    (tmp_path / "probe.py").write_text(PROBE)
    lines: list[str] = []
    job = jobs.watch(head.dashboard, start(head, "python probe.py 'a b'", tmp_path), lines.append)
    assert (job.status, job.exit_code, job.driver_exit_code) == ("SUCCEEDED", 0, 0), "\n".join(lines)
    found = json.loads(next(line for line in lines if line.startswith("found ")).removeprefix("found "))
    for platform, code, storage in (found["driver"], found["task"]):
        assert platform == sys.modules["platform"].__file__
        assert code.startswith(str(head.folder))
        assert code.endswith("/platform/acutance/__init__.py")
        assert storage == str(Path("outputs").absolute())
    sent = {name for name in found["files"] if "__pycache__" not in name}
    assert sent == {"probe.py", *(name for name, _ in package.files)}
    assert (found["cpus"], found["args"]) == (2, ["probe.py", "a b"])


def test_submit_says_what_goes_along_and_runs_our_command(head: Head) -> None:
    shown: list[Package] = []
    lines: list[str] = []
    job_id = jobs.submit(
        ["--help"],
        address=head.dashboard,
        storage="s3://bucket/outputs",
        working_dir=REPOSITORY,
        on_package=shown.append,
    )
    job = jobs.watch(head.dashboard, job_id, lines.append)
    assert (job.status, job.command) == ("SUCCEEDED", "--help"), "\n".join(lines)
    assert any("Usage: " in line for line in lines)
    assert 10_000 < shown[0].size < 5_000_000
    assert ("pipelines/quickstart.yaml", (REPOSITORY / "pipelines/quickstart.yaml").stat().st_size) in shown[0].files


def test_a_failed_job_keeps_its_log_and_exits_with_1(head: Head, tmp_path: Path) -> None:
    (tmp_path / "fail.py").write_text("print('so far so good'); raise SystemExit(3)")
    lines: list[str] = []
    job = jobs.watch(head.dashboard, job_id := start(head, "python fail.py", tmp_path), lines.append)
    assert "so far so good" in lines
    assert (job.status, job.exit_code, job.driver_exit_code) == ("FAILED", 1, 3)
    assert job.message == "Job entrypoint command failed with exit code 3"
    assert job.started is not None
    assert job.ended is not None
    assert time.time() - 60 < job.started < job.ended
    assert "so far so good" in list(jobs.logs(head.address, job_id))  # by the cluster's own address this time
    assert jobs.listing(head.dashboard)[0] == jobs.status(head.dashboard.removeprefix("http://"), job_id) == job
    with pytest.raises(UserError, match=f"did you mean {job_id}") as unknown:
        jobs.status(head.dashboard, job_id[:-2] + "xx")
    assert not isinstance(unknown.value, UnreachableError)
    with pytest.raises(UserError, match=r"it knows .*raysubmit"):
        list(jobs.logs(head.dashboard, "quite-different", follow=True))


def test_ctrl_c_leaves_a_job_running_and_stop_ends_it_with_its_tasks(head: Head, tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text(
        "import ray, time\nray.init(log_to_driver=False)\n"
        "def endless():\n    while True: time.sleep(1)\n"
        "task = ray.remote(endless).remote(); time.sleep(1); print('up', flush=True); ray.get(task)"
    )
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        if line == "up":  # as if the user pressed Ctrl-C a moment later, while nothing comes
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()

    job = jobs.watch(head.dashboard, job_id := start(head, "python long.py", tmp_path), on_line)
    assert (job.status, job.exit_code) == ("RUNNING", 0)
    back = f"acutance jobs logs {job_id} --follow --address {head.dashboard}"
    assert lines[-1] == f"the job goes on; follow it with: {back}"
    leader = int((head.folder / "head.pid").read_text())
    limit = time.monotonic() + 60
    while not any("ray::endless" in name for name in processes(leader).values()) and time.monotonic() < limit:
        time.sleep(0.2)
    assert any("ray::endless" in name for name in processes(leader).values())
    stopped = jobs.stop(head.dashboard, job_id)
    assert (stopped.status, stopped.exit_code) == ("STOPPED", 1)
    limit = time.monotonic() + 20
    while any("ray::endless" in name for name in processes(leader).values()) and time.monotonic() < limit:
        time.sleep(0.2)
    assert not any("ray::endless" in name for name in processes(leader).values())
    assert jobs.stop(head.dashboard, job_id) == stopped


def test_a_stopped_job_gets_time_to_write_a_checkpoint(head: Head, tmp_path: Path) -> None:
    written = tmp_path / "checkpoint"
    (tmp_path / "train.py").write_text(
        "import pathlib, signal, sys, time\n"
        f"def end(*_): time.sleep(5); pathlib.Path({str(written)!r}).write_text('all'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('up', flush=True)\n"
        "while True: time.sleep(0.1)"
    )
    job_id = start(head, "python train.py", tmp_path)
    next(line for line in jobs.logs(head.dashboard, job_id, follow=True) if line == "up")
    assert jobs.stop(head.dashboard, job_id).status == "STOPPED"
    assert written.read_text() == "all"


@pytest.mark.parametrize(
    ("address", "kind", "said"),
    [
        ("http://127.0.0.1:1", UnreachableError, "Connection refused"),
        ("127.0.0.1:1", UnreachableError, "Connection refused"),
        ("ray://127.0.0.1:1", UserError, "http://HOST:8265"),
        ("just-a-name", UserError, "HOST:PORT"),
        ("http://user:pass@127.0.0.1:1", UnreachableError, "http://***@127.0.0.1:1"),
        (None, UserError, "needs a running Ray cluster"),
        ("local", UserError, "needs a running Ray cluster"),
    ],
)
def test_addresses_where_no_job_can_go(address: str | None, kind: type[UserError], said: str) -> None:
    began = time.monotonic()
    with pytest.raises(kind) as failure:
        jobs.listing(address)
    assert said in str(failure.value)
    assert "pass" not in str(failure.value).replace("password", "")
    assert failure.value.exit_code == 2
    assert time.monotonic() - began < 6


def test_looking_for_jobs_leaves_no_connection_to_the_cluster_behind(head: Head) -> None:
    before = internal_kv.global_gcs_client
    client_of(head.address)
    assert internal_kv.global_gcs_client is before


def test_the_given_address_wins_over_ray_address(head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert isinstance(jobs.listing(head.dashboard), list)
    assert os.environ["RAY_ADDRESS"] == "127.0.0.1:1"
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1"):
        jobs.listing(None)


def test_a_cluster_url_of_another_kind_of_server(head: Head) -> None:
    with pytest.raises(UnreachableError, match="no Ray dashboard"):
        jobs.listing(f"http://{head.address}")


def test_the_script_keeps_the_token_and_its_files_private(head: Head) -> None:
    assert head.folder.stat().st_mode & 0o777 == 0o700
    pid = (head.folder / "head.pid").read_text().strip()
    assert f"kill {pid}" in head.printed
    assert head.dashboard in head.printed
    assert f"asks for the token, which lies in {token_file()}" in head.printed
    assert processes(int(pid))
