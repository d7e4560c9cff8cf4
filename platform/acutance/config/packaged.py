"""The pipelines, search spaces and data sets that come with the package, and the user's own files."""

from __future__ import annotations

from pathlib import Path

from acutance.errors import ConfigError, nearest

HOME = Path(__file__).resolve().parents[1]
INSIDE = "files"
"""The folder of an installed package in which they lie; in a checkout they lie beside `platform/`."""

POLICY = ("pipelines", "search_spaces")
CATALOGUE = "datasets.yaml"


def folders(kind: str) -> list[Path]:
    """Return where the files of a kind, one of POLICY, come with the package; the first that has one counts."""
    checkout = [HOME.parents[1] / kind] if HOME.parent.name == "platform" else []
    return [folder for folder in (*checkout, HOME / INSIDE / kind) if folder.is_dir()]


def locate(named: str, kind: str) -> Path:
    """Return the file of a path, or of a name such as `quickstart`.

    A name is looked for in `./pipelines` (or `./search_spaces`), then among those that come with the package, which
    also have what is named by its path in a checkout.

    Raises:
        ConfigError: naming the nearest.
    """
    if (file := found(named, kind)) is not None:
        return file
    there = {file.stem for folder in folders(kind) for file in folder.glob("*.yaml") if file.name != CATALOGUE}
    what = f"there is no such file{nearest(Path(named).stem, there) if there else ''}"
    raise ConfigError(what, where=named, fix="give the path of a .yaml file, or the name of one of the package")


def found(named: str, kind: str) -> Path | None:
    """Return the file with this path or packaged name, or None."""
    path = Path(named)
    if path.is_file() or path.is_absolute():
        return path if path.is_file() else None
    below = path.relative_to(kind) if path.parts[:1] == (kind,) else path
    if len(below.parts) != 1:
        return None
    name = below.name if below.suffix in (".yaml", ".yml") else f"{below.name}.yaml"
    places = [Path(kind), *folders(kind)] if below.suffix == "" or below != path else []
    return next((folder / name for folder in places if (folder / name).is_file()), None)


def packaged_catalogue() -> Path:
    """Return the catalogue of data sets that comes with the package."""
    return next(folder / CATALOGUE for folder in folders("pipelines") if (folder / CATALOGUE).is_file())
