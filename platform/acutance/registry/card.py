"""The model card: what a model is, how good, from what it was made; written from the facts of its run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from acutance.evaluation.intervals import interval
from acutance.evaluation.metrics import METRICS
from acutance.evaluation.protocols import PROTOCOLS
from acutance.evaluation.report import ARROWS, NO_VALUE, notes
from acutance.evaluation.results import GROUND_TRUTH, Evaluation
from acutance.registry.resolve import CHAMPION

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
    """What a run knows of a model beyond what the model file says; what is left out, the card leaves out.

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
    head = [f"# {name}", "", f"{description.get('title') or 'An image restorer'}, x{description.get('scale')}."]
    if facts.paper:
        head += ["", f"After: {facts.paper['authors']}, *{facts.paper['title']}*, {facts.paper['year']}."]
    if description.get("notes"):
        head += ["", *(f"- {note}" for note in description["notes"])]
    sections = [head, _results(facts), _pictures(sheet), _making(network, description, facts.training)]
    sections += [_running(name, description), _licences(facts)]
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def shortened(card: str, most: int) -> str:
    """Return as many whole sections of a card, from its beginning, as `most` characters hold; no picture's."""
    kept = ""
    for number, section in enumerate(card.split("\n## ")):
        whole = f"\n## {section}" if number else section
        if len(kept) + len(whole) > most:
            break
        kept += whole if f"]({SHEET})" not in section else ""
    return kept[:most]


def _results(facts: Facts) -> list[str]:
    if facts.evaluation is None:
        return []
    evaluation, protocol = facts.evaluation, facts.evaluation.protocol
    words = PROTOCOLS[protocol].description.replace("\n", " ")
    lines = ["## Results", "", f"Protocol `{protocol}`: {words}"]
    for dataset in evaluation.datasets:
        lines += ["", f"**{dataset}**, {_count(len(evaluation.pictures(dataset)), 'picture')}:", ""]
        lines += _table(evaluation, facts.candidate, dataset)
    lines += ["", "Means over pictures; in brackets 95 % of 10,000 bootstrap resamples of the pictures.", ""]
    return lines + [f"- {note}" for note in (*facts.overlap, *notes(evaluation)[1:])]


def _table(evaluation: Evaluation, candidate: str, dataset: str) -> Iterator[str]:
    others = [name for name in evaluation.candidates if name != candidate]
    yield f"| metric | {' | '.join(['this model', '95 % interval', *others])} |"
    yield f"|---|{'---:|' * (2 + len(others))}"
    for name in evaluation.metrics:
        metric = METRICS[name]
        mean = partial(_mean, evaluation, name, dataset)
        bounds = _interval(evaluation, name, dataset, candidate)
        title = " ".join(filter(None, [metric.title, metric.unit, ARROWS[metric.goal]]))
        yield f"| {title} | {' | '.join([mean(candidate), bounds, *map(mean, others)])} |"


def _mean(evaluation: Evaluation, metric: str, dataset: str, candidate: str) -> str:
    if candidate == GROUND_TRUTH and METRICS[metric].needs_truth:
        return ""
    value = evaluation.mean(candidate, metric, dataset)
    return NO_VALUE if value is None else f"{value:.{METRICS[metric].digits}f}"


def _interval(evaluation: Evaluation, metric: str, dataset: str, candidate: str) -> str:
    """Over the pictures that the mean runs over."""
    values, digits = evaluation.values(candidate, metric, dataset), METRICS[metric].digits
    found = interval([v for key in evaluation.counted(metric, dataset) if (v := values.get(key)) is not None])
    return f"[{found[0]:.{digits}f}, {found[1]:.{digits}f}]" if found else NO_VALUE


def _pictures(sheet: bool) -> list[str]:
    return ["## Pictures", "", f"![held-out pictures, restored]({SHEET})"] if sheet else []


def _making(network: nn.Module, description: Mapping[str, Any], training: Training | None) -> list[str]:
    parameters = sum(parameter.numel() for parameter in network.parameters())
    lines = ["## How it was made", ""]
    lines.append(f"- network: {_choice(description['network'])}; {parameters:,} parameters")
    if detail := description.get("detail"):
        lines.append(f"- detail layer: {_choice(detail)}")
    lines.append(f"- stage: {description.get('stage')}, fingerprint `{description.get('fingerprint')}`")
    if training:
        about = f": {training.data.about}" if training.data.about else ""
        lines.append(f"- pictures: {training.data.name}, {_count(training.data.pictures, 'picture')}{about}")
        lines.append(f"- data: {_count(training.samples, 'sub-image')}, fingerprint `{training.fingerprint}`")
        lines.append(f"- training: {', '.join(f'{key} {value}' for key, value in training.settings.items())}")
        parts = {"all of it" if part == "." else f"`{part}`": source for part, source in training.starts.items()}
        lines += [f"- start: {part} from {source}" for part, source in parts.items()]
    return lines


def _running(name: str, description: Mapping[str, Any]) -> list[str]:
    scale = description.get("scale")
    return [
        "## How to run it",
        "",
        f"Pictures are uint8 RGB of any size, (N, h, w, 3) in and {scale} times as high and wide out:",
        "",
        f"    acutance upscale models:/{name}@{CHAMPION} IN OUT",
        f"    mlflow models serve -m models:/{name}@{CHAMPION}",
        "",
        "The package brings the code that it runs, in `code/`, and names what else it needs in `requirements.txt`;",
        "Acutance need not be installed. Where they are there already, `--env-manager local` saves the time of",
        "installing them. The weights are tensors and JSON: loading them runs nothing.",
    ]


def _licences(facts: Facts) -> list[str]:
    lines = ["## Licences", "", "The code of the package is under the Apache License 2.0 (`LICENSE`)."]
    if not facts.training:
        return [*lines, "For the weights, mind the terms of the pictures they were trained on."]
    lines.append("For the weights, mind the terms of the pictures:")
    named = {facts.training.data: "trained on", **dict.fromkeys(facts.measured_on, "measured on")}
    return [*lines, "", *(f"- {use} {data.name}: {data.licence or 'not stated'}" for data, use in named.items())]


def _choice(settings: Mapping[str, Any]) -> str:
    """Return `type (argument=value, ...)`, without what is left to the network itself."""
    said = {key: value for key, value in settings.items() if key != "type" and value is not None}
    arguments = ", ".join(f"{key}={value}" for key, value in said.items())
    return f"{settings['type']} ({arguments})" if arguments else str(settings["type"])


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
