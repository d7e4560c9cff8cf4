"""From a stage's plan to a learner: networks, the weights they start from, feature networks, objective."""

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
from acutance.training.source_weights import checksum, trunk_file
from acutance.training.stage_plan import StagePlan
from acutance.weights import find_weights


def build_learner(plan: StagePlan, device: str) -> Learner:
    """Return a learner at step 0; the same plan gives the same weights in every process.

    Raises:
        ConfigError: when `init` or `frozen` names a part that the network does not have, or no compiler is installed.
        ModelError: when weights to start from do not fit.
        WeightsError: when published weights are missing, or differ from those of the machine that made the plan.
    """
    stage = plan.stage
    if stage.compile and (lacking := missing_compiler(device)):
        raise ConfigError(
            f"compile: true needs a compiler, and {lacking}",
            where=f"stages.{plan.name}.compile",
            fix="install one on every node (Debian: apt-get install g++), or set it to false",
        )
    seed_everything(plan.key, 0)
    network: nn.Module = stage.network.part(**stage.network.arguments())
    if file := trunk_file(stage):
        network.fill(_as_planned(file, plan))  # type: ignore[operator]
    for part, source in stage.network.init.items():
        start_from(network, part, _located(source, plan), plan.name)
    for part in stage.frozen:
        _part_of(network, part, f"stages.{plan.name}.frozen").requires_grad_(False)
    discriminators = {
        name: d.network.part(**d.network.arguments()).to(device) for name, d in stage.discriminators.items()
    }
    return Learner(stage, network.to(device), _objective(stage, plan).to(device), discriminators, margin=plan.margin)


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


def _objective(stage: Stage, plan: StagePlan) -> Objective:
    terms = []
    for settings in stage.objective:
        frozen = {
            argument: _feature_network(network, plan) for argument, (network, _) in settings.feature_taps().items()
        }
        term = settings.part(**settings.arguments() | frozen)
        mask = settings.mask.part(**settings.mask.arguments()) if settings.mask else None
        terms.append((settings.name, term, settings.on, settings.weight, mask))
    return Objective(terms)


def _feature_network(network: Choice | str, plan: StagePlan) -> nn.Module:
    """Return the network whose features a term compares: that of a finished stage, or a feature network.

    One without published weights is drawn from the seed.
    """
    if isinstance(network, str):
        features, _ = load_model(_located(network, plan))
        return features
    built = network.part(**network.arguments())
    if network.weights == "published":  # type: ignore[attr-defined]
        built.fill(_as_planned(built.file, plan))
    return built


def _located(source: str, plan: StagePlan) -> str:
    """Return the path of a model file, or of a file in the weights folder, by the name that the stage gives it."""
    return str(_as_planned(source, plan)) if source in plan.weights else plan.sources[source]


def _as_planned(file: str, plan: StagePlan) -> Path:
    """Return where a file among the weights lies, when it is the one of the machine that planned the plan."""
    path = find_weights(file)
    if checksum(path) != plan.weights[file]:
        raise WeightsError(
            "this file differs from the one that this stage was planned with",
            where=str(path),
            fix="put the same file on all machines",
        )
    return path
