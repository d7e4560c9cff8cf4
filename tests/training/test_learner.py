from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from made_for_training import learner_of, plan_in
from torch import Tensor, nn

from acutance import parts
from acutance.errors import TrainingError
from acutance.losses.adversarial import accuracies
from acutance.models.model_file import load_model
from acutance.training import checkpoint
from acutance.training.learner import Learner
from acutance.training.state import state_of

GAN: dict[str, Any] = {
    "network": {"type": "dsrgan", "blocks": 1, "channels": 8, "growth": 4, "detail_blocks": 1},
    "discriminators": {
        "image": {"network": {"type": "vgg", "channels": 4, "size": 32}},
        "detail": {"network": {"type": "vgg", "channels": 4, "size": 32, "in_channels": 1}},
    },
    "objective": [
        {"type": "pixel", "weight": 0.2},
        {"type": "adversarial", "weight": 0.005},
        {"name": "detail_pixel", "type": "pixel", "on": "detail", "weight": 0.5},
        {"name": "detail_adversarial", "type": "adversarial", "on": "detail", "weight": 0.005},
    ],
    "optimiser": {"learning_rate": 1e-3, "schedule": {"type": "multi_step", "milestones": [3]}},
    "steps": 6,
    "batch": 2,
    "patch": 32,
    "ema": 0.9,
}


def batch_of(step: int, patch: int = 32) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(step)
    shapes = {"hr": (3, patch), "lr": (3, patch // 4), "hr_detail": (1, patch), "lr_detail": (1, patch // 4)}
    return {name: torch.rand(2, c, side, side, generator=random) for name, (c, side) in shapes.items()}


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_step_moves_the_generator_the_average_and_every_discriminator() -> None:
    learner = learner_of(GAN)
    before = {name: weights(trained.module) for name, trained in learner.trained_modules().items()}
    values = learner.train_step(batch_of(0))
    assert values.keys() == {
        "pixel", "adversarial", "detail_pixel", "detail_adversarial",
        "discriminator_image", "discriminator_detail", "total",
    }  # fmt: skip
    assert all(torch.isfinite(value) and not value.requires_grad for value in values.values())
    for name, trained in learner.trained_modules().items():
        assert not same(before[name], weights(trained.module)), name
    # torch's AveragedModel takes over the weights at its first update and averages from the second on
    learner.train_step(batch_of(1))
    assert not same(weights(learner.final_network), weights(learner.generator.module))


def test_the_total_is_the_weighted_sum_of_the_terms() -> None:
    learner = learner_of(GAN)
    values = learner.train_step(batch_of(0))
    expected = sum(term["weight"] * values[term.get("name", term["type"])] for term in GAN["objective"])
    torch.testing.assert_close(values["total"], expected)


def test_the_generator_step_equals_the_plain_computation() -> None:
    """The same update as autograd of the written-out loss gives, with the discriminators left alone."""
    learner = learner_of(GAN)
    network, judge = (
        copy.deepcopy(learner.generator.module),
        copy.deepcopy(learner.discriminators["image"].module),
    )
    detail_judge = copy.deepcopy(learner.discriminators["detail"].module)
    batch = batch_of(0)
    out = network(batch["lr"], batch["lr_detail"])

    def relativistic(judge: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        r, f = judge(real).detach(), judge(fake)
        bce = nn.functional.binary_cross_entropy_with_logits
        return (bce(r - f.mean(), torch.zeros_like(r)) + bce(f - r.mean(), torch.ones_like(f))) / 2

    loss = (
        0.2 * (out["image"] - batch["hr"]).abs().mean()
        + 0.005 * relativistic(judge, batch["hr"], out["image"])
        + 0.5 * (out["detail"] - batch["hr_detail"]).abs().mean()
        + 0.005 * relativistic(detail_judge, batch["hr_detail"], out["detail"])
    )
    loss.backward()
    torch.optim.Adam(network.parameters(), lr=1e-3).step()
    learner.train_step(batch)
    for mine, plain in zip(learner.generator.module.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-5, atol=1e-6)


def test_a_derived_column_is_the_target_of_an_output() -> None:
    learner = learner_of(
        {
            "network": {"type": "highpass", "channels": 16},
            "derive": {"highpass": {"type": "highpass", "of": "hr", "cutoff": 0.25}},
            "objective": [{"type": "pixel", "on": "highpass", "border": 6}],
            "steps": 40,
            "optimiser": {"learning_rate": 2e-3},
        }
    )
    losses = [float(learner.train_step(batch_of(0))["pixel"]) for _ in range(40)]
    assert losses[-1] < 0.5 * losses[0]


SMALL: dict[str, Any] = {
    "network": {"type": "highpass", "channels": 4, "kernel": 3},
    "objective": [{"type": "pixel", "on": "highpass"}],
    "derive": {"highpass": {"type": "highpass", "of": "hr", "cutoff": 0.25}},
}
"""In place of the networks of GAN, where the optimiser alone is of interest."""

MOMENTUM = {"type": "sgd", "momentum": 0.9}

OPTIMISERS: dict[str, dict[str, Any]] = {
    **{name: {"type": name, "weight_decay": 0.1} for name in parts.names("optimiser")},
    "momentum": {**MOMENTUM, "schedule": {"type": "step", "every": 2}},
    "by its place": {"type": "torch.optim:ASGD", "warmup": 4},
}
INTERRUPTED = {
    "adversarial": GAN,
    **{name: {**GAN, "discriminators": {}, **SMALL, "optimiser": {**GAN["optimiser"], **optimiser}}
       for name, optimiser in OPTIMISERS.items()},
}  # fmt: skip


@pytest.mark.parametrize("settings", INTERRUPTED.values(), ids=list(INTERRUPTED))
def test_a_run_that_was_interrupted_ends_bit_for_bit_as_one_that_was_not(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    whole = learner_of(settings)
    for step in range(6):
        whole.train_step(batch_of(step))

    first = learner_of(settings)
    for step in range(3):
        first.train_step(batch_of(step))
    plan = plan_in(tmp_path, settings)
    checkpoint.write(plan, first)
    second = learner_of(settings)
    second.train_step(batch_of(99))  # whatever it held before is replaced
    assert checkpoint.load_newest(plan.checkpoints, second, "print", "cpu")
    assert second.steps_done == 3
    for step in range(3, 6):
        second.train_step(batch_of(step))

    for name, trained in whole.trained_modules().items():
        assert same(weights(trained.module), weights(second.trained_modules()[name].module)), name
    assert same(weights(whole.final_network), weights(second.final_network))


@pytest.mark.parametrize("before", [{"type": "adam"}, MOMENTUM], ids=["adam", "sgd"])
@pytest.mark.parametrize(
    ("after", "moment"), [({"type": "adam"}, "exp_avg"), (MOMENTUM, "momentum_buffer")], ids=["adam", "sgd"]
)
def test_what_goes_on_from_another_optimiser_takes_up_the_weights_alone(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any], moment: str
) -> None:
    first, second = (learner_of({**GAN, "optimiser": optimiser}) for optimiser in (before, after))
    first.train_step(batch_of(0))
    plan = plan_in(tmp_path, GAN)
    checkpoint.write(plan, first)
    checkpoint.load_with_own_settings(plan.checkpoints, second, "cpu")
    assert same(weights(first.generator.module), weights(second.generator.module))
    assert bool(second.generator.optimiser.state) == (before == after)
    second.train_step(batch_of(1))
    assert all(moment in state for state in second.generator.optimiser.state.values())


def test_foreign_or_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    learner, plan = learner_of(GAN), plan_in(tmp_path, GAN)
    for step in range(2):
        learner.train_step(batch_of(step))
        checkpoint.write(plan, learner)
    with pytest.raises(TrainingError, match="other settings"):
        checkpoint.load_newest(plan.checkpoints, learner, "another", "cpu")
    newest = Path(checkpoint.file_of(plan.checkpoints, 2))
    whole = newest.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for place in (3, 9, header // 2, header - 1, header, (header + len(whole)) // 2, -1):
        altered = bytearray(whole)
        altered[place] ^= 1
        newest.write_bytes(altered)
        refused(learner, newest)
    newest.write_bytes(whole[:1000])
    refused(learner, newest)
    newest.unlink()
    assert checkpoint.load_newest(plan.checkpoints, learner, "print", "cpu")
    assert learner.steps_done == 1


def test_a_checkpoint_is_a_model_file_of_the_averaged_weights(tmp_path: Path) -> None:
    learner, plan = learner_of(GAN), plan_in(tmp_path, GAN)
    for step in range(2):
        learner.train_step(batch_of(step))
    checkpoint.write(plan, learner)
    network, description = load_model(checkpoint.file_of(plan.checkpoints, 2))
    assert GAN["ema"]
    assert same(weights(network), weights(learner.final_network))
    assert not same(weights(network), weights(learner.generator.module))
    assert description["network"]["type"] == GAN["network"]["type"]
    assert "training" not in description


def refused(learner: Learner, newest: Path) -> None:
    """Wherever a bit was flipped, on the disk or on the way: the file and what can be done about it are named."""
    with pytest.raises(TrainingError, match="damaged") as caught:
        checkpoint.load_newest(str(newest.parent), learner, "print", "cpu")
    assert caught.value.where == str(newest)
    assert "delete it; training goes on from the one before" in str(caught.value.fix)


def test_an_empty_folder_starts_from_the_beginning(tmp_path: Path) -> None:
    assert not checkpoint.load_newest(str(tmp_path / "none"), learner_of(GAN), "print", "cpu")


@pytest.mark.parametrize("broken", ["generator", "discriminator.detail"])
def test_nothing_moves_where_a_gradient_is_not_finite(broken: str) -> None:
    learner = learner_of(GAN)
    learner.train_step(batch_of(0))
    tensors, _ = state_of(learner)
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    weight = list(learner.trained_modules()[broken].module.parameters())[-1]
    hook = weight.register_hook(lambda gradient: gradient * torch.inf)
    learner.train_step(batch_of(1))
    assert learner.nonfinite == {0: [f"the gradient of {broken}"]}
    assert same(before, state_of(learner)[0])
    assert (learner.steps_done, learner.skipped_steps, learner.consecutive_skips) == (2, 1, 1)
    hook.remove()
    learner.train_step(batch_of(2))
    assert (learner.steps_done, learner.skipped_steps, learner.consecutive_skips) == (3, 1, 0)
    assert learner.nonfinite == {}
    assert not same(before, state_of(learner)[0])


def test_a_discriminators_loss_that_is_not_finite_is_named() -> None:
    learner = learner_of({**GAN, "objective": [{"type": "pixel"}]})
    learner.train_step({**batch_of(0), "hr_detail": torch.full((2, 1, 32, 32), torch.nan)})
    assert learner.nonfinite == {0: ["discriminator_detail", "the gradient of discriminator.detail"]}


def test_the_gradients_norms_and_the_discriminators_accuracies_are_told() -> None:
    learner = learner_of(GAN)
    learner.train_step(batch_of(0))
    for name, trained in learner.trained_modules().items():
        norm = torch.stack([gradient.norm() for gradient in trained.gradients]).norm()
        assert float(learner.diagnostics[f"gradient_norm.{name}"]) == pytest.approx(float(norm), rel=1e-5)
    for kind in ("accuracy_real.image", "accuracy_fake.image", "accuracy_real.detail", "accuracy_fake.detail"):
        assert float(learner.diagnostics[kind]) in (0, 0.5, 1)  # of two pictures


def test_a_discriminator_is_right_where_a_logit_is_on_its_side() -> None:
    real, fake = torch.tensor([2.0, -1.0, 3.0, 1.0]), torch.tensor([-1.0, 2.0])
    assert [float(share) for share in accuracies("vanilla", real, fake)] == [0.75, 0.5]
    # Relative to the means: 0.5 of the fake ones, 1.25 of the real ones.
    assert [float(share) for share in accuracies("relativistic_average", real, fake)] == [0.75, 0.5]
    shifted = real + 10, fake + 10
    assert [float(share) for share in accuracies("relativistic_average", *shifted)] == [0.75, 0.5]
    assert [float(share) for share in accuracies("vanilla", *shifted)] == [1, 0]
