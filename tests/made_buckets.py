"""Buckets of a real S3 endpoint over HTTP, which count what is asked of them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest


@dataclass
class Bucket:
    """An empty bucket of a real S3 endpoint, and the requests that reached it: method and path."""

    uri: str
    requests: list[tuple[str, str]] = field(default_factory=list)
    fault: str = ""
    failing: int = 0

    def fails(self, fault: str, times: int = 1_000_000) -> None:
        """Answer so many requests with an HTTP status and an error's code, as in `503 SlowDown`, or `cut` them off."""
        self.fault, self.failing = fault, times

    def count(self, method: str, ending: str = "") -> int:
        """Return how many requests of a method there were for keys with this ending; listings are for none."""
        return sum(m == method and path.endswith(ending) and path.count("/") > 1 for m, path in self.requests)


@contextmanager
def served() -> Iterator[Any]:
    """Run moto's server in this process."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server
    server.stop()


def name_endpoint(server: Any, patch: pytest.MonkeyPatch) -> None:
    """Name the endpoint in the environment."""
    patch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
    patch.setenv("AWS_ACCESS_KEY_ID", "test")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "test")


@contextmanager
def opened(server: Any, patch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """Make a bucket and name the endpoint in the environment."""
    import boto3

    name_endpoint(server, patch)
    found, answer = Bucket(f"s3://bucket-{uuid4().hex[:8]}"), server._server.app
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=found.uri.removeprefix("s3://"))

    def counted(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        found.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        if not found.failing:
            return answer(environ, start_response)
        found.failing -= 1
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if found.fault == "cut":
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return []
        status, code = found.fault.split()
        body = f"<Error><Code>{code}</Code><Message>as asked</Message></Error>".encode()
        start_response(f"{status} {code}", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    server._server.app = counted
    yield found
    server._server.app = answer
