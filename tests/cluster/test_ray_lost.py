"""A Ray that is gone ends the command in our words: its own processes were killed, or their machine was."""

from __future__ import annotations

import subprocess
import sys

import pytest

from command_line import REPOSITORY, environment

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(600)]

SCRIPT = """
import os, signal, sys, threading, time
import psutil, ray
from acutance.cluster.connect import connect
from acutance.errors import LostError

def long():
    time.sleep(500)

try:
    with connect("local", num_cpus=1):
        (victim,) = [child for child in psutil.Process().children(recursive=True) if child.name() == sys.argv[1]]
        threading.Timer(2, os.kill, (victim.pid, signal.SIGKILL)).start()
        ray.get(ray.remote(long).remote())
except LostError as error:
    print(error, file=sys.stderr)
    os._exit(error.exit_code)
"""


@pytest.mark.parametrize(("killed", "said"), [("raylet", "its raylet) is gone"), ("gcs_server", "the head of the Ray")])
def test_a_killed_process_of_ray_is_told_and_the_remedy(killed: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, killed],
        cwd=REPOSITORY,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert "run the same command again" in done.stderr
