"""The VGG discriminator at its published size and at smaller ones."""

from __future__ import annotations

import pytest
import torch

from acutance.errors import ConfigError
from acutance.models.vgg_discriminator import VGGDiscriminator, stages_for


@pytest.mark.parametrize(("in_channels", "parameters"), [(3, 14_499_401), (1, 14_498_249)])
def test_parameter_count(in_channels: int, parameters: int) -> None:
    with torch.device("meta"):
        network = VGGDiscriminator(in_channels=in_channels)
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_layers_are_those_of_the_published_one() -> None:
    with torch.device("meta"):
        network = VGGDiscriminator()
    widths = [network.get_submodule(f"conv{s}_{h}").out_channels for s in range(5) for h in range(2)]
    assert widths == [64, 64, 128, 128, 256, 256, 512, 512, 512, 512]
    assert network.linear1.in_features == 8192
    biased = [name for name, _ in network.named_parameters() if name.startswith("conv") and "bias" in name]
    assert biased == ["conv0_0.bias"]
    assert not any(name.startswith("bn0_0") for name in network.state_dict())


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("size", [32, 48, 64, 96])
def test_smaller_sizes(size: int, norm: bool) -> None:
    torch.manual_seed(0)
    network = VGGDiscriminator(channels=4, size=size, norm=norm, in_channels=1)
    logits = network(torch.rand(3, 1, size, size))
    assert logits.shape == (3, 1)
    logits.square().sum().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


@pytest.mark.parametrize(("size", "stages"), [(8, 1), (32, 3), (48, 3), (64, 4), (96, 4), (128, 5), (192, 5), (224, 5)])
def test_stages_lead_to_a_map_of_4_to_7(size: int, stages: int) -> None:
    assert stages_for(size) == stages
    assert 4 <= size / 2**stages < 8


@pytest.mark.parametrize("size", [0, 1, 4, 7, 18, 100, 127])
def test_impossible_sizes_are_refused(size: int) -> None:
    with pytest.raises(ConfigError, match=f"{size} pixels"):
        VGGDiscriminator(channels=2, size=size)


def test_another_input_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="built for 32x32 and was given 64x48"):
        VGGDiscriminator(channels=2, size=32)(torch.rand(1, 3, 64, 48))


def test_learns_to_tell_noise_from_flat() -> None:
    torch.manual_seed(0)
    network = VGGDiscriminator(channels=4, size=16)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    noise, flat = torch.rand(8, 3, 16, 16), torch.rand(8, 3, 1, 1).expand(8, 3, 16, 16)
    for _ in range(20):
        loss = torch.nn.functional.softplus(network(flat) - network(noise)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network.train(False)
    assert network(noise).mean() > network(flat).mean()


def test_a_patch_head_judges_each_position_alone() -> None:
    """What lies outside a position's field of view does not move its logit."""
    torch.manual_seed(0)
    judge = VGGDiscriminator(channels=4, size=64, norm=False, head="patch", stages=2)
    picture = torch.rand(1, 3, 64, 64)
    other = picture.clone()
    other[..., 32:] = 0
    logits, changed = judge(picture), judge(other)
    assert logits.shape == (1, 1, 16, 16)
    assert torch.equal(logits[..., :4], changed[..., :4])
    assert not torch.equal(logits[..., 8:], changed[..., 8:])


@pytest.mark.parametrize(("head", "stages"), [("flatten", 2), ("patch", 0), ("patch", 5)])
def test_stages_that_do_not_fit_are_refused(head: str, stages: int) -> None:
    with pytest.raises(ConfigError, match="stages"):
        VGGDiscriminator(size=64, head=head, stages=stages)  # type: ignore[arg-type]
