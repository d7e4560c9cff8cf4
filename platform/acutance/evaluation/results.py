"""Results of an evaluation: a value for each picture, candidate and metric; means over the same pictures for all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from acutance.config.metrics import CLOSEST, METRICS

GROUND_TRUTH = "ground truth"
"""The candidate that is the truth itself; only metrics that need no truth have values for it."""


@dataclass(frozen=True)
class Row:
    """One candidate on one picture: metric -> value, or None and why, here or in `Evaluation.unavailable`."""

    dataset: str
    picture: str
    candidate: str
    metrics: dict[str, float | None]
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """Rows by picture, in the order of the candidates with the ground truth last.

    Attributes:
        unavailable: metric -> why no picture has a value of it on this machine.
    """

    protocol: str
    scale: int
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    unavailable: dict[str, str] = field(default_factory=dict)

    @property
    def candidates(self) -> list[str]:
        """The candidates in order, the ground truth last."""
        return list(dict.fromkeys(row.candidate for row in self.rows))

    @property
    def datasets(self) -> list[str]:
        """The data sets in order."""
        return list(dict.fromkeys(row.dataset for row in self.rows))

    def pictures(self, dataset: str | None = None) -> list[tuple[str, str]]:
        """Return the (data set, picture) pairs in order, of one data set or of all."""
        found = ((row.dataset, row.picture) for row in self.rows if dataset in (None, row.dataset))
        return list(dict.fromkeys(found))

    def values(self, candidate: str, metric: str, dataset: str | None = None) -> dict[tuple[str, str], float | None]:
        """Return (data set, picture) -> value of a candidate that has the metric."""
        return {
            (row.dataset, row.picture): row.metrics[metric]
            for row in self.rows
            if row.candidate == candidate and metric in row.metrics and dataset in (None, row.dataset)
        }

    def common_pictures(self, metric: str, dataset: str | None = None) -> list[tuple[str, str]]:
        """Return the pictures on which every candidate has a value; means run over them and no others."""
        columns = [c for name in self.candidates if (c := self.values(name, metric, dataset))]
        return [key for key in self.pictures(dataset) if columns and all(c.get(key) is not None for c in columns)]

    def mean(self, candidate: str, metric: str, dataset: str | None = None) -> float | None:
        """Return the mean over `common_pictures`; None if there are none or the metric does not apply."""
        values = self.values(candidate, metric, dataset)
        measured = [v for key in self.common_pictures(metric, dataset) if (v := values.get(key)) is not None]
        return math.fsum(measured) / len(measured) if measured else None

    def gap(self, candidate: str, metric: str, dataset: str | None = None) -> float | None:
        """Return the mean over pictures of a candidate's distance from the truth's own value of a metric."""
        own, truth = self.values(candidate, metric, dataset), self.values(GROUND_TRUTH, metric, dataset)
        pairs = [(own.get(key), truth.get(key)) for key in self.common_pictures(metric, dataset)]
        gaps = [abs(a - b) for a, b in pairs if a is not None and b is not None]
        return math.fsum(gaps) / len(gaps) if gaps else None

    def compared(self, candidate: str, metric: str, dataset: str | None = None) -> float | None:
        """Return what models are compared by: the mean, or the gap where the truth's own value is the goal."""
        return (self.gap if METRICS[metric].goal == CLOSEST else self.mean)(candidate, metric, dataset)

    def means(self, candidate: str) -> list[dict[str, Any]]:
        """Return a candidate's means: one {dataset, candidate, pictures, metrics} a data set."""
        return [
            {
                "dataset": dataset,
                "candidate": candidate,
                "pictures": len(self.pictures(dataset)),
                "metrics": {name: self.mean(candidate, name, dataset) for name in self.metrics},
            }
            for dataset in self.datasets
        ]

    def to_json(self) -> dict[str, Any]:
        """Return plain data: `rows` are the candidates' means, `truth` the truth's own, `pictures` the single values.

        None is NaN or infinite.
        """
        rivals = [name for name in self.candidates if name != GROUND_TRUTH]
        return {
            "protocol": self.protocol,
            "scale": self.scale,
            "metrics": list(self.metrics),
            "rows": [row for candidate in rivals for row in self.means(candidate)],
            "truth": self.means(GROUND_TRUTH),
            "pictures": [asdict(row) for row in self.rows],
            "unavailable": dict(self.unavailable),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Evaluation:
        """Return the evaluation that `to_json` wrote."""
        return cls(
            protocol=content["protocol"],
            scale=content["scale"],
            metrics=tuple(content["metrics"]),
            rows=tuple(Row(**row) for row in content["pictures"]),
            unavailable=dict(content["unavailable"]),
        )
