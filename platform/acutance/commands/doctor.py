"""What works here: packages, devices, Ray, MLflow, storage, weights, data; each tried, not guessed."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

from acutance import storage
from acutance.cluster.compilers import missing_compiler
from acutance.cluster.connect import connect
from acutance.data.datasets import Catalogue
from acutance.errors import AcutanceError
from acutance.weights import KNOWN, find_weights, other_than_published

State = Literal["ok", "missing", "failed"]


@dataclass(frozen=True)
class Finding:
    """One thing that was tried. `missing` is no fault: something optional is not there."""

    what: str
    state: State
    note: str


def examine(root: str, address: str | None, catalogue: Catalogue) -> Iterator[Finding]:
    """Try everything in turn, yielding each finding as it is made; what takes long, imports among it, comes last.

    Args:
        root: URI of the storage root.
        address: a Ray cluster, as `connect` takes it.
    """
    yield Finding("Python", "ok", f"{sys.version.split()[0]} on {os.cpu_count()} CPUs")
    yield Finding("packages", "ok", ", ".join(f"{p} {version(p)}" for p in ("torch", "ray", "mlflow", "optuna")))
    yield _compiler()
    yield _tried("storage", lambda: _storage(root))
    for name in KNOWN:
        yield _weights(name)
    for row in catalogue.listing():
        yield Finding(f"data {row.name}", "ok" if row.present else "missing", row.where)
    yield _gpu()
    yield _tried("MLflow", lambda: _mlflow(root))
    yield _tried("Ray", lambda: _ray(address))


def _tried(what: str, attempt: Callable[[], str]) -> Finding:
    try:
        return Finding(what, "ok", attempt())
    except AcutanceError as error:
        return Finding(what, "failed", "; ".join(part for part in (error.what, error.where, error.fix) if part))


def _weights(name: str) -> Finding:
    try:
        path = find_weights(name)
        return Finding(f"weights {name}", "ok", other_than_published(path) or str(path))
    except AcutanceError as error:
        return Finding(f"weights {name}", "missing", str(error.fix))


def _gpu() -> Finding:
    import torch

    if not torch.cuda.is_available():
        return Finding("GPU", "missing", "none; training runs on the CPU")
    names = {torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())}
    return Finding("GPU", "ok", f"{torch.cuda.device_count()} x {', '.join(sorted(names))}")


def _compiler() -> Finding:
    lacking = [missing for device in ("cuda", "cpu") if (missing := missing_compiler(device))]
    if not lacking:
        return Finding("compiler", "ok", "C and C++; GPU kernels and compile: true can be built")
    needs = "detail layers on a GPU are made on the CPU, and compile: true is refused; apt-get install g++"
    return Finding("compiler", "missing", f"{'; '.join(lacking)}: {needs}")


def _storage(root: str) -> str:
    probe = storage.join(root, f"doctor-{uuid.uuid4().hex[:8]}")
    storage.write_bytes(probe, b"probe")
    storage.delete(probe)
    return f"{root} can be written"


def _mlflow(root: str) -> str:
    from acutance.registry.address import connect as connect_tracking
    from acutance.registry.address import tracking_uri

    connect_tracking(root)
    return tracking_uri(root)


def _ray(address: str | None) -> str:
    with connect(address):
        import ray

        resources = ray.cluster_resources()
        where = ray.get(ray.remote(_where).remote())
        return (
            f"{len(ray.nodes())} node(s), {resources.get('CPU', 0):g} CPUs, {resources.get('GPU', 0):g} GPUs; {where}"
        )


def _where() -> str:
    import platform

    return f"a task ran on Python {platform.python_version()}"
