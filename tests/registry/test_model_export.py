"""Models for other software: what is written is what was trained, and its readers make the same pictures of it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from acutance.errors import ConfigError, ModelError
from acutance.imaging.derivations import lgs
from acutance.models.model_file import build_network, load_model, save_model
from acutance.models.public_weights import load_public_weights
from acutance.models.rrdbnet import RRDBNet
from acutance.registry import export
from acutance.registry.export import export_model

RRDBNET = {"type": "rrdbnet", "blocks": 2, "channels": 12}
DSRGAN = {"type": "dsrgan", "blocks": 1, "channels": 8, "growth": 4, "detail_blocks": 1}


def written(folder: Path, settings: dict[str, Any]) -> str:
    """Write a model file whose every weight matters to the picture."""
    network = build_network(settings)
    numbers = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.07, generator=numbers)
    nn.init.constant_((network.main if "main" in dict(network.named_children()) else network).conv_last.bias, 0.5)
    derive = {"lr_detail": {"type": "lgs", "of": "lr", "alpha": 4.0}} if "lr_detail" in network.inputs else {}
    path = str(folder / "model.safetensors")
    save_model(path, network, {"network": settings, "scale": network.scale, "derive": derive})
    return path


def restored(model: str, lr: torch.Tensor) -> torch.Tensor:
    return load_model(model)[0](lr)["image"]


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("growth", [5, 32])
def test_spandrel_makes_the_same_picture_of_a_pth(tmp_path: Path, scale: int, growth: int) -> None:
    spandrel = pytest.importorskip("spandrel")
    model = written(tmp_path, {**RRDBNET, "scale": scale, "growth": growth})
    exported = export_model(model, str(tmp_path / "net.pth"))
    theirs = spandrel.ModelLoader().load_from_file(str(tmp_path / "net.pth"))
    assert (theirs.architecture.id, theirs.scale) == ("ESRGAN", scale)
    lr = torch.rand(1, 3, 16, 24)
    with torch.no_grad():
        made = theirs(lr)
    expected = restored(model, lr)
    assert expected.std() > 0.02
    torch.testing.assert_close(made, expected.clamp(0, 1), rtol=0, atol=1e-5)
    assert any("filled up with zeros" in note for note in exported.notes) is (growth == 5)


def test_spandrel_makes_the_same_picture_of_the_model_file(tmp_path: Path) -> None:
    spandrel = pytest.importorskip("spandrel")
    model = written(tmp_path, {**RRDBNET, "growth": 32})
    assert export_model(model, str(tmp_path / "net.safetensors")).notes == (
        "the header's metadata say how to build the network",
    )
    lr = torch.rand(1, 3, 16, 24)
    with torch.no_grad():
        made = spandrel.ModelLoader().load_from_file(str(tmp_path / "net.safetensors"))(lr)
    torch.testing.assert_close(made, restored(model, lr).clamp(0, 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [2, 4])
def test_pth_is_basicsrs_and_filling_up_changes_no_picture(tmp_path: Path, scale: int) -> None:
    model = written(tmp_path, {**RRDBNET, "scale": scale, "growth": 7})
    export_model(model, str(tmp_path / "net.pth"))
    assert torch.load(tmp_path / "net.pth", weights_only=True).keys() == {"params"}
    network = RRDBNet(blocks=2, channels=12, scale=scale)
    load_public_weights(network, str(tmp_path / "net.pth"))
    lr = torch.rand(1, 3, 9, 14)
    torch.testing.assert_close(network(lr)["image"], restored(model, lr), rtol=0, atol=1e-5)


def test_pth_of_another_network_is_its_state_dict(tmp_path: Path) -> None:
    model = written(tmp_path, DSRGAN)
    exported = export_model(model, str(tmp_path / "weights"), "pth")
    state = torch.load(tmp_path / "weights", weights_only=True)
    assert (exported.format, exported.bytes) == ("pth", (tmp_path / "weights").stat().st_size)
    assert "plain state dict" in exported.notes[0]
    expected = load_model(model)[0].state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())


def test_safetensors_is_the_model_file(tmp_path: Path) -> None:
    model = written(tmp_path, {**RRDBNET, "growth": 4, "skip": "bicubic"})
    exported = export_model(model, str(tmp_path / "deep" / "net.SAFETENSORS"))
    assert (tmp_path / "deep" / "net.SAFETENSORS").read_bytes() == Path(model).read_bytes()
    assert "another picture" in exported.notes[1]


@pytest.mark.parametrize("change", [{"skip": "bicubic"}, {"growth": 33}])
def test_network_that_no_esrgan_file_can_hold_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    model = written(tmp_path, {**RRDBNET, **change})
    with pytest.raises(ModelError, match=rf"no ESRGAN file can hold.*\n.*{model}\n.*onnx"):
        export_model(model, str(tmp_path / "net.pth"))
    assert not (tmp_path / "net.pth").exists()


def test_onnx_is_the_network_at_every_size(tmp_path: Path) -> None:
    """Of a network that folds the picture, enlarges it by bicubic interpolation and reads a recursive filter of it."""
    onnxruntime = pytest.importorskip("onnxruntime")
    settings = {**DSRGAN, "fusion": "product", "skip": "bicubic", "scale": 2}
    model = written(tmp_path, settings)
    exported = export_model(model, str(tmp_path / "net.onnx"))
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    network, description = load_model(model)
    assert {given.name: given.shape for given in session.get_inputs()} == {"picture": ["batch", 3, "height", "width"]}
    for size in ((8, 8), (19, 26), (40, 33)):
        picture = torch.rand(1, 3, *size)
        found = session.run(None, {"picture": picture.numpy()})
        expected = network(picture, torch.exp2(lgs(picture)))
        assert [output.name for output in session.get_outputs()] == list(expected)
        for ours, theirs in zip(expected.values(), found, strict=True):
            assert ours.std() > 1e-3
            np.testing.assert_allclose(theirs, ours.numpy(), rtol=0, atol=1e-4)
    assert json.loads(session.get_modelmeta().custom_metadata_map["acutance"]) == description
    assert str(Path(export.__file__).parents[1]).encode() not in (tmp_path / "net.onnx").read_bytes()
    assert any("lr_detail" in note for note in exported.notes)
    nn.init.constant_(next(network.parameters()), float("nan"))
    assert np.isnan(export._apart((tmp_path / "net.onnx").read_bytes(), network, description)), "it would be written"


class Unwritable(nn.Module):
    """Decides by what it sees, which no graph can hold."""

    inputs = ("lr",)
    scale = 1

    def forward(self, lr: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"image": lr if lr.mean() > 0.5 else 1 - lr}


def test_network_that_cannot_be_a_graph_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript")
    monkeypatch.setattr(export, "load_model", lambda _: (Unwritable(), {}))
    with pytest.raises(ModelError, match="cannot be written as ONNX"):
        export_model("a model", str(tmp_path / "net.onnx"))
    assert not (tmp_path / "net.onnx").exists()


def test_graph_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_require_packages", lambda: None)
    monkeypatch.setattr(export, "_graph", lambda *_: b"a graph")
    model = written(tmp_path, DSRGAN)
    for apart in (2e-4, float("nan")):
        monkeypatch.setattr(export, "_apart", lambda *_, apart=apart: apart)
        with pytest.raises(ModelError, match="differs by"):
            export_model(model, str(tmp_path / "net.onnx"))
    assert not (tmp_path / "net.onnx").exists()


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(ModelError, match=r"not installed: onnxscript\n[\s\S]*pip install onnxscript \(the extra"):
        export_model(written(tmp_path, DSRGAN), str(tmp_path / "net.onnx"))


def test_detail_that_nobody_can_make_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    settings = {**DSRGAN, "fusion": "none"}
    save_model(str(tmp_path / "m.safetensors"), build_network(settings), {"network": settings, "scale": 4})
    with pytest.raises(ModelError, match="a picture alone cannot feed this network's lr_detail"):
        export_model(str(tmp_path / "m.safetensors"), str(tmp_path / "net.onnx"))


@pytest.mark.parametrize(("output", "format"), [("net.onx", None), ("net", None), ("net.onnx", "onnxx")])
def test_unknown_formats_are_refused(tmp_path: Path, output: str, format: str | None) -> None:
    with pytest.raises(ConfigError, match=r"no format is called[\s\S]*\.safetensors or \.pth or \.onnx"):
        export_model(written(tmp_path, DSRGAN), str(tmp_path / output), format)
