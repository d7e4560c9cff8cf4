"""Three generations of ESRGAN checkpoints, in every wrapping, and checkpoints that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from acutance.errors import WeightsError
from acutance.models.public_weights import load_public_weights, public_state_dict
from acutance.models.rrdbnet import RRDBNet

LAYERS = {
    "basicsr": ("conv_first", "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"),
    "esrgan": ("conv_first", "trunk_conv", "upconv1", "upconv2", "HRconv", "conv_last"),
    "released": ("model.0", "model.1.sub.{blocks}", "model.3", "model.6", "model.8", "model.10"),
}
INNER = {
    "basicsr": "body.{i}.rdb{j}.conv{k}",
    "esrgan": "RRDB_trunk.{i}.RDB{j}.conv{k}",
    "released": "model.1.sub.{i}.RDB{j}.conv{k}.0",
}


def build(blocks: int = 2, seed: int = 0, channels: int = 4) -> RRDBNet:
    torch.manual_seed(seed)
    return RRDBNet(blocks=blocks, channels=channels, growth=2)


def names(generation: str, blocks: int) -> list[str]:
    """Parameter names of a generation, written out in one order for all."""
    layers = [layer.format(blocks=blocks) for layer in LAYERS[generation]]
    layers += [INNER[generation].format(i=i, j=j, k=k) for i in range(blocks) for j in range(1, 4) for k in range(1, 6)]
    return [f"{layer}.{leaf}" for layer in layers for leaf in ("weight", "bias")]


def renamed(network: RRDBNet, generation: str) -> dict[str, Tensor]:
    blocks, state = len(network.body), public_state_dict(network)
    return {new: state[old] for old, new in zip(names("basicsr", blocks), names(generation, blocks), strict=True)}


def same(one: RRDBNet, other: RRDBNet) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("generation", LAYERS)
def test_every_one_of_702_tensors_finds_its_place(generation: str, tmp_path: Path) -> None:
    source, network = build(blocks=23), build(blocks=23, seed=1)
    content = renamed(source, generation)
    assert len(content) == 702
    torch.save(content, tmp_path / "net.pth")
    assert not same(source, network)
    load_public_weights(network, str(tmp_path / "net.pth"))
    assert same(source, network)


@pytest.mark.parametrize("generation", LAYERS)
@pytest.mark.parametrize("nest", [None, "params", "params_ema"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_wrappings(generation: str, nest: str | None, prefix: str, tmp_path: Path) -> None:
    source, network = build(), build(seed=1)
    content = {prefix + name: tensor for name, tensor in renamed(source, generation).items()}
    torch.save({nest: content} if nest else content, tmp_path / "net.pth")
    load_public_weights(network, tmp_path / "net.pth")
    assert same(source, network)


def test_weights_of_spandrels_own_network_make_the_picture_that_it_makes(tmp_path: Path) -> None:
    """An implementation of others, of which the file holds ESRGAN's own names."""
    spandrel = pytest.importorskip("spandrel.architectures.ESRGAN.__arch.RRDB")
    torch.manual_seed(3)
    theirs = spandrel.RRDBNet(in_nc=3, out_nc=3, num_filters=16, num_blocks=2, scale=4).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    torch.save(theirs.state_dict(), tmp_path / "net.pth")
    network, lr = RRDBNet(blocks=2, channels=16), torch.rand(1, 3, 9, 12)
    load_public_weights(network, str(tmp_path / "net.pth"))
    with torch.no_grad():
        expected = theirs(lr)
    assert expected.std() > 1e-3
    torch.testing.assert_close(network(lr)["image"].detach(), expected, rtol=1e-4, atol=1e-5)


def test_the_averaged_weights_are_preferred(tmp_path: Path) -> None:
    live, averaged, network = build(), build(seed=1), build(seed=2)
    torch.save({"params": live.state_dict(), "params_ema": averaged.state_dict()}, tmp_path / "net.pth")
    load_public_weights(network, str(tmp_path / "net.pth"))
    assert same(averaged, network)


@pytest.mark.parametrize("generation", LAYERS)
def test_safetensors(generation: str, tmp_path: Path) -> None:
    source, network = build(), build(seed=1)
    safetensors.torch.save_file(renamed(source, generation), tmp_path / "net.safetensors")
    load_public_weights(network, str(tmp_path / "net.safetensors"))
    assert same(source, network)


def test_half_precision_files_become_float32(tmp_path: Path) -> None:
    source, network = build(), build(seed=1)
    torch.save({name: value.half() for name, value in source.state_dict().items()}, tmp_path / "net.pth")
    load_public_weights(network, str(tmp_path / "net.pth"))
    assert network.conv_first.weight.dtype == torch.float32
    torch.testing.assert_close(network.conv_first.weight, source.conv_first.weight, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("generation", LAYERS)
def test_a_missing_and_an_unexpected_tensor_are_named(generation: str, tmp_path: Path) -> None:
    content = renamed(build(), generation)
    lost = names(generation, 2)[7]
    content["stranger.weight"] = content.pop(lost)
    torch.save(content, tmp_path / "net.pth")
    network = build(seed=1)
    before = network.conv_first.weight.clone()
    with pytest.raises(WeightsError) as error:
        load_public_weights(network, str(tmp_path / "net.pth"))
    assert f"missing: {lost}" in str(error.value)
    assert "unexpected: stranger.weight" in str(error.value)
    assert str(tmp_path / "net.pth") in str(error.value)
    assert torch.equal(network.conv_first.weight, before)


def test_more_blocks_and_another_width_are_refused(tmp_path: Path) -> None:
    torch.save(build(blocks=3).state_dict(), tmp_path / "deep.pth")
    with pytest.raises(WeightsError, match=r"unexpected: body\.2\.rdb1.* and 25 more"):
        load_public_weights(build(), str(tmp_path / "deep.pth"))
    torch.save(build(channels=6).state_dict(), tmp_path / "wide.pth")
    with pytest.raises(WeightsError, match=r"other shape: .*\(6,\) where the network has \(4,\)"):
        load_public_weights(build(), str(tmp_path / "wide.pth"))


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("/tmp/acutance-hostile-weights"),))


@pytest.mark.parametrize("content", [{}, {"params": {}}, {"iter": 5}, [1, 2], Hostile()])
def test_files_that_hold_no_weights_are_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=r"net\.pth"):
        load_public_weights(build(), str(tmp_path / "net.pth"))
    assert not Path("/tmp/acutance-hostile-weights").exists()


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"\x80\x02}q\x00.", b"PK\x03\x04 broken"])
def test_damaged_files_are_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=r"no weights|not a readable"):
        load_public_weights(build(), str(tmp_path / name))


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    for absent in ("/nowhere/net.pth", str(tmp_path)):
        with pytest.raises(WeightsError, match=f"no readable weights file here\n  where: {absent}"):
            load_public_weights(build(), absent)
