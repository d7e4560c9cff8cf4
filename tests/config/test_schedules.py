"""Learning-rate schedules agree with torch's own, with BasicSR's, and with the authors' code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from acutance.cli.show import _curve
from acutance.config import pipeline as pipelines
from acutance.config.pipeline.stage import OptimiserChoice, Stage

REPOSITORY = Path(__file__).parents[2]

STEPS = 40


def rates(schedule: dict[str, Any], steps: int = STEPS, **optimiser: Any) -> list[float]:
    """The learning rates of a training from 0.1."""
    choice = OptimiserChoice.chosen({"learning_rate": 0.1, "schedule": schedule, **optimiser})
    return [choice.rate(step, steps) for step in range(steps)]


def torchs(name: str, **arguments: Any) -> list[float]:
    """The same by a class of torch."""
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = getattr(lr_scheduler, name)(optimiser, **arguments)
    found = []
    for _ in range(STEPS):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return found


@pytest.mark.parametrize(
    ("schedule", "name", "arguments"),
    [
        ({"type": "constant"}, "ConstantLR", {"factor": 1.0}),
        ({"type": "multi_step", "milestones": [3, 20]}, "MultiStepLR", {"milestones": [3, 20], "gamma": 0.5}),
        ({"type": "multi_step", "milestones": [0.25, 30], "gamma": 0.1}, "MultiStepLR", {"milestones": [10, 30]}),
        ({"type": "step", "every": 7, "gamma": 0.9}, "StepLR", {"step_size": 7, "gamma": 0.9}),
        ({"type": "cosine", "floor": 1e-3}, "CosineAnnealingLR", {"T_max": STEPS, "eta_min": 1e-3}),
        (
            {"type": "cosine_restarts", "periods": [10, 0.75], "floor": 1e-3},
            "CosineAnnealingWarmRestarts",
            {"T_0": 10, "T_mult": 3, "eta_min": 1e-3},
        ),
        ({"type": "linear", "end": 0.02}, "LinearLR", {"start_factor": 1, "end_factor": 0.2, "total_iters": STEPS}),
        ({"type": "one_cycle"}, "OneCycleLR", {"max_lr": 0.1, "total_steps": STEPS, "cycle_momentum": False}),
        (
            {"type": "one_cycle", "rise": 10, "start_divisor": 10, "end_divisor": 100},
            "OneCycleLR",
            {
                "max_lr": 0.1, "total_steps": STEPS, "cycle_momentum": False,
                "pct_start": 0.25, "div_factor": 10, "final_div_factor": 100,
            },
        ),
        ({"type": "torch.optim.lr_scheduler:ExponentialLR", "gamma": 0.9}, "ExponentialLR", {"gamma": 0.9}),
        (
            {"type": "torch.optim.lr_scheduler:MultiStepLR", "milestones": [3, 9]},
            "MultiStepLR",
            {"milestones": [3, 9]},
        ),
    ],
)  # fmt: skip
def test_a_schedule_is_that_of_torch(schedule: dict[str, Any], name: str, arguments: dict[str, Any]) -> None:
    assert rates(schedule) == pytest.approx(torchs(name, **arguments), rel=1e-9, abs=1e-12)


def test_cosine_with_restarts_is_basicsrs() -> None:
    """`CosineAnnealingRestartLR(periods=[10, 20], restart_weights=[1, 0.5], eta_min=1e-7)` at some of its steps."""
    found = rates({"type": "cosine_restarts", "periods": [10, 20], "weights": [1, 0.5], "floor": 1e-7})
    assert [found[step] for step in (0, 5, 10, 20, 30)] == pytest.approx(
        [0.1, 0.05000005, 0.05000005, 0.025000075, 1e-7]
    )


def test_a_factor_for_each_milestone_is_the_one_of_wdsrs_authors() -> None:
    """Halved, a fifth, halved, a fifth."""
    stage = pipelines.load(REPOSITORY / "pipelines" / "wdsr_weightmap.yaml").stages["wdsr"]
    found = [stage.optimiser.rate(step, stage.steps) for step in (0, 114_286, 200_000, 257_143, 285_714)]
    assert found == pytest.approx([1e-3, 5e-4, 1e-4, 5e-5, 1e-5])


def test_a_learning_rate_stays_above_its_floor() -> None:
    assert min(rates({"type": "step", "every": 1, "floor": 0.03})) == 0.03
    assert min(rates({"type": "multi_step", "milestones": [3, 4, 5], "floor": 0.03})) == 0.03


def test_warmup_rises_to_the_schedule() -> None:
    whole = rates({"type": "cosine"})
    for warmup in (4, 0.1):
        found = rates({"type": "cosine"}, warmup=warmup)
        assert found[:4] == pytest.approx([rate * (step + 1) / 4 for step, rate in enumerate(whole[:4])])
        assert found[4:] == whole[4:]


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"type": "multi_step", "milestones": [4, 2]}, "milestones: give them in increasing order"),
        ({"type": "multi_step", "milestones": [2, 4], "gamma": [0.5]}, "gamma: 1 factors for 2 milestones"),
        ({"type": "multi_step", "milestones": [2], "floor": 1}, r"floor: 1 is above the learning rate of 0\.1"),
        ({"type": "cosine_restarts", "periods": [2], "weights": [1, 2]}, "weights: 2 for 1 periods"),
        ({"type": "torch.optim.lr_scheduler:ReduceLROnPlateau"}, "ReduceLROnPlateau needs more than the step"),
        ({"type": "torch.optim.lr_scheduler:CyclicLR", "base_lr": 0.1, "max_lr": 1.0}, "cycle_momentum"),
        ({"type": "cosin"}, "did you mean 'cosine'"),
        ({"type": "multi_step", "milestones": [1.5]}, "milestones"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_with_its_place(schedule: dict[str, Any], message: str) -> None:
    content = {
        "network": {"type": "highpass"},
        "objective": [{"type": "pixel"}],
        "optimiser": {"learning_rate": 0.1, "schedule": schedule},
        "steps": 10,
    }
    with pytest.raises(ValueError, match=message):
        Stage.model_validate(content)


def test_a_plan_shows_the_rates_from_the_first_step_to_the_last() -> None:
    optimiser = OptimiserChoice.chosen({"learning_rate": 0.2, "schedule": {"type": "linear", "end": 0.0}})
    curve = optimiser.curve(1000)
    assert (curve[0], curve[-1]) == (optimiser.rate(0, 1000), optimiser.rate(999, 1000))
    assert curve == sorted(curve, reverse=True)
    assert _curve(curve) == "██▇▇▆▆▅▅▄▄▃▃▂▂▁▁ 0.2"
    assert _curve(optimiser.curve(0)) == ""
    stepwise = OptimiserChoice.chosen({"schedule": {"type": "torch.optim.lr_scheduler:ExponentialLR", "gamma": 0.99}})
    assert stepwise.curve(10)[-1] == pytest.approx(1e-4 * 0.99**9)
    assert stepwise.curve(10**9) == [], "it would have to be run through a thousand million steps"
