"""What is answered to good and bad requests: over real sockets, with a stand-in for the network."""

from __future__ import annotations

import asyncio
import http.client
import io
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import requests
import uvicorn
from PIL import Image

from acutance.data.decode import DecodedImage
from acutance.data.png import SIGNATURE, chunk
from acutance.serving import http as room
from acutance.serving.admission import Admission, Refusal
from acutance.serving.http import Limits, Service, app_of, token_digest

PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
ABOUT = {"service": "acutance", "scale": 4}
LIMITS = Limits(megapixels=0.05, megabytes=0.5)


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format=form, **options)
    return file.getvalue()


GOOD = encoded(Image.fromarray(PICTURE))


def claiming(width: int, height: int) -> bytes:
    """Make a small PNG that claims to be large."""
    return SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + chunk(b"IDAT", b"x" * 99)


async def doubled(picture: DecodedImage) -> bytes:
    """Stand in for the network: every pixel twice."""
    return encoded(Image.fromarray(picture.pixels.repeat(2, 0).repeat(2, 1).squeeze()))


@contextmanager
def served(**changes: Any) -> Iterator[str]:
    service = Service(**{"about": ABOUT, "limits": LIMITS, "token": None, "restore": doubled, **changes})

    server = uvicorn.Server(uvicorn.Config(app_of(service), port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served() as address:
        yield address


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_picture_for_a_picture(url: str, form: str) -> None:
    content = encoded(Image.fromarray(PICTURE), form)
    given = requests.post(url, data=content, timeout=10)
    assert (given.status_code, given.headers["content-type"]) == (200, "image/png")
    pixels = np.asarray(Image.open(io.BytesIO(content)))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(given.content))), pixels.repeat(2, 0).repeat(2, 1))


def test_it_says_what_it_is_and_how_it_is(url: str) -> None:
    assert requests.get(url, timeout=10).json() == ABOUT
    assert requests.get(f"{url}/health", timeout=10).json() == {"status": "ok"}
    head = requests.head(url, timeout=10)
    assert (head.status_code, head.content) == (200, b"")


def test_its_interface_is_described_for_people_and_programs(url: str) -> None:
    page = requests.get(f"{url}/docs", timeout=10)
    assert (page.status_code, page.headers["content-type"].partition(";")[0]) == (200, "text/html")
    paths = requests.get(f"{url}/openapi.json", timeout=10).json()["paths"]
    assert {path: sorted(methods) for path, methods in paths.items()} == {"/": ["get", "post"], "/health": ["get"]}
    post = paths["/"]["post"]
    assert set(post["requestBody"]["content"]) == {"image/png", "image/jpeg", "image/webp"}
    assert list(post["responses"]["200"]["content"]) == ["image/png"]
    assert {"401", "413", "415", "422", "503"} <= set(post["responses"])


PAGE = Image.fromarray(PICTURE)
BAD: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 400, "missing"),
    "text": (b"<svg></svg>" * 9, 415, "no picture"),
    "another format": (encoded(PAGE, "TIFF"), 415, "no picture"),
    "truncated": (GOOD[:-300], 422, "corrupt"),
    "damaged": (GOOD[:99] + b"!" + GOOD[100:], 422, "corrupt"),
    "several": (encoded(PAGE, "WEBP", save_all=True, append_images=[PAGE.rotate(180)]), 422, "2 pictures"),
    "many pixels": (encoded(Image.new("1", (500, 101))), 413, "0.05 megapixels"),
    "a bomb": (claiming(2**31 - 1, 2**31 - 1), 413, "0.05 megapixels"),
    "many bytes": (GOOD + bytes(600_000), 413, "0.5 megabytes"),
    "very many bytes": (bytes(3_000_000), 413, "0.5 megabytes"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_bodies(url: str, name: str) -> None:
    body, status, why = BAD[name]
    for data in (body, iter([body[:1000], body[1000:]])):  # with its length declared, and in chunks
        given = requests.post(url, data=data, timeout=10)
        assert given.status_code == status
        assert why in given.json()["error"]


def test_pictures_at_the_limit_are_taken(url: str) -> None:
    assert requests.post(url, data=encoded(Image.new("L", (500, 100))), timeout=10).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("PUT", "/", 405), ("DELETE", "/", 405), ("POST", "/health", 405), ("GET", "/redoc", 404), ("POST", "/x", 404)],
)
def test_wrong_methods_and_paths(url: str, method: str, path: str, status: int) -> None:
    given = requests.request(method, url + path, data=GOOD, timeout=10)
    assert given.status_code == status
    assert status != 405 or "GET" in given.headers["allow"]
    assert list(given.json()) == ["error"]


def test_a_token_is_asked_for_and_compared_as_a_whole() -> None:
    token = "a-token-of-some-length"
    with served(token=token_digest(token)) as url:
        wrong = [
            "",
            token,
            f"Basic {token}",
            f"Bearer {token[:-1]}",
            f"Bearer {token}x",
            "Bearer",
            "Bearer ü".encode("latin-1"),
        ]
        for header in wrong:
            for given in (
                requests.post(url, data=GOOD, headers={"Authorization": header}, timeout=10),
                requests.get(url, headers={"Authorization": header}, timeout=10),
            ):
                assert given.status_code == 401, header
                assert given.headers["www-authenticate"] == "Bearer"
        for header in (f"Bearer {token}", f"bearer  {token}"):
            assert requests.post(url, data=GOOD, headers={"Authorization": header}, timeout=10).status_code == 200
        assert requests.get(f"{url}/health", timeout=10).status_code == 200


def test_a_failure_of_ours_is_not_told() -> None:
    async def fail(picture: DecodedImage) -> bytes:
        raise RuntimeError("a secret of the house")

    with served(restore=fail) as url:
        given = requests.post(url, data=GOOD, timeout=10)
        assert given.status_code == 500
        assert given.json() == {"error": "internal error; the server's log has the details"}
        assert requests.get(url, timeout=10).status_code == 200


def test_a_body_that_does_not_come_is_not_waited_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "FIRST_SECONDS", 0.2)
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as slow:
        slow.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
        assert b"408" in slow.recv(100)
    with socket.create_connection((host, int(port)), timeout=10) as gone:
        gone.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
    assert requests.post(url, data=GOOD, timeout=10).status_code == 200


def test_a_body_that_drips_is_not_waited_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "FIRST_SECONDS", 0.3)
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as slow:
        slow.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        began = time.monotonic()
        slow.settimeout(0.05)
        answer = b""
        while not answer and time.monotonic() - began < 10:
            slow.sendall(b"x")
            with suppress(TimeoutError):
                answer = slow.recv(1000)
    assert b"408" in answer


@pytest.mark.parametrize(
    ("kind", "said"), [("multipart/form-data; boundary=x", "--data-binary"), ("application/json", "this is JSON")]
)
def test_forms_and_json_are_told_what_to_send(url: str, kind: str, said: str) -> None:
    given = requests.post(url, data=b"--x", headers={"Content-Type": kind}, timeout=10)
    assert given.status_code == 415
    assert said in given.json()["error"]


def test_a_picture_has_a_deadline() -> None:
    async def slow(picture: DecodedImage) -> bytes:
        await asyncio.sleep(20)
        return GOOD

    with served(restore=slow, limits=replace(LIMITS, seconds=0.2)) as url:
        given = requests.post(url, data=GOOD, timeout=10)
        assert given.status_code == 503
        assert "within 0.2 seconds" in given.json()["error"]


def test_bytes_that_are_here_are_bounded_and_so_are_pixels_at_work() -> None:
    async def together() -> list[int]:
        admission, most = Admission(max_restoring=8, max_bytes=100, max_pixels=50), list[int]()
        with admission.request() as first, admission.request() as second:
            first(80)
            with pytest.raises(Refusal):
                second(30)
            second(20)
        assert (admission.requests, admission.bytes) == (0, 0)
        with admission.request() as alone:
            alone(1000)  # the limit of a body is another one

        async def work(pixels: int) -> None:
            async with admission.restoring_slot(pixels):
                most.append(sum(admission.restoring.values()))
                await asyncio.sleep(0.01)

        await asyncio.gather(*(work(pixels) for pixels in (20, 20, 20, 200, 30)))
        assert not admission.restoring
        return most

    assert max(pixels for pixels in asyncio.run(together()) if pixels != 200) <= 50


def test_lengths_that_lie(url: str) -> None:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    connection.request("POST", "/", body=b"", headers={"Content-Length": "99999999999"})
    assert connection.getresponse().status == 413


def test_too_many_at_a_time_are_told_to_come_back() -> None:
    release = threading.Event()

    async def held(picture: DecodedImage) -> bytes:
        while not release.is_set():
            await asyncio.sleep(0.01)
        return GOOD

    admission = Admission(max_restoring=1, max_requests=3)
    with served(restore=held, admission=admission) as url, ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(requests.post, url, data=GOOD, timeout=20) for _ in range(3)]
        while admission.requests < 3:
            time.sleep(0.01)
        refused = requests.post(url, data=GOOD, timeout=10)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert requests.get(f"{url}/health", timeout=10).status_code == 200
        release.set()
        assert [each.result().status_code for each in waiting] == [200] * 3
        assert requests.post(url, data=GOOD, timeout=10).status_code == 200
