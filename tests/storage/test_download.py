"""Downloads from a server on this machine: whole, resumed, refused, cut, wrong."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from acutance.errors import DataError, UnreachableError
from acutance.storage.download import download
from acutance.storage.published import checksum_of
from file_server import FileServer, serving

CONTENT = random.Random(0).randbytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()
CUT = 1_200_000


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        server.files["/models/a.bin"] = CONTENT
        yield server


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "a.bin"


def left(target: Path) -> set[str]:
    return {file.name for file in target.parent.iterdir()}


def cut_once(server: FileServer, target: Path) -> UnreachableError:
    server.cut_after = CUT
    with pytest.raises(UnreachableError) as caught:
        download(f"{server.url}/models/a.bin", target, f"sha256:{SHA256}")
    return caught.value


@pytest.mark.parametrize("sha256", [SHA256, SHA256[:8], SHA256.upper()])
def test_a_file_arrives_whole_with_progress(server: FileServer, target: Path, sha256: str) -> None:
    seen: list[tuple[int, int | None]] = []
    url = f"{server.url}/models/a.bin"
    assert download(url, target, f"sha256:{sha256}", on_progress=lambda *now: seen.append(now)) == target
    assert target.read_bytes() == CONTENT
    assert left(target) == {"a.bin"}
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert len(seen) >= 3


def test_a_cut_connection_is_told_and_gone_on_with(server: FileServer, target: Path) -> None:
    error = cut_once(server, target)
    assert "cut" in error.what
    assert error.where == f"{server.url}/models/a.bin"
    assert str(target) in str(error.fix)
    assert error.exit_code == 2
    assert left(target) == {"a.bin.part"}
    here = (target.parent / "a.bin.part").stat().st_size
    assert 0 < here <= CUT
    seen: list[tuple[int, int | None]] = []
    download(f"{server.url}/models/a.bin", target, f"sha256:{SHA256}", on_progress=lambda *now: seen.append(now))
    assert server.asked[-1] == ("/models/a.bin", f"bytes={here}-")
    assert seen[0][0] > here
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert target.read_bytes() == CONTENT
    assert left(target) == {"a.bin"}


def test_a_server_without_ranges_starts_again(server: FileServer, target: Path) -> None:
    cut_once(server, target)
    server.ranges = False
    download(f"{server.url}/models/a.bin", target, f"sha256:{SHA256}")
    assert target.read_bytes() == CONTENT
    assert left(target) == {"a.bin"}


@pytest.mark.parametrize(("extra", "requests"), [(0, 1), (10, 2)])
def test_a_part_that_is_whole_is_used_and_one_too_long_is_not(
    server: FileServer, target: Path, extra: int, requests: int
) -> None:
    target.parent.mkdir()
    (target.parent / "a.bin.part").write_bytes(CONTENT + b"x" * extra)
    download(f"{server.url}/models/a.bin", target, f"sha256:{SHA256}")
    assert target.read_bytes() == CONTENT
    assert len(server.asked) == requests


def test_a_wrong_checksum_leaves_nothing(server: FileServer, target: Path) -> None:
    with pytest.raises(DataError, match="not the published") as caught:
        download(f"{server.url}/models/a.bin", target, f"sha256:{'0' * 64}")
    assert SHA256 in caught.value.what
    assert caught.value.where == f"{server.url}/models/a.bin"
    assert str(target) in str(caught.value.fix)
    assert left(target) == set()


def test_an_md5_is_checked_and_gone_on_with(server: FileServer, target: Path) -> None:
    url = f"{server.url}/models/a.bin"
    with pytest.raises(DataError, match=f"its MD5 is {MD5}, not 000"):
        download(url, target, f"md5:{'0' * 32}")
    assert left(target) == set()
    target.with_name("a.bin.part").write_bytes(CONTENT[:CUT])
    download(url, target, f"md5:{MD5}")
    assert server.asked[-1] == ("/models/a.bin", f"bytes={CUT}-")
    assert target.read_bytes() == CONTENT


def test_the_name_that_git_gives_a_file_is_a_checksum(tmp_path: Path) -> None:
    (tmp_path / "hello").write_bytes(b"hello world\n")
    assert checksum_of(tmp_path / "hello", "git") == "3b18e512dba79e4c8300dd08aeb37f8e728b8dad"  # git hash-object


def test_a_part_of_another_file_is_found_out_and_removed(server: FileServer, target: Path) -> None:
    target.parent.mkdir()
    (target.parent / "a.bin.part").write_bytes(b"x" * 1000)
    with pytest.raises(DataError, match="not the published"):
        download(f"{server.url}/models/a.bin", target, f"sha256:{SHA256}")
    assert left(target) == set()
    download(f"{server.url}/models/a.bin", target, f"sha256:{SHA256}")
    assert target.read_bytes() == CONTENT


def test_a_failure_keeps_the_file_that_is_there(server: FileServer, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"before")
    with pytest.raises(DataError):
        download(f"{server.url}/models/a.bin", target, f"sha256:{'0' * 64}")
    cut_once(server, target)
    assert target.read_bytes() == b"before"


def test_what_is_not_published_is_404(server: FileServer, target: Path) -> None:
    with pytest.raises(UnreachableError, match="404") as caught:
        download(f"{server.url}/models/b.bin", target, f"sha256:{SHA256}")
    assert str(caught.value.where).endswith("/models/b.bin")
    assert str(target) in str(caught.value.fix)
    assert left(target) == set()


def test_nothing_answers(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(UnreachableError, match="no connection") as caught:
        download("http://me:hunter2@127.0.0.1:9/a.bin?token=hunter2", target, f"sha256:{SHA256}")
    assert caught.value.where == "http://***@127.0.0.1:9/a.bin?***"
    assert "hunter2" not in str(caught.value)
    assert left(target) == set()


def test_a_folder_that_cannot_be_made_is_named(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written") as caught:
        download(f"{server.url}/models/a.bin", tmp_path / "file" / "a.bin", f"sha256:{SHA256}")
    assert caught.value.where == str(tmp_path / "file")
