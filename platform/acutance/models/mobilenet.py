"""MobileNetV2 without its classifier (Sandler et al., CVPR 2018), which NIMA's predictors look through.

Its layers have the names of torchvision's, whose published weights it takes. It is built here, since importing
torchvision imports torch's compiler as well, for seconds that every plan would wait.
"""

from __future__ import annotations

from torch import Tensor, nn

FIRST, LAST = 32, 1280
BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Table 2: of each row the expansion, the channels, the number of blocks and the stride of the first."""


def mobilenet_v2() -> nn.Sequential:
    """Return a network from pictures (B,3,H,W) to features (B,1280,H/32,W/32), sides rounded up; 2,223,872 parameters.

    Its weights are drawn as torchvision draws them: normal, by the number of outputs (He et al., ICCV 2015).
    """
    layers: list[nn.Module] = [_convolution(3, FIRST, 3, stride=2)]
    inputs = FIRST
    for expansion, channels, blocks, stride in BLOCKS:
        for index in range(blocks):
            layers.append(InvertedResidual(inputs, channels, expansion, stride if index == 0 else 1))
            inputs = channels
    network = nn.Sequential(*layers, _convolution(inputs, LAST, 1))
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")
    return network


class InvertedResidual(nn.Module):
    """Widens, filters each channel by itself, narrows; its input is added where nothing changes its size.

    Args:
        inputs, outputs: channels.
        expansion: how many times wider it is in between.
        stride: of the filters.
    """

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        self.is_residual = stride == 1 and inputs == outputs
        wide = expansion * inputs
        self.conv = nn.Sequential(
            *([_convolution(inputs, wide, 1)] if expansion > 1 else []),
            _convolution(wide, wide, 3, stride=stride, groups=wide),
            nn.Conv2d(wide, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (B,inputs,H,W) to (B,outputs,H/stride,W/stride), sides rounded up."""
        found: Tensor = self.conv(features)
        return features + found if self.is_residual else found


def _convolution(inputs: int, outputs: int, side: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, side, stride, (side - 1) // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )
