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

SETTINGS: dict[str, Any] = {
    "network": {"type": "rrdbnet", "blocks": 1, "channels": 8, "growth": 4},
    "discriminators": {
        "image": {"network": {"type": "vgg", "channels": 4, "size": 32, "norm": False}, "form": "vanilla"}
    },
    "objective": [{"type": "pixel"}, {"type": "adversarial", "weight": 0.1}],
    "optimiser": {"learning_rate": 1e-3},
    "steps": 3,
    "ema": 0.9,
}


def batch(step: int) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(step)
    return {"lr": torch.rand(4, 3, 8, 8, generator=random), "hr": torch.rand(4, 3, 32, 32, generator=random)}


def weights(taken: Learner) -> dict[str, Tensor]:
    return {
        f"{name}/{key}": tensor.clone()
        for name, player in taken.players().items()
        for key, tensor in player.network.state_dict().items()
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
    mine = learner_of(SETTINGS)
    for step in range(3):
        mine.step({name: tensor[rank * 2 : rank * 2 + 2] for name, tensor in batch(step).items()})
    save_file(weights(mine), Path(folder) / f"{rank}.safetensors")
    dist.barrier()
    dist.destroy_process_group()


def test_two_workers_equal_one_with_the_joint_batch(tmp_path: Path) -> None:
    mp.spawn(work, (str(tmp_path),), nprocs=2)
    alone = learner_of(SETTINGS)
    for step in range(3):
        alone.step(batch(step))
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    torch.testing.assert_close(first, weights(alone), rtol=0, atol=1e-9)
