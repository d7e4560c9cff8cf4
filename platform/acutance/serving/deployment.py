"""The Ray Serve deployment: it holds the model, and restores pictures that arrive together in one batch."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from fastapi import FastAPI
from ray import serve

from acutance.cluster.hardware import device_of
from acutance.data.decode import DecodedImage
from acutance.inference.decoded_images import restore_decoded
from acutance.inference.encode import png_files
from acutance.inference.picture_file import Restorer, open_restorer
from acutance.serving.admission import MAX_REQUESTS
from acutance.serving.http import Limits, Service, app_of
from acutance.silence import silence_libraries

log = logging.getLogger(__name__)

BATCH_PIXELS = 1_000_000
"""Input pixels of a batch; this bounds its memory. A larger picture is a batch by itself."""

WAIT_SECONDS = 0.01
BATCHES = 2
"""Batches at a time: while one is written as PNG, the next one is in the network."""

ONGOING = 2 * MAX_REQUESTS
"""Requests of a replica at a time: more than requests with pictures, so that `/health` never waits for those."""


@serve.deployment(
    max_ongoing_requests=ONGOING,
    max_queued_requests=MAX_REQUESTS,
    graceful_shutdown_wait_loop_s=0.5,
    health_check_period_s=5,
)
@serve.ingress()
class Replica:
    """One copy of the model, in a process of its own."""

    def __init__(self, model: Any, gpus: float, about: Mapping[str, Any], limits: Limits, token: str | None) -> None:
        """Build the network.

        Args:
            model: reference to the bytes of a model file and their SHA-256.
            gpus: how many Ray gives this process.
            about, limits, token: see `Service`.
        """
        silence_libraries()
        content, sha256 = ray.get(model)
        self.restorer = open_restorer(content, sha256, device_of(gpus))
        self.service = Service(about, limits, token, self.restore)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Return the application; Ray Serve calls this after the network is loaded."""
        return app_of(self.service)

    async def restore(self, picture: DecodedImage) -> bytes:
        """Return the restored picture as a PNG file; pictures of one size share a batch."""
        file = await self.restore_batch(picture)
        if file is None:
            raise RuntimeError("the picture could not be restored")  # the reason is in the log
        return file

    @serve.batch(
        max_batch_size=BATCH_PIXELS,
        batch_wait_timeout_s=WAIT_SECONDS,
        max_concurrent_batches=BATCHES,
        batch_size_fn=lambda pictures: sum(min(picture.pixels[..., 0].size, BATCH_PIXELS) for picture in pictures),
    )
    async def restore_batch(self, pictures: list[DecodedImage]) -> list[bytes | None]:
        """Return PNG files of restored pictures; None for one that failed."""
        return await asyncio.to_thread(restore_all, self.restorer, pictures)


def restore_all(restorer: Restorer, pictures: Sequence[DecodedImage]) -> list[bytes | None]:
    """Return PNG files of restored pictures of any sizes; those of one size share a batch. None for one that failed."""
    by_size: dict[tuple[int, ...], list[int]] = {}
    for index, picture in enumerate(pictures):
        by_size.setdefault(picture.pixels.shape[:2], []).append(index)
    files: list[bytes | None] = [None] * len(pictures)
    for group in by_size.values():
        for index, file in zip(group, _files(restorer, [pictures[i] for i in group]), strict=True):
            files[index] = file
    return files


def _files(restorer: Restorer, pictures: list[DecodedImage]) -> list[bytes | None]:
    """Return PNG files of pictures of one size; if the batch fails, each picture is tried alone."""
    scale = int(restorer.description["scale"])
    try:
        return [
            *png_files(restore_decoded(restorer.network, restorer.description, pictures), pictures, scale, notes=())
        ]
    except Exception:
        log.exception("%d pictures could not be restored", len(pictures))
    return [None] if len(pictures) == 1 else [_files(restorer, [picture])[0] for picture in pictures]
