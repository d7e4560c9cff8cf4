"""A registry that does not answer for a while is waited for, and nothing is done twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from made_for_registry import NAME, measure, version
from mlflow import MlflowClient

from acutance.errors import UnreachableError
from acutance.registry.address import connect
from acutance.registry.promotion import history, promote, rollback
from acutance.registry.resolve import resolve_model
from acutance.storage import patience

ASKED = ("get_registered_model", "get_model_version", "search_model_versions", "log_param", "get_run", "set_tag",
         "set_registered_model_alias", "set_model_version_tag", "search_registered_models")  # fmt: skip


@pytest.fixture
def flaky() -> Iterator[Callable[[], dict[str, int]]]:
    """Have each kind of request fail twice, once it was carried out and once before; returns the counts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patience, "pauses", lambda: lambda: 0.0)

        def begin() -> dict[str, int]:
            asked = dict.fromkeys(ASKED, 0)
            for name in ASKED:
                patch.setattr(MlflowClient, name, _failing_twice(name, asked))
            return asked

        yield begin


def _failing_twice(name: str, asked: dict[str, int]) -> Callable[..., object]:
    real = getattr(MlflowClient, name)

    def request(self: MlflowClient, *arguments: object, **named: object) -> object:
        asked[name] += 1
        if asked[name] == 1:
            raise requests.ConnectionError("[Errno 111] Connection refused")
        answer = real(self, *arguments, **named)
        if asked[name] == 2:
            raise requests.ConnectionError("[Errno 104] Connection reset by peer")
        return answer

    return request


def test_promotion_and_rollback_wait_for_the_registry(
    shared: MlflowClient, shared_run: str, flaky: Callable[[], dict[str, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    connect(shared.tracking_uri.removeprefix("sqlite:///").removesuffix("/mlflow.db"))  # it has answered before
    version(shared, shared_run, 27.0)
    promote(shared, NAME, measure=measure, who="ada")
    version(shared, shared_run, 28.0)
    asked = flaky()
    assert promote(shared, NAME, measure=measure, who="ada").accepted
    assert asked["log_param"] > 2
    assert asked["set_registered_model_alias"] == 2  # carried out, though that was not answered
    rollback(shared, NAME, who="eve")
    assert [(d.number, d.outcome) for d in history(shared, NAME)] == [
        (1, "accepted"),
        (2, "accepted"),
        (3, "rolled back"),
    ]
    assert str(shared.get_model_version_by_alias(NAME, "champion").version) == "1"
    assert "the tracking server answers again" in capsys.readouterr().err


def test_a_model_is_found_after_an_outage(
    shared: MlflowClient, shared_run: str, flaky: Callable[[], dict[str, int]]
) -> None:
    storage = shared.tracking_uri.removeprefix("sqlite:///").removesuffix("/mlflow.db")
    version(shared, shared_run, 27.0)
    flaky()
    assert Path(resolve_model(f"models:/{NAME}@candidate", storage)).read_text() == "27.0"


def test_it_is_waited_for_once_however_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(patience.VARIABLE, "0.001")
    monkeypatch.setattr(patience, "is_worker", lambda: True)
    tried = []

    def away() -> None:
        tried.append(1)
        raise UnreachableError("it does not answer")

    with pytest.raises(UnreachableError, match="waited for"):
        patience.patiently("one", "one", lambda: patience.patiently("two", "two", away))
    assert 2 <= len(tried) <= 4
