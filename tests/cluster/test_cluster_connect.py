"""Connecting: a fresh Ray here, a named cluster, and every address that is none."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from made_for_cluster import Head, processes, python

from acutance.cluster import connect, probe
from acutance.errors import UnreachableError
from command_line import REPOSITORY, environment

pytestmark = pytest.mark.e2e

LOOK = """
import json, sys
from acutance.cluster.connect import connect
import ray
from ray._private import worker

def look():
    import os, platform, acutance
    print("a flood of worker output")
    return platform.__file__, acutance.__file__, os.environ.get("RAY_USAGE_STATS_ENABLED")

with connect(num_cpus=3) as cluster:
    with connect("127.0.0.1:1") as inner:  # connected already: nothing is tried
        task = ray.get(ray.remote(look).remote())
    worker.print_to_stdstream({"lines": ["a node complains"], "pid": "raylet", "is_err": False}, ignore_prefix=False)
    still = ray.is_initialized()
print(json.dumps([cluster.address, cluster.nodes, cluster.cpus, *task, still, ray.is_initialized()]))
"""


def ours(messages: str) -> str:
    """Return what was printed but for the warning about this very machine's token file."""
    return "".join(line for line in messages.splitlines(True) if "others on this machine" not in line)


def test_a_fresh_ray_starts_beside_a_running_cluster_and_stays_quiet(head: Head) -> None:
    done = python(LOOK)
    assert done.returncode == 0, done.stderr
    address, nodes, cpus, platform, code, statistics, still, after = json.loads(done.stdout)
    assert (address, nodes, cpus) == ("local", 1, 3)  # the running cluster has 2
    assert platform == sys.modules["platform"].__file__
    assert code == str(REPOSITORY / "platform" / "acutance" / "__init__.py")
    assert statistics == "0"
    assert (still, after) == (True, False)
    assert ours(done.stderr) == ""


def test_the_cluster_of_ray_address_runs_this_code_and_stays(head: Head) -> None:
    done = python(LOOK, RAY_ADDRESS=head.address)
    assert done.returncode == 0, done.stderr
    address, nodes, cpus, platform, code, statistics, still, after = json.loads(done.stdout)
    assert (address, nodes, cpus) == (head.address, 1, 2)
    assert platform == sys.modules["platform"].__file__
    assert code.startswith(str(head.folder)), "the worker ran code that was not sent to it"
    assert statistics == "0"
    assert (still, after) == (True, False)
    assert ours(done.stderr) == ""
    assert processes(int((head.folder / "head.pid").read_text()))


REFUSED = """
import json, sys, time
from acutance.cluster.connect import connect
from acutance.errors import AcutanceError

said = []
for address in sys.stdin.read().split():
    start = time.monotonic()
    try:
        with connect(address):
            said.append(["connected", 0, ""])
    except AcutanceError as error:
        said.append([type(error).__name__, error.exit_code, str(error), time.monotonic() - start])
print(json.dumps(said))
"""


def refusals(*addresses: str, **more: str) -> list[tuple[str, int, str, float]]:
    done = subprocess.run(
        [sys.executable, "-c", REFUSED],
        input=" ".join(addresses),
        cwd=REPOSITORY,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert ours(done.stderr) == ""
    return json.loads(done.stdout)


def test_addresses_where_no_cluster_answers(head: Head) -> None:
    dashboard = head.dashboard.removeprefix("http://")
    closed, client, board, url, nowhere = refusals(
        "127.0.0.1:1", "ray://127.0.0.1:1", dashboard, head.dashboard, "just-a-name"
    )
    assert closed[:2] == ["UnreachableError", 2]
    assert "127.0.0.1:1" in closed[2]
    assert "refused" in closed[2]
    assert client[:2] == ["UserError", 2]
    assert "jobs submit" in client[2]
    assert board[:2] == ["UserError", 2]
    assert "dashboard" in board[2]
    assert url[:2] == ["UserError", 2]
    assert nowhere[:2] == ["UserError", 2]
    assert "HOST:PORT" in nowhere[2]
    assert all(seconds < 5 for *_, seconds in (closed, client, board, url, nowhere))


def test_a_server_that_never_answers_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "ANSWER_SECONDS", 3)
    monkeypatch.setattr(probe, "CONNECT_SECONDS", 1)
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert not probe.dashboard_answers(f"http://{address}")
        with pytest.raises(UnreachableError, match="no Ray cluster answers") as failure:
            probe.check_cluster(address)
    assert failure.value.where == address
    assert time.monotonic() - began < 10


def test_a_wrong_token_is_refused_and_named(head: Head) -> None:
    ((kind, code, text, _),) = refusals(head.address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="wrong")
    assert (kind, code) == ("UnreachableError", 2)
    assert "token" in text
    assert "wrong" not in text


HOG = """
import time
from acutance.cluster.connect import connect
import ray

def hog():
    while True:
        pass

with connect("local", num_cpus=2):
    tasks = [ray.remote(hog).remote() for _ in range(2)]
    time.sleep(1.5)
    print("busy", flush=True)
    time.sleep(300)
"""


def test_a_killed_driver_takes_its_ray_along() -> None:
    driver = subprocess.Popen(
        [sys.executable, "-c", HOG],
        cwd=REPOSITORY,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "busy\n"
        assert sum("ray::hog" in name for name in processes(driver.pid).values()) == 2
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        limit = time.monotonic() + 30
        while (left := _working(driver.pid)) and time.monotonic() < limit:
            time.sleep(0.2)
        assert left == []
    finally:
        driver.kill()
        for pid in processes(driver.pid):
            os.kill(pid, signal.SIGKILL)


TERMINATED = """
import time
from acutance import cli
from acutance.cluster.connect import connect

def work(*_, **__):
    try:
        with connect(num_cpus=1):
            print("at work", flush=True)
            time.sleep(100)
    finally:
        print("in order", flush=True)

cli.app = work
cli.main()
"""


def test_sigterm_ends_a_command_in_order_and_in_words() -> None:
    command = subprocess.Popen(
        [sys.executable, "-c", TERMINATED],
        cwd=REPOSITORY,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert command.stdout
    assert command.stdout.readline() == "at work\n"
    time.sleep(0.5)  # a line may come twice if its writing is interrupted after the last byte
    command.terminate()
    rest, messages = command.communicate(timeout=60)
    assert (command.returncode, rest) == (143, "in order\n")
    assert ours(messages) == "ended by SIGTERM; run the same command again to go on\n"


def _working(session: int) -> list[str]:
    """Ray's two agents, which do nothing any more, try to report the loss for a minute before they end."""
    agents = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
    return [name for name in processes(session).values() if not name.startswith(agents)]


def test_sigterm_while_ray_starts_is_ours_to_answer() -> None:
    def answer(*_: object) -> None:
        raise KeyboardInterrupt

    def start() -> None:
        with connect._same_sigterm_handler():
            raise SystemExit(signal.SIGTERM)  # as Ray's own handler does

    before = signal.signal(signal.SIGTERM, answer)
    try:
        with pytest.raises(KeyboardInterrupt):
            start()
    finally:
        signal.signal(signal.SIGTERM, before)
