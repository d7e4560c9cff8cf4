"""What a person sees of a training while it runs: a bar, and a log that stays readable afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from acutance import storage
from acutance.config.pipeline import Compute
from acutance.console import clock, copied_to, progress
from acutance.storage.disk import written_to
from acutance.training.messages import OnProgress
from acutance.training.pace import Figures
from acutance.training.stage_plan import StagePlan


def log_of(root: str, group: str) -> str:
    """Return the URI of a pipeline's log: a line for each report of its stages and all messages, of every run.

    Args:
        root: URI of the storage root.
        group: the pipeline's folder below it.
    """
    return storage.join(root, group, "log.txt")


UPLOAD_SECONDS = 60.0
"""How often the log is written to an object store, where a file cannot grow."""


@contextmanager
def training_shown(plans: list[StagePlan], compute: Compute, log: str) -> Iterator[OnProgress]:
    """Show one bar over the steps of all stages, and write the log; the time left is that of each stage.

    Args:
        log: URI of the log.
    """
    steps = {plan.name: int(plan.stage.steps) for plan in plans}
    done = dict.fromkeys(steps, 0)
    first: dict[str, tuple[int, float]] = {}
    with _log(log) as write, copied_to(write), progress("train", sum(steps.values()), alike=False) as update:
        update(0, "starting the workers")

        def on_progress(stage: str, step: int, losses: dict[str, float], figures: Figures) -> None:
            done[stage], now = step, time.monotonic()
            since, began = first.setdefault(stage, (step, now))
            left = (now - began) / (step - since) * (steps[stage] - step) if step > since else None
            speed = [*_speed(figures), *_left(left, compute)]
            terms = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
            write(f"{stage} {step}/{steps[stage]}: {', '.join([terms, *speed])}")
            later = [name for name in steps if not done[name]]
            note = [f"{stage} {step}/{steps[stage]} loss {losses['total']:.4g}", *speed]
            update(sum(done.values()), ", ".join([*note, f"then {', '.join(later)}"] if later else note))

        yield on_progress


def _speed(figures: Figures) -> list[str]:
    texts = {
        "images_per_second": "{:.3g} images/s",
        "learning_rate": "learning rate {:.3g}",
        "waiting_for_data": "{:.0%} waiting for data",
        "gpu_memory_gb": "{:.1f} GB of GPU memory",
    }
    return [text.format(figures[name]) for name, text in texts.items() if name in figures]


def _left(seconds: float | None, compute: Compute) -> list[str]:
    if seconds is None:
        return []
    price = compute.price_per_hour
    return [f"{clock(seconds)} left", *([f"{price * seconds / 3600:.2f} to pay for it"] if price else [])]


@contextmanager
def _log(uri: str) -> Iterator[Callable[[str], None]]:
    """Yield a function that adds a line, with the time, to a log."""
    if not storage.is_remote(uri):
        Path(uri).parent.mkdir(parents=True, exist_ok=True)
        with written_to(Path(uri)), open(uri, "a", encoding="utf-8") as file:

            def append(line: str) -> None:
                file.write(_stamped(line))
                file.flush()

            yield append
        return
    text = storage.read_bytes(uri).decode() if storage.exists(uri) else ""
    written = time.monotonic()

    def add(line: str) -> None:
        nonlocal text, written
        text += _stamped(line)
        if time.monotonic() - written > UPLOAD_SECONDS:
            written = time.monotonic()
            storage.write_bytes(uri, text.encode())

    try:
        yield add
    finally:
        storage.write_bytes(uri, text.encode())


def _stamped(line: str) -> str:
    return f"{datetime.now():%Y-%m-%d %H:%M:%S}  {line}\n"
