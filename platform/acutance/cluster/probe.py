"""Checks within seconds whether a cluster answers; Ray alone would try for two minutes, then exit."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from http.client import HTTPException
from urllib.parse import urlsplit

from acutance.errors import UnreachableError, UserError

CONNECT_SECONDS = 5
ANSWER_SECONDS = 12

START = "check the address, or start a cluster there (infra/README.md)"
PORT = "give HOST and the port of `ray start --head --port` (6379 by default), not the dashboard's"
TOKEN = "set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's token (on its head node: ~/.ray/auth_token)"

# A process of its own: Ray's client has no time limit, and prints a lot to standard error when it fails.
PROBE = """
import sys
from ray._private.services import canonicalize_bootstrap_address_or_die
from ray._raylet import GcsClient
GcsClient(address=canonicalize_bootstrap_address_or_die(sys.argv[1]))
"""


def check_port(address: str) -> None:
    """Make sure that something listens at HOST:PORT or URL.

    Raises:
        UserError: when the address has no host or port.
        UnreachableError: when nothing listens there.
    """
    host, port = host_and_port(address)
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise UnreachableError(
            f"no Ray cluster answers: {error.strerror or error}", where=address, fix=START
        ) from error


def host_and_port(address: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT or a URL; an IPv6 address is in brackets there, and is returned without.

    Raises:
        UserError: when it has no host or port.
    """
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        port = None
    if not parts.hostname or not port:
        raise UserError("this is no address of a Ray cluster", where=address, fix="give HOST:PORT; IPv6: [HOST]:PORT")
    return parts.hostname, port


def joined(host: str, port: int) -> str:
    """Return HOST:PORT; the inverse of `host_and_port`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def check_cluster(address: str) -> None:
    """Make sure that a Ray cluster answers at HOST:PORT ("auto": the one running here) and takes our token.

    Raises:
        UserError: when the address is no address.
        UnreachableError: when none answers, or it refuses us.
    """
    if address != "auto":
        check_port(address)
    command = [sys.executable, "-c", PROBE, address]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as probe:
        watchdog = threading.Timer(ANSWER_SECONDS, probe.kill)
        watchdog.start()
        refused = any("InvalidAuthToken" in line for line in probe.stderr or [])
        if refused:
            probe.kill()  # it would try again for twenty seconds
        probe.wait()
        watchdog.cancel()
    if refused:
        raise UnreachableError("the Ray cluster refuses the token or misses one", where=address, fix=TOKEN)
    if probe.returncode != 0:
        where = "auto: the one running on this machine" if address == "auto" else address
        raise UnreachableError("no Ray cluster answers", where=where, fix=PORT)


def dashboard_answers(url: str) -> bool:
    """Return whether a Ray dashboard answers at a URL, also where it refuses our token."""
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/api/version", timeout=CONNECT_SECONDS) as answer:
            return b"ray_version" in answer.read(10_000)
    except urllib.error.HTTPError as error:
        return error.code in {401, 403}
    except (OSError, ValueError, HTTPException):
        return False


def in_job() -> bool:
    """Return whether this process is the driver of a submitted Ray job."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
