from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from acutance import storage, weights
from acutance.config.metrics import METRICS
from acutance.errors import WeightsError
from acutance.evaluation.metrics import unavailable
from acutance.weights import KNOWN, fetch_weights, find_weights, other_than_published
from file_server import FileServer, serving
from made_buckets import Bucket

NAME = "niqe_pris_params.npz"


@pytest.mark.parametrize("below", ["", "metrics", "weights"])
@pytest.mark.usefixtures("no_weights")
def test_a_named_folder_is_searched_one_level_deep(below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "second" / below / NAME
    file.parent.mkdir(parents=True)
    file.touch()
    monkeypatch.setenv("ACUTANCE_WEIGHTS", os.pathsep.join([str(tmp_path / "first"), str(tmp_path / "second")]))
    assert find_weights(NAME) == file


@pytest.mark.usefixtures("no_weights")
def test_files_in_a_bucket_are_copied_once_a_machine(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write_bytes(f"{bucket.uri}/metrics/{NAME}", CONTENT)
    monkeypatch.setenv("ACUTANCE_WEIGHTS", os.pathsep.join([str(tmp_path / "first"), f"{bucket.uri}/none", bucket.uri]))
    copy = find_weights(NAME)
    assert (copy.name, copy.read_bytes()) == (NAME, CONTENT)
    assert copy.is_relative_to(tmp_path / CACHE)
    assert bucket.count("GET", NAME) == 1

    weights._here.cache_clear()  # as in another process
    assert find_weights(NAME) == copy
    assert bucket.count("GET", NAME) == 1
    for content in (CONTENT[:-1], b"x" + CONTENT[1:]):
        copy.write_bytes(content)
        weights._here.cache_clear()
        assert find_weights(NAME).read_bytes() == CONTENT
    assert [file.name for file in (tmp_path / CACHE).rglob("*") if file.is_file()] == [NAME]
    storage.write_bytes(f"{bucket.uri}/metrics/{NAME}", CONTENT + b"more")
    assert find_weights(NAME).read_bytes() == CONTENT + b"more"


@pytest.mark.usefixtures("no_weights")
def test_named_folder_then_torch_cache_then_own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = ["named", "torch/hub/checkpoints", ".cache/acutance/weights"]
    monkeypatch.setenv("ACUTANCE_WEIGHTS", str(tmp_path / "named"))
    for place in reversed(places):
        file = tmp_path / place / NAME
        file.parent.mkdir(parents=True)
        file.touch()
        assert find_weights(NAME) == file


@pytest.mark.usefixtures("no_weights")
def test_a_missing_file_is_named_with_its_place_and_source(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        find_weights(NAME)
    message = str(caught.value)
    assert NAME in message
    assert str(tmp_path / "torch" / "hub" / "checkpoints") in message
    assert "BasicSR" in message
    assert "ACUTANCE_WEIGHTS" in message
    assert caught.value.exit_code == 2


@pytest.mark.usefixtures("no_weights")
def test_metrics_without_their_files_are_unavailable_with_the_reason() -> None:
    missing = unavailable(METRICS)
    assert set(missing) == {name for name, metric in METRICS.items() if metric.requires}
    assert all(METRICS[name].requires[0] in reason for name, reason in missing.items())


@pytest.mark.usefixtures("weights")
def test_metrics_with_their_files_are_available() -> None:
    assert unavailable(["niqe", "lpips_squeeze", "psnr_y"]) == {}


def test_every_requirement_says_where_it_is_published() -> None:
    assert {file for metric in METRICS.values() for file in metric.requires} <= set(KNOWN)


CONTENT = b"parameters" * 1000
CACHE = Path(".cache/acutance/weights")


@pytest.fixture
def published(no_weights: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server on this machine stands in for the place where the NIQE parameters are published."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        server.files[f"/{NAME}"] = CONTENT
        there = replace(
            KNOWN[NAME], url=f"{server.url}/{NAME}", checksum=f"sha256:{hashlib.sha256(CONTENT).hexdigest()[:8]}"
        )
        monkeypatch.setitem(KNOWN, NAME, there)
        yield server


def test_a_file_that_is_nowhere_is_downloaded_when_asked_for(published: FileServer, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=f"acutance data fetch {NAME}"):
        find_weights(NAME)
    assert unavailable(["niqe"])
    assert published.asked == []
    assert fetch_weights(NAME) == tmp_path / CACHE / NAME
    assert find_weights(NAME).read_bytes() == CONTENT
    assert fetch_weights(NAME) == tmp_path / CACHE / NAME
    assert len(published.asked) == 1


def test_a_file_that_is_here_is_not_downloaded(
    published: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / NAME).touch()
    monkeypatch.setenv("ACUTANCE_WEIGHTS", str(tmp_path))
    assert fetch_weights(NAME) == tmp_path / NAME
    assert published.asked == []


def test_a_failed_download_says_where_to_put_the_file_and_where_it_is_published(
    published: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = {
        "404": {"url": f"{published.url}/gone.npz"},
        "no connection": {"url": f"http://127.0.0.1:9/{NAME}"},
        "not the published": {"checksum": "sha256:00000000"},
    }
    for message, wrong in failures.items():
        with monkeypatch.context() as once:
            once.setitem(KNOWN, NAME, replace(KNOWN[NAME], **wrong))
            with pytest.raises(WeightsError, match=message) as caught:
                fetch_weights(NAME)
        assert NAME in caught.value.what
        assert "127.0.0.1" in str(caught.value.where)
        assert str(tmp_path / CACHE / NAME) in str(caught.value.fix)
        assert "BasicSR" in str(caught.value.fix)
        assert list((tmp_path / CACHE).iterdir()) == []


@pytest.mark.usefixtures("no_weights")
def test_another_file_than_the_published_one_is_taken_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content, said = b"published", f"{NAME}: another file than the one published under this name"
    known = replace(KNOWN[NAME], checksum=f"sha256:{hashlib.sha256(content).hexdigest()[:8]}")
    monkeypatch.setitem(KNOWN, NAME, known)
    monkeypatch.setenv("ACUTANCE_WEIGHTS", str(tmp_path))
    file = tmp_path / NAME
    file.write_bytes(content)
    assert (find_weights(NAME), other_than_published(file)) == (file, "")
    assert said not in capsys.readouterr().err
    file.write_bytes(content + b"!")
    assert (find_weights(NAME), find_weights(NAME), other_than_published(file)) == (file, file, said)
    assert "".join(capsys.readouterr().err.split()).count("".join(said.split())) == 1
