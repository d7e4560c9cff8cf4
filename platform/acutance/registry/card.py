"""The model card: the model, its quality and its training data, written from the data of its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from acutance.config.metrics import METRICS, PROTOCOLS
from acutance.evaluation.intervals import interval
from acutance.evaluation.report import NO_VALUE, column, notes
from acutance.evaluation.results import GROUND_TRUTH, Evaluation
from acutance.registry.resolve import CHAMPION
from acutance.table import Number, Row, Table
from acutance.templates import filled_in

SHEET = "sheet.png"


@dataclass(frozen=True)
class DataSet:
    """Pictures by their name; `about` and `licence` are empty for a folder of the user's own."""

    name: str
    pictures: int
    about: str = ""
    licence: str = ""


@dataclass(frozen=True)
class Training:
    """What the weights were made with.

    Attributes:
        fingerprint: of the shard set.
        samples: sub-images in it.
        settings: numbers of the stage worth reading, such as its steps, by name.
        starts: part of the network ("." is all of it) -> what it started from.
    """

    data: DataSet
    fingerprint: str
    samples: int
    settings: Mapping[str, Any]
    starts: Mapping[str, str]


@dataclass(frozen=True)
class Facts:
    """Facts about a model that its file does not hold; the card leaves out those that are missing.

    Attributes:
        paper: title, authors and year of what the model follows.
        evaluation: its values on held-out pictures, where it goes by `candidate`.
        measured_on: the data sets of the evaluation.
        overlap: what there is to say of pictures that it was both trained on and measured on.
    """

    paper: Mapping[str, Any] | None = None
    training: Training | None = None
    evaluation: Evaluation | None = None
    candidate: str = ""
    measured_on: tuple[DataSet, ...] = ()
    overlap: tuple[str, ...] = ()


def model_card(
    name: str, network: nn.Module, description: Mapping[str, Any], facts: Facts, *, sheet: bool = False
) -> str:
    """Return the card in Markdown.

    Args:
        name: the registered model's.
        network: for its number of parameters.
        description: the model file's.
        sheet: whether a picture sheet lies beside the card.
    """
    evaluation = facts.evaluation
    return filled_in(
        "registry/card.md.j2",
        name=name,
        about=description,
        facts=facts,
        protocol=PROTOCOLS[evaluation.protocol].description.replace("\n", " ") if evaluation else "",
        results=[(name, *_results(facts, name)) for name in evaluation.datasets] if evaluation else [],
        notes=[*facts.overlap, *notes(evaluation)[1:]] if evaluation else [],
        sheet=SHEET if sheet else "",
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        champion=CHAMPION,
        uses=_uses(facts),
        chosen=_chosen,
        count_text=_count_text,
    )


def shortened(card: str, most: int) -> str:
    """Return as many whole sections of a card, from its beginning, as `most` characters hold; no picture's."""
    kept = ""
    for number, section in enumerate(card.split("\n## ")):
        whole = f"\n## {section}" if number else section
        if len(kept) + len(whole) > most:
            break
        kept += whole if f"]({SHEET})" not in section else ""
    return kept[:most]


def _results(facts: Facts, dataset: str) -> tuple[int, str]:
    """Return how many pictures a data set has, and a table of the means over them."""
    evaluation, candidate = facts.evaluation, facts.candidate
    assert evaluation is not None
    others = [name for name in evaluation.candidates if name != candidate]
    rows = []
    for name in evaluation.metrics:
        means = [_mean(evaluation, name, dataset, each) for each in (candidate, *others)]
        title = " ".join(filter(None, column(name)))
        rows.append(Row([title, means[0], _interval(evaluation, name, dataset, candidate), *means[1:]]))
    numbers = [Number(title) for title in ("this model", "95 % interval", *others)]
    return len(evaluation.pictures(dataset)), Table(["metric", *numbers], rows).markdown()


def _mean(evaluation: Evaluation, metric: str, dataset: str, candidate: str) -> str:
    if candidate == GROUND_TRUTH and METRICS[metric].needs_truth:
        return ""
    value = evaluation.mean(candidate, metric, dataset)
    return NO_VALUE if value is None else f"{value:.{METRICS[metric].digits}f}"


def _interval(evaluation: Evaluation, metric: str, dataset: str, candidate: str) -> str:
    """Over the pictures that the mean runs over."""
    values, digits = evaluation.values(candidate, metric, dataset), METRICS[metric].digits
    found = interval([v for key in evaluation.common_pictures(metric, dataset) if (v := values.get(key)) is not None])
    return f"[{found[0]:.{digits}f}, {found[1]:.{digits}f}]" if found else NO_VALUE


def _uses(facts: Facts) -> list[tuple[str, DataSet]]:
    """Return the data sets whose terms of use apply, without repetition, each with its role."""
    if not facts.training:
        return []
    named = {facts.training.data: "trained on", **dict.fromkeys(facts.measured_on, "measured on")}
    return [(use, data) for data, use in named.items()]


def _chosen(settings: Mapping[str, Any]) -> str:
    """Return `type (argument=value, ...)`, without defaults."""
    said = {key: value for key, value in settings.items() if key != "type" and value is not None}
    arguments = ", ".join(f"{key}={value}" for key, value in said.items())
    return f"{settings['type']} ({arguments})" if arguments else str(settings["type"])


def _count_text(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
