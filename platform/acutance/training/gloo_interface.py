"""Which network interface workers speak over: the one that their node has its address on.

Left to itself gloo takes the address that the machine's name resolves to. Where that is 127.0.0.1, as on Debian,
workers on different machines would wait for one another in vain.
"""

from __future__ import annotations

import os

from ray.util import get_node_ip_address

VARIABLE = "GLOO_SOCKET_IFNAME"


def choose_interface() -> None:
    """Have gloo in this process use the interface of the node's own address; what the user has set stays.

    To be called in a worker before it enters the process group.
    """
    name = interface_of(get_node_ip_address())
    if name:
        os.environ.setdefault(VARIABLE, name)


def interface_of(address: str) -> str | None:
    """Return the name of the interface that has an IP address, None where none has."""
    import psutil

    interfaces = psutil.net_if_addrs().items()
    return next((name for name, each in interfaces if address in {one.address for one in each}), None)
