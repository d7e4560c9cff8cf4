"""Pictures that people have scored, as AVA and TID2013 are published, with the distribution of their scores.

The splits are those of Choi et al. ("Deep learning-based image super-resolution considering quantitative and
perceptual quality", Neurocomputing 2020) and their released code.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Literal

from rich.markup import escape

from acutance import storage
from acutance.console import say
from acutance.data.entries import Layout
from acutance.errors import DataError

BINS = 10
AVA_COLUMNS = 15
"""Of AVA.txt: index, picture, counts of the scores 1 to 10, two tags, challenge."""
AVA_ABSENT = 0.1
"""The share of listed pictures that may be absent; AVA is known to lack far fewer."""
TID_NAME = re.compile(r"i(\d\d)_\d\d_\d+\.\w+", re.IGNORECASE)
TID_VALIDATION = ("01", "02", "03")
"""The reference pictures whose distorted versions are for validation."""
SYNTHETIC = "synthetic.json"
"""The file that marks a folder of pictures with synthetic scores."""


@dataclass(frozen=True)
class Scored:
    """One picture and its scores: `distribution` holds the probabilities of the scores 1 to 10, which sum to 1."""

    name: str
    path: str
    distribution: tuple[float, ...]
    split: Literal["train", "val"]


def distribution_of_counts(*counts: float) -> tuple[float, ...]:
    """Return the shares of the scores 1 to 10 in how often each was given (Talebi and Milanfar, TIP 2018).

    Args:
        counts: 10 numbers, none negative, not all 0.

    Raises:
        ValueError: for other counts.
    """
    total = sum(counts)
    if len(counts) != BINS or min(counts) < 0 or not 0 < total < math.inf:
        raise ValueError(f"{BINS} counts of scores are none negative and not all 0")
    return tuple(count / total for count in counts)


def distribution_of_mos(mos: float, std: float) -> tuple[float, ...]:
    """Return the shares of 10 scores in a Gaussian around the mean opinion score.

    Bin j, 0 to 9, is Phi(j + 0.5) - Phi(j - 0.5) of N(mos, std + 1e-10), and all are scaled to sum to 1: the rule of
    Choi et al.'s released code. Bin j stands for the score j + 1.

    Args:
        mos: on TID2013's scale, 0 to 9.
        std: its standard deviation, 0 or more.

    Raises:
        ValueError: for numbers outside these ranges.
    """
    if not 0 <= mos <= BINS - 1 or not 0 <= std < math.inf:
        raise ValueError(f"a mean opinion score is 0 to {BINS - 1}, its standard deviation 0 or more")
    spread = (std + 1e-10) * math.sqrt(2)
    below = [math.erfc((mos - j + 0.5) / spread) / 2 for j in range(BINS + 1)]  # Phi(j - 0.5)
    shares = [above - under for under, above in pairwise(below)]
    total = math.fsum(shares)
    return tuple(share / total for share in shares)


def read_ava(root: str, *, validation: int = 5000) -> list[Scored]:
    """Return the pictures of AVA (Murray et al., CVPR 2012) in the order of AVA.txt.

    Pictures that are missing in `images/` are left out, and a message gives their number; the splits do not depend on
    them.

    Args:
        root: holds AVA.txt and `images/<id>.jpg`.
        validation: how many of the pictures listed last are for validation.

    Raises:
        DataError: for missing files, an invalid line, and when more than a tenth of the pictures is absent.
    """
    table = storage.join(root, "AVA.txt")
    lines = _lines(table)
    first = len(lines) - validation
    if first <= 0:
        what = f"AVA.txt lists {len(lines)} pictures; the last {validation} are for validation, so none is for training"
        raise DataError(what, where=table, fix="get the whole file")
    files = _files(storage.join(root, "images"))
    found: list[Scored] = []
    for index, (number, line) in enumerate(lines):
        _, name, *rest = _words(table, number, line, AVA_COLUMNS)
        distribution = _checked(table, number, distribution_of_counts, *rest[:BINS])
        path = files.get(f"{name}.jpg")
        if path:
            found.append(Scored(name, path, distribution, "train" if index < first else "val"))
    _report_absent(storage.join(root, "images"), len(lines), len(found))
    return found


def read_tid2013(root: str) -> list[Scored]:
    """Return the distorted pictures of TID2013 (Ponomarenko et al., 2015) in the order of mos_with_names.txt.

    Those of the references I01 to I03 are for validation. Names match whatever their case.

    Args:
        root: holds mos_with_names.txt (score, name), mos_std.txt and `distorted_images/`.

    Raises:
        DataError: for missing files, an invalid line, and any absent picture.
    """
    tables = ("mos_with_names.txt", "mos_std.txt")
    (table, other), folder = (storage.join(root, name) for name in tables), storage.join(root, "distorted_images")
    lines, deviations = _lines(table), _lines(other)
    if len(lines) != len(deviations):
        what = f"{tables[1]} has {len(deviations)} lines, {tables[0]} has {len(lines)}"
        raise DataError(what, where=root, fix="get both files whole")
    rows = [_words(table, *line, 2) for line in lines]
    files = _files(folder)
    absent = [name for _, name in rows if name.lower() not in files]
    if absent:
        what = f"{len(absent)} of {len(rows)} distorted pictures are missing, the first {absent[0]}"
        raise DataError(what, where=folder, fix="get the whole data set")
    found: list[Scored] = []
    for (number, _), (mos, name), deviation in zip(lines, rows, deviations, strict=True):
        named = TID_NAME.fullmatch(name)
        if not named:
            what = f"{name} is no name of a distorted picture, such as i01_01_1.bmp"
            raise DataError(what, where=f"{table}:{number}", fix="give the list that TID2013 has")
        [std] = _words(other, *deviation, 1)
        split: Literal["train", "val"] = "val" if named[1] in TID_VALIDATION else "train"
        distribution = _checked(table, number, distribution_of_mos, mos, std)
        found.append(Scored(PurePosixPath(name).stem.lower(), files[name.lower()], distribution, split))
    return found


def notes_of(root: str) -> list[str]:
    """Return notes that models trained on the scored pictures of a folder must show."""
    return ["scores: synthetic"] if storage.exists(storage.join(root, SYNTHETIC)) else []


READERS: dict[Layout, Callable[[str], list[Scored]]] = {"ava": read_ava, "tid2013": read_tid2013}


def _lines(file: str) -> list[tuple[int, str]]:
    """Return the lines of a table and their numbers; blank ones are left out."""
    name = file.rpartition("/")[2]
    try:
        text = storage.read_bytes(file).decode()
    except FileNotFoundError:
        raise DataError(f"there is no {name}", where=file) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{name} cannot be read: {error}", where=file) from error
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not lines:
        raise DataError(f"{name} is empty", where=file, fix="get the whole file")
    return lines


def _words(file: str, number: int, line: str, columns: int) -> list[str]:
    words = line.split()
    if len(words) != columns:
        what = f"this line has {len(words)} columns, not {columns}"
        raise DataError(what, where=f"{file}:{number}", fix="get the whole file")
    return words


def _checked(file: str, number: int, distribution: Callable[..., tuple[float, ...]], *words: str) -> tuple[float, ...]:
    try:
        return distribution(*map(float, words))
    except ValueError as error:
        what = f"this line holds no scores: {error}"
        raise DataError(what, where=f"{file}:{number}", fix="get the whole file") from None


def _files(folder: str) -> dict[str, str]:
    """Return the files of a folder by their name in lower case."""
    if not storage.is_folder(folder):
        raise DataError("there is no such folder", where=folder)
    return {name.lower(): storage.join(folder, name) for name in storage.names(folder)}


def _report_absent(folder: str, listed: int, found: int) -> None:
    absent = f"{listed - found} of the {listed} pictures that AVA.txt lists are absent"
    if listed - found > AVA_ABSENT * listed:
        raise DataError(absent, where=folder, fix="get the whole data set")
    if found < listed:
        say(escape(f"{absent} and left out: {folder}"))
