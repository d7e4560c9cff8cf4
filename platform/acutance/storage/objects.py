"""Reads and writes files in folders and object stores by URI; writes are atomic.

A URI is a local path, `s3://bucket/key`, or an address of another object store that pyarrow knows: `gs://bucket/key`,
`abfs://container@account/key`. Credentials, and the endpoint of S3 (`AWS_ENDPOINT_URL`), come from the environment
alone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

import pyarrow.fs as pafs

from acutance.errors import RefusedError, UnreachableError, UserError
from acutance.storage.checksum import verified_note, with_checksum
from acutance.storage.disk import written_to
from acutance.storage.patience import patiently

SCHEMES = ("s3", "gs", "abfs", "abfss")

REFUSALS = re.compile(
    r"ACCESS_DENIED|NO_SUCH_BUCKET|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|INVALID_SIGNATURE|"
    r"INVALID_CLIENT_TOKEN_ID|MISSING_AUTHENTICATION_TOKEN|OPT_IN_REQUIRED|REQUEST_EXPIRED|REQUEST_TIME_TOO_SKEWED|ExpiredToken\w*|"
    r"InvalidToken|TokenRefreshRequired|AuthorizationHeaderMalformed|HTTP status 40[013]|anonymous caller|"
    r"Permission denied|AuthenticationFailed|ContainerNotFound|RESOURCE_NOT_FOUND",
    re.IGNORECASE,
)
"""Errors of a store that trying again does not change: rights, keys, tokens, names."""

Result = TypeVar("Result")


def is_remote(uri: str) -> bool:
    """Return whether a URI names something other than a local path."""
    return "://" in uri


def join(uri: str, *parts: str) -> str:
    """Append path parts to a URI; "." stands for the URI itself."""
    return "/".join([uri.rstrip("/"), *(part for part in parts if part != ".")])


def filesystem(uri: str) -> tuple[pafs.FileSystem, str]:
    """Return the filesystem of a URI and the path inside it.

    Raises:
        UserError: for an unknown scheme.
    """
    if not is_remote(uri):
        return pafs.LocalFileSystem(), str(Path(uri).absolute())
    scheme = uri.partition("://")[0]
    if scheme not in SCHEMES:
        raise UserError("unknown storage scheme", where=uri, fix="use a folder or s3://bucket/prefix")
    account = uri.split("/")[2].rpartition("@")[0]  # Azure writes container@account
    if "?" in uri or (account and not scheme.startswith("abfs")) or ":" in account:
        raise UserError(
            "a storage address may not carry credentials or an endpoint",
            where=uri,
            fix="set AWS_ENDPOINT_URL and AWS_ACCESS_KEY_ID/AWS_SECRET_ACCESS_KEY in the environment",
        )
    if scheme != "s3":
        other, path = pafs.FileSystem.from_uri(uri)
        return other, path
    remote = pafs.S3FileSystem(
        endpoint_override=os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None,
        region=_region(),
        connect_timeout=5,
        request_timeout=60,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=3),
    )
    return remote, uri.removeprefix("s3://")


def s3_client() -> Any:
    """Return a client of the S3 API, for operations that pyarrow lacks; use it within `s3_errors`."""
    import boto3

    return boto3.client("s3", region_name=_region())


@contextmanager
def s3_errors(uri: str) -> Iterator[None]:
    """Turn the failures of `s3_client` into errors that name the store.

    Raises:
        UnreachableError: when it does not answer.
        RefusedError: when it answers and refuses.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise _complaint(str(error), uri) from error


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def exists(uri: str) -> bool:
    """Return whether a file or folder is there."""
    fs, path = filesystem(uri)
    return _asked(uri, lambda: fs.get_file_info(path).type != pafs.FileType.NotFound)


def read_bytes(uri: str) -> bytes:
    """Return a whole file.

    Raises:
        FileNotFoundError: when it is not there.
    """

    def read() -> bytes:
        with open_file(uri) as file:
            return file.read()

    return _asked(uri, read)


@contextmanager
def open_file(uri: str) -> Iterator[IO[bytes]]:
    """Open a file for reading at any position; each read of a remote file is one request, which is not retried.

    Raises:
        FileNotFoundError: when it is not there.
    """
    if not is_remote(uri):
        with open(uri, "rb") as local:
            yield local
        return
    fs, path = filesystem(uri)
    # Not a stream, which reads ahead in pieces of 256 KiB, each a request.
    with _named(uri), fs.open_input_file(path) as file:
        yield file


def write_bytes(uri: str, content: bytes | bytearray) -> None:
    """Write a whole file so that a reader sees the old one or the new one, never a part.

    Locally: a temporary file beside it, fsync, rename. On S3 an object appears when its upload is complete.

    Raises:
        FullError: when there is no room.
        RefusedError: when it may not be written.
    """
    fs, path = filesystem(uri)
    if is_remote(uri):

        def write() -> None:
            with fs.open_output_stream(path) as stream:
                stream.write(content)

        _asked(uri, write)
        return
    with written_to(path, len(content)):
        _write_locally(Path(path), content)


def _write_locally(target: Path, content: bytes | bytearray) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")  # short: target.name plus a suffix may be too long
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def read_json(uri: str) -> dict[str, Any]:
    """Return the content of a JSON note that `write_json` wrote.

    Raises:
        FileNotFoundError: when it is not there.
        DamagedError: when its checksum is wrong.
    """
    return verified_note(read_bytes(uri), uri)


def write_json(uri: str, content: Mapping[Any, Any]) -> None:
    """Write a JSON note with its checksum, whole or not at all."""
    write_bytes(uri, json.dumps(with_checksum(content), indent=2, sort_keys=True).encode() + b"\n")


def names(uri: str) -> list[str]:
    """Return the sorted names inside a folder; an absent folder is empty. Temporary files are left out."""
    fs, path = filesystem(uri)
    found = _asked(uri, lambda: fs.get_file_info(pafs.FileSelector(path, allow_not_found=True)))
    return sorted(info.base_name for info in found if not info.base_name.endswith(".tmp"))


def folders(uri: str) -> list[str]:
    """Return the sorted names of the folders inside a folder; an absent folder holds none."""
    fs, path = filesystem(uri)
    found = _asked(uri, lambda: fs.get_file_info(pafs.FileSelector(path, allow_not_found=True)))
    return sorted(info.base_name for info in found if info.type == pafs.FileType.Directory)


def is_folder(uri: str) -> bool:
    """Return whether there is a folder, or in an object store anything below a prefix."""
    if not is_remote(uri):
        return Path(uri).is_dir()
    fs, path = filesystem(uri)
    return _asked(uri, lambda: fs.get_file_info(path).type == pafs.FileType.Directory)


def files(uri: str) -> list[str]:
    """Return the URIs of all files in a folder and the folders below it, sorted; links to folders are not followed."""
    if not is_remote(uri):
        below = (os.path.join(folder, name) for folder, _, held in os.walk(uri) for name in held)
        return sorted(path for path in below if os.path.isfile(path))
    fs, path = filesystem(uri)
    found = _asked(uri, lambda: fs.get_file_info(pafs.FileSelector(path, allow_not_found=True, recursive=True)))
    keys = (info.path.removeprefix(f"{path}/") for info in found if info.type == pafs.FileType.File)
    return sorted(join(uri, key) for key in keys)


def count_folder_links(uri: str) -> int:
    """Return how many links to folders `files` did not follow."""
    if is_remote(uri):
        return 0
    return sum(os.path.islink(os.path.join(folder, name)) for folder, held, _ in os.walk(uri) for name in held)


class State(NamedTuple):
    """The state of a file, which changes with its content; known without reading it.

    Attributes:
        stamp: changes with the content; for a local file, its times of modification and of change.
        modified: the later of them, in seconds since 1970.
    """

    size: int
    stamp: str
    modified: float


def states(uris: Iterable[str]) -> dict[str, State]:
    """Return the states of the files that exist; in an object store by one listing for each folder."""
    found: dict[str, State] = {}
    folders: dict[str, list[str]] = {}
    for uri in uris:
        if is_remote(uri):
            folders.setdefault(uri.rpartition("/")[0], []).append(uri)
        elif os.path.isfile(uri):
            status = os.stat(uri)
            stamp = f"{status.st_mtime_ns} {status.st_ctime_ns}"  # the second also for `touch -r` and `mv`
            found[uri] = State(status.st_size, stamp, max(status.st_mtime, status.st_ctime))
    for folder, held in folders.items():
        there = _listed_states(folder, held)
        found |= {uri: there[uri] for uri in held if uri in there}
    return found


def _listed_states(folder: str, held: list[str]) -> dict[str, State]:
    fs, path = filesystem(folder)
    wanted = pafs.FileSelector(path, allow_not_found=True) if len(held) > 1 else [filesystem(held[0])[1]]
    found = _asked(folder, lambda: fs.get_file_info(wanted))
    infos = [info for info in found if info.type == pafs.FileType.File]
    return {join(folder, info.base_name): State(info.size, str(info.mtime_ns), info.mtime_ns / 1e9) for info in infos}


def tree(uri: str) -> dict[str, State]:
    """Return the states of all files in a folder and those below it; in an object store by one listing."""
    if not is_remote(uri):
        return states(files(uri))
    fs, path = filesystem(uri)
    found = _asked(uri, lambda: fs.get_file_info(pafs.FileSelector(path, allow_not_found=True, recursive=True)))
    return {
        join(uri, info.path.removeprefix(f"{path}/")): State(info.size, str(info.mtime_ns), info.mtime_ns / 1e9)
        for info in found
        if info.type == pafs.FileType.File
    }


def delete(uri: str) -> None:
    """Delete a file, or a folder with its content, if it exists."""
    fs, path = filesystem(uri)
    if not is_remote(uri):
        shutil.rmtree(path) if Path(path).is_dir() else Path(path).unlink(missing_ok=True)
        return

    def remove() -> None:
        kind = fs.get_file_info(path).type
        if kind == pafs.FileType.Directory:
            fs.delete_dir(path)
        elif kind == pafs.FileType.File:
            fs.delete_file(path)

    _asked(uri, remove)


def _asked(uri: str, attempt: Callable[[], Result]) -> Result:
    """Return what an attempt returns, after waiting for a remote store that answered before (see `patience`).

    Raises:
        UnreachableError: when it does not answer.
        RefusedError: when it answers and refuses.
    """
    if not is_remote(uri):
        return attempt()

    def named() -> Result:
        with _named(uri):
            return attempt()

    store = "/".join(uri.split("/")[:3])
    return patiently(f"the storage {store}", store, named)


@contextmanager
def _named(uri: str) -> Iterator[None]:
    """Turn failures of a remote store into errors that name it."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if not is_remote(uri):
            raise
        line = str(error).splitlines()[0][:400]
        raise _complaint(line.partition("AWS Error ")[2] or line, uri) from error


def _complaint(what: str, uri: str) -> UserError:
    if REFUSALS.search(what):
        fix = "check the bucket's name and the credentials in the environment: are they right, and not expired?"
        return RefusedError(f"the storage refuses: {what}", where=uri, fix=fix)
    fix = "check AWS_ENDPOINT_URL and the network"
    return UnreachableError(f"the storage does not answer: {what}", where=uri, fix=fix)
