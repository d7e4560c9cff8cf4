"""Addresses of clusters, those of IPv6 as well."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator

import pytest

from acutance.cluster import client, probe, watch
from acutance.errors import UnreachableError, UserError
from acutance.training import process_group


class Dashboard(http.server.BaseHTTPRequestHandler):
    """Says that it is Ray's."""

    def do_GET(self) -> None:
        """Answer whatever is asked."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"ray_version": "2"}')

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(http.server.HTTPServer):
    address_family = socket.AF_INET6


@pytest.fixture
def dashboard() -> Iterator[str]:
    """HOST:PORT of a server at IPv6's own loopback address."""
    try:
        server = Server(("::1", 0), Dashboard)
    except OSError:
        pytest.skip("this machine has no IPv6")
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"[::1]:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("[::1]:6379", ("::1", 6379)),
        ("http://[2001:db8::7]:8265/", ("2001:db8::7", 8265)),
        ("http://[::1]", ("::1", 80)),
        ("10.0.0.7:6379", ("10.0.0.7", 6379)),
        ("head:6379", ("head", 6379)),
    ],
)
def test_an_address_is_taken_apart(address: str, parts: tuple[str, int]) -> None:
    assert probe.host_and_port(address) == parts
    assert probe.host_and_port(probe.joined(*parts)) == parts


@pytest.mark.parametrize("address", ["::1:6379", "::1", "[::1]", "[::1]:x", "head", ":6379"])
def test_what_is_no_address_is_told_how_to_write_one(address: str) -> None:
    with pytest.raises(UserError, match="no address of a Ray cluster") as caught:
        probe.host_and_port(address)
    assert "[HOST]:PORT" in str(caught.value.fix)


def test_a_cluster_of_ipv6_answers_to_whoever_asks(dashboard: str) -> None:
    probe.check_port(dashboard)
    assert probe.dashboard_answers(f"http://{dashboard}")
    assert client._client_address(dashboard) == f"http://{dashboard}"
    with pytest.raises(UnreachableError):
        probe.check_port("[::1]:1")


def test_the_head_of_a_cluster_of_ipv6_is_not_taken_for_gone(dashboard: str) -> None:
    assert watch._answers(*probe.host_and_port(dashboard))


@pytest.mark.parametrize(("host", "start"), [("2001:db8::7", "[2001:db8::7]:"), ("10.0.0.7", "10.0.0.7:")])
def test_workers_find_the_first_of_them(host: str, start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_group, "get_node_ip_address", lambda: host)
    address = process_group.open_address()
    assert address.startswith(start)
    assert probe.host_and_port(address)[1] > 0
