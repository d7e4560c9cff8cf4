"""The discriminator of 4PP-EUSR: ten convolutions without normalisation, for pictures of 192 pixels."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from acutance.errors import ConfigError
from acutance.models.rrdbnet import SLOPE, glorot, positive
from acutance.models.vgg_discriminator import logits_of, require_size

STAGES = 5
HIDDEN = 1024


class EUSRDiscriminator(nn.Module):
    """Five stages of a 3x3 convolution and one of stride 2, then two linear layers to logits.

    It starts as the released code does, by Glorot uniform. By PyTorch's default its logits would hardly depend on the
    picture at first, and its gradient would be a hundred times smaller.

    Args:
        channels: width of the first stage; it doubles a stage (32 to 512).
        size: side of the pictures in pixels, a multiple of 32.
        head: "patch" is a logit for each position of the last map (5,238,561 parameters), as in the released code,
            whose tensor is reshaped before the linear layers; "flatten" is one logit for all of it (23,588,641), as
            the paper says.
    """

    def __init__(self, *, channels: int = 32, size: int = 192, head: Literal["patch", "flatten"] = "patch") -> None:
        super().__init__()
        positive(channels=channels)
        if size < 2**STAGES or size % 2**STAGES:
            raise ConfigError(
                f"a discriminator cannot be built for {size} pixels", where="size", fix="use a multiple of 32"
            )
        self.size, self.head = size, head
        layers: list[nn.Module] = []
        width = 3
        for stage in range(STAGES):
            wider = channels * 2**stage
            for inputs, stride in ((width, 1), (wider, 2)):
                layers += [nn.Conv2d(inputs, wider, 3, stride, 1), nn.LeakyReLU(SLOPE, inplace=True)]
            width = wider
        self.convolutions = nn.Sequential(*layers)
        positions = 1 if head == "patch" else (size // 2**STAGES) ** 2
        self.linear1 = nn.Linear(width * positions, HIDDEN)
        self.linear2 = nn.Linear(HIDDEN, 1)
        glorot(self)

    def forward(self, picture: Tensor) -> Tensor:
        """Map pictures (B,3,size,size) in 0..1 to logits (B,1,h,w), or (B,1) with `head: flatten`.

        Inside it works on 0..255, as the released code does.

        Raises:
            ConfigError: for pictures of another size.
        """
        require_size(picture, self.size)
        features = self.convolutions(255 * picture)
        return logits_of(features, self.linear1, self.linear2, self.head)
