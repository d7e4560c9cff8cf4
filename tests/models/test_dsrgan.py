"""DSRGAN: counts, connections, fusion, and what it is before any training."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from acutance.errors import ConfigError
from acutance.models.dsrgan import DSRGAN
from acutance.models.rrdbnet import RRDBNet

SIZE = {"blocks": 3, "channels": 24, "growth": 12}


def small(**changes: object) -> DSRGAN:
    torch.manual_seed(0)
    return DSRGAN(**{**SIZE, **changes})


ADD = {"fusion": "add", "detail_planes": 3}
SUM = {"fusion": "none", "detail_planes": 3}
FUSIONS = [{"fusion": "gated"}, {"fusion": "product"}, {"fusion": "none"}, ADD, SUM]


def pair(batch: int = 2, height: int = 6, width: int = 5, planes: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    lr = torch.rand(batch, 3, height, width, generator=generator)
    x = torch.randn(batch, planes, height, width, generator=generator)
    return lr, torch.exp2(x / 2) if planes == 1 else x / 20


def awake(network: DSRGAN) -> DSRGAN:
    """Give the last layer of the detail branch, which starts at zero, weights."""
    torch.nn.init.normal_(network.detail.conv_last.weight, std=0.3)
    return network


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        ({}, 23_228_677),
        ({"fusion": "none"}, 23_117_124),
        ({"fusion": "none", "detail_concat": "after"}, 20_019_780),
        (ADD, 23_230_983),
        (SUM, 23_230_983 - 111_553),
    ],
)
def test_parameter_count(settings: dict[str, object], parameters: int) -> None:
    with torch.device("meta"):
        network = DSRGAN(**settings)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_parts_count_as_published() -> None:
    with torch.device("meta"):
        network = DSRGAN()
    counts = [sum(p.numel() for p in part.parameters()) for part in (network.detail, network.attention)]
    assert counts == [6_419_137, 111_553]
    assert network.taps == (5, 10, 15, 20)
    assert network.detail.body[0].rrdb.rdb1.conv1.weight.shape == (32, 128, 3, 3)


@pytest.mark.parametrize("settings", [{"fusion": "gated"}, {"fusion": "none"}, ADD, SUM])
def test_starts_as_its_sisr_branch_to_the_bit(settings: dict[str, object]) -> None:
    network = small(**settings)
    lr, detail = pair(planes=network.detail_planes)
    outputs = network(lr, detail)
    assert outputs["detail"].shape == (2, network.detail_planes, 24, 20)
    assert (outputs["detail"] == (1 if network.detail_planes == 1 else 0)).all()
    assert torch.equal(outputs["image"], network.main(lr)["image"])


def test_product_starts_with_open_attention() -> None:
    network = small(fusion="product").eval()
    lr, detail = pair()
    ratio = network(lr, detail)["image"] / network.main(lr)["image"]
    assert ratio.median().item() == pytest.approx(torch.sigmoid(torch.tensor(4.0)).item(), abs=0.02)


@pytest.mark.parametrize("settings", FUSIONS)
def test_fusion_follows_its_equation(settings: dict[str, object]) -> None:
    fusion, network = settings["fusion"], awake(small(**settings)).eval()
    lr, detail = pair(planes=network.detail_planes)
    seen: dict[str, Tensor] = {}
    if fusion != "none":
        network.attention.register_forward_hook(lambda _m, _i, output: seen.update(weight=output))
    outputs = network(lr, detail)
    base, found = network.main(lr)["image"], outputs["detail"]
    expected = {
        "gated": lambda: base + base * seen["weight"] * (found - 1),
        "product": lambda: base * seen["weight"] * found,
        "none": lambda: base * found if network.detail_planes == 1 else base + found,
        "add": lambda: base + seen["weight"] * found,
    }[fusion]()
    torch.testing.assert_close(outputs["image"], expected)
    if fusion != "none":
        assert seen["weight"].shape == (2, 1, *found.shape[2:])
        assert ((seen["weight"] > 0) & (seen["weight"] < 1)).all()


@pytest.mark.parametrize("settings", FUSIONS)
@pytest.mark.parametrize("concat", ["before", "after"])
def test_gradients_of_the_picture_reach_every_parameter(settings: dict[str, object], concat: str) -> None:
    """From the second step on: in the first the layer that starts at zero lets none through."""
    network = small(**settings, detail_concat=concat)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(2):
        optimiser.zero_grad()
        network(*pair(planes=network.detail_planes))["image"].square().mean().backward()
        assert network.detail.conv_last.weight.grad.any()
        optimiser.step()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    # A bias before batch normalisation is taken away again by it.
    assert [name for name in silent if name not in ("attention.0.bias", "attention.3.bias")] == []


def test_detail_loss_leaves_attention_alone() -> None:
    network = awake(small())
    network(*pair())["detail"].mean().backward()
    assert all(p.grad is None for p in network.attention.parameters())
    assert network.main.body[0].rdb1.conv1.weight.grad.any()  # through the taps


def test_tapped_features_matter() -> None:
    network = awake(small(detail_blocks=2, detail_taps=[1, 3])).eval()
    lr, detail = pair()
    features = [torch.zeros(2, 24, 6, 5), torch.zeros(2, 24, 6, 5)]
    silent = network.detail.picture(network.detail(detail, features))
    assert (network(lr, detail)["detail"] - silent).abs().max() > 1e-3


def test_main_takes_the_weights_of_a_fidelity_stage() -> None:
    torch.manual_seed(5)
    fidelity = RRDBNet(**SIZE, skip="bicubic")
    network = small(skip="bicubic")
    network.main.load_state_dict(fidelity.state_dict())
    lr, detail = pair()
    torch.testing.assert_close(network(lr, detail)["image"], fidelity(lr)["image"])


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("settings", [{}, ADD])
def test_odd_sizes(scale: int, settings: dict[str, object]) -> None:
    network = small(scale=scale, **settings)
    outputs = network(*pair(1, 5, 3, network.detail_planes))
    assert outputs["image"].shape == (1, 3, 5 * scale, 3 * scale)
    assert outputs["detail"].shape == (1, network.detail_planes, 5 * scale, 3 * scale)


@pytest.mark.parametrize(("fusion", "planes"), [("add", 1), ("gated", 3), ("product", 3)])
def test_a_factor_is_not_added_nor_a_difference_multiplied(fusion: str, planes: int) -> None:
    with pytest.raises(ConfigError, match=f"fusion {fusion} does not go with a detail layer of {planes}"):
        small(fusion=fusion, detail_planes=planes)


@pytest.mark.parametrize(
    ("settings", "taps"),
    [
        ({"blocks": 23, "detail_blocks": 2}, (11, 22)),
        ({"blocks": 3, "detail_blocks": 4}, (1, 2, 3, 3)),
        ({"blocks": 8, "detail_blocks": 4}, (2, 4, 6, 8)),
    ],
)
def test_taps_spread_evenly(settings: dict[str, int], taps: tuple[int, ...]) -> None:
    with torch.device("meta"):
        assert DSRGAN(channels=4, growth=2, **settings).taps == taps


def test_detail_branch_may_be_narrower() -> None:
    network = small(detail_channels=32)
    assert network.detail.conv_body.weight.shape == (8, 8, 3, 3)
    assert network(*pair())["detail"].shape == (2, 1, 24, 20)


@pytest.mark.parametrize("norm", ["bn", "in", "none"])
def test_attention_norm(norm: str) -> None:
    kinds = {type(layer).__name__ for layer in small(attention_norm=norm).attention}
    assert (
        kinds & {"BatchNorm2d", "InstanceNorm2d"}
        == {
            "bn": {"BatchNorm2d"},
            "in": {"InstanceNorm2d"},
            "none": set(),
        }[norm]
    )


@pytest.mark.parametrize(
    "settings", [{"detail_taps": [1, 2]}, {"detail_taps": [1, 2, 3, 4]}, {"detail_taps": [0, 1, 2, 3]}]
)
def test_taps_that_do_not_fit_are_refused(settings: dict[str, list[int]]) -> None:
    with pytest.raises(ConfigError, match="4 detail blocks and 3 blocks"):
        small(**settings)


def test_a_detail_branch_without_channels_is_refused() -> None:
    with pytest.raises(ConfigError, match="detail_channels 24"):
        small(detail_channels=24)
