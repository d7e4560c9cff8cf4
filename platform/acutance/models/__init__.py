"""Networks: one file an architecture, plain `nn.Module` with typed keyword constructors.

A network names the batch columns it reads in `inputs` (forward's positional order) and those it can do without in
`options`, its enlargement in `scale`, and returns named outputs as a dict: `image` and `highpass` (B,3,H,W) in 0..1
units, `detail` (B,1,H,W) as 2^x or (B,3,H,W) as a difference; one that restores a picture in several ways in training
stacks them on the batch axis, and one that learns from smaller pictures too returns these in training (HFA's `half`
and `quarter`). A classifier returns `logits` (B,classes). One that starts from a published file has a setting
`weights`, the file's name in `file`, `fill` to take it, and in `untrained` what is to be said where it starts from
nothing. A discriminator maps one output to logits (B,1). `features` are the frozen classifiers that perceptual losses
look through. `public_weights` reads and writes ESRGAN checkpoints, `model_file` our own files, and `restore` runs a
network on a whole picture of any size.
"""

from torch import nn

from acutance.models.dncnn import DnCNN
from acutance.models.dsrgan import DSRGAN
from acutance.models.eusr import EUSR
from acutance.models.eusr_discriminator import EUSRDiscriminator
from acutance.models.hfa import HFA
from acutance.models.highpass import HighPassNet
from acutance.models.msrresnet import MSRResNet
from acutance.models.nima import NIMA
from acutance.models.resnet import ResNet
from acutance.models.rrdbnet import RRDBNet
from acutance.models.vgg_discriminator import VGGDiscriminator
from acutance.models.wdsr import WDSR

NETWORKS: dict[str, type[RRDBNet | MSRResNet | DSRGAN | EUSR | HighPassNet | HFA | DnCNN | WDSR | ResNet | NIMA]] = {
    "rrdbnet": RRDBNet,
    "msrresnet": MSRResNet,
    "dsrgan": DSRGAN,
    "eusr": EUSR,
    "highpass": HighPassNet,
    "wdsr": WDSR,
    "resnet": ResNet,
    "hfa": HFA,
    "dncnn": DnCNN,
    "nima": NIMA,
}
DISCRIMINATORS: dict[str, type[nn.Module]] = {"vgg": VGGDiscriminator, "eusr": EUSRDiscriminator}
