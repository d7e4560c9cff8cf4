"""Model files: there and back, and everything that must not be taken for one."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch

from acutance import parts
from acutance.errors import ConfigError, ModelError
from acutance.models.model_file import build_network, load_model, save_model
from acutance.storage.checksum import metadata_with_checksum, with_file_checksum

SETTINGS: dict[str, dict[str, Any]] = {
    "rrdbnet": {"type": "rrdbnet", "blocks": 1, "channels": 6, "growth": 3, "skip": "bicubic"},
    "dsrgan": {"type": "dsrgan", "blocks": 2, "channels": 6, "growth": 3, "detail_taps": [1, 1, 2, 2]},
    "eusr": {"type": "eusr", "blocks": 1, "channels": 4},
    "hfa": {"type": "hfa", "blocks": [1, 1, 1], "channels": 4, "scale": 4, "mode": "native"},
    "dncnn": {"type": "dncnn", "layers": 3, "channels": 4},
    "wdsr": {"type": "wdsr", "blocks": 1, "channels": 4},
    "resnet": {"type": "resnet", "depth": 11},
    "highpass": {"type": "highpass", "channels": 4, "kernel": 3},
    "msrresnet": {"type": "msrresnet", "blocks": 1, "channels": 4},
    "nima": {"type": "nima", "weights": "none"},
}


def describe(settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "network": settings,
        "scale": 4,
        "derive": {"lr_detail": {"type": "lgs", "of": "lr", "alpha": 4.0}},
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
    assert SETTINGS.keys() == set(parts.names("network"))


@pytest.mark.parametrize("name", SETTINGS)
def test_round_trip(name: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = build_network(SETTINGS[name])
    inputs = [torch.rand(2, 1 if column.endswith("detail") else 3, 8, 8) for column in network.inputs]
    network(*inputs)  # moves the running statistics of batch normalisation
    path = str(tmp_path / "deep" / "m.safetensors")
    save_model(path, network, describe(SETTINGS[name]))
    loaded, description = load_model(path)
    assert type(loaded) is parts.find("network", name)
    assert description == {**describe(SETTINGS[name]), "format": 3}
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
        ({"format": 4}, "format 4"),
        ({"network": None}, "network: this must be a mapping"),
        ({"network": []}, "network: this must be a mapping"),
        ({"scale": "4"}, "scale: '4' is not a whole number"),
        ({"scale": 0}, "scale: Input should be greater than 0"),
        ({"notes": "none"}, r"notes: this must be a list, such as \[none\]"),
        ({"derive": {"lr_detail": {"type": "lgss", "of": "lr"}}}, "did you mean 'lgs'"),
        ({"derive": {"lr_detail": {"type": "lgs", "of": "lr", "alfa": 1}}}, "did you mean 'alpha'"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(saved: Path, change: dict[str, Any], message: str) -> None:
    says(saved, {"format": 3, **describe(SETTINGS["rrdbnet"]), **change})
    with pytest.raises(ModelError, match=message):
        load_model(str(saved))


def says(saved: Path, values: dict[str, Any]) -> None:
    """Give a model file another description, and the checksum that goes with it."""
    tensors = safetensors.torch.load(saved.read_bytes())
    saved.write_bytes(with_file_checksum(safetensors.torch.save(tensors, metadata=metadata_with_checksum(values))))


@pytest.mark.parametrize(
    "text", ["", "{", "null", "[]", "7", '"text"', "{}", '{"format": 1', "[" * 100_000, "9" * 9999]
)
def test_a_description_that_is_no_description_is_refused(saved: Path, text: str) -> None:
    safetensors.torch.save_file(safetensors.torch.load(saved.read_bytes()), saved, metadata={"acutance": text})
    with pytest.raises(ModelError, match="not a model of ours"):
        load_model(str(saved))


@pytest.mark.parametrize("missing", ["network", "scale"])
def test_a_description_that_says_too_little_is_refused(saved: Path, missing: str) -> None:
    values = {"format": 3, **describe(SETTINGS["rrdbnet"])}
    del values[missing]
    says(saved, values)
    with pytest.raises(ModelError, match=f"{missing}: this key is missing"):
        load_model(str(saved))


@pytest.mark.parametrize(
    "change",
    [
        {"blocks": 100_000},
        {"blocks": 10**15},
        {"channels": 5_000},
        {"growth": 10**6},
        {"type": "dsrgan", "detail_blocks": 10**12},
        {"type": "dsrgan", "detail_blocks": 5_000},
        {"type": "dsrgan", "detail_taps": [10**12]},
    ],
)
def test_a_small_file_that_asks_for_a_huge_network_costs_nothing(saved: Path, change: dict[str, Any]) -> None:
    says(saved, {"format": 3, **describe({**SETTINGS["rrdbnet"], **change})})
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(ModelError, match=r"larger than the file|more than the file|out of range"):
        load_model(str(saved))
    assert time.process_time() - started < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kilobytes"


@pytest.mark.parametrize("size", [2**63 - 1, 2**40, 10**8, 1, 0])
def test_a_header_that_lies_about_its_length_is_refused(saved: Path, size: int) -> None:
    saved.write_bytes(size.to_bytes(8, "little") + saved.read_bytes()[8:])
    with pytest.raises(ModelError, match="not a model of ours"):
        load_model(str(saved))


@pytest.mark.parametrize(
    "tensor",
    [
        {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, 2**50]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "O", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F8_E8M0", "shape": [4], "data_offsets": [0, 4]},
        "text",
    ],
)
def test_tensors_that_lie_are_refused(tmp_path: Path, tensor: Any) -> None:
    metadata = metadata_with_checksum({"format": 3, **describe(SETTINGS["rrdbnet"])})
    header = json.dumps({"__metadata__": metadata, "conv_first.weight": tensor}).encode()
    path = tmp_path / "m.safetensors"
    path.write_bytes(with_file_checksum(len(header).to_bytes(8, "little") + header + bytes(4)))
    with pytest.raises(ModelError, match=r"damaged or does not fit[\s\S]*m\.safetensors"):
        load_model(str(path))


def test_a_flipped_bit_is_found_wherever_it_is(saved: Path) -> None:
    """In the length, the header, the weights and the last byte; each is said to be no model, or damaged."""
    content = saved.read_bytes()
    header = int.from_bytes(content[:8], "little")
    for place in [*range(0, 8, 3), *range(8, 8 + header, 41), 8 + header, (8 + header + len(content)) // 2, -1]:
        altered = bytearray(content)
        altered[place] ^= 4
        saved.write_bytes(altered)
        with pytest.raises(ModelError, match=r"m\.safetensors"):
            load_model(str(saved))
    saved.write_bytes(content)
    load_model(str(saved))


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    network = build_network(SETTINGS["rrdbnet"])
    torch.save(network.state_dict(), tmp_path / "m.safetensors")
    with pytest.raises(ModelError, match="not a model of ours"):
        load_model(str(tmp_path / "m.safetensors"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"type": "dsrgann"}, "did you mean 'dsrgan'"),
        ({}, "give the key type; valid are dncnn, dsrgan"),
        ({"type": "highpass", "kernels": 3}, "did you mean 'kernel'"),
        ({"type": "rrdbnet", "scale": 3}, "scale: 3 is not taken; give 2 or 4"),
    ],
)
def test_settings_that_build_nothing(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_network(settings)
