"""Hosts of their own on one machine: network namespaces that a bridge joins, each with an address and an interface."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from cluster_up_process import Host

INTERFACES = ("eth0", "ens5", "net1", "lan2")
"""Each host calls its interface otherwise: none of these names may matter."""


def missing_for_hosts() -> str | None:
    """Return why there can be no namespaces here, None where there can."""
    if os.getuid() != 0:
        return "network namespaces need root"
    if not shutil.which("ip"):
        return "ip is not installed: apt-get install iproute2"
    try:
        with hosts(1):
            return None
    except subprocess.CalledProcessError as error:
        return f"this machine makes no network namespaces: {error.stderr.strip()}"


@contextmanager
def hosts(count: int) -> Iterator[tuple[Host, list[Host]]]:
    """Make hosts; give this machine's own place on their network, and them. They are gone when the block ends."""
    mark, network = secrets.token_hex(2), f"10.{random.randint(64, 250)}.{random.randint(1, 250)}"
    bridge = f"acr{mark}"
    with ExitStack() as stack:
        _ip("link", "add", bridge, "type", "bridge")
        stack.callback(_ip, "link", "delete", bridge)
        _ip("address", "add", f"{network}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        made = []
        for index in range(count):
            name, interface = f"{bridge}-{index}", INTERFACES[index % len(INTERFACES)]
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "delete", name)
            made.append(_join(name, interface, f"v{mark}{index}", bridge, network, index + 2))
        yield Host(f"{network}.1"), made


def _join(name: str, interface: str, link: str, bridge: str, network: str, number: int) -> Host:
    _ip("link", "add", link, "type", "veth", "peer", "name", interface, "netns", name)
    _ip("link", "set", link, "master", bridge, "up")
    _ip("-n", name, "address", "add", f"{network}.{number}/24", "dev", interface)
    for each in ("lo", interface):
        _ip("-n", name, "link", "set", each, "up")
    _ip("-n", name, "route", "add", "default", "via", f"{network}.1")
    return Host(f"{network}.{number}", ("ip", "netns", "exec", name))


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
