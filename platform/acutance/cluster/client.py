"""Connects to a cluster's job server by any of its addresses; every error names the address."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from acutance.cluster.probe import TOKEN, check_cluster, check_port, dashboard_answers
from acutance.cluster.tokens import use_token
from acutance.errors import UnreachableError, UserError
from acutance.redact import redacted

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

CHATTY = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)


def client_of(address: str | None) -> tuple[JobSubmissionClient, str]:
    """Return a client of a cluster's jobs that has answered, and the address to print.

    Args:
        address: http://HOST:8265 (the dashboard), or HOST:PORT of the dashboard or of the cluster itself;
            default: RAY_API_SERVER_ADDRESS, else RAY_ADDRESS.

    Raises:
        UserError: when there is no address, or it is of another kind.
        UnreachableError: when no cluster answers there, or it refuses the token.
    """
    target = address or os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS")
    if not target or target == "local":
        raise UserError(
            "a job needs a running Ray cluster",
            fix="start one (infra/local-cluster.sh), then --address http://127.0.0.1:8265 or set RAY_ADDRESS",
        )
    use_token()
    client_address = _client_address(target)
    from ray.job_submission import JobSubmissionClient

    _quiet()
    with answering(target), _without_ray_addresses(), _same_key_value_store():
        return JobSubmissionClient(client_address), redacted(target)


def _quiet() -> None:
    """Set levels after the import, at which these loggers set their own."""
    if not os.environ.get("ACUTANCE_DEBUG"):
        for name in CHATTY:
            logging.getLogger(name).setLevel(logging.ERROR)


def _client_address(target: str) -> str:
    """Return the address for Ray's client, after something answered there."""
    if target == "auto":
        check_cluster(target)
        return target
    if "://" in target and not target.startswith(("http://", "https://")):
        raise UserError("jobs are submitted to a cluster's dashboard", where=target, fix="give http://HOST:8265")
    check_port(target)
    url = target if "://" in target else f"http://{target}"
    if dashboard_answers(url):
        return url
    if "://" in target:
        raise UnreachableError(
            "no Ray dashboard answers at this address",
            where=target,
            fix="give http://HOST:8265 of the head node",
        )
    check_cluster(target)
    return target


@contextmanager
def _without_ray_addresses() -> Iterator[None]:
    """Remove the variables that Ray prefers to the address that the client is given."""
    names = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
    removed = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(removed)


@contextmanager
def _same_key_value_store() -> Iterator[None]:
    """Put Ray's client of its key-value store back: at its exit, Ray Tune would wait for a store that is gone."""
    from ray.experimental import internal_kv

    before = internal_kv.global_gcs_client
    try:
        yield
    finally:
        internal_kv.global_gcs_client = before


@contextmanager
def answering(target: str) -> Iterator[None]:
    """Turn the errors of Ray's client, where a cluster does not answer or refuses, into one that names the cluster."""
    import requests
    from ray.exceptions import AuthenticationError

    try:
        yield
    except AuthenticationError as error:
        raise UnreachableError("the Ray cluster refuses the token or misses one", where=target, fix=TOKEN) from error
    except (requests.RequestException, ConnectionError, RuntimeError) as error:
        raise UnreachableError(
            f"the Ray cluster does not do what was asked: {_plain(error)}",
            where=target,
            fix="look at its dashboard; it needs ray[default] on its head node",
        ) from error


def _plain(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error)).strip()[:300]
