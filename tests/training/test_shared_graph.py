"""The step takes each discriminator's passes once; the textbook takes them twice. The gradients are the same."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from made_for_training import learner_of
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from acutance.training.learner import Learner

JUDGES = {"image": "hr", "detail": "hr_detail"}
WEIGHT = 0.1


def settings(form: str, norm: bool) -> dict[str, Any]:
    judge = {"type": "vgg", "channels": 4, "size": 32, "norm": norm}
    return {
        "network": {"type": "dsrgan", "blocks": 1, "channels": 8, "growth": 4, "detail_blocks": 1},
        "discriminators": {
            "image": {"network": judge, "form": form},
            "detail": {"network": {**judge, "in_channels": 1}, "form": form},
        },
        "objective": [
            {"type": "pixel"},
            {"name": "detail_pixel", "type": "pixel", "on": "detail"},
            {"type": "adversarial", "weight": WEIGHT},
            {"name": "detail_adversarial", "type": "adversarial", "on": "detail", "weight": WEIGHT},
        ],
        "steps": 1,
    }


def batch() -> dict[str, Tensor]:
    shapes = {"hr": (3, 32), "lr": (3, 8), "hr_detail": (1, 32), "lr_detail": (1, 8)}
    return {name: torch.rand(4, channels, side, side) for name, (channels, side) in shapes.items()}


@pytest.fixture(params=[torch.float64, torch.float32], ids=str)
def _dtype(request: pytest.FixtureRequest) -> Iterator[None]:
    torch.set_default_dtype(request.param)
    yield
    torch.set_default_dtype(torch.float32)


def textbook(learner: Learner, batch: dict[str, Tensor]) -> dict[str, nn.Module]:
    """Copies of the learner's networks with the gradients of ESRGAN's two phases, four passes a discriminator."""
    network = copy.deepcopy(learner.generator.module)
    judges = {name: copy.deepcopy(trained.module) for name, trained in learner.discriminators.items()}
    made = network(batch["lr"], batch["lr_detail"])
    for judge in judges.values():
        judge.requires_grad_(False)
    loss = sum((made[name] - batch[JUDGES[name]]).abs().mean() for name in judges)
    loss = loss + sum(WEIGHT * generators(learner, name, judge, made, batch) for name, judge in judges.items())
    loss.backward()
    for name, judge in judges.items():
        judge.requires_grad_(True)
        discriminators(learner, name, judge, made, batch).backward()
    return {"generator": network, **{f"discriminator.{name}": judge for name, judge in judges.items()}}


def generators(learner: Learner, name: str, judge: nn.Module, made: dict, batch: dict) -> Tensor:
    r, f = judge(batch[JUDGES[name]]).detach(), judge(made[name])
    one, zero = torch.ones_like(r), torch.zeros_like(r)
    if learner.stage.discriminators[name].form == "vanilla":
        return bce(f, one)
    return (bce(r - f.mean(), zero) + bce(f - r.mean(), one)) / 2


def discriminators(learner: Learner, name: str, judge: nn.Module, made: dict, batch: dict) -> Tensor:
    r, f = judge(batch[JUDGES[name]]), judge(made[name].detach())
    one, zero = torch.ones_like(r), torch.zeros_like(r)
    if learner.stage.discriminators[name].form == "vanilla":
        return bce(r, one) + bce(f, zero)
    return (bce(r - f.mean().detach(), one) + bce(f - r.mean().detach(), zero)) / 2


@pytest.mark.usefixtures("_dtype")
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("form", ["relativistic_average", "vanilla"])
def test_gradients_are_those_of_two_phases_with_passes_of_their_own(form: str, norm: bool) -> None:
    learner, pictures = learner_of(settings(form, norm)), batch()
    plain = textbook(learner, pictures)
    learner.train_step(pictures)
    for name, trained in learner.trained_modules().items():
        mine = {key: weight.grad for key, weight in trained.module.named_parameters()}
        wanted = {key: weight.grad for key, weight in plain[name].named_parameters()}
        assert any(gradient.abs().max() > 1e-4 for gradient in wanted.values()), f"{name} learns nothing here"
        torch.testing.assert_close(mine, wanted, rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")


def test_a_discriminator_is_passed_through_twice_a_step_and_its_statistics_move_as_often() -> None:
    """Of the textbook's four passes two repeat the others, so its running statistics take every batch in twice.

    Nothing reads them: a discriminator is always in training mode.
    """
    learner, pictures = learner_of(settings("vanilla", norm=True)), batch()
    judge = learner.discriminators["image"].module
    with torch.no_grad():
        fake = learner.generator.module(pictures["lr"], pictures["lr_detail"])["image"]
        wanted = copy.deepcopy(judge)
        wanted(pictures["hr"])
        wanted(fake)
    passes: list[nn.Module] = []
    judge.register_forward_hook(lambda module, *_: passes.append(module))
    learner.train_step(pictures)
    assert len(passes) == 2
    for (name, mine), (_, plain) in zip(judge.named_buffers(), wanted.named_buffers(), strict=True):
        torch.testing.assert_close(mine, plain, msg=lambda text, name=name: f"{name}: {text}")
    assert judge.training


def test_no_gradient_by_a_discriminators_weights_is_taken_for_the_generator() -> None:
    learner, pictures = learner_of(settings("relativistic_average", norm=True)), batch()
    taken: list[str] = []
    weight = learner.discriminators["image"].module.conv0_0.weight
    weight.register_post_accumulate_grad_hook(lambda _: taken.append("discriminator"))
    learner.generator.module.main.conv_last.weight.register_post_accumulate_grad_hook(
        lambda _: taken.append("generator")
    )
    learner.train_step(pictures)
    assert taken == ["discriminator", "generator"]
