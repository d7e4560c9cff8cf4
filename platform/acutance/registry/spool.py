"""Metrics on their way to the tracking store: training hands them over and goes on, whether the store answers or not.

They are lines of a file on a local disk, which a thread delivers in their order. A process that is killed leaves its
file, and the next one for this run on this machine delivers it. What cannot be delivered at the end is kept beside the
stage's model, for the next command that trains the stage or finds it done. A point that is delivered twice is recorded
once.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from itertools import groupby
from typing import Any

from acutance import storage
from acutance.console import say
from acutance.errors import UnreachableError
from acutance.registry.run_pictures import RunPictures
from acutance.registry.tracker import Point, StageTracker
from acutance.storage.disk import written_to
from acutance.storage.patience import limit, pauses
from acutance.storage.scratch import scratch

LINES_A_CALL = 200
"""Lines that are delivered together: with eight losses a step some 1600 values."""

KEPT = "metrics.jsonl"
"""The file beside a stage's model of what the store has not got yet."""


class Spool:
    """A tracker that does not wait, until it is closed. It travels to a worker as plain data.

    Args:
        tracker: records what is delivered.
        folder: URI of the stage's folder, for what cannot be delivered.
    """

    def __init__(self, tracker: StageTracker, folder: str) -> None:
        self.tracker, self.folder = tracker, folder
        self.delivery: _Delivery | None = None
        self.pictures: RunPictures | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Spool, (self.tracker, self.folder)

    def metrics(self, rows: list[tuple[int, dict[str, float]]]) -> None:
        """Take (step, name -> value) rows, steps ascending, and what the machine does at the last of them."""
        if rows:
            self.delivery = self.delivery or _Delivery(self.tracker)
            self.delivery.put(self.tracker.points(rows))

    def picture(self, name: str, content: bytes) -> None:
        """Take the bytes of a picture's file; it replaces the one of that name."""
        self.pictures = self.pictures or RunPictures(self.tracker.uri, self.tracker.run_id)
        self.pictures.put(name, content)

    def close(self, seconds: float | None = None) -> bool:
        """Wait until all is delivered, for `patience.limit` or so many seconds; keep the rest, with a message.

        Returns:
            whether all metrics were delivered.
        """
        if self.pictures is not None:
            self.pictures.close(seconds)
            self.pictures = None
        if self.delivery is None:
            return True
        rest, why = self.delivery.end(limit() if seconds is None else seconds)
        self.delivery = None
        if rest:
            uri = storage.join(self.folder, KEPT)
            before = storage.read_bytes(uri) if storage.exists(uri) else b""
            storage.write_bytes(uri, before + rest)
            lines = rest.count(b"\n")
            say(f"{lines} rows of metrics could not be recorded ({why}); the next run records them from {uri}")
        return not rest


def record_kept(uri: str, folder: str) -> None:
    """Record what an earlier run of the stage in this folder could not.

    Args:
        uri: address of the tracking store.

    Raises:
        UnreachableError: when the store does not answer.
    """
    kept = storage.join(folder, KEPT)
    if not storage.exists(kept):
        return
    points = _read(storage.read_bytes(kept))
    for run, some in groupby(points, key=lambda pair: pair[0]):
        StageTracker(uri, run).record([point for _, point in some])
    storage.delete(kept)
    say(f"recorded {len(points)} rows of metrics that an earlier run had kept in {kept}")


class _Delivery:
    """A file that grows at its end, and a thread that delivers from its start."""

    def __init__(self, tracker: StageTracker) -> None:
        self.tracker = tracker
        folder = scratch() / "metrics"
        folder.mkdir(exist_ok=True)
        self.path = folder / f"{tracker.run_id}.jsonl"
        self.file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self.size, self.delivered = os.fstat(self.file).st_size, 0
        self.changed, self.ends, self.why = threading.Condition(), math.inf, ""
        self.thread = threading.Thread(target=self._deliver, name="metrics", daemon=True)
        self.thread.start()

    def put(self, points: list[Point]) -> None:
        lines = [json.dumps({"run": self.tracker.run_id, **asdict(point)}) for point in points]
        with self.changed, written_to(self.path):
            self.size += os.write(self.file, "".join(f"{line}\n" for line in lines).encode())
            self.changed.notify_all()

    def end(self, seconds: float) -> tuple[bytes, str]:
        """Continue to deliver for so many seconds; return the lines that are left, and the reason."""
        with self.changed:
            self.ends = time.monotonic() + seconds
            self.changed.notify_all()
        self.thread.join()
        rest = os.pread(self.file, self.size - self.delivered, self.delivered)
        os.close(self.file)
        self.path.unlink()
        return rest, self.why

    def _deliver(self) -> None:
        pause = pauses()
        while lines := self._next():
            try:
                self.tracker.record([point for _, point in _read(lines)])
            except UnreachableError as error:
                if not self.why:
                    say(f"{error.what}; training goes on, metrics wait in a file")
                self.why = error.what
                if not self._slept(pause()):
                    return
            except Exception as error:  # the run is gone, or refuses: training goes on all the same
                self.why = str(error).splitlines()[0][:300]
                say(f"metrics are not recorded any more: {self.why}")
                return
            else:
                if self.why:
                    say("the tracking server answers again, and gets the metrics")
                self.why, pause = "", pauses()
                self._forget(len(lines))

    def _next(self) -> bytes:
        """Return the lines to deliver next, none when all is delivered and no more will come."""
        with self.changed:
            self.changed.wait_for(lambda: self.size > self.delivered or self.ends < math.inf)
            waiting = os.pread(self.file, self.size - self.delivered, self.delivered)
        return b"".join(waiting.splitlines(keepends=True)[:LINES_A_CALL])

    def _slept(self, seconds: float) -> bool:
        """Wait before another attempt; return whether there will be one."""
        with self.changed:
            self.changed.wait_for(lambda: self.ends < math.inf, timeout=seconds)
            left = self.ends - time.monotonic()
        if left < math.inf:
            time.sleep(max(0.0, min(seconds, left)))
        return time.monotonic() < self.ends

    def _forget(self, length: int) -> None:
        with self.changed:
            self.delivered += length
            if self.delivered == self.size:
                os.ftruncate(self.file, 0)
                self.size = self.delivered = 0


def _read(lines: bytes) -> list[tuple[str, Point]]:
    """Return run and point of each line; the last one may be what a killed process could not write to its end."""
    found = []
    for line in lines.splitlines():
        with suppress(ValueError):
            content = json.loads(line)
            found.append((content.pop("run"), Point(**content)))
    return found
