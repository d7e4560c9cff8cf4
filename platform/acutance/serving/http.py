"""What is answered to a request: a picture for a picture, or a short reason in JSON; /docs is the page of all that.

Nothing is decoded that claims more than the limits, and a failure of ours is logged, not told.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import logging
import warnings
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from PIL import Image
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from acutance.config import limits as everywhere
from acutance.data.decode import DecodedImage, NoPictureError, PictureError, PictureTooLargeError, decode_image
from acutance.serving.crowd import Crowd, Refusal

log = logging.getLogger(__name__)

FORMATS = ("PNG", "JPEG", "WEBP")
BODY_SECONDS, FIRST_SECONDS, LEAST_RATE = 60.0, 5.0, 32_000
"""How long a body may take to arrive: so long, and after the first seconds at least so many bytes a second."""

NOT_A_PICTURE = {
    "multipart/": "a form came (curl -F); send the bytes of the picture themselves: curl --data-binary @photo.jpg",
    "application/json": "JSON came; send the bytes of the picture themselves: curl --data-binary @photo.jpg",
}
"""What is told of bodies whose type says that they hold a picture at most."""


@dataclass(frozen=True)
class Limits:
    """The most that a picture may have: pixels once decoded and bytes as it comes (both in millions), and seconds.

    Seconds are those from its arrival to its restoration, waiting for others included.
    """

    megapixels: float
    megabytes: float
    seconds: float = 600.0


@dataclass(frozen=True)
class Service:
    """What answers need.

    Attributes:
        about: told to whoever asks, JSON-like.
        token: SHA-256 of the token that requests must carry, in hexadecimal; None where they need none.
        restore: makes a PNG file of a picture.
    """

    about: Mapping[str, Any]
    limits: Limits
    token: str | None
    restore: Callable[[DecodedImage], Awaitable[bytes]]
    crowd: Crowd = field(default_factory=Crowd)


class Reason(BaseModel):
    """Why a request is not answered by a picture."""

    error: str


PICTURE: dict[str, Any] = {"type": "string", "format": "binary"}
BODY = {"required": True, "content": {f"image/{form.lower()}": {"schema": PICTURE} for form in FORMATS}}
REASONS: dict[int | str, dict[str, Any]] = {
    400: {"model": Reason, "description": "no picture, or a part of one"},
    401: {"model": Reason, "description": "a token is needed"},
    408: {"model": Reason, "description": "the picture arrives too slowly"},
    413: {"model": Reason, "description": "too many bytes or pixels"},
    415: {"model": Reason, "description": "no picture in a known format"},
    422: {"model": Reason, "description": "a picture that cannot be used"},
    503: {"model": Reason, "description": "too many pictures at a time, or not ready in time; see Retry-After"},
}


def app_of(service: Service) -> FastAPI:
    """Return the application that answers requests; errors are JSON, `{"error": why}`."""
    refusals: dict[Any, Any] = {Refusal: _refused, HTTPException: _not_here}
    app = FastAPI(title="Acutance", description=__doc__, redoc_url=None, exception_handlers=refusals)
    guards = [Depends(_guard(service.token))] if service.token is not None else []

    @app.head("/health", include_in_schema=False)
    @app.get("/health")
    async def health() -> dict[str, str]:
        """Tell that the server is there; it never waits for pictures."""
        return {"status": "ok"}

    @app.head("/", include_in_schema=False, dependencies=guards)
    @app.get("/", dependencies=guards, responses={401: REASONS[401]})
    async def about() -> dict[str, Any]:
        """Tell which model this is, and its limits."""
        return dict(service.about)

    extra = {"requestBody": BODY}
    answers = {200: {"content": {"image/png": {"schema": PICTURE}}}, **REASONS}

    @app.post("/", dependencies=guards, response_class=Response, responses=answers, openapi_extra=extra)
    async def restore(request: Request) -> Response:
        """Take the bytes of a picture; give a PNG file of it, restored."""
        _refuse_type(request.headers.get("content-type", ""))
        with service.crowd.joined() as arrived:
            content = await _body(request, service.limits, arrived)
            return Response(await _restored(content, service), media_type="image/png")

    return app


async def _refused(request: Request, refusal: Refusal) -> Response:
    return JSONResponse({"error": refusal.why}, refusal.status, refusal.headers)


async def _not_here(request: Request, error: HTTPException) -> Response:
    """Answer to a path or a method that is not there."""
    path = request.url.path
    routes = [(getattr(route, "path", ""), getattr(route, "methods", ())) for route in request.app.routes]
    allowed = sorted({method for at, methods in routes if at == path for method in methods})
    if error.status_code == 405:
        return JSONResponse({"error": f"{request.method} is not for {path}"}, 405, {"Allow": ", ".join(allowed)})
    return JSONResponse({"error": f"there is nothing here; {request.base_url}docs tells what there is"}, 404)


async def _restored(content: bytes, service: Service) -> bytes:
    try:
        async with asyncio.timeout(service.limits.seconds), service.crowd.place(_pixels(content)):
            return await service.restore(await _picture(content, service.limits))
    except Refusal:
        raise
    except TimeoutError:
        header = {"Retry-After": "60"}
        why = f"the picture was not ready within {service.limits.seconds:g} seconds; send a smaller one, or come back"
        raise Refusal(503, why, **header) from None
    except Exception:
        log.exception("a request failed")
        raise Refusal(500, "something went wrong here") from None


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


def token_digest(token: str) -> str:
    """Return what is kept of a token: enough to check one, not to send it."""
    return hashlib.sha256(token.encode()).hexdigest()


def _guard(expected: str) -> Callable[..., Awaitable[None]]:
    """Return what refuses a request that does not carry the token of a digest."""

    async def check(given: HTTPAuthorizationCredentials | None = Depends(HTTPBearer(auto_error=False))) -> None:
        if given is None or not hmac.compare_digest(token_digest(given.credentials.strip()), expected):
            header = {"WWW-Authenticate": "Bearer"}
            raise Refusal(401, "a token is needed: Authorization: Bearer TOKEN", **header)

    return check


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
