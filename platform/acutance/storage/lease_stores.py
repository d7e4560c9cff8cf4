"""Stores of lease records beside outputs: a local file, or an object of a bucket."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import IO, Any, TypeVar

from acutance import storage
from acutance.console import say
from acutance.storage.disk import written_to
from acutance.storage.lease import LeaseRecord, LeaseStore
from acutance.storage.lock import lock
from acutance.storage.patience import patiently

Result = TypeVar("Result")


def lease_store(uri: str) -> LeaseStore:
    """Return the store of a lease record at a path or at the URI of an object."""
    if not storage.is_remote(uri):
        return LocalFile(Path(uri))
    if uri.startswith("s3://"):
        return S3Object(uri)
    _warn_no_condition("/".join(uri.split("/")[:3]))
    return StoredFile(uri)


@cache
def _warn_no_condition(store: str) -> None:
    say(
        f"{store} has no conditional writes: two processes that begin the same work within a second may both do "
        "it; start one at a time"
    )


class LocalFile:
    """A file that is locked while it is read or written; it exists as long as the lease is held."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> LeaseRecord | None:
        """Return the record."""
        try:
            with open(self.path) as file:
                lock(file, shared=True)
                return _record_of(file.read())
        except FileNotFoundError:
            return None

    def compare_and_swap(self, old: LeaseRecord | None, new: LeaseRecord | None) -> bool:
        """Replace the record atomically."""
        with written_to(self.path), self._locked() as file:
            if _record_of(file.read()) != old:
                return False
            file.truncate(0)
            if new is None:
                self.path.unlink()
            else:
                file.write(json.dumps(new))
            return True

    @contextmanager
    def _locked(self) -> Iterator[IO[str]]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            with open(self.path, "a+") as file:
                lock(file)
                if not self.path.exists() or os.fstat(file.fileno()).st_ino != self.path.stat().st_ino:
                    continue  # the holder ended and removed this very file
                file.seek(0)
                yield file
                return


class S3Object:
    """An object that is written on the condition that it did not change since it was read."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.bucket, _, self.key = uri.removeprefix("s3://").partition("/")

    def read(self) -> LeaseRecord | None:
        """Return the record."""
        return self._read()[0]

    def compare_and_swap(self, old: LeaseRecord | None, new: LeaseRecord | None) -> bool:
        """Replace the record atomically; an empty object stands for none."""
        current, version = self._read()
        if current != old:
            return False
        condition = {"IfMatch": version} if version else {"IfNoneMatch": "*"}
        body = json.dumps(new).encode() if new else b""
        return self._with_patience(lambda: self._put(body, condition))

    def _put(self, body: bytes, condition: dict[str, str]) -> bool:
        from botocore.exceptions import ClientError

        try:
            self._client.put_object(Bucket=self.bucket, Key=self.key, Body=body, **condition)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] in (404, 409, 412):
                return False
            raise
        return True

    def _read(self) -> tuple[LeaseRecord | None, str]:
        """Return the record and the ETag of the object, empty where there is no object."""
        from botocore.exceptions import ClientError

        def read() -> tuple[LeaseRecord | None, str]:
            try:
                found = self._client.get_object(Bucket=self.bucket, Key=self.key)
                return _record_of(found["Body"].read().decode()), str(found["ETag"])
            except ClientError as error:
                if error.response["Error"]["Code"] != "NoSuchKey":
                    raise
                return None, ""

        return self._with_patience(read)

    def _with_patience(self, attempt: Callable[[], Result]) -> Result:
        def named() -> Result:
            with storage.s3_errors(self.uri):
                return attempt()

        store = f"s3://{self.bucket}"
        return patiently(f"the storage {store}", store, named)

    @cached_property
    def _client(self) -> Any:
        return storage.s3_client()


class StoredFile:
    """A file of another object store, gs:// or abfs://.

    pyarrow has no conditional writes there (these stores have: `ifGenerationMatch`, `If-None-Match`). Two processes
    that begin within the same second may both get the lease, until the first of them renews it.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def read(self) -> LeaseRecord | None:
        """Return the record."""
        return _record_of(storage.read_bytes(self.uri).decode()) if storage.exists(self.uri) else None

    def compare_and_swap(self, old: LeaseRecord | None, new: LeaseRecord | None) -> bool:
        """Replace the record; not atomic."""
        if self.read() != old:
            return False
        if new is None:
            storage.delete(self.uri)
        else:
            storage.write_bytes(self.uri, json.dumps(new).encode())
        return True


def _record_of(text: str) -> LeaseRecord | None:
    """Return the record of a text; None for an incomplete text, whose process was killed while it wrote."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
