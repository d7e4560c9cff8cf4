"""Registered models as they are listed: all of them, whatever they are called."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partialmethod

import pytest
from mlflow import MlflowClient

from acutance.errors import ModelError
from acutance.registry.resolve import registered, versions_of
from acutance.registry.versions import is_recorded, listing


@pytest.fixture
def crowded(shared: MlflowClient, shared_run: str) -> Iterator[MlflowClient]:
    """A registry of more models than MLflow tells at once, which here are two; some of them with an apostrophe."""
    for name in ("model-1", "model-2", "model-3", "ada's model", 'ada\'s "best" model'):
        shared.create_registered_model(name)
    for name in ("model-3", "ada's model", "ada's model", 'ada\'s "best" model'):
        shared.create_model_version(name, "there", shared_run)
    two_a_page = partialmethod(MlflowClient.search_registered_models, max_results=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MlflowClient, "search_registered_models", two_a_page)
        yield shared


def test_models_beyond_the_first_page_and_with_any_name(crowded: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    search = MlflowClient.search_model_versions
    monkeypatch.setattr(
        MlflowClient, "search_model_versions", lambda self, *a, **k: asked.append("") or search(self, *a, **k)
    )
    counts = {model.name: model.versions for model in listing(crowded)}
    assert counts == {'ada\'s "best" model': 1, "ada's model": 2, "model-1": 0, "model-2": 0, "model-3": 1}
    assert len(asked) == 1, "one question for all models"
    for name, number in counts.items():
        assert len(versions_of(crowded, name)) == number


def test_a_slip_of_the_pen_is_compared_with_all_names(crowded: MlflowClient) -> None:
    with pytest.raises(ModelError, match="did you mean 'model-3'"):
        registered(crowded, "modle-3")


def test_what_was_recorded_and_is_gone_is_not_there(shared: MlflowClient, shared_run: str) -> None:
    shared.create_registered_model("gone")
    number = str(shared.create_model_version("gone", "there", shared_run).version)
    assert is_recorded(shared, shared_run, ("gone", number))
    assert not is_recorded(shared, "0" * 32, None), "a run of another database"
    shared.delete_model_version("gone", number)
    assert not is_recorded(shared, shared_run, ("gone", number))
    assert is_recorded(shared, shared_run, None)
