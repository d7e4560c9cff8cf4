"""What one process at a time does: who has it, who may take it over, and who finds out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from acutance.errors import ConfigError, LostError
from acutance.process import this_process
from acutance.storage import lease, lease_stores
from acutance.storage.lease import Lease, LeaseStore, exclusive
from acutance.storage.lease_stores import lease_store
from acutance.tuning.study import open_storage, open_study
from acutance.tuning.study_lock import InStudy
from made_buckets import Bucket

KINDS = ["file", "bucket", "database", "journal"]


@pytest.fixture
def somewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], LeaseStore]:
    """The same place of a sign, seen as by processes of their own."""
    kind = request.param
    if kind == "bucket":
        bucket: Bucket = request.getfixturevalue("bucket")
        return lambda: lease_store(f"{bucket.uri}/a/lease.json")
    if kind == "file":
        return lambda: lease_store(str(tmp_path / "a" / "lease.json"))
    address = f"sqlite:///{tmp_path}/studies.db" if kind == "database" else str(tmp_path / "studies.journal")
    goal: Any = SimpleNamespace(goal="maximize", name="psnr")
    return lambda: InStudy(open_study(open_storage(address), "s", [goal]))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said; seconds are hundredths."""
    announced: list[str] = []
    monkeypatch.setattr(lease, "say", announced.append)
    monkeypatch.setattr(lease, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.05)
    return announced


@pytest.mark.parametrize("somewhere", KINDS, indirect=True)
def test_of_those_that_begin_together_one_gets_it(somewhere: Callable[[], LeaseStore]) -> None:
    together, got = threading.Barrier(4), list[Lease]()
    lease_stores = [somewhere() for _ in range(4)]

    def acquire(where: LeaseStore) -> None:
        mine = Lease(where, "it")
        together.wait()
        if mine.acquire() is None:
            got.append(mine)

    threads = [threading.Thread(target=acquire, args=(each,)) for each in lease_stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    got[0].release()
    assert Lease(somewhere(), "it").acquire() is None


@pytest.mark.parametrize("somewhere", KINDS, indirect=True)
def test_who_was_stopped_finds_out_that_another_one_has_it(
    somewhere: Callable[[], LeaseStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Lease(somewhere(), "the run"), Lease(somewhere(), "the run")
    assert first.acquire() is None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + lease.STALE_SECONDS + 2)
    assert second.acquire() is None
    first.renewed -= 62
    assert not first.held()
    with pytest.raises(LostError, match=r"the run was taken over by process \d+ on \S+, since 20.*stood still"):
        first.require()
    first.release()
    assert second.held()
    second.renewed -= 62
    assert second.held(), "renewing it, and the end of the other one, leave it where it is"


def test_a_store_without_such_exchanges_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    announced: list[str] = []
    monkeypatch.setattr(lease_stores, "say", announced.append)
    for uri in ("gs://first/a/lease.json", "gs://first/b/lease.json", "abfs://box@second/lease.json", "s3://c/d"):
        lease_store(uri)
    assert [text.partition(" ")[0] for text in announced] == ["gs://first", "abfs://box@second"]


def test_a_second_one_is_told_who_where_and_since_when(tmp_path: Path) -> None:
    where = lease_store(str(tmp_path / "lease.json"))
    words = r"this campaign is running already: process \d+ on \S+, since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d"
    with (
        exclusive(where, "this campaign", "s"),
        pytest.raises(ConfigError, match=words),
        exclusive(where, "this campaign", ""),
    ):
        pass
    assert not (tmp_path / "lease.json").exists()


@pytest.mark.parametrize(
    ("process", "heartbeat", "free"),
    [("elsewhere 1 2", -30, False), ("elsewhere 1 2", -90, True), ("", -30, False), ("dead", 0, True)],
)
def test_who_is_dead_gives_way(tmp_path: Path, process: str, heartbeat: float, free: bool) -> None:
    dead = this_process() + "1"
    record = {"id": "x", "process": dead if process == "dead" else process, "machine": "m", "pid": 1, "since": 0.0}
    where = lease_store(str(tmp_path / "lease.json"))
    assert where.compare_and_swap(None, {**record, "heartbeat": time.time() + heartbeat})
    assert (Lease(where, "it").acquire() is None) == free


def test_the_one_that_waits_goes_on_when_the_other_ends(tmp_path: Path, quick: list[str]) -> None:
    where, began = lease_store(str(tmp_path / "lease.json")), threading.Event()
    order: list[str] = []

    def other() -> None:
        with exclusive(where, "it", ""):
            began.set()
            time.sleep(0.1)
            order.append("other")

    thread = threading.Thread(target=other)
    thread.start()
    began.wait()
    with exclusive(where, "it", "", until=lambda: False):
        order.append("this")
    thread.join()
    assert order == ["other", "this"]
    assert len(quick) == 1
    assert quick[0].startswith("it is under way already: process ")


def test_one_that_waits_goes_on_when_nothing_is_left_to_do(tmp_path: Path, quick: list[str]) -> None:
    where = lease_store(str(tmp_path / "lease.json"))
    with exclusive(where, "it", "") as mine:
        with exclusive(where, "it", "", until=lambda: True) as none:
            assert none.held()
        assert mine.held()


def test_the_work_of_one_that_has_lost_it_is_interrupted(tmp_path: Path, quick: list[str]) -> None:
    where: Any = lease_store(str(tmp_path / "lease.json"))
    began, other = time.monotonic(), {"id": "y", "process": "", "machine": "m", "pid": 7, "since": 0.0}

    def work() -> None:
        with exclusive(where, "it", ""):
            where.compare_and_swap(where.read(), {**other, "heartbeat": time.time()})
            time.sleep(20)

    with pytest.raises(LostError, match="taken over"):
        work()
    assert time.monotonic() - began < 10
    assert where.read()["pid"] == 7
