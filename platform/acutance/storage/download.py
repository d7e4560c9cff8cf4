"""Downloads published files: resumable, with a checksum.

The bytes that arrived are kept beside the target as `NAME.part`; the target appears only when it is complete.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import requests

from acutance.console import progress
from acutance.errors import DataError, UnreachableError
from acutance.storage.published import CHECKSUMS, checksum_of

CHUNK = 1 << 20
TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and between two pieces of the answer."""

OnProgress = Callable[[int, int | None], None]
"""Called with the bytes that arrived and the size of the file, None where the server does not send it."""


def download(url: str, target: Path, checksum: str, *, on_progress: OnProgress | None = None) -> Path:
    """Download a file to `target`, going on where an earlier attempt stopped; return `target`.

    Args:
        url: http:// or https://.
        target: of the file; an existing one is replaced by a complete one only.
        checksum: as its publisher or a mirror gives it, a kind of `CHECKSUMS`, a colon and the hexadecimal digits,
            or the first of them.
        on_progress: called for every megabyte.

    Raises:
        UnreachableError: when the server does not answer, refuses, or the connection is cut; what arrived is kept.
        DataError: for a wrong checksum (nothing is kept), or a folder that cannot be written.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _failures_named(url, target):
            _complete(url, target, part, on_progress)
        _check(url, target, part, checksum)
        os.replace(part, target)
    except OSError as error:
        raise DataError(f"{target.name} cannot be written: {error.strerror}", where=str(target.parent)) from error
    return target


def download_with_progress(url: str, target: Path, checksum: str) -> Path:
    """Download as `download` does, with a progress bar on standard error."""
    with progress(target.name, 100) as update:

        def shown(done: int, total: int | None) -> None:
            percent = 100 * done // total if total else 0
            update(percent, f"{done / 1e6:.1f} of {total / 1e6:.1f} MB" if total else f"{done / 1e6:.1f} MB")

        return download(url, target, checksum, on_progress=shown)


def _complete(url: str, target: Path, part: Path, on_progress: OnProgress | None) -> None:
    """Fetch what is missing of `part`."""
    here = part.stat().st_size if part.is_file() else 0
    with _answer(url, here) as response:
        if here and response.headers.get("Content-Range") == f"bytes */{here}":
            return None  # all of it had arrived before
        if here and not _goes_on(response, here):
            part.unlink()
            if response.status_code != HTTPStatus.OK:
                return _complete(url, target, part, on_progress)
            here = 0
        if not response.ok:
            status = f"{response.status_code} {response.reason}"
            raise UnreachableError(f"{target.name} cannot be downloaded: the server answered {status}")
        length = response.headers.get("Content-Length")
        total = here + int(length) if length and "Content-Encoding" not in response.headers else None
        with open(part, "ab") as file:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                here += len(chunk)
                if on_progress:
                    on_progress(here, total)
    if total is not None and here != total:
        raise requests.ConnectionError
    return None


def _answer(url: str, start: int) -> requests.Response:
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    return requests.get(url, headers=headers, stream=True, timeout=TIMEOUT)


def _goes_on(response: requests.Response, start: int) -> bool:
    """Return whether an answer can be appended; the caller handles failures other than a refused range."""
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        return response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
    return response.status_code not in {HTTPStatus.OK, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}


def _check(url: str, target: Path, part: Path, checksum: str) -> None:
    kind, _, digits = checksum.partition(":")
    found = checksum_of(part, kind)
    if not found.startswith(digits.lower()):
        part.unlink()
        raise DataError(
            f"what was downloaded is not the published {target.name}: its {CHECKSUMS[kind]} is {found}, not {digits}",
            where=url,
            fix=f"try again, or get the file elsewhere and put it at {target}",
        )


@contextmanager
def _failures_named(url: str, target: Path) -> Iterator[None]:
    """Raise failures with the address and what to do; the library's messages may hold a password."""
    fix = f"run the same command again to go on, or put the file at {target} by hand"
    try:
        yield
    except UnreachableError as error:
        fix = f"get the file elsewhere and put it at {target}"
        raise UnreachableError(error.what, where=url, fix=fix) from None
    except requests.Timeout:
        what = f"{target.name} cannot be downloaded: the server does not answer in time"
        raise UnreachableError(what, where=url, fix=fix) from None
    except requests.RequestException as error:
        what = f"{target.name} cannot be downloaded: no connection, or it was cut ({type(error).__name__})"
        raise UnreachableError(what, where=url, fix=fix) from None
