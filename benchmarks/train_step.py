"""How many pictures a second does the training step learn from, against ESRGAN's step as textbooks write it?

Ways in turn, within one process, on the same random pictures, so that whatever else the machine does meets all of
them. Two steps: of the fidelity stage (L1), and of the GAN stage (L1, features of VGG19 before the last activation,
relativistic average GAN). Networks are RRDBNet, the VGG-style discriminator, and VGG19's shape with random weights: one
and the same for all ways.

- `textbook`: plain PyTorch as it comes: NCHW, Adam as by default, four passes through the discriminator; on a GPU
  convolutions in TF32, which is PyTorch's default
- `acutance`: `training.learner.Learner`, with nothing on but what is not a setting: one graph for generator and
  discriminator, and Adam in one kernel. Then with one setting after another

Needs neither Ray nor MLflow. Without a GPU the network has 6 blocks and a batch 4 pictures unless asked otherwise, so
that it ends in minutes.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import cpu
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import l1_loss
from torch.utils.flop_counter import FlopCounterMode

from acutance.config.pipeline import Stage
from acutance.data.stream import Stream
from acutance.losses.objective import Objective
from acutance.models.features import VGG19
from acutance.training.learner import Learner

GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
LAYER = "conv5_4"
PIXEL, ADVERSARIAL = 0.01, 0.005
STEPS = 5 if GPU else 1
"""Taken at a time, with the device waited for before and after."""
PRODUCT = 8192

Batch = dict[str, Tensor]
Step = Callable[[Batch], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=23 if GPU else 6, help="of RRDBNet; ESRGAN has 23")
    parser.add_argument("--channels", type=int, default=64, help="of all networks but VGG19")
    parser.add_argument("--batch", type=int, default=16 if GPU else 4)
    parser.add_argument("--patch", type=int, default=128, help="side of the HR patch")
    parser.add_argument("--rounds", type=int, default=20 if GPU else 5)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out, which takes minutes")
    arguments = parser.parse_args()
    heading(arguments)
    for title, terms in (("fidelity step", ["pixel"]), ("GAN step", ["pixel", "perceptual", "adversarial"])):
        compare(title, terms, arguments)


def compare(title: str, terms: list[str], arguments: argparse.Namespace) -> None:
    """Measure all ways of one step and print its table."""
    settings = stage_of(terms, arguments)
    torch.manual_seed(0)
    parts = parts_of(settings)
    learners = {name: learner(settings | changes, parts) for name, changes in settings_in_turn(arguments).items()}
    if "adversarial" in terms:
        learners = {"acutance, Adam as by default": unfused(learner(settings | PLAIN, parts)), **learners}
    ways: dict[str, Step] = {
        "textbook": textbook(parts, fused=False),
        "textbook, fused Adam": textbook(parts, fused=True),
    }
    ways |= {name: each.train_step for name, each in learners.items()}
    batches = shards(arguments)
    fixed = next(batches)
    first = {name: warmed_up(way, fixed) for name, way in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    waited: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, way in ways.items():
            seconds[name].append(measured(lambda way=way: way(fixed)))
            waited[name].append(measured(lambda way=way: way(next(batches))))
    work = operations(learners["acutance"], fixed) if GPU else None
    report(title, arguments.batch, seconds, waited, first, work)
    sys.stdout.flush()


PLAIN = {"tf32": False, "channels_last": False}


def settings_in_turn(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return each setting on top of those before it."""
    turns: dict[str, dict[str, Any]] = {"acutance": {}}
    turns |= {"  + tf32": {"tf32": True}} if GPU else {}
    turns |= {"  + channels_last": {"channels_last": True}, "  + bf16": {"precision": "bf16"}}
    turns |= {} if arguments.no_compile else {"  + compile": {"compile": True}}
    so_far = dict(PLAIN)
    return {name: dict(so_far := so_far | changes) for name, changes in turns.items()}


def stage_of(terms: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    width = {"channels": arguments.channels}
    known = {
        "pixel": {"type": "pixel", "weight": PIXEL if len(terms) > 1 else 1.0},
        "perceptual": {"type": "perceptual", "network": {"type": "vgg19", "weights": "none"}, "layers": [LAYER]},
        "adversarial": {"type": "adversarial", "on": "image", "weight": ADVERSARIAL},
    }
    discriminator = {"network": {"type": "vgg", "size": arguments.patch, **width}}
    return {
        "network": {"type": "rrdbnet", "blocks": arguments.blocks, **width, "growth": max(1, arguments.channels // 2)},
        "objective": [known[term] for term in terms],
        "discriminators": {"image": discriminator} if "adversarial" in terms else {},
        "steps": 1_000_000,
        "batch": arguments.batch,
        "patch": arguments.patch,
    }


def parts_of(settings: dict[str, Any]) -> dict[str, nn.Module]:
    """Return the networks that every way starts from."""
    stage = Stage.model_validate(settings)
    parts: dict[str, nn.Module] = {"network": stage.network.part(**stage.network.arguments())}
    for discriminator in stage.discriminators.values():
        parts["discriminator"] = discriminator.network.part(**discriminator.network.arguments())
        parts["eyes"] = VGG19(weights="none").eval().requires_grad_(False)
    return parts


def learner(settings: dict[str, Any], parts: dict[str, nn.Module]) -> Learner:
    stage, own = Stage.model_validate(settings), copy.deepcopy(parts)
    terms = []
    for term in stage.objective:
        looks = {"network": own["eyes"]} if term.type == "perceptual" else {}
        terms.append((term.name, term.part(**term.arguments() | looks), term.on, term.weight))
    discriminators = {"image": own["discriminator"].to(DEVICE)} if "discriminator" in own else {}
    return Learner(stage, own["network"].to(DEVICE), Objective(terms).to(DEVICE), discriminators)


def unfused(taught: Learner) -> Learner:
    for trained in taught.trained_modules().values():
        trained.optimiser = torch.optim.Adam(trained.module.parameters(), lr=1e-4)
    return taught


def textbook(parts: dict[str, nn.Module], *, fused: bool) -> Step:
    """ESRGAN's step (Wang et al., 2018): the generator with its discriminator frozen, then the discriminator."""
    own = {name: part.to(DEVICE) for name, part in copy.deepcopy(parts).items()}
    network, discriminator, eyes = own["network"], own.get("discriminator"), own.get("eyes")
    adam = torch.optim.Adam(network.parameters(), lr=1e-4, fused=fused or None)
    discriminator_adam = (
        torch.optim.Adam(discriminator.parameters(), lr=1e-4, fused=fused or None) if discriminator else None
    )

    def fidelity(batch: Batch) -> Batch:
        adam.zero_grad()
        loss = l1_loss(network(batch["lr"])["image"], batch["hr"])
        loss.backward()
        adam.step()
        return {"total": loss.detach()}

    def gan(batch: Batch) -> Batch:
        hr = batch["hr"]
        discriminator.requires_grad_(False)
        adam.zero_grad()
        fake = network(batch["lr"])["image"]
        with torch.no_grad():
            wanted = eyes.features(hr, (LAYER,))[LAYER]
        feature = l1_loss(eyes.features(fake, (LAYER,))[LAYER], wanted)
        r, f = discriminator(hr).detach(), discriminator(fake)
        one, zero = torch.ones_like(r), torch.zeros_like(r)
        adversarial = (bce(r - f.mean(), zero) + bce(f - r.mean(), one)) / 2
        loss = PIXEL * l1_loss(fake, hr) + feature + ADVERSARIAL * adversarial
        loss.backward()
        adam.step()
        discriminator.requires_grad_(True)
        discriminator_adam.zero_grad()
        r, f = discriminator(hr), discriminator(fake.detach())
        discriminator_loss = (bce(r - f.mean().detach(), one) + bce(f - r.mean().detach(), zero)) / 2
        discriminator_loss.backward()
        discriminator_adam.step()
        return {"total": loss.detach()}

    return gan if discriminator else fidelity


def shards(arguments: argparse.Namespace) -> Iterator[Batch]:
    """Yield the batches of a made shard set of noise, as a worker reads them."""
    noise, sides = np.random.default_rng(0), {"hr": max(480, arguments.patch), "lr": max(480, arguments.patch) // 4}
    columns = {name: noise.integers(0, 256, (32, side, side, 3), np.uint8) for name, side in sides.items()}
    stream = Stream(
        columns,
        divisors={"hr": 1, "lr": 4},
        codings={"hr": "pixels", "lr": "pixels"},
        patch=arguments.patch,
        batch=arguments.batch,
        key=0,
    )
    for step in count():
        yield {name: column.to(DEVICE, non_blocking=True) for name, column in stream.batch(step).items()}


def warmed_up(way: Step, batch: Batch) -> tuple[float, float]:
    """Return the loss of the first step, and how many seconds it took; three more follow."""
    started = time.perf_counter()
    loss = float(way(batch)["total"])
    seconds = time.perf_counter() - started
    for _ in range(3 if GPU else 1):
        way(batch)
    return loss, seconds


def measured(step: Callable[[], object]) -> float:
    """Seconds a step."""
    wait()
    started = time.perf_counter()
    for _ in range(STEPS):
        step()
    wait()
    return (time.perf_counter() - started) / STEPS


def wait() -> None:
    if GPU:
        torch.cuda.synchronize()


def operations(taught: Learner, batch: Batch) -> float:
    """Floating point operations of a step that takes no pass twice, multiplications and additions."""
    with FlopCounterMode(display=False) as counter:
        taught.train_step(batch)
    return float(counter.get_total_flops())


def product_rate(dtype: torch.dtype, tf32: bool) -> float:
    """Operations a second of a large matrix product: what can be had."""
    left = torch.randn(PRODUCT, PRODUCT, device=DEVICE, dtype=dtype)
    before, torch.backends.cuda.matmul.allow_tf32 = torch.backends.cuda.matmul.allow_tf32, tf32
    times = [measured(lambda: left @ left) for _ in range(5)]
    torch.backends.cuda.matmul.allow_tf32 = before
    return 2 * PRODUCT**3 / statistics.median(times)


def heading(arguments: argparse.Namespace) -> None:
    print(f"$ python {' '.join([str(Path('benchmarks') / Path(sys.argv[0]).name), *sys.argv[1:]])}")
    place = torch.cuda.get_device_name() if GPU else f"{cpu()}, {torch.get_num_threads()} threads"
    print(f"{place}, {platform.system()}, Python {platform.python_version()}, torch {version('torch')}")
    print(
        f"RRDBNet with {arguments.blocks} blocks of {arguments.channels} channels; HR {arguments.patch}, "
        f"batch {arguments.batch}; median of {arguments.rounds} rounds; load before: {os.getloadavg()[0]:.1f}"
    )


def report(
    title: str,
    batch: int,
    seconds: dict[str, list[float]],
    waited: dict[str, list[float]],
    first: dict[str, tuple[float, float]],
    work: float | None,
) -> None:
    """Print a table: images a second, those with the wait for data, how many times the textbook's."""
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    utilised = f"{'of product':>12}" if work else ""
    print(f"\n{title:30}{'images/s':>10}{'with data':>11}{'ratio':>8}{'with data':>11}{'1st step, s':>13}{utilised}")
    data = {name: statistics.median(times) for name, times in waited.items()}
    for name, median in medians.items():
        ratios = f"{medians['textbook'] / median:8.2f}{data['textbook'] / data[name]:11.2f}"
        print(f"{name:30}{batch / median:10.2f}{batch / data[name]:11.2f}{ratios}{first[name][1]:13.1f}", end="")
        print(f"{share(name, work / median):12.0%}" if work else "")
    print(f"losses of the first step: {', '.join(f'{loss:.5f}' for loss, _ in first.values())}")
    if work:
        print(f"{work / batch / 1e12:.3f} TFLOP an image; shares are of the rate of a large matrix product at hand")


def share(way: str, rate: float) -> float:
    """Model FLOP utilisation: of a product of matrices in the precision that this way has for most of its work."""
    if way in ("  + bf16", "  + compile"):
        return rate / product_rate(torch.bfloat16, tf32=True)
    return rate / product_rate(torch.float32, tf32=not way.startswith("acutance"))


if __name__ == "__main__":
    main()
