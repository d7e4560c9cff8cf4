"""The exceptions of this package: each says what happened, where, and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from acutance.redact import redacted


def readable(text: str) -> str:
    """Return a text with bytes that are not UTF-8 written as \\x..; file names hold them as lone surrogates."""
    written = re.sub("[\udc80-\udcff]", lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", text)
    return written.encode("utf-8", "backslashreplace").decode()


class AcutanceError(Exception):
    """An error of this package; passwords in its texts are replaced.

    Args:
        what: what happened, in one sentence.
        where: file, key or row it concerns.
        fix: what the user can do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        what = redacted(readable(what))
        where, fix = (text and redacted(readable(text)) for text in (where, fix))
        super().__init__(what, where, fix)
        self.what, self.where, self.fix = what, where, fix

    def __reduce__(self) -> tuple[object, ...]:
        # Ray carries exceptions between processes; keyword arguments need this to survive the trip.
        return _rebuild, (type(self), self.what, self.where, self.fix)

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.fix:
            lines.append(f"  to do: {self.fix}")
        return "\n".join(lines)


def _rebuild(kind: type[AcutanceError], what: str, where: str | None, fix: str | None) -> AcutanceError:
    return kind(what, where=where, fix=fix)


class UserError(AcutanceError):
    """An error that the user can correct; exit code 2, never a traceback."""

    exit_code = 2


class ConfigError(UserError):
    """A pipeline, a search space or an override that does not fit its schema."""


class DataError(UserError):
    """Pictures or shards that are missing, unreadable or unfit."""


class AbsentError(DataError):
    """A data set of which nothing is on this machine; its complete shards may be."""


class WeightsError(UserError):
    """A weights or parameter file that is missing or is not what was asked for."""


class ModelError(UserError):
    """A model reference that names nothing, or a model that cannot be used as asked."""


class UnreachableError(UserError):
    """A Ray cluster, an MLflow server or a storage location that does not answer. It may come back."""


class RefusedError(UserError):
    """A server or a storage location that refuses: trying again is useless until the user changes something."""


class FullError(UserError):
    """A disk or a store without free space. The same command continues once there is some."""


class LostError(AcutanceError):
    """A process or a node that is gone; its work can be done again."""


class TrainingError(AcutanceError):
    """A training run that broke for a reason of its own."""


class DamagedError(AcutanceError):
    """A file that does not hold what was written to it."""


def nearest(word: str, candidates: Iterable[str]) -> str:
    """Return `; did you mean ...?`, or the valid names where none is near."""
    candidates = sorted(candidates)
    close = difflib.get_close_matches(word, candidates, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; valid are {', '.join(candidates)}" if candidates else ""
