"""Two workers, each with half of a batch, take the step that one worker takes with all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from made_for_training import learner_of
from safetensors.torch import load_file, save_file
from torch import Tensor

from acutance.training.learner import Learner

JUDGE = {"type": "vgg", "channels": 4, "size": 32, "norm": False}
SETTINGS: dict[str, Any] = {
    "network": {"type": "rrdbnet", "blocks": 1, "channels": 8, "growth": 4},
    "discriminators": {
        "plain": {"network": JUDGE, "on": "image", "form": "vanilla"},
        "relative": {"network": JUDGE, "on": "image", "sync_mean": True},
    },
    "objective": [
        {"type": "pixel"},
        {"name": "plain", "type": "adversarial", "on": "plain", "weight": 0.1},
        {"name": "relative", "type": "adversarial", "on": "relative", "weight": 1},
    ],
    "optimiser": {"learning_rate": 1e-3, "clip": 0.5},
    "steps": 3,
    "ema": 0.9,
}
LOCAL_MEANS = {
    **SETTINGS,
    "discriminators": {**SETTINGS["discriminators"], "relative": {"network": JUDGE, "on": "image"}},
}


def batch(step: int) -> dict[str, Tensor]:
    """Fakes of one worker are told from the other's by their means."""
    random = torch.Generator().manual_seed(step)
    lr, hr = torch.rand(4, 3, 8, 8, generator=random), torch.rand(4, 3, 32, 32, generator=random)
    hr[2:] *= 0.2
    return {"lr": lr, "hr": hr}


def made(settings: dict[str, Any]) -> Learner:
    """A learner whose discriminators tell pictures apart from the start."""
    learner = learner_of(settings)
    with torch.no_grad():
        for trained in learner.discriminators.values():
            for weight in trained.module.parameters():
                weight.mul_(3)
    return learner


def weights(taken: Learner) -> dict[str, Tensor]:
    return {
        f"{name}/{key}": tensor.clone(memory_format=torch.contiguous_format)
        for name, trained in taken.trained_modules().items()
        for key, tensor in trained.module.state_dict().items()
    }


def gradients(taken: Learner) -> dict[str, Tensor]:
    return {
        f"{name}/{key}": weight.grad.clone(memory_format=torch.contiguous_format)
        for name, trained in taken.trained_modules().items()
        for key, weight in trained.module.named_parameters()
    }


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    """Adam's first steps have the size of the learning rate however small a gradient is, so rounding has to be."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    mine, local = made(SETTINGS), made(LOCAL_MEANS)
    for step in range(3):
        mine.train_step({name: tensor[rank * 2 : rank * 2 + 2] for name, tensor in batch(step).items()})
    save_file(weights(mine), Path(folder) / f"{rank}.safetensors")
    local.train_step({name: tensor[rank * 2 : rank * 2 + 2] for name, tensor in batch(0).items()})
    save_file(gradients(local), Path(folder) / f"local-{rank}.safetensors")

    broken = batch(3)
    broken["hr"][3] = torch.nan
    mine.train_step({name: tensor[rank * 2 : rank * 2 + 2] for name, tensor in broken.items()})
    assert {"pixel", "plain"} & set(mine.nonfinite[0]) == set(), "what has a mean over both is not finite on both"
    assert {"pixel", "plain", "relative"} - set(mine.nonfinite[1]) == {"plain"}, "the picture is of worker 1"
    after = weights(mine)
    assert all(
        torch.equal(tensor, after[name]) for name, tensor in load_file(Path(folder) / f"{rank}.safetensors").items()
    )
    dist.barrier()
    dist.destroy_process_group()


def test_two_workers_equal_one_with_the_joint_batch(tmp_path: Path) -> None:
    """With relativistic means over both, for three steps; and they skip a step together."""
    mp.spawn(work, (str(tmp_path),), nprocs=2)
    alone = made(SETTINGS)
    alone.train_step(batch(0))
    joint = gradients(alone)
    for step in range(1, 3):
        alone.train_step(batch(step))
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    torch.testing.assert_close(first, weights(alone), rtol=0, atol=1e-9)
    local = load_file(tmp_path / "local-0.safetensors")
    apart = [
        name for name, gradient in local.items() if not torch.allclose(gradient, joint[name], rtol=1e-5, atol=1e-9)
    ]
    assert {name.split("/")[0] for name in apart} == {"generator", "discriminator.relative"}, "each worker's own means"
