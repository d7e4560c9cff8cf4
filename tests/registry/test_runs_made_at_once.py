"""Two processes that make a run for the same work at the same moment end with one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlflow import MlflowClient

from acutance.registry.runs import one_run


class Server:
    """MLflow as a server may be: the file lock is of no use, and others write in between."""

    tracking_uri = "http://a.test"

    def __init__(self, client: MlflowClient, **meanwhile: Callable[[], Any]) -> None:
        self.client, self.meanwhile = client, meanwhile

    def __getattr__(self, name: str) -> Any:
        self.meanwhile.pop(name, lambda: None)()
        return getattr(self.client, name)


def test_of_runs_made_at_once_all_processes_choose_the_same(module_client: MlflowClient, shared_run: str) -> None:
    client = module_client
    place = client.get_run(shared_run).info.experiment_id

    def found(server: Any) -> str:
        return str(one_run(server, place, "found", key_tags).info.run_id)

    def left() -> list[str]:
        runs = client.search_runs([place], f"tags.`acutance.fingerprint` = '{key_tags['acutance.fingerprint']}'")
        return [run.info.run_id for run in runs]

    chosen: list[str] = []
    key_tags = {"acutance.fingerprint": "neither saw what the other made"}
    second = Server(client, create_run=lambda: chosen.append(found(Server(client))))
    assert [found(second)] == chosen == left()

    key_tags = {"acutance.fingerprint": "an older one that the other did not see"}
    chosen = [found(Server(client))]
    client.create_run(place, start_time=1, tags=key_tags)
    assert [found(Server(client))] == chosen == left()

    key_tags = {"acutance.fingerprint": "the other chose while this one was about to rule it out"}
    client.create_run(place, start_time=1, tags=key_tags)
    chosen = [client.create_run(place, tags=key_tags).info.run_id]
    third = Server(client, log_param=lambda: client.log_param(chosen[0], "acutance.chosen", "yes"))
    assert [found(third)] == chosen == left()
