"""Files in a folder or under s3://, written whole or not at all.

A URI is a local path or `s3://bucket/key`. S3 credentials and the endpoint (`AWS_ENDPOINT_URL`) come from the
environment alone.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs

from acutance.errors import UnreachableError, UserError


def is_remote(uri: str) -> bool:
    """Tell whether a URI names something other than a local path."""
    return "://" in uri


def join(uri: str, *parts: str) -> str:
    """Append path parts to a URI."""
    return "/".join([uri.rstrip("/"), *parts])


def filesystem(uri: str) -> tuple[pafs.FileSystem, str]:
    """Return the filesystem of a URI and the path inside it.

    Raises:
        UserError: for a scheme nobody knows.
    """
    if not is_remote(uri):
        return pafs.LocalFileSystem(), str(Path(uri).absolute())
    if not uri.startswith("s3://"):
        raise UserError("unknown storage scheme", where=uri, fix="use a folder or s3://bucket/prefix")
    if "endpoint_override" in uri or "@" in uri.split("/")[2]:
        raise UserError(
            "a storage address may not carry credentials or an endpoint",
            where=uri.split("?", maxsplit=1)[0].rsplit("@", maxsplit=1)[-1],
            fix="set AWS_ENDPOINT_URL and AWS_ACCESS_KEY_ID/AWS_SECRET_ACCESS_KEY in the environment",
        )
    remote = pafs.S3FileSystem(
        endpoint_override=os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None,
        region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        connect_timeout=5,
        request_timeout=60,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=3),
    )
    return remote, uri.removeprefix("s3://")


def exists(uri: str) -> bool:
    """Tell whether a file or folder is there."""
    fs, path = filesystem(uri)
    with _reachable(uri):
        return fs.get_file_info(path).type != pafs.FileType.NotFound


def read_bytes(uri: str) -> bytes:
    """Return a whole file.

    Raises:
        FileNotFoundError: when it is not there.
    """
    fs, path = filesystem(uri)
    with _reachable(uri), fs.open_input_stream(path) as stream:
        return stream.read()


def write_bytes(uri: str, content: bytes) -> None:
    """Write a whole file so that a reader sees the old one or the new one, never a part.

    Locally: a temporary file beside it, fsync, rename. On S3 an object appears when its upload is complete.
    """
    fs, path = filesystem(uri)
    if is_remote(uri):
        with _reachable(uri), fs.open_output_stream(path) as stream:
            stream.write(content)
        return
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def read_json(uri: str) -> Any:
    """Return the content of a JSON file."""
    return json.loads(read_bytes(uri))


def write_json(uri: str, content: Any) -> None:
    """Write a JSON file, whole or not at all."""
    write_bytes(uri, json.dumps(content, indent=2, sort_keys=True).encode() + b"\n")


def names(uri: str) -> list[str]:
    """Return the sorted names inside a folder; an absent folder is empty. Temporary files are left out."""
    fs, path = filesystem(uri)
    with _reachable(uri):
        found = fs.get_file_info(pafs.FileSelector(path, allow_not_found=True))
    return sorted(info.base_name for info in found if not info.base_name.endswith(".tmp"))


def delete(uri: str) -> None:
    """Delete a file or a folder with all it holds; nothing happens when it is not there."""
    fs, path = filesystem(uri)
    if not is_remote(uri):
        shutil.rmtree(path) if Path(path).is_dir() else Path(path).unlink(missing_ok=True)
        return
    with _reachable(uri):
        kind = fs.get_file_info(path).type
        if kind == pafs.FileType.Directory:
            fs.delete_dir(path)
        elif kind == pafs.FileType.File:
            fs.delete_file(path)


class _reachable:  # noqa: N801 - reads as a word in a with statement
    """Turns a network failure of a remote storage into an error that names it."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, OSError) and is_remote(self.uri) and not isinstance(error, FileNotFoundError):
            raise UnreachableError(
                f"the storage does not answer: {str(error).splitlines()[0][:200]}",
                where=self.uri,
                fix="check the bucket's name, AWS_ENDPOINT_URL and the credentials in the environment",
            ) from error
