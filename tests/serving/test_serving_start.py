"""What is refused before anything is started, and batches."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from acutance.commands.serve import is_loopback, serving, token_for
from acutance.data.decode import DecodedImage, decode_image
from acutance.errors import ModelError, UserError
from acutance.inference.picture_file import Restorer
from acutance.models.model_file import save_model
from acutance.models.rrdbnet import RRDBNet
from acutance.serving import deployment
from acutance.serving.deployment import restore_all
from acutance.serving.http import Limits, token_digest

LIMITS = Limits(1, 1)
TOKEN = "0123456789abcdef"


@pytest.fixture
def model(tmp_path: Path) -> str:
    description = {"network": {"type": "rrdbnet", "blocks": 1, "channels": 4}, "scale": 4}
    save_model(str(tmp_path / "m.safetensors"), RRDBNet(blocks=1, channels=4), description)
    return str(tmp_path / "m.safetensors")


class Echo(nn.Module):
    """Returns its input, remembers how many pictures came together, and does not like black."""

    inputs: ClassVar[tuple[str, ...]] = ("lr",)
    scale = 1

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.batches: list[int] = []

    def forward(self, lr: Tensor) -> dict[str, Tensor]:
        self.batches.append(len(lr))
        if bool((lr == 0).flatten(1).all(1).any()):
            raise ValueError("black")
        return {"image": lr * self.gain}


def echo() -> Restorer:
    return Restorer(Echo(), {"scale": 1}, "")


def picture(height: int, value: int) -> DecodedImage:
    return DecodedImage(np.full((height, 10, 3), value, np.uint8))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1"])
def test_this_machine_needs_no_token(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACUTANCE_SERVE_TOKEN", raising=False)
    assert is_loopback(host)
    assert token_for(host) is None
    monkeypatch.setenv("ACUTANCE_SERVE_TOKEN", TOKEN)
    assert token_for(host) == token_digest(TOKEN)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org", "", "127.0.0.1.example.org"])
def test_others_need_one(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACUTANCE_SERVE_TOKEN", "")
    with pytest.raises(UserError, match="needs a token"):
        token_for(host)
    monkeypatch.setenv("ACUTANCE_SERVE_TOKEN", TOKEN[:-1])
    with pytest.raises(UserError, match="fewer than 16"):
        token_for(host)
    monkeypatch.setenv("ACUTANCE_SERVE_TOKEN", TOKEN)
    assert token_for(host) == token_digest(TOKEN)


def test_what_cannot_be_is_refused_before_ray_starts(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acutance.commands.serve.connect", lambda *_: pytest.fail("Ray was started"))
    monkeypatch.delenv("ACUTANCE_SERVE_TOKEN", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(UserError, match="nothing can listen there"),
            serving(model, host="127.0.0.1", port=port, limits=LIMITS, address="local"),
        ):
            pass
    with pytest.raises(UserError, match="token"), serving(model, host="0.0.0.0", port=port, limits=LIMITS):
        pass
    with pytest.raises(ModelError), serving(f"{model}.none", host="localhost", port=port, limits=LIMITS):
        pass


def test_pictures_of_one_size_go_through_the_network_together() -> None:
    restorer = echo()
    pictures = [picture(10, 1), picture(20, 2), picture(10, 3), picture(10, 4)]
    files = restore_all(restorer, pictures)
    assert restorer.network.batches == [3, 1]
    for file, original in zip(files, pictures, strict=True):
        assert file is not None
        assert np.array_equal(decode_image(file).pixels, original.pixels)


def test_a_picture_that_fails_does_not_take_others_along() -> None:
    files = restore_all(echo(), [picture(10, 1), picture(10, 0), picture(10, 3), picture(20, 0)])
    assert [file is not None for file in files] == [True, False, True, False]


def test_requests_that_come_together_are_a_batch_and_large_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    context = SimpleNamespace(_deployment_config=SimpleNamespace(max_ongoing_requests=10**9))
    monkeypatch.setattr("ray.serve.get_replica_context", lambda: context)  # batches ask for it, to warn
    replica: Any = object.__new__(deployment.Replica.func_or_class)  # type: ignore[attr-defined]
    replica.restorer = echo()
    replica.restore_batch.set_batch_wait_timeout_s(0.5)  # a busy machine may be slower than what a server waits
    pictures = [*(picture(10, value) for value in range(1, 6)), DecodedImage(np.ones((1100, 1000, 3), np.uint8))]

    async def ask() -> list[Any]:
        black = replica.restore(picture(30, 0))
        return list(await asyncio.gather(*(replica.restore(each) for each in pictures), black, return_exceptions=True))

    *files, failure = asyncio.run(ask())
    assert 5 in replica.restorer.network.batches
    assert [decode_image(file).pixels.max() for file in files] == [1, 2, 3, 4, 5, 1]
    assert "could not be restored" in str(failure)
