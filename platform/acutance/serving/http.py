"""Answers HTTP requests: the restored picture for a picture, or an error in JSON. /docs describes the interface.

A picture that claims more than the limits is not decoded. Internal errors are logged, and not shown to the client.
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
from acutance.serving.admission import Admission, Refusal

log = logging.getLogger(__name__)

FORMATS = ("PNG", "JPEG", "WEBP")
BODY_SECONDS, FIRST_SECONDS, LEAST_RATE = 60.0, 5.0, 32_000
"""The longest time that a body may take to arrive, and the lowest rate in bytes/s after the first seconds."""

NOT_A_PICTURE = {
    "multipart/": "this is a form (curl -F); send the bytes of the picture themselves: curl --data-binary @photo.jpg",
    "application/json": "this is JSON; send the bytes of the picture themselves: curl --data-binary @photo.jpg",
}
"""Content type -> reason why a body of that type is refused."""


@dataclass(frozen=True)
class Limits:
    """The limits for a picture: decoded pixels and bytes (both in millions), and seconds.

    Seconds count from its arrival to its restoration, with the time that it waits for others.
    """

    megapixels: float
    megabytes: float
    seconds: float = 600.0


@dataclass(frozen=True)
class Service:
    """What the application needs.

    Attributes:
        about: the description of the model that `GET /` returns, JSON-like.
        token: SHA-256 of the token that requests must carry, in hexadecimal; None if they need none.
        restore: returns the PNG file of a restored picture.
    """

    about: Mapping[str, Any]
    limits: Limits
    token: str | None
    restore: Callable[[DecodedImage], Awaitable[bytes]]
    admission: Admission = field(default_factory=Admission)


class Reason(BaseModel):
    """Why a request failed."""

    error: str


PICTURE: dict[str, Any] = {"type": "string", "format": "binary"}
BODY = {"required": True, "content": {f"image/{form.lower()}": {"schema": PICTURE} for form in FORMATS}}
REASONS: dict[int | str, dict[str, Any]] = {
    400: {"model": Reason, "description": "no picture, or only a part of one"},
    401: {"model": Reason, "description": "a token is needed"},
    408: {"model": Reason, "description": "the picture arrives too slowly"},
    413: {"model": Reason, "description": "too many bytes or pixels"},
    415: {"model": Reason, "description": "no picture in a known format"},
    422: {"model": Reason, "description": "a picture that cannot be used"},
    503: {"model": Reason, "description": "too many pictures at a time, or not ready in time; see Retry-After"},
}


def app_of(service: Service) -> FastAPI:
    """Return the application; errors are JSON, `{"error": reason}`."""
    refusals: dict[Any, Any] = {Refusal: _refused, HTTPException: _no_such_route}
    app = FastAPI(title="Acutance", description=__doc__, redoc_url=None, exception_handlers=refusals)
    guards = [Depends(_guard(service.token))] if service.token is not None else []

    @app.head("/health", include_in_schema=False)
    @app.get("/health")
    async def health() -> dict[str, str]:
        """Return that the server is up; this never waits for pictures."""
        return {"status": "ok"}

    @app.head("/", include_in_schema=False, dependencies=guards)
    @app.get("/", dependencies=guards, responses={401: REASONS[401]})
    async def about() -> dict[str, Any]:
        """Return which model this is, and its limits."""
        return dict(service.about)

    extra = {"requestBody": BODY}
    answers = {200: {"content": {"image/png": {"schema": PICTURE}}}, **REASONS}

    @app.post("/", dependencies=guards, response_class=Response, responses=answers, openapi_extra=extra)
    async def restore(request: Request) -> Response:
        """Take the bytes of a picture; return the restored picture as a PNG file."""
        _refuse_type(request.headers.get("content-type", ""))
        with service.admission.request() as add_bytes:
            content = await _body(request, service.limits, add_bytes)
            return Response(await _restored(content, service), media_type="image/png")

    return app


async def _refused(request: Request, refusal: Refusal) -> Response:
    return JSONResponse({"error": refusal.why}, refusal.status, refusal.headers)


async def _no_such_route(request: Request, error: HTTPException) -> Response:
    """Answer a request with an unknown path or method."""
    path = request.url.path
    routes = [(getattr(route, "path", ""), getattr(route, "methods", ())) for route in request.app.routes]
    allowed = sorted({method for at, methods in routes if at == path for method in methods})
    if error.status_code == 405:
        return JSONResponse({"error": f"{path} does not take {request.method}"}, 405, {"Allow": ", ".join(allowed)})
    return JSONResponse({"error": f"there is no such path; {request.base_url}docs lists all paths"}, 404)


async def _restored(content: bytes, service: Service) -> bytes:
    try:
        async with asyncio.timeout(service.limits.seconds), service.admission.restoring_slot(_pixels(content)):
            return await service.restore(await _picture(content, service.limits))
    except Refusal:
        raise
    except TimeoutError:
        header = {"Retry-After": "60"}
        why = f"the picture was not ready within {service.limits.seconds:g} seconds; send a smaller one, or try later"
        raise Refusal(503, why, **header) from None
    except Exception:
        log.exception("a request failed")
        raise Refusal(500, "internal error; the server's log has the details") from None


def _pixels(content: bytes) -> int:
    """Return how many pixels a picture claims to have; 0 if it is no picture."""
    with warnings.catch_warnings(action="ignore"):
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                return image.width * image.height
        except Exception:
            return 0


def _refuse_type(content_type: str) -> None:
    for start, why in NOT_A_PICTURE.items():
        if content_type.lower().startswith(start):
            raise Refusal(415, why)


def token_digest(token: str) -> str:
    """Return the SHA-256 of a token: enough to check a token, but not to send one."""
    return hashlib.sha256(token.encode()).hexdigest()


def _guard(expected: str) -> Callable[..., Awaitable[None]]:
    """Return a dependency that refuses requests without the token of this digest."""

    async def check(given: HTTPAuthorizationCredentials | None = Depends(HTTPBearer(auto_error=False))) -> None:
        if given is None or not hmac.compare_digest(token_digest(given.credentials.strip()), expected):
            header = {"WWW-Authenticate": "Bearer"}
            raise Refusal(401, "a token is needed: Authorization: Bearer TOKEN", **header)

    return check


async def _body(request: Request, limits: Limits, add_bytes: Callable[[int], None]) -> bytes:
    """Return a body. It is read up to twice the limit: a client that still sends would see no answer."""
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
                    add_bytes(len(part))
                    parts.append(part)
                clock.reschedule(began + min(FIRST_SECONDS + size / LEAST_RATE, BODY_SECONDS))
    except TimeoutError:
        least = f"{LEAST_RATE // 1000} kB a second, and within {BODY_SECONDS:.0f} seconds"
        raise Refusal(408, f"the picture arrived too slowly: it must at {least}") from None
    except ClientDisconnect:
        raise Refusal(400, "the picture did not arrive completely") from None
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
