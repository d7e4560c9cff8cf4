"""Model files: there and back, and everything that must not be taken for one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch

from acutance.errors import ConfigError, ModelError
from acutance.models import NETWORKS
from acutance.models.model_file import build_network, load_model, save_model

SETTINGS: dict[str, dict[str, Any]] = {
    "rrdbnet": {"type": "rrdbnet", "blocks": 1, "channels": 6, "growth": 3, "skip": "bicubic"},
    "dsrgan": {"type": "dsrgan", "blocks": 2, "channels": 6, "growth": 3, "detail_taps": [1, 1, 2, 2]},
    "highpass": {"type": "highpass", "channels": 4, "kernel": 3},
}


def describe(settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "network": settings,
        "scale": 4,
        "detail": {"type": "lgs", "alpha": 4.0},
        "stage": "gan",
        "fingerprint": "0123456789abcdef",
        "title": "Schärfe",
        "notes": ["one"],
    }


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_model(str(tmp_path / "m.safetensors"), build_network(SETTINGS["rrdbnet"]), describe(SETTINGS["rrdbnet"]))
    return tmp_path / "m.safetensors"


def test_every_network_is_covered() -> None:
    assert SETTINGS.keys() == NETWORKS.keys()


@pytest.mark.parametrize("name", SETTINGS)
def test_round_trip(name: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = build_network(SETTINGS[name])
    inputs = [torch.rand(2, 1 if column.endswith("detail") else 3, 8, 8) for column in network.inputs]
    network(*inputs)  # moves the running statistics of batch normalisation
    path = str(tmp_path / "deep" / "m.safetensors")
    save_model(path, network, describe(SETTINGS[name]))
    loaded, description = load_model(path)
    assert type(loaded) is NETWORKS[name]
    assert description == {**describe(SETTINGS[name]), "format": 1}
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    network.eval()
    for key, value in network(*inputs).items():
        assert torch.equal(loaded(*inputs)[key], value)


def test_the_file_is_plain_safetensors(saved: Path) -> None:
    with safetensors.safe_open(saved, "pt") as file:
        assert json.loads(file.metadata()["acutance"])["title"] == "Schärfe"
        assert "conv_first.weight" in file.keys()  # noqa: SIM118 - not a mapping


def test_the_same_model_is_the_same_file(saved: Path) -> None:
    network, description = load_model(str(saved))
    before = saved.read_bytes()
    save_model(str(saved), network, description)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["m.safetensors"]


def test_loading_draws_no_random_numbers(saved: Path) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    load_model(str(saved))
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("kept", [0, 5, 8, 300, -1])
def test_a_truncated_file_is_refused(saved: Path, kept: int) -> None:
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(ModelError, match=r"m\.safetensors"):
        load_model(str(saved))


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    safetensors.torch.save_file({"weight": torch.ones(1)}, path)
    with pytest.raises(ModelError, match="not a model of ours"):
        load_model(str(path))
    path.write_bytes(b"GIF89a and so on, long enough to have a header")
    with pytest.raises(ModelError, match="not a model of ours"):
        load_model(str(path))
    for absent in (tmp_path / "absent.safetensors", tmp_path):
        with pytest.raises(ModelError, match="no readable model file"):
            load_model(str(absent))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": {**SETTINGS["rrdbnet"], "channels": 8}}, "does not fit"),
        ({"network": {"type": "rrdbnett"}}, "did you mean 'rrdbnet'"),
        ({"network": {**SETTINGS["rrdbnet"], "bloks": 2}}, "did you mean 'blocks'"),
        ({"network": {**SETTINGS["rrdbnet"], "blocks": "two"}}, "does not fit"),
        ({"network": None}, "format"),
        ({"format": 2}, "format 2"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(saved: Path, change: dict[str, Any], message: str) -> None:
    tensors = safetensors.torch.load(saved.read_bytes())
    text = json.dumps({"format": 1, **describe(SETTINGS["rrdbnet"]), **change})
    safetensors.torch.save_file(tensors, saved, metadata={"acutance": text})
    with pytest.raises(ModelError, match=message):
        load_model(str(saved))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"type": "dsrgann"}, "did you mean 'dsrgan'"),
        ({}, "unknown network type None"),
        ({"type": "highpass", "kernels": 3}, "did you mean 'kernel'"),
        ({"type": "rrdbnet", "scale": 3}, "scale: Input should be 2 or 4"),
    ],
)
def test_settings_that_build_nothing(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_network(settings)
