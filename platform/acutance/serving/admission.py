"""Admission control: limits the requests and pixels that are handled at a time. Further requests get status 503."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

MAX_RESTORING, MAX_REQUESTS = 16, 256
"""Pictures that are decoded and restored at a time, and requests with a picture at a time."""

MAX_BYTES, MAX_PIXELS = 512_000_000, 64_000_000
"""Bytes of all bodies at a time, and pixels of all decoded pictures at a time; a single one may have more."""


class Refusal(Exception):  # noqa: N818 - an answer rather than an error
    """Ends a request with a status and a reason."""

    def __init__(self, status: int, why: str, **headers: str) -> None:
        super().__init__(why)
        self.status, self.why, self.headers = status, why, headers


@dataclass
class Admission:
    """Counts requests with pictures, so that the memory that they need is bounded.

    Attributes:
        max_restoring, max_requests, max_bytes, max_pixels: the limits.
        requests, bytes: of the requests at present.
        restoring: number of a picture that is decoded and restored at present -> its pixels.
    """

    max_restoring: int = MAX_RESTORING
    max_requests: int = MAX_REQUESTS
    max_bytes: int = MAX_BYTES
    max_pixels: int = MAX_PIXELS
    requests: int = 0
    bytes: int = 0
    restoring: dict[int, int] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @contextmanager
    def request(self) -> Iterator[Callable[[int], None]]:
        """Count a request while the block runs; yield a function that counts its bytes as they arrive.

        Raises:
            Refusal: 503, when there are too many requests or bytes.
        """
        if self.requests >= self.max_requests:
            raise _too_many()
        own_bytes = 0

        def add_bytes(count: int) -> None:
            nonlocal own_bytes
            if self.bytes + count > self.max_bytes and self.bytes > own_bytes:
                raise _too_many()
            own_bytes += count
            self.bytes += count

        self.requests += 1
        try:
            yield add_bytes
        finally:
            self.requests -= 1
            self.bytes -= own_bytes

    @asynccontextmanager
    async def restoring_slot(self, pixels: int) -> AsyncIterator[None]:
        """Wait until a picture of this size may be restored. A picture above `max_pixels` is restored alone."""

        def has_room() -> bool:
            total = sum(self.restoring.values()) + pixels
            return not self.restoring or (len(self.restoring) < self.max_restoring and total <= self.max_pixels)

        async with self.changed:
            await self.changed.wait_for(has_room)
            key = max(self.restoring, default=0) + 1
            self.restoring[key] = pixels
        try:
            yield
        finally:
            del self.restoring[key]
            async with self.changed:
                self.changed.notify_all()


def _too_many() -> Refusal:
    header = {"Retry-After": "5"}
    return Refusal(503, "too many pictures at a time; send it again later", **header)
