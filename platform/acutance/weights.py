"""Finds published parameter and weights files; downloads one only on request.

Files in an object store are copied into our own cache, once for each machine and state of the object; a copy whose
checksum is wrong is made again.
"""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rich.markup import escape

from acutance import storage
from acutance.console import say
from acutance.errors import AcutanceError, WeightsError
from acutance.fingerprint import fingerprint
from acutance.storage.published import checksum_of


@dataclass(frozen=True)
class Published:
    """Where a file is published; `checksum` may hold the first digits only, as torch hub's file names do."""

    about: str
    url: str
    checksum: str


def _torchvision(file: str, about: str) -> Published:
    sha256 = Path(file).stem.rpartition("-")[2]
    return Published(about, f"https://download.pytorch.org/models/{file}", f"sha256:{sha256}")


KNOWN: dict[str, Published] = {
    "niqe_pris_params.npz": Published(
        "basicsr/metrics/niqe_pris_params.npz of github.com/XPixelGroup/BasicSR (12 kB)",
        "https://raw.githubusercontent.com/XPixelGroup/BasicSR/master/basicsr/metrics/niqe_pris_params.npz",
        "sha256:2a7c182a68c9e7f1b2e2e5ec723279d6f65d912b6fcaf37eb2bf03d7367c4296",
    ),
    "model.mat": Published(
        "model.mat of github.com/chaoma99/sr-metric",
        "https://raw.githubusercontent.com/chaoma99/sr-metric/master/model.mat",
        "git:a852aefb6a49e52703044fee4fa60c3f5b8d5adc",
    ),
    **{
        file: _torchvision(file, f"torchvision's {model}, download.pytorch.org/models")
        for file, model in {
            "squeezenet1_1-b8a52dc0.pth": "SqueezeNet 1.1 (5 MB)",
            "alexnet-owt-7be5be79.pth": "AlexNet (233 MB)",
            "vgg16-397923af.pth": "VGG16 (528 MB)",
            "vgg19-dcbb9e9d.pth": "VGG19 (548 MB)",
            "resnet50-0676ba61.pth": "ResNet-50 (98 MB)",
            "mobilenet_v2-b0353104.pth": "MobileNetV2 (14 MB)",
        }.items()
    },
}
"""File name -> where it is published."""


def folders() -> list[str]:
    """Return where files are looked for, in order: ACUTANCE_WEIGHTS, torch's hub cache, our own cache."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    torch_home = Path(os.environ.get("TORCH_HOME") or caches / "torch")
    named = folders_named(os.environ.get("ACUTANCE_WEIGHTS", ""))
    return [*named, str(torch_home / "hub" / "checkpoints"), str(_own_cache())]


def folders_named(value: str) -> list[str]:
    """Return the folders and s3:// prefixes that a value of ACUTANCE_WEIGHTS names."""
    return [part for part in re.split(f"{os.pathsep}(?!//)", value) if part]


def _own_cache() -> Path:
    return Path.home() / ".cache" / "acutance" / "weights"


def find_weights(name: str) -> Path:
    """Return the path of a parameter or weights file, looked for in `folders()` and their direct subfolders.

    A file that differs from the one published under its name is used, and a message says so.

    Raises:
        WeightsError: when it is nowhere; names the file, where to put it and where it is published.
        UnreachableError: when an object store does not answer.
    """
    require_weights([name])
    found = _found(name)
    assert found
    path = _here(found, storage.states([found])[found]) if storage.is_remote(found) else Path(found)
    if other := other_than_published(path):
        _say_once(f"{other} ({path})")
    return path


def other_than_published(path: Path) -> str:
    """Return a message where a file is not the one published under its name; else an empty text."""
    if path.name not in KNOWN:
        return ""
    state = path.stat()
    same = _is_published(path, state.st_mtime_ns, state.st_size)
    return "" if same else f"{path.name}: another file than the one published under this name"


@cache
def _is_published(path: Path, *state: int) -> bool:
    kind, _, digits = KNOWN[path.name].checksum.partition(":")
    return checksum_of(path, kind).startswith(digits)


@cache
def _say_once(text: str) -> None:
    say(escape(text))


def require_weights(names: Iterable[str]) -> None:
    """Check that files are present.

    Raises:
        WeightsError: naming all that are missing, where to put them and where they are published.
    """
    missing = sorted({name for name in names if not _found(name)})
    if not missing:
        return
    fetch = "".join(f"run `acutance data fetch {name}`, or " for name in missing if name in KNOWN)
    published = ", ".join(KNOWN[name].about for name in missing if name in KNOWN)
    it = "it" if len(missing) == 1 else "them"
    raise WeightsError(
        f"the file {missing[0]} is not here" if it == "it" else f"the files {', '.join(missing)} are not here",
        where=os.pathsep.join(folders()),
        fix=f"{fetch}put {it}{f' (published as {published})' if published else ''} into a folder and set "
        "ACUTANCE_WEIGHTS to that folder",
    )


def fetch_weights(name: str) -> Path:
    """Return the path of a file of `KNOWN`; download it into our own cache where it is nowhere.

    Raises:
        WeightsError: for a file that is not in `KNOWN`, or when the download fails; names the file, where to put
            it and where it is published.
    """
    if name not in KNOWN:
        return find_weights(name)
    from acutance.storage.download import download_with_progress  # with it comes requests, for downloads alone

    published = KNOWN[name]
    try:
        if _found(name):
            return find_weights(name)
        return download_with_progress(published.url, _own_cache() / name, published.checksum)
    except AcutanceError as error:
        fix = f"{error.fix or 'make the folder writable'}; it is published as {published.about}"
        raise WeightsError(error.what, where=error.where, fix=fix) from error


def _found(name: str) -> str | None:
    places = (place for folder in folders() for place in _places(folder, name))
    return next((place for place in places if place in storage.states([place])), None)


def _places(folder: str, name: str) -> Iterator[str]:
    yield storage.join(folder, name)
    if storage.is_remote(folder):
        yield from (storage.join(folder, below, name) for below in storage.names(folder))
    else:
        yield from map(str, sorted(Path(folder).glob(f"*/{name}")))


@cache
def _here(uri: str, state: storage.State) -> Path:
    """Return a local copy of one state of an object; its checksum is verified once for each process."""
    name = uri.rpartition("/")[2]
    of = _own_cache() / "remote" / fingerprint([uri, state.size, state.stamp])
    made = [copy for copy in of.glob(f"*/{name}") if checksum_of(copy, "sha256") == copy.parent.name]
    return made[0] if made else _copied(uri, of, name)


def _copied(uri: str, folder: Path, name: str) -> Path:
    """Copy an object to `FOLDER/SHA-256/NAME`; it appears when it is whole."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    part, digest = folder / f".{uuid.uuid4().hex[:8]}.part", hashlib.sha256()
    try:
        with storage.open_file(uri) as remote, open(part, "wb") as local:
            while chunk := remote.read(1 << 26):
                digest.update(chunk)
                local.write(chunk)
        target = folder / digest.hexdigest() / name
        target.parent.mkdir(mode=0o700, exist_ok=True)
        os.replace(part, target)
    except OSError as error:
        what = f"{name} cannot be copied here: {error.strerror or error}"
        raise WeightsError(what, where=str(folder), fix=f"make room there, or copy {uri} into a folder") from error
    finally:
        part.unlink(missing_ok=True)
    return target
