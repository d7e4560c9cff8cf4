"""The discriminator of 4PP-EUSR: parameters of both heads, range of its input, sizes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from acutance.errors import ConfigError
from acutance.models.eusr_discriminator import EUSRDiscriminator
from free_pictures import PICTURES, tensor


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters_of_both_heads() -> None:
    with torch.device("meta"):
        patch, flat = EUSRDiscriminator(), EUSRDiscriminator(head="flatten")
    assert count(patch.convolutions) == 4_712_224
    assert count(patch) == 5_238_561
    assert count(flat) == 23_588_641
    widths = [layer.out_channels for layer in patch.convolutions if isinstance(layer, nn.Conv2d)]
    strides = [layer.stride[0] for layer in patch.convolutions if isinstance(layer, nn.Conv2d)]
    assert widths == [32, 32, 64, 64, 128, 128, 256, 256, 512, 512]
    assert strides == [1, 2] * 5


@pytest.mark.parametrize(("head", "shape"), [("patch", (2, 1, 2, 2)), ("flatten", (2, 1))])
def test_a_logit_for_each_position_or_for_the_picture(head: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    judge = EUSRDiscriminator(channels=2, size=64, head=head)  # type: ignore[arg-type]
    assert judge(torch.rand(2, 3, 64, 64)).shape == shape


def test_at_the_start_it_tells_pictures_apart_and_has_a_gradient_to_give() -> None:
    """The released code's start, Glorot uniform: the paper's l_r, of weight 12.75, has a gradient of about 1.6e-2."""
    corners = [(PICTURES[name], top) for name in ("astronaut", "coffee") for top in (0, 200)]
    patches = torch.stack([tensor(picture[top : top + 192, 150:342]) for picture, top in corners]) / 255
    torch.manual_seed(0)
    judge = EUSRDiscriminator()
    logits = judge(patches.requires_grad_())
    F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits)).mul(0.1).backward()
    assert 0.05 < float(logits.std()) < 0.6
    assert patches.grad is not None
    assert 5e-4 < float(patches.grad.flatten(1).norm(dim=1).mean()) < 0.02
    biases = [layer.bias for layer in judge.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    assert len(biases) == 12
    assert not any(bias.any() for bias in biases)


def test_it_works_on_0_to_255() -> None:
    judge = EUSRDiscriminator(channels=2, size=32)
    seen: list[torch.Tensor] = []
    judge.convolutions[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    judge(torch.full((1, 3, 32, 32), 0.5))
    torch.testing.assert_close(seen[0], torch.full((1, 3, 32, 32), 127.5))


def test_sizes() -> None:
    with pytest.raises(ConfigError, match="multiple of 32"):
        EUSRDiscriminator(size=48)
    with pytest.raises(ConfigError, match="built for 32x32 and was given 64x64"):
        EUSRDiscriminator(channels=2, size=32)(torch.rand(1, 3, 64, 64))
