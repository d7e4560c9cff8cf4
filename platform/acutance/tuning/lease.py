"""One driver at a time: a campaign's study says which process is at work on it, and when it last said so."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optuna import Study

from acutance.errors import ConfigError

DRIVER = "driver"
BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0


@contextmanager
def alone(study: Study) -> Iterator[None]:
    """Be the driver of a study for the length of a `with` block.

    Raises:
        ConfigError: when another process is. One that was killed gives way at once where this machine can tell,
            and after a minute where it was on another.
    """
    _refuse_second(study)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT_SECONDS):
            study.set_user_attr(DRIVER, _sign())

    study.set_user_attr(DRIVER, _sign())
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        study.set_user_attr(DRIVER, None)


def _refuse_second(study: Study) -> None:
    driver = study.user_attrs.get(DRIVER)
    if not driver or (driver["machine"] == _machine() and not Path(f"/proc/{driver['pid']}").exists()):
        return
    if time.time() - driver["beat"] < STALE_SECONDS:
        raise ConfigError(
            f"this campaign is running already: process {driver['pid']} on {driver['machine']}",
            where=study.study_name,
            fix="wait for it, or end that process",
        )


def _sign() -> dict[str, str | int | float]:
    return {"machine": _machine(), "pid": os.getpid(), "beat": time.time()}


def _machine() -> str:
    return socket.gethostname()
