"""The memory of the container around a process, by made control groups of both versions."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from acutance import memory

MB = 1 << 20
UNLIMITED = str((1 << 63) - 4096)
"""What version 1 says where there is no limit."""


@pytest.mark.parametrize(
    ("groups", "files", "total", "free"),
    [
        ("0::/a/b", {"a/b/memory": ("v2", 400, 100, 0)}, 400, 300),
        ("0::/", {"memory": ("v2", 400, 100, 60)}, 400, 360),
        ("0::/a/b", {"a/memory": ("v2", 200, 150, 0), "a/b/memory": ("v2", "max", 100, 0)}, 200, 50),
        ("0::/a", {"a/memory": ("v2", 100, 120, 0)}, 100, 0),
        ("4:memory:/a\n0::/", {"memory/a/memory": ("v1", 300, 100, 0)}, 300, 200),
        ("4:memory:/docker/0123", {"memory/memory": ("v1", 300, 100, 50)}, 300, 250),  # it sees its own group alone
        ("4:memory:/a", {"memory/a/memory": ("v1", UNLIMITED, 100, 0)}, None, None),
        ("0::/a", {}, None, None),
        ("0::/../b", {"memory": ("v2", 400, 100, 0)}, 400, 300),  # it was moved out of what it sees
    ],
)
def test_a_container_has_less_than_the_machine(
    groups: str,
    files: dict[str, tuple[str, int | str, int, int]],
    total: int | None,
    free: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "cgroup")
    write(tmp_path / "proc/self/cgroup", groups)
    for start, (version, limit, used, cached) in files.items():
        names = ("max", "current", "inactive_file")
        if version == "v1":
            names = ("limit_in_bytes", "usage_in_bytes", "total_inactive_file")
        at = tmp_path / "cgroup"
        write(at / f"{start}.{names[0]}", str(limit * MB if isinstance(limit, int) else limit))
        write(at / f"{start}.{names[1]}", str(used * MB))
        write(at / f"{start}.stat", f"anon {MB}\n{names[2]} {cached * MB}\n")
    machine = psutil.virtual_memory().total
    assert memory.total_memory() == (machine if total is None else total * MB)
    if free is None:
        assert 0 < memory.free_memory() < machine
    else:
        assert memory.free_memory() == free * MB


def write(file: Path, content: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
