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


def pair(batch: int = 2, height: int = 6, width: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    lr = torch.rand(batch, 3, height, width, generator=generator)
    return lr, torch.exp2(torch.randn(batch, 1, height, width, generator=generator) / 2)


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        ({}, 23_228_677),
        ({"fusion": "none"}, 23_117_124),
        ({"fusion": "none", "detail_concat": "after"}, 20_019_780),
    ],
)
def test_parameter_count(settings: dict[str, str], parameters: int) -> None:
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


@pytest.mark.parametrize("fusion", ["gated", "none"])
def test_starts_as_its_sisr_branch(fusion: str) -> None:
    network = small(fusion=fusion)
    lr, detail = pair()
    outputs = network(lr, detail)
    assert (outputs["detail"] - 1).abs().max() < 0.05
    torch.testing.assert_close(outputs["image"], network.main(lr)["image"], rtol=0.05, atol=1e-4)


def test_product_starts_with_open_attention() -> None:
    network = small(fusion="product").eval()
    lr, detail = pair()
    ratio = network(lr, detail)["image"] / network.main(lr)["image"]
    assert ratio.median().item() == pytest.approx(torch.sigmoid(torch.tensor(4.0)).item(), abs=0.02)


@pytest.mark.parametrize("fusion", ["gated", "product", "none"])
def test_fusion_follows_its_equation(fusion: str) -> None:
    network = small(fusion=fusion).eval()
    torch.nn.init.normal_(network.detail.conv_last.weight, std=0.3)
    lr, detail = pair()
    seen: dict[str, Tensor] = {}
    if fusion != "none":
        network.attention.register_forward_hook(lambda _m, _i, output: seen.update(weight=output))
    outputs = network(lr, detail)
    base, found = network.main(lr)["image"], outputs["detail"]
    expected = {
        "gated": lambda: base + base * seen["weight"] * (found - 1),
        "product": lambda: base * seen["weight"] * found,
        "none": lambda: base * found,
    }[fusion]()
    torch.testing.assert_close(outputs["image"], expected)
    if fusion != "none":
        assert seen["weight"].shape == found.shape
        assert ((seen["weight"] > 0) & (seen["weight"] < 1)).all()


@pytest.mark.parametrize("fusion", ["gated", "product", "none"])
@pytest.mark.parametrize("concat", ["before", "after"])
def test_gradients_reach_every_parameter(fusion: str, concat: str) -> None:
    network = small(fusion=fusion, detail_concat=concat)
    network(*pair())["image"].square().mean().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    # A bias before batch normalisation is taken away again by it.
    assert [name for name in silent if name not in ("attention.0.bias", "attention.3.bias")] == []


def test_detail_loss_leaves_attention_alone() -> None:
    network = small()
    network(*pair())["detail"].mean().backward()
    assert all(p.grad is None for p in network.attention.parameters())
    assert network.main.body[0].rdb1.conv1.weight.grad.any()  # through the taps


def test_tapped_features_matter() -> None:
    network = small(detail_blocks=2, detail_taps=[1, 3]).eval()
    torch.nn.init.normal_(network.detail.conv_last.weight, std=0.3)
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
    torch.testing.assert_close(network(lr, detail)["image"], fidelity(lr)["image"], rtol=0.05, atol=1e-4)


@pytest.mark.parametrize("scale", [2, 4])
def test_odd_sizes(scale: int) -> None:
    outputs = small(scale=scale)(*pair(1, 5, 3))
    assert outputs["image"].shape == (1, 3, 5 * scale, 3 * scale)
    assert outputs["detail"].shape == (1, 1, 5 * scale, 3 * scale)


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
