"""How many pictures may be here at a time; who comes when there is no room is told to come back later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

AT_WORK, PRESENT = 16, 256
"""Pictures that are decoded at a time, and requests with one that are here at a time; those beyond come back later."""

PRESENT_BYTES, PIXELS_AT_WORK = 512_000_000, 64_000_000
"""Bytes of the bodies that are here at a time, and pixels that are decoded at a time, if there is more than one."""


class Refusal(Exception):  # noqa: N818 - an answer rather than an error
    """A request that is answered by a reason."""

    def __init__(self, status: int, why: str, **headers: str) -> None:
        super().__init__(why)
        self.status, self.why, self.headers = status, why, headers


@dataclass
class Crowd:
    """Counts the requests that bring a picture, so that what they hold in memory is bounded.

    Attributes:
        most, most_bytes: requests and bytes of their bodies that may be present.
        present, bytes: those that are.
        working: pictures and pixels that are being decoded and restored.
    """

    at_work: int = AT_WORK
    most: int = PRESENT
    most_bytes: int = PRESENT_BYTES
    most_pixels: int = PIXELS_AT_WORK
    present: int = 0
    bytes: int = 0
    working: dict[int, int] = field(default_factory=dict)
    left: asyncio.Condition = field(default_factory=asyncio.Condition)

    @contextmanager
    def joined(self) -> Iterator[Callable[[int], None]]:
        """Count a request for the length of a `with` block; yields what counts its bytes as they arrive."""
        if self.present >= self.most:
            raise _too_many()
        mine = 0

        def arrived(count: int) -> None:
            nonlocal mine
            if self.bytes + count > self.most_bytes and self.bytes > mine:
                raise _too_many()
            mine += count
            self.bytes += count

        self.present += 1
        try:
            yield arrived
        finally:
            self.present -= 1
            self.bytes -= mine

    @asynccontextmanager
    async def place(self, pixels: int) -> AsyncIterator[None]:
        """Wait until there is room for so many pixels; a picture that is larger than all room has it alone."""

        def room() -> bool:
            taken = sum(self.working.values())
            return not self.working or (len(self.working) < self.at_work and taken + pixels <= self.most_pixels)

        async with self.left:
            await self.left.wait_for(room)
            key = max(self.working, default=0) + 1
            self.working[key] = pixels
        try:
            yield
        finally:
            del self.working[key]
            async with self.left:
                self.left.notify_all()


def _too_many() -> Refusal:
    header = {"Retry-After": "5"}
    return Refusal(503, "too many pictures at a time; come back later", **header)
