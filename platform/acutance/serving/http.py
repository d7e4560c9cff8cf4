"""What is answered to a request: a picture for a picture, or a short reason in JSON.

Nothing is decoded that claims more than the limits, and a failure of ours is logged, not told.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import logging
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from acutance.config import limits as everywhere
from acutance.data.decode import DecodedImage, NoPictureError, PictureError, PictureTooLargeError, decode_image

log = logging.getLogger(__name__)

FORMATS = ("PNG", "JPEG", "WEBP")
PATHS = {"/": ("GET", "HEAD", "POST"), "/health": ("GET", "HEAD")}
BODY_SECONDS, FIRST_SECONDS, LEAST_RATE = 60.0, 5.0, 32_000
"""How long a body may take to arrive: so long, and after the first seconds at least so many bytes a second."""

AT_WORK, PRESENT = 16, 256
"""Pictures that are decoded at a time, and requests with one that are here at a time; those beyond come back later."""

PRESENT_BYTES, PIXELS_AT_WORK = 512_000_000, 64_000_000
"""Bytes of the bodies that are here at a time, and pixels that are decoded at a time, if there is more than one."""

NOT_A_PICTURE = {
    "multipart/": "a form came (curl -F); send the bytes of the picture themselves: curl --data-binary @photo.jpg",
    "application/json": "JSON came; send the bytes of the picture themselves: curl --data-binary @photo.jpg",
}
"""What is told of bodies whose type says that they hold a picture at most."""


@dataclass(frozen=True)
class Limits:
    """The most that a picture may have: pixels once decoded and bytes as it comes (both in millions), and seconds.

    Seconds are those from its arrival to its enlargement, waiting for others included.
    """

    megapixels: float
    megabytes: float
    seconds: float = 600.0


@dataclass
class Crowd:
    """Counts the requests that bring a picture, so that what they hold in memory is bounded.

    Attributes:
        most, most_bytes: requests and bytes of their bodies that may be present.
        present, bytes: those that are.
        working: pictures and pixels that are being decoded and enlarged.
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


@dataclass(frozen=True)
class Service:
    """What answers need.

    Attributes:
        about: told to whoever asks, JSON-like.
        token: SHA-256 of the token that requests must carry, in hexadecimal; None where they need none.
        enlarge: makes a PNG file of a picture.
    """

    about: Mapping[str, Any]
    limits: Limits
    token: str | None
    enlarge: Callable[[DecodedImage], Awaitable[bytes]]
    crowd: Crowd = field(default_factory=Crowd)


class Refusal(Exception):  # noqa: N818 - an answer rather than an error
    """A request that is answered by a reason."""

    def __init__(self, status: int, why: str, **headers: str) -> None:
        super().__init__(why)
        self.status, self.why, self.headers = status, why, headers


async def answer(request: Request, service: Service) -> Response:
    """Answer a request; nothing is raised but the cancellation by a client that went away."""
    try:
        return await _answer(request, service)
    except Refusal as refusal:
        return JSONResponse({"error": refusal.why}, refusal.status, refusal.headers)
    except Exception:
        log.exception("a request failed")
        return JSONResponse({"error": "something went wrong here"}, 500)


async def _answer(request: Request, service: Service) -> Response:
    allowed = PATHS.get(request.url.path)
    if allowed is None:
        raise Refusal(404, f"there is nothing here; there is {', '.join(PATHS)}")
    if request.method not in allowed:
        raise Refusal(405, f"{request.method} is not for {request.url.path}", Allow=", ".join(allowed))
    if request.url.path == "/health":
        return JSONResponse({"status": "ok"})
    if service.token is not None:
        _check_token(request, service.token)
    if request.method != "POST":
        return JSONResponse(dict(service.about))
    _refuse_type(request.headers.get("content-type", ""))
    with service.crowd.joined() as arrived:
        content = await _body(request, service.limits, arrived)
        return Response(await _enlarged(content, service), media_type="image/png")


async def _enlarged(content: bytes, service: Service) -> bytes:
    try:
        async with asyncio.timeout(service.limits.seconds), service.crowd.place(_pixels(content)):
            return await service.enlarge(await _picture(content, service.limits))
    except TimeoutError:
        header = {"Retry-After": "60"}
        why = f"the picture was not ready within {service.limits.seconds:g} seconds; send a smaller one, or come back"
        raise Refusal(503, why, **header) from None


def _pixels(content: bytes) -> int:
    """Return how many pixels a picture claims to have; 0 for what is none, which takes no room."""
    with warnings.catch_warnings(action="ignore"):
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                return image.width * image.height
        except Exception:
            return 0


def _refuse_type(kind: str) -> None:
    for start, why in NOT_A_PICTURE.items():
        if kind.lower().startswith(start):
            raise Refusal(415, why)


def _too_many() -> Refusal:
    header = {"Retry-After": "5"}
    return Refusal(503, "too many pictures at a time; come back later", **header)


def token_digest(token: str) -> str:
    """Return what is kept of a token: enough to check one, not to send it."""
    return hashlib.sha256(token.encode()).hexdigest()


def _check_token(request: Request, expected: str) -> None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    given = token_digest(token.strip()) if scheme.lower() == "bearer" else ""
    if not hmac.compare_digest(given, expected):
        header = {"WWW-Authenticate": "Bearer"}
        raise Refusal(401, "a token is needed: Authorization: Bearer TOKEN", **header)


async def _body(request: Request, limits: Limits, arrived: Callable[[int], None]) -> bytes:
    """Read a body; what is over the limit is read on, to twice that: who is still sending does not listen."""
    most = int(limits.megabytes * 1e6)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > 2 * most:
        raise _too_many_bytes(limits)
    parts: list[bytes] = []
    size = 0
    began = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(FIRST_SECONDS) as clock:
            async for part in request.stream():
                size += len(part)
                if size > 2 * most:
                    break
                if size <= most:
                    arrived(len(part))
                    parts.append(part)
                clock.reschedule(began + min(FIRST_SECONDS + size / LEAST_RATE, BODY_SECONDS))
    except TimeoutError:
        least = f"{LEAST_RATE // 1000} kB a second, and within {BODY_SECONDS:.0f} seconds"
        raise Refusal(408, f"the picture arrived too slowly: it must at {least}") from None
    except ClientDisconnect:
        raise Refusal(400, "the picture did not arrive as a whole") from None
    if size > most:
        raise _too_many_bytes(limits)
    return b"".join(parts)


def _too_many_bytes(limits: Limits) -> Refusal:
    return Refusal(413, f"a picture may have at most {limits.megabytes:g} megabytes")


async def _picture(content: bytes, limits: Limits) -> DecodedImage:
    if not content:
        raise Refusal(400, "a picture is missing: POST the bytes of a PNG, JPEG or WebP file")
    try:
        within = replace(everywhere.limits(), megapixels=limits.megapixels)
        return await asyncio.to_thread(decode_image, content, formats=FORMATS, within=within)
    except PictureTooLargeError as error:
        raise Refusal(413, f"this picture is too large: {error.what}") from None
    except NoPictureError:
        raise Refusal(415, "this is no picture in a known format (PNG, JPEG, WebP)") from None
    except PictureError as error:
        raise Refusal(422, f"this picture cannot be used: {error.what}") from None
