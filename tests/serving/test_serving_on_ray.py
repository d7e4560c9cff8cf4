"""`acutance serve` as a user runs it: many requests at once, good and bad, then a clean end."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from acutance.data.decode import DecodedImage, decode_image
from acutance.inference.picture_file import open_restorer, read_model
from acutance.inference.restore import restore
from acutance.models.model_file import load_model, save_model
from acutance.models.rrdbnet import RRDBNet
from acutance.serving.deployment import restore_all
from command_line import REPOSITORY, environment
from process_family import alive, family

pytestmark = pytest.mark.e2e

TOKEN = "the-token-of-this-test"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
RNG = np.random.default_rng(0)


@dataclass
class Server:
    """A running `acutance serve`."""

    url: str
    process: subprocess.Popen[str]
    model: str


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("serve")
    model = str(folder / "m.safetensors")
    description = {"network": {"type": "rrdbnet", "blocks": 1, "channels": 4}, "scale": 4}
    save_model(model, RRDBNet(blocks=1, channels=4), {**description, "title": "made"})
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "acutance", "serve", model, "--port", str(port), "--megapixels", "0.05"]
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment(ACUTANCE_SERVE_TOKEN=TOKEN), stderr=log, text=True
        )
    try:
        _wait(f"http://127.0.0.1:{port}/health", process, folder / "log")
        yield Server(f"http://127.0.0.1:{port}/", process, model)
    finally:
        if process.poll() is None:
            _end_all(process)


def _wait(url: str, process: subprocess.Popen[str], log: Path) -> None:
    limit = time.monotonic() + 240
    while time.monotonic() < limit:
        assert process.poll() is None, log.read_text()
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.RequestException:
            time.sleep(0.5)
    pytest.fail(f"it does not answer: {log.read_text()}")


def _end_all(process: subprocess.Popen[str]) -> None:
    for pid in [*family(process.pid), process.pid]:
        os.kill(pid, signal.SIGKILL)
    process.wait()


def encoded(picture: np.ndarray, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format=form)
    return file.getvalue()


def test_80_requests_good_and_bad_at_once(server: Server) -> None:
    restorer = open_restorer(*read_model(server.model))
    colour, tall = (RNG.integers(0, 256, (height, 30, 3), dtype=np.uint8) for height in (24, 50))
    clear = np.dstack([colour, colour[..., 0]])
    bodies = {name: encoded(each) for name, each in (("c", colour), ("t", tall), ("g", colour[..., 0]), ("a", clear))}
    bodies["j"] = encoded(tall, "JPEG")
    layers = {name: decode_image(body) for name, body in bodies.items()}
    expected = {name: _pixels(restore_all(restorer, [each])[0]) for name, each in layers.items()}
    assert np.array_equal(expected["c"], restore(*load_model(server.model), colour)["image"])
    bad = [
        (b"", BEARER, 400),
        (b"no picture", BEARER, 415),
        (bodies["t"][:-100], BEARER, 422),
        (encoded(np.zeros((300, 300), np.uint8)), BEARER, 413),
        (bodies["c"], {}, 401),
    ]

    def ask(number: int) -> None:
        if number % 2:
            body, headers, status = bad[number // 2 % len(bad)]
            given = requests.post(server.url, data=body, headers=headers, timeout=300)
            assert (given.status_code, list(given.json())) == (status, ["error"])
            return
        name = list(bodies)[number // 2 % len(bodies)]
        given = requests.post(server.url, data=bodies[name], headers=BEARER, timeout=300)
        assert given.status_code == 200, given.text
        found = _pixels(given.content)
        assert found.shape == expected[name].shape
        assert np.abs(found.astype(int) - expected[name]).max() <= 1  # a batch may round otherwise

    with ThreadPoolExecutor(32) as pool:
        assert len(list(pool.map(ask, range(80)))) == 80
    about = requests.get(server.url, headers=BEARER, timeout=60).json()
    assert (about["model"], about["scale"], about["limits"]["megapixels"]) == ("m.safetensors", 4, 0.05)


def _pixels(content: bytes | None) -> np.ndarray:
    assert content is not None
    layers: DecodedImage = decode_image(content)
    return layers.pixels if layers.alpha is None else np.dstack([layers.pixels, layers.alpha])


def test_it_ends_with_all_its_processes_when_asked_to(server: Server) -> None:
    started = family(server.process.pid)
    assert any("ServeReplica" in name for name in started.values())
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=120) == 0
    limit = time.monotonic() + 30
    while left := alive(started):
        assert time.monotonic() < limit, [started[pid] for pid in left]
        time.sleep(0.1)
    with pytest.raises(requests.ConnectionError):
        requests.get(server.url, timeout=5)
