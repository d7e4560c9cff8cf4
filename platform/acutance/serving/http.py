"""What is answered to a request: a picture for a picture, or a short reason in JSON.

Nothing is decoded that claims more than the limits, and a failure of ours is logged, not told.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from acutance import limits as everywhere
from acutance.data.layers import Layers, NoPictureError, PictureError, PictureTooLargeError, read_layers

log = logging.getLogger(__name__)

FORMATS = ("PNG", "JPEG", "WEBP")
PATHS = {"/": ("GET", "HEAD", "POST"), "/health": ("GET", "HEAD")}
BODY_SECONDS = 60.0
"""How long a body may take to arrive."""

AT_WORK, PRESENT = 16, 256
"""Pictures that are decoded at a time, and requests with one that are here at a time; those beyond come back later."""


@dataclass(frozen=True)
class Limits:
    """The most that a picture may have: pixels once decoded, bytes as it comes (both in millions)."""

    megapixels: float
    megabytes: float


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
    enlarge: Callable[[Layers], Awaitable[bytes]]
    crowd: Crowd = field(default_factory=lambda: Crowd(AT_WORK, PRESENT))


class Crowd:
    """Counts the requests that bring a picture, so that what they hold in memory is bounded."""

    def __init__(self, at_work: int, most: int) -> None:
        self.places, self.present, self.most = asyncio.Semaphore(at_work), 0, most

    def __enter__(self) -> None:
        if self.present >= self.most:
            header = {"Retry-After": "5"}
            raise Refusal(503, "too many pictures at a time; come back later", **header)
        self.present += 1

    def __exit__(self, *_: object) -> None:
        self.present -= 1


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
    with service.crowd:
        content = await _body(request, service.limits)
        async with service.crowd.places:
            enlarged = await service.enlarge(await _picture(content, service.limits))
    return Response(enlarged, media_type="image/png")


def token_digest(token: str) -> str:
    """Return what is kept of a token: enough to check one, not to send it."""
    return hashlib.sha256(token.encode()).hexdigest()


def _check_token(request: Request, expected: str) -> None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    given = token_digest(token.strip()) if scheme.lower() == "bearer" else ""
    if not hmac.compare_digest(given, expected):
        header = {"WWW-Authenticate": "Bearer"}
        raise Refusal(401, "a token is needed: Authorization: Bearer TOKEN", **header)


async def _body(request: Request, limits: Limits) -> bytes:
    """Read a body; what is over the limit is read on, to twice that: who is still sending does not listen."""
    most = int(limits.megabytes * 1e6)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > 2 * most:
        raise _too_many_bytes(limits)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > 2 * most:
                    break
                if size <= most:
                    parts.append(part)
    except TimeoutError:
        raise Refusal(408, f"the picture did not arrive within {BODY_SECONDS:.0f} seconds") from None
    except ClientDisconnect:
        raise Refusal(400, "the picture did not arrive as a whole") from None
    if size > most:
        raise _too_many_bytes(limits)
    return b"".join(parts)


def _too_many_bytes(limits: Limits) -> Refusal:
    return Refusal(413, f"a picture may have at most {limits.megabytes:g} megabytes")


async def _picture(content: bytes, limits: Limits) -> Layers:
    if not content:
        raise Refusal(400, "a picture is missing: POST the bytes of a PNG, JPEG or WebP file")
    try:
        within = replace(everywhere.limits(), megapixels=limits.megapixels)
        return await asyncio.to_thread(read_layers, content, formats=FORMATS, within=within)
    except PictureTooLargeError as error:
        raise Refusal(413, f"this picture is too large: {error.what}") from None
    except NoPictureError:
        raise Refusal(415, "this is no picture in a known format (PNG, JPEG, WebP)") from None
    except PictureError as error:
        raise Refusal(422, f"this picture cannot be used: {error.what}") from None
