"""The pictures that a model will be measured on, looked at before it is trained."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from acutance.config.metrics import METRICS, PROTOCOLS
from acutance.console import progress
from acutance.data.datasets import Source
from acutance.errors import ConfigError
from acutance.evaluation.evaluate import Sources
from acutance.evaluation.metrics import measure, unavailable
from acutance.evaluation.pictures import bicubic_for, pair_for

LARGE = 256
"""Pixels of a picture's shorter side from which on every metric has a value of it."""

AT_ONCE = 4


def require_measurable(pictures: Sources, *, scale: int, protocol: str, metrics: Iterable[str]) -> None:
    """Read every picture and its LR, and measure bicubic enlargements of the small ones.

    Args:
        pictures: data set -> pictures.
        metrics: names of METRICS; those whose parameter files are not here are passed over.

    Raises:
        DataError: for a picture that cannot be read, is too small for the scale, or does not fit its LR.
        ConfigError: for a metric that has no value on any picture of a data set.
    """
    missing = unavailable(metrics)
    wanted = [name for name in metrics if name not in missing]
    with progress("check", sum(map(len, pictures.values()))) as update, ThreadPoolExecutor(AT_ONCE) as pool:
        done = 0
        for dataset, sources in pictures.items():
            lacking: dict[str, list[str]] = {name: [] for name in wanted}
            looks = (pool.submit(_reasons, dataset, one, scale, protocol, wanted) for one in sources)
            for look in list(looks):
                for name, reason in look.result().items():
                    lacking[name].append(reason)
                update(done := done + 1, dataset)
            _require_values(dataset, len(sources), lacking)


def _reasons(dataset: str, source: Source, scale: int, protocol: str, metrics: list[str]) -> dict[str, str]:
    """Return why metrics have no value on a picture, by metric."""
    rules = PROTOCOLS[protocol]
    lr, truth = pair_for(rules, dataset, source, scale)
    if min(truth.shape[:2]) >= LARGE:
        return {}
    restored = bicubic_for(rules, lr, truth, scale)
    return measure(restored, truth, metrics=metrics, protocol=protocol, scale=scale).reasons


def _require_values(dataset: str, pictures: int, lacking: dict[str, list[str]]) -> None:
    for name, reasons in lacking.items():
        if len(reasons) == pictures:
            what = f"{METRICS[name].title} has no value on any picture of {dataset}: {reasons[0]}"
            raise ConfigError(what, where=f"evaluate: {name}", fix="leave it out, or choose other pictures")
