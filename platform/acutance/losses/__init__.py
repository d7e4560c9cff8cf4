"""Terms of an objective, one file a family.

A term is an `nn.Module` with a typed keyword constructor that returns a scalar. What it `reads` says what it
is handed: "outputs" terms take (prediction, target), "logits" terms (real_logits, fake_logits, form). One that consists
of parts returns them beside the scalar, by name, to be recorded. One that looks through other networks says in `looks`
through which and at what. `masks` has what a term may be blind to. `objective` adds them up.
"""

from acutance.losses.adversarial import Adversarial
from acutance.losses.classes import CrossEntropy
from acutance.losses.dual_perceptual import DualPerceptual
from acutance.losses.masks import MASKS
from acutance.losses.perceptual import Perceptual
from acutance.losses.pixel import Pixel
from acutance.losses.scores import EarthMover, Score

__all__ = ["MASKS", "TERMS"]

TERMS: dict[str, type[Pixel | Perceptual | DualPerceptual | Adversarial | EarthMover | Score | CrossEntropy]] = {
    "pixel": Pixel,
    "perceptual": Perceptual,
    "dual_perceptual": DualPerceptual,
    "adversarial": Adversarial,
    "earth_mover": EarthMover,
    "score": Score,
    "cross_entropy": CrossEntropy,
}
