"""Terms of an objective, one file a family.

A term is an `nn.Module` with a typed keyword constructor that returns a scalar. What it `reads` says what it
is handed: "outputs" terms take (prediction, target), "logits" terms (real_logits, fake_logits, form).
`objective` adds them up.
"""

from acutance.losses.adversarial import Adversarial
from acutance.losses.perceptual import Perceptual
from acutance.losses.pixel import Pixel

TERMS: dict[str, type[Pixel | Perceptual | Adversarial]] = {
    "pixel": Pixel,
    "perceptual": Perceptual,
    "adversarial": Adversarial,
}
