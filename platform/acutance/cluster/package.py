"""What a job takes along to the cluster: code, YAML files, a few variables; all by an allow-list."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import acutance
from acutance import storage as storages
from acutance.cluster.reach import shown
from acutance.errors import UserError
from acutance.quiet import DEFAULTS

HOME = Path(acutance.__file__).resolve().parent
CODE = {".py", ".yaml", ".typed"}
YAML = {".yaml", ".yml"}
POLICY = ("pipelines", "search_spaces")
PRIVATE = re.compile(r"^\.|credential|secret|password", re.IGNORECASE)
"""Names that stay at home wherever they lie: hidden ones (.env, .git, .venv) and what calls itself secret."""


@dataclass(frozen=True)
class Package:
    """A folder as a job will find it.

    Attributes:
        folder: where it was put together; it becomes the job's working directory.
        command: the command, its YAML files named as they lie in the folder.
        files: path inside the folder and size in bytes of each file, sorted.
    """

    folder: Path
    command: tuple[str, ...]
    files: tuple[tuple[str, int], ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for _, size in self.files)


def build(command: list[str], working_dir: Path, folder: Path) -> Package:
    """Copy what a command needs into an empty folder, laid out like the checkout.

    Args:
        command: what follows `acutance`.
        working_dir: where the user stands: in a checkout, or in a folder with `pipelines/` of their own.
        folder: an empty folder.

    Raises:
        UserError: when the command names a local file that cannot come along.
    """
    here = working_dir.resolve()
    root = _root(here)
    named = [_named(word, here, root) for word in command]
    wanted = dict([*_code(), *_policy(root), *((path.as_posix(), root / path) for path in named if path)])
    for inside, source in wanted.items():
        (folder / inside).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / inside)
    words = tuple(path.as_posix() if path else word for word, path in zip(command, named, strict=True))
    return Package(folder, words, tuple(sorted((inside, source.stat().st_size) for inside, source in wanted.items())))


def _root(here: Path) -> Path:
    """Return the checkout around a folder; a folder outside of any is a root itself."""
    return next((folder for folder in [here, *here.parents] if (folder / "platform" / "acutance").is_dir()), here)


def _code() -> Iterator[tuple[str, Path]]:
    """Yield the code that is running, which need not be the checkout's."""
    for path in _files(HOME, CODE):
        yield f"platform/acutance/{path.relative_to(HOME).as_posix()}", path


def _policy(root: Path) -> Iterator[tuple[str, Path]]:
    for name in POLICY:
        for path in _files(root / name, YAML):
            inside = path.relative_to(root)
            if not _private(inside):
                yield inside.as_posix(), path


def _files(folder: Path, suffixes: set[str]) -> Iterator[Path]:
    """Yield files below a folder; never through a link, which may lead anywhere."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix in suffixes and path.is_file() and not path.is_symlink() and not hidden:
            yield path


def _private(path: Path) -> bool:
    return any(PRIVATE.search(part) for part in path.parts)


def _named(word: str, here: Path, root: Path) -> Path | None:
    """Return the path inside the root of a file that a word names, None where it names none."""
    path = here / word
    try:
        if not path.is_file():
            return None
    except (OSError, ValueError):  # too long for a name, or with a null byte
        return None
    if path.suffix not in YAML:
        _leave_to_the_cluster(word)
        return None
    real = path.resolve()
    if not real.is_relative_to(root) or _private(real.relative_to(root)):
        raise UserError(
            "a job cannot take this file along",
            where=word,
            fix=f"put it below {root} (hidden and secret ones stay out of jobs)",
        )
    return real.relative_to(root)


def _leave_to_the_cluster(word: str) -> None:
    """Pictures and models do not travel with a job; an absolute path may well be there on the nodes."""
    if Path(word).suffix and not Path(word).is_absolute():
        raise UserError(
            "only YAML files travel with a job",
            where=word,
            fix="name pictures and models by s3://, models:/ or an absolute path that every node can read",
        )


def copy_code(folder: Path) -> None:
    """Copy the code that is running to `folder`/acutance."""
    for path in _files(HOME, CODE):
        target = folder / "acutance" / path.relative_to(HOME)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def quiet_environment() -> dict[str, str]:
    """Return the quiet settings of this process, for processes on other machines."""
    names = [*DEFAULTS, "ACUTANCE_DEBUG"]
    return {name: os.environ[name] for name in names if name in os.environ}


def environment(storage: str) -> dict[str, str]:
    """Return the variables of a job: where code and outputs are, and never a key, a token or a password.

    Raises:
        UserError: when an address holds credentials.
    """
    storages.filesystem(storage)  # refuses unknown schemes and credentials
    root = storage if storages.is_remote(storage) else str(Path(storage).expanduser().absolute())
    variables = {
        "PYTHONPATH": "platform",
        "PYTHONUNBUFFERED": "1",
        "ACUTANCE_STORAGE": root,
    } | quiet_environment()
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        if uri := os.environ.get(name, "").strip():
            variables[name] = _without_secrets(name, uri)
    return variables


def _without_secrets(name: str, uri: str) -> str:
    """Everyone who sees the cluster's dashboard sees a job's variables."""
    parts = urlsplit(uri)
    web = parts.scheme in {"http", "https"}
    if parts.password or (web and parts.username) or {"password", "token"} & parse_qs(parts.query).keys():
        raise UserError(
            "an address with a password may not go into a job, where everyone can read it",
            where=f"{name} {shown(uri).split('?')[0]}",
            fix="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment of the nodes",
        )
    if uri.startswith("sqlite:///"):  # a relative one would lie in the job's own folder, and vanish with it
        return f"sqlite:///{Path(uri.removeprefix('sqlite:///')).absolute()}"
    return uri
