"""Short outages of a store are waited for and said; what is refused, or never answered, is an error at once."""

from __future__ import annotations

import random
import time

import pytest

from acutance import storage
from acutance.errors import RefusedError, UnreachableError, UserError
from acutance.storage import objects, patience
from made_buckets import Bucket


@pytest.fixture(autouse=True)
def _one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3's client tries once, and half a minute is waited for."""
    monkeypatch.setenv(patience.VARIABLE, "0.5")
    patient = objects.pafs.AwsStandardS3RetryStrategy
    monkeypatch.setattr(objects.pafs, "AwsStandardS3RetryStrategy", lambda max_attempts: patient(max_attempts=1))


@pytest.mark.parametrize("fault", ["503 SlowDown", "500 InternalError", "cut"])
def test_every_call_survives_some_seconds_of_a_stores_errors(bucket: Bucket, said: list[str], fault: str) -> None:
    uri = f"{bucket.uri}/a/b.bin"
    storage.write_bytes(uri, b"old")
    calls = (
        lambda: storage.write_bytes(uri, b"new"),
        lambda: storage.read_bytes(uri),
        lambda: storage.names(f"{bucket.uri}/a"),
        lambda: storage.exists(uri),
        lambda: storage.delete(uri),
    )
    results = []
    for call in calls:
        bucket.fails(fault, times=2)
        results.append(call())
    assert results == [None, b"new", ["b.bin"], True, None]
    assert not storage.exists(uri)
    began, ended = said[0::2], said[1::2]
    assert len(began) == len(ended) == 5
    assert began[0].startswith(f"the storage {bucket.uri} does not answer (")
    assert began[0].endswith("waiting, up to 30 s")
    assert ended[0].startswith(f"the storage {bucket.uri} answers again, after ")


def test_patience_ends_and_says_how_long_it_lasted(
    bucket: Bucket, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.exists(bucket.uri)
    monkeypatch.setenv(patience.VARIABLE, "0.02")
    bucket.fails("503 SlowDown")
    began = time.monotonic()
    with pytest.raises(UnreachableError, match=r"SLOW_DOWN.*\(waited for 1 s\)"):
        storage.names(bucket.uri)
    assert 1 < time.monotonic() - began < 6
    with pytest.raises(UnreachableError, match=r"waited for 1 s"):
        storage.names(bucket.uri)
    assert len(said) == 2, "each outage is said once"


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("403 AccessDenied", "ACCESS_DENIED"),
        ("403 InvalidAccessKeyId", "INVALID_ACCESS_KEY_ID"),
        ("400 ExpiredToken", "ExpiredToken"),
        ("404 NoSuchBucket", "NO_SUCH_BUCKET"),
    ],
)
def test_what_is_refused_is_called_by_its_name_at_once(bucket: Bucket, said: list[str], fault: str, name: str) -> None:
    storage.exists(bucket.uri)
    bucket.fails(fault)
    began = time.monotonic()
    with pytest.raises(RefusedError, match=name):
        storage.write_bytes(f"{bucket.uri}/a", b"1")
    assert time.monotonic() - began < 3
    assert not said


def test_the_first_contact_is_not_waited_for(bucket: Bucket, said: list[str]) -> None:
    bucket.fails("503 SlowDown")
    with pytest.raises(UnreachableError, match=r"503"):
        storage.exists(bucket.uri)
    assert not said


def test_what_comes_back_and_refuses_is_told_and_a_later_outage_is_said_again(said: list[str]) -> None:
    patience._targets.answered.add("a")
    answers: list[Exception | None] = [
        None,
        UnreachableError("away"),
        RefusedError("expired"),
        UnreachableError("away"),
    ]

    def attempt() -> str:
        if answer := answers.pop():
            raise answer
        return "well"

    with pytest.raises(RefusedError, match="expired"):
        patience.patiently("it", "a", attempt)
    assert patience.patiently("it", "a", attempt) == "well"
    assert [text.partition(" (")[0] for text in said] == [
        "it does not answer",
        "it does not answer",
        "it answers again, after 0 s",
    ]


def test_waiting_draws_none_of_the_trainings_random_numbers(said: list[str]) -> None:
    patience._targets.answered.add("a")
    failures = [UnreachableError("gone")] * 3

    def attempt() -> int:
        if failures:
            raise failures.pop()
        return 1

    random.seed(5)
    before = random.getstate()
    assert patience.patiently("it", "a", attempt) == 1
    assert random.getstate() == before


def test_the_limit_is_a_number_of_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(patience.VARIABLE, raising=False)
    assert patience.limit() == 600
    monkeypatch.setenv(patience.VARIABLE, "ten")
    with pytest.raises(UserError, match="'ten' is no number of minutes"):
        patience.limit()
