"""A job for Kubernetes: the RayJob of KubeRay (ray.io/v1) that runs a command on its own cluster.

Code, pipelines and search spaces come with the image (infra/Containerfile), so that what ran can be told by the
image's name alone. `rayjob.yaml.j2` is the job.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from acutance import storage as storages
from acutance.cluster.job_environment import addresses, refuse_secret_words
from acutance.cluster.package import POLICY, named_files
from acutance.errors import UserError
from acutance.templates import filled_in

SECRETS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "ACUTANCE_STUDIES",
)
"""What pods take from the Secret, as far as it is there: by name, so that a manifest holds no value."""

LONGEST_NAME = 47


@dataclass(frozen=True)
class Pods:
    """What the cluster of a job is made of: a head that trains nothing, and workers, each with `cpus`, `gpus` and
    `memory` (a quantity of Kubernetes, such as 8Gi)."""

    image: str
    workers: int = 2
    cpus: int = 4
    gpus: int = 0
    memory: str = "16Gi"

    @property
    def resources(self) -> dict[str, str]:
        """The resources that a worker requests and may use."""
        gpus = {"nvidia.com/gpu": str(self.gpus)} if self.gpus else {}
        return {"cpu": str(self.cpus), "memory": self.memory, **gpus}


def rayjob(
    command: list[str],
    pods: Pods,
    *,
    storage: str,
    name: str | None = None,
    namespace: str | None = None,
    secret: str = "acutance",
    given: Iterable[str] = (),
    working_dir: str | Path = ".",
) -> str:
    """Return the RayJob that runs `acutance COMMAND`, as `kubectl apply -f -` reads it.

    Args:
        command: what follows `acutance`; its YAML files lie in `pipelines/` or `search_spaces/`.
        storage: storage root of outputs; remote, for pods share no folder.
        name: default: made of the command.
        namespace: default: that of the one who applies it.
        secret: name of a Secret with any of `SECRETS`.
        given: see `acutance.cluster.job_environment.environment`.
        working_dir: where the command's YAML files are looked for.

    Raises:
        UserError: when the job could not run there.
    """
    refuse_secret_words(command)
    words = _in_image(command, Path(working_dir))
    if not storages.is_remote(storage):
        raise UserError("pods share no folder", where=f"storage {storage}", fix="--storage s3://BUCKET/PREFIX")
    variables = addresses(storage, given)
    if "MLFLOW_TRACKING_URI" not in variables:
        raise UserError("pods need a tracking server", fix="--env MLFLOW_TRACKING_URI=http://mlflow.example:5000")
    return filled_in(
        "cluster/rayjob.yaml.j2",
        name=_name(name or _name_of(words)),
        namespace=namespace,
        entrypoint=shlex.join(["python", "-m", "acutance", *words]),
        pods=pods,
        ray=version("ray"),
        variables=sorted(variables.items()),
        secret=secret,
        keys=[key for key in SECRETS if key not in variables],
        quoted=json.dumps,  # JSON is YAML
    )


def _in_image(command: list[str], working_dir: Path) -> list[str]:
    """Return the command with its YAML files named as they lie in the image."""
    if not command:
        raise UserError("there is no command", fix="acutance jobs manifest -- run pipelines/quickstart.yaml")
    _, named = named_files(command, working_dir)
    for word, path in zip(command, named, strict=True):
        if path and path.parts[0] not in POLICY:
            raise UserError("the image would not have this file", where=word, fix=f"put it into {' or '.join(POLICY)}/")
    return [path.as_posix() if path else word for word, path in zip(command, named, strict=True)]


def _name_of(words: list[str]) -> str:
    """Return a name that tells the command and the file apart from others: `run-quickstart`."""
    file = next((Path(word).stem for word in words[1:] if word.endswith((".yaml", ".yml"))), "")
    text = re.sub(r"[^a-z0-9]+", "-", f"{words[0]}-{file}".lower()).strip("-")
    return text[:LONGEST_NAME].rstrip("-")


def _name(name: str) -> str:
    """Kubernetes would refuse it later, and less clearly."""
    if len(name) > LONGEST_NAME or not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name):
        raise UserError(
            "this is no name for a RayJob",
            where=name,
            fix=f"--name with at most {LONGEST_NAME} of a-z, 0-9 and -, beginning with a letter",
        )
    return name
