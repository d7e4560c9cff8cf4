"""Promotions over a real `mlflow server`, eight of them at the same moment."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from made_at_once import at_once
from made_for_registry import NAME, held, measure, one_story, version
from made_for_servers import Server

from acutance.registry.address import connect
from acutance.registry.promotion import history, promote, rollback
from acutance.registry.tracking import pipeline_run

pytestmark = pytest.mark.e2e

PROMOTIONS = 8
"""Twenty are made over Postgres, see test_tracking_postgres."""


def test_eight_promotions_at_once_tell_one_story(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    client = connect(str(tmp_path))
    run = pipeline_run(client, "restorers", "promotions", "e" * 16)
    qualities = random.Random(0).sample(range(20, 30), PROMOTIONS // 2)
    for db in qualities:
        version(client, run, float(db))
    worst = str(qualities.index(min(qualities)) + 1)
    promote(client, f"{NAME}/{worst}", measure=measure, who="cron")  # so that there is one to go back to
    said = at_once("promote", PROMOTIONS, str(tmp_path))
    assert len(said) == PROMOTIONS

    decisions = one_story(client)
    assert Counter(d.outcome for d in decisions).keys() <= {"accepted", "refused"}
    champions = [int(d.after) for d in decisions if d.outcome == "accepted"]
    assert [qualities[number - 1] for number in champions] == sorted(qualities[number - 1] for number in champions)
    best = str(qualities.index(max(qualities)) + 1)
    assert held(client) == best
    for decision in decisions:  # each against the champion that it really met
        if decision.before:
            numbers = decision.numbers["psnr_y"]
            assert numbers["champion"] == qualities[int(decision.before) - 1] + 1
            assert numbers["candidate"] == qualities[int(decision.version) - 1] + 1
    assert {d["number"]: d["outcome"] for d in said if d["number"]} == {d.number: d.outcome for d in decisions[1:]}
    assert {d["outcome"] for d in said if not d["number"]} <= {"unchanged"}

    assert rollback(client, NAME, who="ada").after == str(champions[-2])
    assert promote(client, f"{NAME}/{best}", measure=measure, who="cron").outcome == "refused"
    assert len(history(client, NAME)) == len(decisions) + 2
