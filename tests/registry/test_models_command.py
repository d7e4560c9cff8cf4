"""`acutance models ...` as it is typed, over a registry on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from made_for_registry import NAME, held, measure, version
from mlflow import MlflowClient

from acutance.registry.promotion import promote
from command_line import Done, in_this_process

Typed = Callable[..., Done]


@pytest.fixture
def typed(shared: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Runs a command over the module's store; a promotion is judged by what the tests' models say of themselves."""

    def promoted(reference: str, root: str, *, to: str, force: str, address: str | None) -> object:
        return promote(shared, reference, measure=measure, who="ada", to=to, force=force)

    monkeypatch.setattr("acutance.commands.evaluate.promote_model", promoted)
    monkeypatch.setattr("acutance.registry.provenance.getpass.getuser", lambda: "eve")

    return lambda *arguments: in_this_process("models", *arguments, MLFLOW_TRACKING_URI=shared.tracking_uri)


@pytest.fixture
def registry(shared: MlflowClient, shared_run: str) -> MlflowClient:
    """A champion, version 2, that followed version 1; and a candidate that is worse."""
    for db in (27.0, 28.0):
        version(shared, shared_run, db)
        promote(shared, NAME, measure=measure, who="ada")
    version(shared, shared_run, 26.0)
    return shared


def test_a_refusal_a_force_a_rollback_and_their_history(registry: MlflowClient, typed: Typed) -> None:
    refused = typed("promote", NAME)
    assert (refused.returncode, held(registry)) == (1, "2")
    assert refused.stdout.startswith("version 3: refused: psnr_y is worse: 29.000 -> 27.000")
    forced = typed(
        "promote", f"{NAME}@candidate", "--to", "champion", "--force", "--reason", "text is legible", "--json"
    )
    assert forced.returncode == 0
    assert {"outcome": "forced", "from": "2", "to": "3", "accepted": True}.items() <= json.loads(forced.stdout).items()
    back = typed("rollback", NAME, "--reason", "halos")
    assert back.stdout.strip() == "version 2 is the champion again, in place of 3"
    again = typed("promote", f"{NAME}/3")
    assert again.returncode == 1
    assert "by eve (halos)" in " ".join(again.stdout.split())

    told = json.loads(typed("history", NAME, "--json").stdout)
    outcomes = ["accepted", "accepted", "refused", "forced", "rolled back", "refused"]
    assert [decision["outcome"] for decision in told["decisions"]] == outcomes
    assert [decision["number"] for decision in told["decisions"]] == [1, 2, 3, 4, 5, 6]
    assert told["decisions"][3]["numbers"]["psnr_y"]["worse_by"] == 2.0
    assert told["decisions"][4].items() >= {"who": "eve", "reason": "halos", "from": "3", "to": "2"}.items()
    table = " ".join(typed("history", NAME).stdout.split())
    for text in ("version 3: forced", "2 -> 3", "version 3: rolled back", "3 -> 2", "text is legible"):
        assert text in table


def test_list_and_show(registry: MlflowClient, typed: Typed) -> None:
    assert "candidate = 3, champion = 2" in typed("list").stdout
    shown = json.loads(typed("show", NAME, "--json").stdout)["versions"]
    assert [(v["version"], v["aliases"], v["decision"]) for v in shown] == [
        ("3", ["candidate"], ""),
        ("2", ["champion"], "accepted"),
        ("1", [], "accepted"),
    ]
    assert "gate opens" in typed("show", NAME).stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--force"], "a forced promotion needs a reason"),
        (["--force", "--reason", " "], "a forced promotion needs a reason"),
        (["--reason", "because"], "a reason is for a forced promotion only"),
        (["--to", "v2"], "this cannot be an alias"),
    ],
)
def test_what_does_not_fit_is_refused(registry: MlflowClient, typed: Typed, words: list[str], told: str) -> None:
    done = typed("promote", NAME, *words)
    assert (done.returncode, held(registry)) == (2, "2")
    assert told in done.stderr


def test_an_alias_of_its_own(registry: MlflowClient, typed: Typed) -> None:
    assert typed("promote", f"{NAME}/1", "--to", "shadow").returncode == 0
    assert held(registry, "shadow") == "1"
    nothing = typed("rollback", NAME, "--alias", "shadow")
    assert nothing.returncode == 2
    assert "no version of 'sr-x2-test' was the shadow before version 1" in " ".join(nothing.stderr.split())


def test_every_command_shows_an_example(typed: Typed) -> None:
    for command in ("list", "show", "history", "promote", "rollback"):
        assert f"acutance models {command}" in " ".join(typed(command, "--help").stdout.split())
