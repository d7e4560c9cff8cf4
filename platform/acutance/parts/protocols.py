"""Protocols of the kinds of parts. `acutance check PART` tests them; `docs/parts.md` has an example of each.

Shapes: B samples, C channels, H and W in pixels. Pictures are float32 in 0..1, RGB.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class Network(Protocol):
    """An `nn.Module` whose constructor takes typed, keyword-only settings.

    `forward` takes the columns that `inputs` names, in that order, (B, C, H, W) each, and returns its outputs by name:
    `image` (B, 3, scale * H, scale * W) for restored pictures, not clipped; `logits` (B, classes) of a classifier;
    others as the terms of the objective expect them. In training a network that restores a picture in several ways
    stacks the results on the batch axis, and may return further outputs.
    """

    inputs: ClassVar[tuple[str, ...]]
    """The columns that it reads: `lr`, `hr`, or derived ones, each computable from one picture."""
    outputs: ClassVar[tuple[str, ...]]
    """The outputs that it always returns."""
    scale: int
    """How many times larger `image` is than the picture that is given."""

    def forward(self, *columns: Tensor, **options: Tensor) -> dict[str, Tensor]:
        """Return the outputs."""
        ...


class Discriminator(Protocol):
    """An `nn.Module` whose constructor takes typed, keyword-only settings, `size` and `in_channels` among them."""

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits (B, 1), or (B, 1, h, w) for patches, of pictures (B, in_channels, size, size)."""
        ...


class FeatureNetwork(Protocol):
    """A frozen network whose features losses compare."""

    layers: ClassVar[tuple[str, ...]]
    """The names of its features, from the first layer to the last."""

    def features(self, picture: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
        """Return features of pictures (B, 3, H, W), by layer."""
        ...


class Loss(Protocol):
    """An `nn.Module` that returns a scalar, or a scalar and its parts by name.

    A loss that compares features of a frozen network has a parameter of the type `nn.Module`, to which a file gives a
    stage, a model file or a feature network, and a static method `feature_taps(arguments) -> {parameter: layers}`.
    """

    reads: ClassVar[Literal["outputs", "logits"]]
    """`outputs`: `forward(prediction, target)`, of one shape; `logits`: `forward(real, fake, form, means)`."""

    def forward(self, *given: Any) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Return the loss."""
        ...


class Mask(Protocol):
    """The values that a loss counts. A static method `columns_read(**settings)` may name the columns that it reads."""

    divisor: Literal["none", "batch", "image"]
    """What the sum over a batch is divided by: all its values, or those that the mask counts."""

    def __call__(self, prediction: Tensor, target: Tensor, batch: Mapping[str, Tensor], step: int) -> Tensor:
        """Return the mask (B, 1 or C, H, W) in 0..1 at a step counted from 0."""
        ...


class Degradation(Protocol):
    """A function that degrades pictures. Where it reduces them, its `reduces_by` names the setting of the factor."""

    def __call__(self, picture: Tensor, *, seed: int, **settings: Any) -> Tensor:
        """Return the degraded (..., 3, H, W), float in 0..1 or uint8; randomness depends on `seed` alone."""
        ...


class Derivation(Protocol):
    """A function that makes a column from others; `imaging.derivations` lists its optional attributes."""

    def __call__(self, *columns: Tensor, **settings: Any) -> Tensor:
        """Return (B, C, H, W), perhaps smaller by an integer factor, or values of whole pictures (B, n)."""
        ...


class Optimiser(Protocol):
    """A class that is used as those of `torch.optim`: a `torch.optim.Optimizer` whose settings have types.

    Its `state_dict` holds tensors, or None, for each parameter; a resumed run goes on from it bit by bit.
    """

    def __init__(self, params: Any, lr: float, **settings: Any) -> None:
        """Take parameter groups, the learning rate, and the settings of the file."""
        ...

    def step(self) -> Any:
        """Change the parameters by their gradients and by `lr` of their groups."""
        ...


class Schedule(Protocol):
    """A pure function of the step; or a class that is used as those of `torch.optim.lr_scheduler`."""

    def __call__(self, step: int, learning_rate: float, steps: int, **settings: Any) -> float:
        """Return the learning rate of a step, counted from 0, in a training of so many steps."""
        ...


PROTOCOLS: Mapping[str, type] = {
    "network": Network,
    "discriminator": Discriminator,
    "feature_network": FeatureNetwork,
    "loss": Loss,
    "mask": Mask,
    "degradation": Degradation,
    "derivation": Derivation,
    "optimiser": Optimiser,
    "schedule": Schedule,
}
"""By kind of part. A metric is a record: `evaluation.metrics.Metric`."""
