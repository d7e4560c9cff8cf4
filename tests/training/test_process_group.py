"""How workers enter a process group, and who is blamed when one breaks."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from ray.exceptions import RayActorError

from acutance.errors import DataError, LostError
from acutance.training import gloo_interface, process_group

PEER_GONE = RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer")


def test_gloo_is_told_the_interface_before_the_group_is_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gloo_interface.VARIABLE, "")
    monkeypatch.delenv(gloo_interface.VARIABLE)
    monkeypatch.setattr(gloo_interface, "get_node_ip_address", lambda: "127.0.0.1")
    entered: list[Any] = []

    def init(backend: str, **options: Any) -> None:
        entered.append((backend, options["rank"], options["world_size"], os.environ[gloo_interface.VARIABLE]))

    monkeypatch.setattr("torch.distributed.init_process_group", init)
    process_group.enter("10.0.0.1:5", 1, 2, 0)
    assert entered == [("gloo", 1, 2, gloo_interface.interface_of("127.0.0.1"))]
    process_group.enter("10.0.0.1:5", 0, 1, 0)
    assert len(entered) == 1, "one worker alone needs no group"


def test_what_workers_compute_on_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    assert process_group.described(process_group.device_names(0, 1), 0) == "1 worker on cpu, gloo"
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    assert process_group.described([process_group.device_name(1)] * 2, 1) == "2 workers on cuda (NVIDIA H200), nccl"


def test_the_cause_is_told_from_what_follows_from_it() -> None:
    ours, theirs, died = DataError("no disk"), ValueError("odd"), RayActorError()
    assert process_group.cause([PEER_GONE, died, theirs, ours]) is ours
    assert process_group.cause([PEER_GONE, died, theirs]) is theirs
    assert process_group.cause([PEER_GONE, died]) is died
    assert [process_group.is_loss(one) for one in (ours, theirs, died, PEER_GONE)] == [False, False, True, True]
    assert isinstance(process_group.lost(PEER_GONE), LostError)
