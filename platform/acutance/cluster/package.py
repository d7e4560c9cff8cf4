"""Packages the files of a job: code and YAML files, by an allow-list."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from acutance.config.packaged import HOME, INSIDE, POLICY, folders, found
from acutance.errors import UserError

CODE = {".py", ".yaml", ".j2", ".typed"}
YAML = {".yaml", ".yml"}
BESIDE = {"PYTHONPATH": "platform", "PYTHONUNBUFFERED": "1"}
"""The variables with which a job finds its code."""

MOST = 20 << 20
"""Bytes of a package. Code and YAML come to a few hundred KiB; Ray itself refuses 100 MiB."""

OUTPUTS = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".onnx"}
"""Ends of names of what commands read and write besides YAML and models."""

PRIVATE = re.compile(r"^\.|credential|secret|password", re.IGNORECASE)
"""Names that are never packaged: hidden ones (.env, .git, .venv) and those that say secret."""


PART_FILE = re.compile(r"[\w./~-]+\.py(?=:[A-Za-z_])")
"""A file of parts that a setting names, `./my_parts.py:Name`."""


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
        working_dir: the user's working directory: a checkout, or a folder with `pipelines/`.
        folder: an empty folder.

    Raises:
        UserError: when the command names a local file that cannot come along, or there is too much.
    """
    root, named = named_files(command, working_dir)
    own = ((path.as_posix(), root / path) for path in named if path)
    wanted = dict([*_code(), *_packaged(root), *_policy(root), *own])
    command, given = _with_part_files(command, working_dir.resolve(), root)
    wanted |= given | {inside: path for yaml in [*wanted] for inside, path in _part_files(wanted[yaml], root)}
    files = tuple(sorted((inside, source.stat().st_size) for inside, source in wanted.items()))
    _refuse_too_much(files)
    for inside, source in wanted.items():
        (folder / inside).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / inside)
    words = tuple(path.as_posix() if path else word for word, path in zip(command, named, strict=True))
    return Package(folder, words, files)


def _part_files(yaml: Path, root: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of parts that a YAML file of the user names, as they lie in the root."""
    if yaml.suffix in YAML and yaml.resolve().is_relative_to(root):
        for name in dict.fromkeys(PART_FILE.findall(yaml.read_text(encoding="utf-8", errors="replace"))):
            if (path := yaml.parent / name).is_file():
                yield _inside(path, root, name).as_posix(), path


def _with_part_files(command: list[str], here: Path, root: Path) -> tuple[list[str], dict[str, Path]]:
    """Return a command whose words name files of parts as they lie in the root, and these files."""
    files: dict[str, Path] = {}

    def in_root(named: re.Match[str]) -> str:
        path = here / named[0]
        if not path.is_file():
            return named[0]
        inside = _inside(path, root, named[0])
        files[inside.as_posix()] = path
        return f"./{inside.as_posix()}"

    return [PART_FILE.sub(in_root, word) for word in command], files


def _inside(path: Path, root: Path, word: str) -> Path:
    real = path.resolve()
    if not real.is_relative_to(root) or _private(real.relative_to(root)):
        raise UserError(
            "a job cannot take this file along",
            where=word,
            fix=f"put it below {root} (hidden and secret ones stay out of jobs)",
        )
    return real.relative_to(root)


def named_files(command: list[str], working_dir: Path) -> tuple[Path, list[Path | None]]:
    """Return the checkout, and for each word of a command its path inside the checkout, None for words that are no
    file.

    Raises:
        UserError: when a word names a local file that cannot come along.
    """
    here = working_dir.resolve()
    root = _root(here)
    for before, word in pairwise(command):
        _refuse_relative(before, word, here)
    return root, [_named(word, here, root) for word in command]


def _refuse_relative(before: str, word: str, here: Path) -> None:
    """Refuse a relative path: on the cluster it is another one, or outputs there are deleted with the job.

    Args:
        before: the word before it.
    """
    key, equals, value = word.partition("=")
    option, given = (key, value) if equals else (before, word)
    for part in re.split(r"[\s,\[\]{}]+", given):
        left_alone = not part or part.startswith(("/", "-", "models:")) or "://" in part or PART_FILE.match(part)
        if left_alone or (not equals and Path(part).suffix in YAML):
            continue
        relative = part in (".", "..") or part.startswith(("./", "../", "~")) or option == "--storage"
        file = not equals and Path(part).suffix.lower() in OUTPUTS
        if relative or file or ("/" in part and (here / part).is_dir()):
            raise UserError(
                "a relative path is another one on the cluster",
                where=word,
                fix="give s3://bucket/prefix, or an absolute path that every node can reach",
            )


def _refuse_too_much(files: tuple[tuple[str, int], ...]) -> None:
    total = sum(size for _, size in files)
    if total > MOST:
        largest, size = max(files, key=lambda file: file[1])
        raise UserError(
            f"a job's package has {total >> 20} MiB, and at most {MOST >> 20} may go along",
            where=f"{largest} ({size / (1 << 20):.1f} MiB)",
            fix="move large files out of pipelines/ and search_spaces/",
        )


def _root(here: Path) -> Path:
    """Return the checkout around a folder; a folder outside of any is a root itself."""
    return next((folder for folder in [here, *here.parents] if (folder / "platform" / "acutance").is_dir()), here)


def _code() -> Iterator[tuple[str, Path]]:
    """Yield the code that is running, which need not be the checkout's."""
    for path in _files(HOME, CODE):
        yield f"platform/acutance/{path.relative_to(HOME).as_posix()}", path


def _packaged(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield the YAML files of the installed package that the root does not have itself."""
    for name in POLICY:
        for folder in folders(name)[:1] if not (root / name).is_symlink() else ():
            if folder.resolve() != (root / name).resolve():
                for path in _files(folder, YAML):
                    yield f"platform/acutance/{INSIDE}/{name}/{path.relative_to(folder).as_posix()}", path


def _policy(root: Path) -> Iterator[tuple[str, Path]]:
    for name in POLICY:
        if (root / name).is_symlink():
            continue
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
    """Return the path inside the root of the file that a word names; None for other words."""
    path = here / word
    try:
        if not path.is_file():
            _expect_no_yaml(word)
            return None
    except (OSError, ValueError):  # too long for a name, or with a null byte
        return None
    if path.suffix not in YAML:
        _leave_to_the_cluster(word)
        return None
    return _inside(path, root, word)


def _expect_no_yaml(word: str) -> None:
    named = Path(word).suffix in YAML and not Path(word).is_absolute() and "=" not in word and "://" not in word
    if named and not any(found(word, kind) for kind in POLICY):
        raise UserError("there is no such file to take along", where=word, fix="check its path from where you stand")


def _leave_to_the_cluster(word: str) -> None:
    """Refuse pictures and models, which are not packaged; absolute paths may exist on the nodes."""
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
