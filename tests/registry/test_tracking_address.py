from __future__ import annotations

import contextlib
import http.server
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from acutance.errors import RefusedError, UnreachableError, UserError
from acutance.registry.address import CHECK, connect, tracking_uri


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def http_server(status: int) -> Iterator[int]:
    """A server that answers every request with one status and a page of its own."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_default_is_a_database_in_the_storage(tmp_path: Path) -> None:
    assert tracking_uri(str(tmp_path)) == f"sqlite:///{tmp_path}/mlflow.db"


def test_given_address_wins_over_any_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")
    assert tracking_uri("s3://bucket/prefix") == "http://mlflow.example:5000"


def test_remote_storage_asks_for_a_server() -> None:
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI"):
        tracking_uri("s3://bucket/prefix")


def test_relative_database_is_the_same_file_in_every_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///my.db")
    assert tracking_uri("outputs") == f"sqlite:///{tmp_path}/my.db"


@pytest.mark.parametrize("address", ["file:///tmp/mlruns", "./mlruns", "/tmp/mlruns"])
def test_plain_folder_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(UserError, match="plain folder"):
        tracking_uri("outputs")


def test_folder_that_sqlite_addresses_cannot_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="%"):
        connect(str(tmp_path / "50%"))
    assert not (tmp_path / "50%").exists()


def test_closed_port_is_unreachable_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{closed_port()}")
    started = time.monotonic()
    with pytest.raises(UnreachableError, match="does not answer: connection refused") as caught:
        connect("outputs")
    assert time.monotonic() - started < 10
    assert caught.value.exit_code == 2
    assert "secret" not in str(caught.value)
    assert not set(CHECK) & set(os.environ)


def test_server_that_accepts_and_says_nothing_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert int(CHECK["MLFLOW_HTTP_REQUEST_TIMEOUT"]) <= 10
        monkeypatch.setitem(CHECK, "MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        started = time.monotonic()
        with pytest.raises(UnreachableError, match="does not answer"):
            connect("outputs")
    assert time.monotonic() - started < 5


def test_unknown_host_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.invalid:5000")
    with pytest.raises(UnreachableError, match="does not answer"):
        connect("outputs")


@pytest.mark.parametrize(
    ("status", "kind", "complaint"),
    [
        (404, UnreachableError, "no MLflow server"),
        (200, UnreachableError, "no MLflow server"),
        (401, RefusedError, "refuses"),
    ],
)
def test_server_of_another_kind(
    monkeypatch: pytest.MonkeyPatch, status: int, kind: type[UserError], complaint: str
) -> None:
    with http_server(status) as port:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        with pytest.raises(kind, match=complaint):
            connect("outputs")


def test_unknown_scheme_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "gopher://me:secret@host/x")
    with pytest.raises(UnreachableError, match="cannot be used") as caught:
        connect("outputs")
    assert "secret" not in str(caught.value)


def test_file_that_is_no_database_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"not a database" * 1000)
    started = time.monotonic()
    with pytest.raises(UnreachableError, match=r"mlflow\.db"):
        connect(str(tmp_path))
    assert time.monotonic() - started < 5


def test_storage_that_cannot_be_made_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file, not a folder")
    with pytest.raises(UnreachableError, match="outputs"):
        connect(str(tmp_path / "outputs"))
