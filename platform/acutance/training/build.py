"""From a stage job to a learner: networks, warm starts, feature networks, objective."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from torch import nn

from acutance.cluster.compilers import missing_compiler
from acutance.config.pipeline import Stage
from acutance.config.schema import Choice
from acutance.errors import ConfigError, ModelError, WeightsError
from acutance.losses.objective import Objective
from acutance.models.model_file import load_model
from acutance.models.msrresnet import MSRResNet
from acutance.models.public_weights import load_public_weights
from acutance.models.rrdbnet import RRDBNet
from acutance.training.learner import Learner
from acutance.training.plan import StagePlan, checksum, trunk_file
from acutance.weights import find_weights


def build_learner(job: StagePlan, device: str) -> Learner:
    """Return a learner at step 0; the same job gives the same weights in every process.

    Raises:
        ConfigError: when a warm start names a part the network does not have, or nothing here can compile.
        ModelError: when a warm start's weights do not fit.
        WeightsError: when published weights are not here, or are not those of the machine that planned it.
    """
    stage = job.stage
    if stage.compile and (lacking := missing_compiler(device)):
        raise ConfigError(
            f"compile: true needs a compiler, and {lacking}",
            where=f"stages.{job.name}.compile",
            fix="install one on every node (Debian: apt-get install g++), or set it to false",
        )
    seed_everything(job.key, 0)
    network: nn.Module = stage.network.part(**stage.network.arguments())
    if file := trunk_file(stage):
        network.fill(_as_planned(file, job))  # type: ignore[operator]
    for part, source in stage.network.init.items():
        start_from(network, part, _located(source, job), job.name)
    for part in stage.frozen:
        _part_of(network, part, f"stages.{job.name}.frozen").requires_grad_(False)
    discriminators = {
        name: d.network.part(**d.network.arguments()).to(device) for name, d in stage.discriminators.items()
    }
    return Learner(stage, network.to(device), _objective(stage, job).to(device), discriminators, margin=job.margin)


def start_from(network: nn.Module, part: str, source: str, stage: str) -> None:
    """Load the weights of a finished stage, or of a public file, into a part of a network ('.' is all of it)."""
    where = f"stages.{stage}.network.init.{part}"
    target = network if part == "." else _part_of(network, part, where)
    if Path(source).suffix == ".pth" and isinstance(target, RRDBNet | MSRResNet):
        load_public_weights(target, source)
        return
    donor, _ = load_model(source)
    try:
        target.load_state_dict(donor.state_dict())
    except RuntimeError as error:
        raise ModelError(
            f"the weights do not fit: {str(error).splitlines()[-1].strip()}",
            where=where,
            fix="give both networks the same blocks, channels and growth",
        ) from None


def _part_of(network: nn.Module, part: str, where: str) -> nn.Module:
    try:
        return network.get_submodule(part)
    except AttributeError:
        parts = ", ".join(name for name, _ in network.named_children())
        raise ConfigError(f"the network has no part {part!r}", where=where, fix=f"its parts are {parts}") from None


def seed_everything(seed: int, *more: int) -> None:
    """Make all random numbers of this process a function of the given numbers."""
    mixed = int(np.random.SeedSequence([seed, *more]).generate_state(1)[0])
    random.seed(mixed)
    np.random.seed(mixed)
    torch.manual_seed(mixed)


def _objective(stage: Stage, job: StagePlan) -> Objective:
    terms = []
    for settings in stage.objective:
        looked = {argument: _looked_through(network, job) for argument, (network, _) in settings.feature_taps().items()}
        term = settings.part(**settings.arguments() | looked)
        mask = settings.mask.part(**settings.mask.arguments()) if settings.mask else None
        terms.append((settings.name, term, settings.on, settings.weight, mask))
    return Objective(terms)


def _looked_through(network: Choice | str, job: StagePlan) -> nn.Module:
    """Return the network of a finished stage, or a feature network; of one without weights the seed decides."""
    if isinstance(network, str):
        features, _ = load_model(_located(network, job))
        return features
    built = network.part(**network.arguments())
    if network.weights == "published":  # type: ignore[attr-defined]
        built.fill(_as_planned(built.file, job))
    return built


def _located(source: str, job: StagePlan) -> str:
    """Return where what a stage starts from or looks through lies: a model, or a file among the weights."""
    return str(_as_planned(source, job)) if source in job.weights else job.sources[source]


def _as_planned(file: str, job: StagePlan) -> Path:
    """Return where a file among the weights lies, when it is the one of the machine that planned the job."""
    path = find_weights(file)
    if checksum(path) != job.weights[file]:
        raise WeightsError(
            "this is another file than the one that this stage was planned with",
            where=str(path),
            fix="have the same file on all machines",
        )
    return path
