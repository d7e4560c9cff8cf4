"""HFA: parameters, edges, feature attention, three scales, any size, what it starts from."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acutance.errors import ConfigError
from acutance.imaging.edges import edge_filters, hessian_filters
from acutance.imaging.resize import imresize
from acutance.models.edge_filtering import EdgeFiltering, larger_eigenvalue
from acutance.models.feature_attention import FeatureAttention, Gate, PlainSum
from acutance.models.hfa import HFA, ChannelAttentionBlock

NATIVE = {"scale": 4, "mode": "native"}


def small(**settings: Any) -> HFA:
    torch.manual_seed(0)
    return HFA(channels=4, blocks=(1, 1, 1), **settings)


def stirred(network: nn.Module) -> nn.Module:
    """Move what starts at 0, make the quiet tails heard, and keep the few ReLUs of small networks open."""
    numbers = torch.Generator().manual_seed(2)
    for name, parameter in network.named_parameters():
        if "weigh." in name or "tails." in name:
            nn.init.normal_(parameter, std=0.5, generator=numbers)
        elif name.endswith(("compare.bias", "squeeze.bias")):
            nn.init.constant_(parameter, 2.0)
    return network


def picture(*shape: int) -> Tensor:
    return torch.rand(shape or (2, 3, 16, 24), generator=torch.Generator().manual_seed(1))


def test_edges_are_as_fine_where_the_rest_is_bfloat16() -> None:
    """Of a tenth of a grey level a bfloat16 would see nothing."""
    layer = EdgeFiltering(8).to(memory_format=torch.channels_last)
    nn.init.zeros_(layer.mix.bias)
    picture = 0.8 + 4e-4 * torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        seen = layer(picture).float()
    expected = layer(picture).detach()
    torch.testing.assert_close(seen, expected, rtol=0.02, atol=0.02 * float(expected.std()))
    seen.square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        ({}, 6_843_841),
        ({"edges": False}, 6_747_949),
        ({"attention": False}, 6_843_841 - 5_460),
        ({"scale": 4}, 6_843_841),
        (NATIVE, 6_843_841 + 295_424),
    ],
    ids=str,
)
def test_parameters(settings: dict[str, Any], parameters: int) -> None:
    with torch.device("meta"):
        assert count(HFA(**settings)) == parameters


def test_parameters_of_the_parts() -> None:
    with torch.device("meta"):
        assert count(EdgeFiltering()) == 31_708
        assert [count(FeatureAttention(n)) for n in (3, 4)] == [1_092, 1_348]
        assert count(ChannelAttentionBlock(64)) == 74_436


def test_each_scale_costs_as_much() -> None:
    """A block of a scale acts on a quarter of the pixels, and there are four times as many."""
    with torch.device("meta"):
        blocks = [count(body) - count(body[-1]) for body in HFA().bodies]
    assert blocks[1:] == [4 * blocks[0], 16 * blocks[0]]


def test_edges_start_as_the_filters_of_each_channel_at_three_sizes() -> None:
    edges = EdgeFiltering(8)
    ramp = torch.stack([2.0 * torch.arange(16.0).expand(16, 16), torch.arange(16.0)[:, None].expand(16, 16),
                        torch.zeros(16, 16)])[None]  # fmt: skip
    for size, layer in zip((1, 2, 3), edges.filters, strict=True):
        found = layer(ramp)[0, :, 4:-4, 4:-4]
        expected = torch.zeros(18)
        expected[0], expected[7] = 2.0 * size, 1.0 * size  # x of red, y of green
        torch.testing.assert_close(found, expected.view(18, 1, 1).expand_as(found))
    assert torch.equal(edges.filters[0].weight[6:12], edge_filters())


def test_the_hessian_bank_takes_the_larger_eigenvalue() -> None:
    derivatives = picture(1, 6, 5, 5) - 0.5
    derivatives[..., 0, 0] = 0  # flat: the root has no derivative there
    derivatives.requires_grad_()
    found = larger_eigenvalue(derivatives)
    xx, yy, xy = derivatives.detach().view(1, 2, 3, 5, 5).unbind(2)
    matrices = torch.stack([xx, xy, xy, yy], -1).unflatten(-1, (2, 2))
    torch.testing.assert_close(found.detach(), torch.linalg.eigvalsh(matrices)[..., 1], rtol=1e-4, atol=2e-6)
    found.sum().backward()
    assert derivatives.grad is not None
    assert derivatives.grad.isfinite().all()
    assert torch.equal(EdgeFiltering(8, bank="hessian").filters[1].weight[3:6], hessian_filters())


def test_filters_learn_unless_they_are_frozen() -> None:
    for freeze in (False, True):
        network = small(freeze_filters=freeze)
        network(picture())["image"].sum().backward()
        assert [p.grad is None for p in network.edges[0].filters.parameters()] == [freeze] * 6
        assert network.edges[0].mix.weight.grad is not None


@pytest.mark.parametrize("gate", ["softmax", "sigmoid"])
@pytest.mark.parametrize("features", [2, 3, 4])
def test_feature_attention_starts_as_plain_addition(features: int, gate: Gate) -> None:
    maps = [picture(2, 8, 5, 6) * (1 + n) for n in range(features)]
    torch.testing.assert_close(FeatureAttention(features, 8, gate=gate)(*maps), torch.stack(maps).sum(0))
    torch.testing.assert_close(PlainSum()(*maps), torch.stack(maps).sum(0))


def test_feature_attention_shares_out_as_many_weights_as_there_are_maps() -> None:
    fusion = stirred(FeatureAttention(3, 32))
    means = torch.randn(4, 32, 3, generator=torch.Generator().manual_seed(0))
    maps = [mean[..., None, None].expand(4, 32, 2, 2) for mean in means.unbind(-1)]
    weights = torch.stack([fusion(*(m if n == k else 0 * m for k, m in enumerate(maps))) for n in range(3)])
    assert weights.std() > 0.1
    alike = [torch.ones(2, 32, 3, 3)] * 3
    torch.testing.assert_close(fusion(*alike), torch.full((2, 32, 3, 3), 3.0), msg="weights do not add up to 3")


def test_a_sigmoid_weighs_each_map_for_itself() -> None:
    """From 0 to 2, whatever the others have."""
    fusion = stirred(FeatureAttention(3, 32, gate="sigmoid"))
    nn.init.constant_(fusion.weigh.bias, 9)
    alike = [torch.ones(2, 32, 3, 3)] * 3
    nn.init.zeros_(fusion.weigh.weight)
    torch.testing.assert_close(fusion(*alike), torch.full((2, 32, 3, 3), 6.0), rtol=1e-3, atol=0)
    nn.init.constant_(fusion.weigh.bias, -9)
    assert fusion(*alike).max() < 0.01
    assert small(gate="sigmoid").fusions[0].gate == "sigmoid"


def test_feature_attention_sees_every_feature_from_every_position() -> None:
    """The features lie on a ring: to turn them turns the weights."""
    fusion = stirred(FeatureAttention(4, 16))
    maps = list(torch.randn(4, 1, 16, 3, 3, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(fusion(*maps), fusion(*maps[1:], maps[0]))
    for changed in range(4):
        others = [each + 2 * (n == changed) for n, each in enumerate(maps)]
        moved = fusion(*others) - fusion(*maps) - 2
        assert moved.abs().max() > 1e-3


@pytest.mark.parametrize("settings", [{}, {"scale": 4}, NATIVE], ids=str)
@pytest.mark.parametrize("size", [(4, 4), (8, 9), (13, 30)])
def test_any_size_comes_out_at_its_scale(settings: dict[str, Any], size: tuple[int, int]) -> None:
    network, scale = small(**settings), settings.get("scale", 1)
    outputs = network(picture(2, 3, *size))
    reference = scale if "mode" not in settings else 1
    shapes = {"image": [scale * side for side in size]} | {
        name: [-(-reference * side // divisor) for side in size] for name, divisor in (("half", 2), ("quarter", 4))
    }
    assert {name: [*output.shape] for name, output in outputs.items()} == {n: [2, 3, *s] for n, s in shapes.items()}
    assert network.eval()(picture(2, 3, *size)).keys() == {"image"}


@pytest.mark.parametrize("settings", [{}, {"scale": 4}, NATIVE], ids=str)
def test_it_starts_near_its_input(settings: dict[str, Any]) -> None:
    """What is not there yet is added to the picture of each scale."""
    network, lr, scale = small(**settings), picture(), settings.get("scale", 1)
    whole = imresize(lr, scale)
    smaller = lr if "mode" in settings else whole
    expected = {"image": whole, "half": imresize(smaller, 1 / 2), "quarter": imresize(smaller, 1 / 4)}
    outputs = network(lr)
    assert all((outputs[name] - wanted).abs().max() < 0.05 for name, wanted in expected.items())
    for tail in network.tails:
        nn.init.zeros_(tail.weight)  # type: ignore[arg-type]
    torch.testing.assert_close(network(lr), expected)


def test_borders_are_reflected_up_to_a_multiple_of_4() -> None:
    network, lr = stirred(small()), picture(2, 3, 9, 14)
    filled = F.pad(lr, (0, 2, 0, 3), mode="reflect")
    torch.testing.assert_close(network(lr)["image"], network(filled)["image"][..., :9, :14])


@pytest.mark.parametrize("settings", [{}, {"edges": False}, {"attention": False}, {"bank": "hessian"}, NATIVE], ids=str)
def test_every_parameter_learns(settings: dict[str, Any]) -> None:
    network = stirred(small(**settings))
    outputs = network(picture())
    sum(output.square().mean() for output in outputs.values()).backward()  # type: ignore[union-attr]
    idle = {n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    assert {name for name in idle if "fusions" not in name or not name.endswith("bias")} == set()


def test_feature_attention_learns() -> None:
    """But for the last bias, which moves all weights of a channel alike, so that softmax does not see it."""
    fusion = stirred(FeatureAttention(3, 64))
    nn.init.zeros_(fusion.compare.bias)
    maps = torch.randn(3, 2, 64, 4, 4, generator=torch.Generator().manual_seed(0))
    fusion(*maps).square().mean().backward()
    sizes = {name: float(p.grad.abs().max()) for name, p in fusion.named_parameters() if p.grad is not None}
    assert min(sizes[name] for name in ("compare.weight", "compare.bias", "weigh.weight")) > 1e-5
    assert sizes["weigh.bias"] < 1e-7


def test_the_picture_alone_reaches_all_but_the_smaller_tails() -> None:
    network = stirred(small())
    network(picture())["image"].square().mean().backward()
    idle = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    assert idle == {f"tails.{scale}.{part}" for scale in (1, 2) for part in ("weight", "bias")}


def test_edges_and_attention_change_the_picture() -> None:
    network = stirred(small())
    before = network(picture())["image"]
    nn.init.zeros_(network.edges[2].mix.weight)
    without_edge = network(picture())["image"]
    nn.init.zeros_(network.low_fusions[1].weigh.weight)
    assert (without_edge - before).abs().max() > 1e-3
    assert (network(picture())["image"] - without_edge).abs().max() > 1e-3


@pytest.mark.parametrize("blocks", [(1, 1), (1, 0, 1)])
def test_blocks_are_three(blocks: Any) -> None:
    with pytest.raises(ConfigError, match="three numbers of 1 or more"):
        HFA(blocks=blocks)
