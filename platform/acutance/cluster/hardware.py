"""The nodes of a Ray cluster, those that its autoscaler may add, and how many GPUs each worker gets.

Training, trials, evaluation, preparation and serving all call `gpus_for`. The nodes alive when a command starts are not
enough to decide: a cluster that grows from zero has no GPU then.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from acutance.config.yaml_text import read_yaml
from acutance.console import say
from acutance.errors import ConfigError, TrainingError

if TYPE_CHECKING:
    from torch import nn

GpuRequest = Literal["auto"] | float
"""GPUs of a worker as a file asks for them: `auto` is 1 where the cluster has or can start any, else 0."""

HEAD = "node:__internal_head__"
"""The resource that the head node alone has."""

MANY = 1_000_000

Resources = Mapping[str, float]

Module = TypeVar("Module", bound="nn.Module")


@dataclass(frozen=True)
class NodeType:
    """Nodes of equal resources, and how many there are or may be."""

    resources: Resources
    count: int

    def holds(self, bundle: Resources) -> int:
        """Return how many bundles fit on all of these nodes; a bundle lies on one node."""
        requested_gpus = [(self.resources.get(name, 0), amount) for name, amount in bundle.items() if amount]
        return self.count * int(min((have / amount for have, amount in requested_gpus), default=MANY))


@dataclass(frozen=True)
class Capacity:
    """A cluster's nodes: those that are alive, and those that its autoscaler may add."""

    alive: tuple[NodeType, ...]
    startable: tuple[NodeType, ...] = ()

    def room(self, bundle: Resources) -> int:
        """Return how many bundles fit once the autoscaler has added all it may."""
        return sum(kind.holds(bundle) for kind in (*self.alive, *self.startable))

    def room_now(self, bundle: Resources) -> int:
        """Return how many bundles fit on the nodes that are alive."""
        return sum(kind.holds(bundle) for kind in self.alive)

    def __str__(self) -> str:
        alive = ", ".join(_node_text(kind) for kind in self.alive) or "no node"
        return f"{alive}; its autoscaler can add {', '.join(map(_node_text, self.startable)) or 'none'}"


def gpus_for(
    requested: GpuRequest,
    *,
    workers: int = 1,
    cpus: float = 1,
    setting: str,
    what: str,
    cluster: Capacity | None = None,
) -> float:
    """Return how many GPUs each worker gets; the caller has connected to Ray.

    Print a message where the autoscaler has to start nodes first.

    Args:
        asked: as the file says.
        workers: how many there are to be at the same time.
        cpus: of each.
        setting: where `requested` stands, such as `compute.gpus`.
        what: what will wait, such as `training`.
        there: the cluster's `capacity`, where it is known already.

    Raises:
        ConfigError: when the workers do not fit, also not after the autoscaler has added nodes.
    """
    cluster = cluster or capacity()
    gpus = gpus_per_worker(requested, cluster, workers=workers, cpus=cpus, setting=setting)
    bundle = {"CPU": cpus, "GPU": gpus}
    if cluster.room_now(bundle) < workers:
        say(f"{what} waits for nodes that the autoscaler starts, for {_workers_text(workers, bundle)}")
    return gpus


def gpus_per_worker(requested: GpuRequest, cluster: Capacity, *, workers: int, cpus: float, setting: str) -> float:
    """Return how many GPUs each worker gets on a cluster; errors as of `gpus_for`."""
    gpus = requested_gpus(requested, cluster)
    bundle = {"CPU": cpus, "GPU": gpus}
    room = cluster.room(bundle)
    if room < workers:
        fewer = f"ask for {room} worker{'s' if room > 1 else ''} or less, or " if room else ""
        without = f"set {setting}=0, which computes on CPUs" if gpus else "for fewer CPUs"
        raise ConfigError(
            f"there is no room for {_workers_text(workers, bundle)}: the cluster has {cluster}",
            where=setting,
            fix=f"{fewer}{without}; or start nodes that have them",
        )
    return gpus


def requested_gpus(requested: GpuRequest, cluster: Capacity) -> float:
    """Return how many GPUs a worker requests: `auto` is 1 where a node has or may have one, else 0."""
    return float(bool(cluster.room({"GPU": 1}))) if requested == "auto" else float(requested)


def device_of(gpus: float) -> str:
    """Return the torch device of a process that Ray gave so many GPUs.

    Raises:
        TrainingError: when Ray gave it one and it sees none: on its CPU it would be some 100 times slower.
    """
    import torch

    if not gpus:
        return "cpu"
    if not torch.cuda.is_available():
        import ray

        raise TrainingError(
            f"Ray gave this process {gpus:g} GPU, and torch sees none",
            where=f"node {ray.util.get_node_ip_address()}",
            fix="look at the driver and at torch's CUDA version there (`acutance doctor`), or set the GPUs to 0",
        )
    return f"cuda:{torch.cuda.current_device()}"


def in_full_precision(network: Module, device: str) -> Module:
    """Move a network to a device and switch TF32 off for the rest of the process.

    Its float32 products are then not rounded, so that measured values are comparable with those of a CPU.
    """
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return network.to(device)


def capacity() -> Capacity:
    """Return the nodes that the cluster has and may get; the caller has connected to Ray."""
    nodes = alive()
    may_be = _reported() or _configured_on_head()
    left = (
        NodeType(k.resources, k.count - sum(_same_amounts(k.resources, node.resources) for node in nodes))
        for k in may_be
    )
    return Capacity(nodes, tuple(kind for kind in left if kind.count > 0))


def alive() -> tuple[NodeType, ...]:
    """Return the nodes that are there now."""
    import ray

    return tuple(NodeType(node["Resources"], 1) for node in ray.nodes() if node["Alive"])


def node_types(config: Mapping[str, Any]) -> list[NodeType]:
    """Return the nodes that an autoscaler with this configuration may start."""
    most = config.get("max_workers", 0)
    return [
        NodeType({name: float(amount) for name, amount in kind.get("resources", {}).items()}, min(count, most))
        for name, kind in config["available_node_types"].items()
        if name != config.get("head_node_type") and (count := kind.get("max_workers", 0)) > 0
    ]


def _reported() -> list[NodeType]:
    """Return the node types that an autoscaler has reported to Ray; Ray's own reports none (Ray 2.60), others do."""
    from ray._private.state import state

    config = state.get_cluster_config()
    groups = config.node_group_configs if config else []
    return [NodeType(dict(group.resources), group.max_count if group.max_count >= 0 else 1000) for group in groups]


def _configured_on_head() -> list[NodeType]:
    """Return the node types in the configuration of the head node's autoscaler, a file that lies only there."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    context = ray.get_runtime_context()
    heads = [node["NodeID"] for node in ray.nodes() if node["Alive"] and HEAD in node["Resources"]]
    if not heads:
        return []
    if heads[0] == context.get_node_id():
        found = _configuration(context.gcs_address)
    else:
        head = NodeAffinitySchedulingStrategy(heads[0], soft=False)
        task = ray.remote(num_cpus=0)(_configuration).options(scheduling_strategy=head)
        found = ray.get(task.remote(context.gcs_address))
    return node_types(found) if found else []


def _configuration(gcs_address: str) -> dict[str, Any] | None:
    """Return the configuration of the autoscaler that runs on this node for this cluster; None where there is none."""
    import psutil

    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        files = [word.partition("=")[2] for word in words if word.startswith("--autoscaling-config=")]
        if files and f"--gcs-address={gcs_address}" in words:
            return read_yaml(Path(files[0]).expanduser())
    return _of_kuberay()


KUBERNETES_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def _of_kuberay() -> dict[str, Any] | None:
    """Return the configuration of the autoscaler beside a KubeRay head, which the pod's account may read."""
    name, space = os.environ.get("RAY_CLUSTER_NAME"), KUBERNETES_ACCOUNT / "namespace"
    if not name or "KUBERNETES_SERVICE_HOST" not in os.environ or not space.is_file():
        return None
    import requests
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
    from ray.autoscaler._private.kuberay.node_provider import KubernetesHttpApiClient

    try:
        cluster = KubernetesHttpApiClient(namespace=space.read_text().strip()).get(f"rayclusters/{name}")
    except requests.RequestException:
        return None  # an account without this right: the cluster has no autoscaler
    if not cluster["spec"].get("enableInTreeAutoscaling"):
        return None
    return _derive_autoscaling_config_from_ray_cr(cluster)


def _same_amounts(kind: Resources, node: Resources) -> bool:
    return all(kind.get(name, 0) == node.get(name, 0) for name in ("CPU", "GPU"))


def _node_text(kind: NodeType) -> str:
    amounts = ", ".join(f"{kind.resources[name]:g} {name}" for name in ("CPU", "GPU") if kind.resources.get(name))
    return f"{kind.count} node{'s' if kind.count > 1 else ''} of {amounts or 'no CPU'}"


def _workers_text(workers: int, bundle: Resources) -> str:
    amounts = " and ".join(f"{amount:g} {name}" for name, amount in bundle.items() if amount)
    return f"{workers} worker{'s' if workers > 1 else ''} with {amounts}{' each' if workers > 1 else ''}"
