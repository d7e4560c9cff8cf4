"""A model served over HTTP by Ray Serve, from the first request to a clean end."""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

from acutance.cluster.connect import LOCAL, Cluster, connect
from acutance.cluster.hardware import capacity, gpus_for
from acutance.cluster.probe import joined
from acutance.config.limits import limits as limits_of_pictures
from acutance.errors import UserError
from acutance.inference.picture_file import read_model
from acutance.models.model_file import load_model
from acutance.serving.http import FORMATS, Limits, token_digest

TOKEN_VARIABLE = "ACUTANCE_SERVE_TOKEN"
SHORTEST_TOKEN = 16
APPLICATION = "acutance"


@contextmanager
def serving(
    model: str, *, host: str, port: int, limits: Limits, address: str | None = None, name: str | None = None
) -> Iterator[str]:
    """Serve a model for the length of a `with` block.

    Args:
        model: URI of a model file.
        host, port: where to listen; on a cluster, on its head node. Hosts that others reach need a token, which
            comes from the environment (ACUTANCE_SERVE_TOKEN).
        address: a Ray cluster, see `connect`; default: one on this machine, which ends with the block.
        name: what the model is called to whoever asks; default: its file's name.

    Yields:
        The URL.

    Raises:
        UserError: for limits on pictures that are none, a host without its token, a port that is taken, a cluster
            that serves already, and where Ray Serve is not installed.
        ModelError: when the model cannot be read.
    """
    host = host.strip("[]")  # as it stands in a URL
    token = token_for(host)
    limits_of_pictures()  # an invalid limit is an error now, not at the first request
    content = read_model(model)
    about = describe(name or PurePosixPath(model).name, load_model(model)[1], limits)
    if (address or os.environ.get("RAY_ADDRESS") or LOCAL) == LOCAL:
        _check_free(host, port)
    with connect(address) as cluster:
        serve = _ray_serve()
        _start(serve, host, port)
        try:
            _deploy(serve, cluster, (content, about, limits, token))
            yield f"http://{joined(host, port)}/"
        finally:
            _end(serve, cluster)


def token_for(host: str) -> str | None:
    """Return the SHA-256 of the token that requests must carry, None where they need none.

    Raises:
        UserError: for a host that others reach without a token, or with one that could be guessed.
    """
    token = os.environ.get(TOKEN_VARIABLE, "")
    fix = f"export {TOKEN_VARIABLE}=$(openssl rand -hex 32), or leave --host out"
    if not token and not is_loopback(host):
        raise UserError("a server that others reach needs a token", where=f"--host {host}", fix=fix)
    if token and len(token) < SHORTEST_TOKEN:
        raise UserError(f"the token has fewer than {SHORTEST_TOKEN} characters", where=TOKEN_VARIABLE, fix=fix)
    return token_digest(token) if token else None


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a host."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def describe(name: str, description: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Return what a server tells about itself."""
    return {
        "service": "acutance",
        "model": name,
        "title": description.get("title") or "",
        "scale": description["scale"],
        "takes": [f"image/{form.lower()}" for form in FORMATS],
        "gives": "image/png",
        "limits": asdict(limits),
    }


def wait_for_the_end() -> None:
    """Return at Ctrl-C or SIGTERM; further signals while the process ends are allowed."""
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    asked.wait()


def _check_free(host: str, port: int) -> None:
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        what = f"nothing can listen there: {error.strerror or error}"
        raise UserError(what, where=joined(host, port), fix="choose another --port or --host") from None


def _ray_serve() -> Any:
    try:
        from ray import serve
    except ImportError as error:
        raise UserError(f"Ray Serve is not installed ({error.name})", fix="pip install 'ray[serve]'") from None
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    return serve


def _start(serve: Any, host: str, port: int) -> None:
    if serve.status().proxies:
        raise UserError(
            "Ray Serve runs on this cluster already, and this would end when that does",
            fix="end it there (`serve shutdown`), or serve from this machine: --address local",
        )
    serve.start(proxy_location="HeadOnly", http_options={"host": host, "port": port})


def _deploy(serve: Any, cluster: Cluster, arguments: tuple[Any, ...]) -> None:
    """Run a replica, and more of them as requests come: one a GPU, else one a node with half of its CPUs.

    GPUs count that the cluster has or can start.
    """
    import ray

    from acutance.serving import deployment

    content, *others = arguments
    replica: Any = deployment.Replica
    gpus = gpus_for("auto", cpus=0, setting="--address", what="the server")
    options = {"num_gpus": gpus} if gpus else {"num_cpus": max(1, int(cluster.cpus / cluster.nodes / 2))}
    most = capacity().room({"GPU": 1}) if gpus else cluster.nodes
    scaled = replica.options(
        ray_actor_options=options, autoscaling_config={"min_replicas": 1, "max_replicas": max(1, most)}
    )
    serve.run(scaled.bind(ray.put(content), gpus, *others), name=APPLICATION, route_prefix="/")


def _end(serve: Any, cluster: Cluster) -> None:
    """Let the requests under way be answered; a Ray of our own then ends with all it holds."""
    serve.delete(APPLICATION)
    if cluster.address != LOCAL:
        serve.shutdown()
