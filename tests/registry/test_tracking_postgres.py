"""Tracking and promotions over a server with Postgres."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_at_once import at_once, write_twice
from made_for_registry import held, one_story, version
from made_for_servers import free_port, mlflow_server, postgres
from mlflow import MlflowClient

from acutance.registry.address import connect
from acutance.registry.spool import Spool
from acutance.registry.tracking import StageTracker, pipeline_run

pytestmark = [pytest.mark.e2e, pytest.mark.long]


class Restarting:
    """A tracking server over Postgres that can be stopped and started at the same address."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder, self.database, self.port = folder, database, free_port()
        self.start()

    def start(self) -> None:
        self.running = mlflow_server(self.port, self.folder, self.database, str(self.folder / "artifacts"))
        self.address = self.running.__enter__()

    def stop(self) -> None:
        self.running.__exit__(None, None, None)


@pytest.fixture(scope="module")
def over_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restarting]:
    with postgres() as database:
        server = Restarting(tmp_path_factory.mktemp("server"), database)
        yield server
        server.stop()


@pytest.fixture
def client(over_postgres: Restarting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", over_postgres.address)
    return connect(str(tmp_path))


def test_processes_write_at_once_and_go_on_after_a_kill(client: MlflowClient, tmp_path: Path) -> None:
    write_twice(client, str(tmp_path))


def test_twenty_promotions_at_once_tell_one_story(client: MlflowClient, tmp_path: Path) -> None:
    run = pipeline_run(client, "restorers", "promotions", "e" * 16)
    for db in range(10):
        version(client, run, 20.0 + db)
    assert len(at_once("promote", 20, str(tmp_path))) == 20
    one_story(client)
    assert held(client) == "10"


def test_a_server_that_is_started_again_loses_nothing(
    client: MlflowClient, over_postgres: Restarting, tmp_path: Path
) -> None:
    run = pipeline_run(client, "restorers", "restarted", "f" * 16)
    tracker, down = Spool(StageTracker(client.tracking_uri, run), str(tmp_path)), threading.Event()

    def train() -> None:
        for step in range(30):
            if step == 10:
                down.wait(60)
            tracker.metrics([(step, {"loss": float(step)})])
        tracker.close()

    training = threading.Thread(target=train)
    training.start()
    over_postgres.stop()
    down.set()
    over_postgres.start()
    training.join(timeout=300)
    assert [entry.step for entry in client.get_metric_history(run, "loss")] == list(range(30))
