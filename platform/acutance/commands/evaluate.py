"""Measures models on held-out pictures: for a table, and for a promotion."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from mlflow.entities.model_registry import ModelVersion
from rich.markup import escape

from acutance import storage
from acutance.cluster.connect import connect
from acutance.cluster.hardware import GpuRequest
from acutance.commands.context import PipelineContext, require_scale
from acutance.commands.model_names import model_file
from acutance.commands.overlap import overlaps, trained_on
from acutance.config.data import dataset_name
from acutance.config.metrics import METRICS, PROTOCOLS
from acutance.console import progress, say
from acutance.data.datasets import Source, catalogue_for
from acutance.data.inventory import checksums
from acutance.errors import ConfigError, ModelError, WeightsError, nearest
from acutance.evaluation.evaluate import BICUBIC, evaluate, tasks_of, unrestored
from acutance.evaluation.metrics import unavailable
from acutance.evaluation.pictures import measured_pictures
from acutance.evaluation.report import csv_text
from acutance.evaluation.results import GROUND_TRUTH, Evaluation
from acutance.evaluation.sheet import picture_sheet, strips_of
from acutance.evaluation.spectrograms import spectrogram_sheet
from acutance.fingerprint import fingerprint
from acutance.models.model_file import load_model
from acutance.parts.sources import unpacked
from acutance.registry import tracking
from acutance.registry.decision_log import Decision
from acutance.registry.gate import Measurements
from acutance.registry.promotion import find_subject, promote
from acutance.registry.resolve import CHAMPION
from acutance.registry.tracking import user
from acutance.storage import done
from acutance.storage.done import Done
from acutance.storage.outputs import done_folder, folder_of
from acutance.storage.scratch import working_folder
from acutance.training.stage_plan import StagePlan
from acutance.weights import fetch_weights

EVALUATION_SPEC = "acutance.evaluation_spec"
"""The tag of a model version that says how it is measured: data sets, protocol, metrics, gate."""

OVERLAP = "acutance.overlap"
"""The tag of a model version that was trained on pictures that it is measured on: a sentence for each data set."""

EVALUATIONS = "evaluations"
"""The folder of evaluations below the storage root."""

EVALUATION_VERSION = 6
"""Counts changes of the evaluation's code after which equal models give other numbers."""


def evaluate_models(context: PipelineContext, plans: list[StagePlan]) -> tuple[Evaluation, str, bool]:
    """Measure bicubic and the pipeline's evaluated stages on the held-out pictures; the caller has connected to Ray.

    Returns:
        The evaluation, the URI of its folder (`evaluation.json`, `evaluation.csv`, `sheet.png`, `spectrograms.png`),
        and whether it was made just now.
    """
    wanted = context.pipeline.evaluate
    assert wanted is not None, "a pipeline that restores nothing is not evaluated"
    measured = context.pipeline.evaluated()
    models = {plan.name: plan.model for plan in plans if plan.name in measured}
    if registered := context.pipeline.registered:
        models[registered.stage] = next(p for p in plans if p.name == registered.trained).named(registered.stage)
    return measure_models(
        context.root,
        {unrestored(context.pipeline.scale): BICUBIC, **models},
        context.held_out(),
        protocol=wanted.protocol,
        metrics=wanted.metrics,
        scale=context.pipeline.scale,
        gpus=context.pipeline.compute.gpus,
        title=f"{context.pipeline.title}: x{context.pipeline.scale}",
        name=context.name,
    )


def measure_models(
    root: str,
    candidates: dict[str, str],
    pictures: dict[str, list[Source]],
    *,
    protocol: str,
    metrics: list[str],
    scale: int,
    gpus: GpuRequest = "auto",
    title: str,
    name: str,
    sheets: bool = True,
    address: str | None = None,
) -> tuple[Evaluation, str, bool]:
    """Measure candidates on pictures with Ray, or read the results of an earlier evaluation without Ray.

    Args:
        name: first part of the folder's name, before its fingerprint.
        sheets: also write the pictures side by side. Without them, candidates of which each was measured before,
            beside whatever others, are not measured again.
        address: of a Ray cluster, see `connect`.

    Returns:
        The evaluation, the folder where it lies, and whether anything was measured.
    """
    model_checksums = {label: _model_checksum(model) for label, model in candidates.items()} | {
        GROUND_TRUTH: GROUND_TRUTH
    }
    settings = {
        "version": EVALUATION_VERSION,
        "pictures": {on: picture_checksums(sources, scale, root, on) for on, sources in pictures.items()},
        "protocol": protocol,
        "metrics": metrics,
        "unavailable": sorted(unavailable(metrics)),
        "scale": scale,
    }
    single_files = {label: _single_file(root, settings, checksum) for label, checksum in model_checksums.items()}
    key = fingerprint({**settings, "candidates": model_checksums})
    folder = _folder(root, name, key)
    if earlier := _read_evaluation(done.note_of("evaluation", folder)):
        return earlier, folder, False
    if not sheets and (evaluation := _merged(single_files)):
        key = fingerprint({**settings, "candidates": model_checksums, "sheets": False})
        folder = _folder(root, name, key)
        _write(evaluation, folder, key)
        return evaluation, folder, False
    total = len(tasks_of(candidates, pictures))
    with connect(address), working_folder("evaluate") as picture_folder:
        with progress("evaluate", total) as update:
            evaluation = evaluate(
                candidates,
                pictures,
                scale=scale,
                protocol=protocol,
                metrics=metrics,
                gpus=gpus,
                on_progress=update,
                pictures_to=str(picture_folder),
            )
        strips = strips_of(evaluation, str(picture_folder))
        picture_sheet(storage.join(folder, "sheet.png"), strips, title=title)
        spectrogram_sheet(storage.join(folder, "spectrograms.png"), strips, title=title)
    for label, file in single_files.items():
        rows = tuple(row for row in evaluation.rows if row.candidate == label)
        _write_evaluation(replace(evaluation, rows=rows), file, PurePosixPath(file).stem)
    _write(evaluation, folder, key)
    return evaluation, folder, True


def evaluation_of(root: str, key: str) -> tuple[Evaluation, str] | None:
    """Return the evaluation of this fingerprint and the URI of its folder, or None."""
    folder = done_folder("evaluation", [storage.join(root, EVALUATIONS)], key)
    found = _read_evaluation(done.note_of("evaluation", folder)) if folder else None
    return (found, str(folder)) if found else None


def _folder(root: str, name: str, key: str) -> str:
    return folder_of("evaluation", storage.join(root, EVALUATIONS), name, key)


def _read_evaluation(file: str) -> Evaluation | None:
    found = done.read(file, "evaluation")
    return Evaluation.from_json(found.content) if found else None


def _write_evaluation(evaluation: Evaluation, file: str, key: str) -> None:
    done.write(file, Done("evaluation", key, EVALUATION_VERSION, evaluation.to_json()))


def _write(evaluation: Evaluation, folder: str, key: str) -> None:
    storage.write_bytes(storage.join(folder, "evaluation.csv"), csv_text(evaluation).encode())
    _write_evaluation(evaluation, done.note_of("evaluation", folder), key)


def _single_file(root: str, settings: dict[str, Any], checksum: str) -> str:
    """Return the URI of a candidate's values. It depends neither on its label nor on the other candidates."""
    return storage.join(root, EVALUATIONS, "single", f"{fingerprint({**settings, 'candidate': checksum})}.json")


def _merged(files: Mapping[str, str]) -> Evaluation | None:
    """Join the evaluations of single candidates under the labels they have now; return None where one is missing."""
    found = {label: one for label, file in files.items() if (one := _read_evaluation(file))}
    if len(found) < len(files):
        return None
    rows = [replace(row, candidate=label) for label, one in found.items() for row in one.rows]
    pictures = found[GROUND_TRUTH].pictures()
    rows.sort(key=lambda row: pictures.index((row.dataset, row.picture)))
    return replace(found[GROUND_TRUTH], rows=tuple(rows))


def picture_checksums(sources: list[Source], scale: int, root: str, name: str) -> list[list[str]]:
    """Return each picture's checksums: of its file, and of its LR's file or of the steps that make its LR."""
    files = [[path for path in (s.hr_path(scale), s.lr_paths.get(scale)) if path] for s in sources]
    checksums_by_path = checksums((path for paths in files for path in paths), root, name)
    steps = [[fingerprint({"name": s.name, "steps": s.degrade})] if s.degrade else [] for s in sources]
    return [[checksums_by_path[path] for path in paths] + made_by for paths, made_by in zip(files, steps, strict=True)]


def _model_checksum(model: str) -> str:
    return model if model == BICUBIC else hashlib.sha256(storage.read_bytes(model)).hexdigest()


def evaluate_model(
    reference: str,
    datasets: list[str],
    *,
    against: str | None = None,
    protocol: str,
    metrics: list[str] | None,
    scale: int,
    root: str,
    address: str | None = None,
) -> tuple[Evaluation, str]:
    """Measure a model, or bicubic, beside bicubic and perhaps another model.

    Args:
        scale: for bicubic alone; a model knows its own.
        address: of a Ray cluster, see `connect`.

    Returns:
        The evaluation, with the candidates `bicubic` (at scale 1 `input`), `model` and `against`, and the URI of its
        folder.
    """
    candidates, datasets = {}, list(dict.fromkeys(map(dataset_name, datasets)))
    for label, named in (("model", reference), ("against", against)):
        if named and named != BICUBIC:
            candidates[label] = model_file(named, root)
    if "model" in candidates:
        scale = int(load_model(candidates["model"])[1]["scale"])
    candidates = {unrestored(scale): BICUBIC, **candidates}
    for file in (file for name in metrics or [] if name in METRICS for file in METRICS[name].requires):
        try:
            # A metric that the user named needs its weights; those of a protocol are left out without them.
            fetch_weights(file)
        except WeightsError as error:
            say(escape(str(error)))
    require_scale(catalogue_for(), datasets, scale, "--on")
    pictures = measured_pictures(catalogue_for(), datasets, scale, protocol)
    for label, file in candidates.items():
        if file != BICUBIC and (trained := trained_on(load_model(file)[1], root)):
            for sentence in overlaps(trained, pictures, scale=scale, root=root, by="evaluation"):
                say(escape(f"{label}: {sentence}"))
    subject = unrestored(scale) if reference == BICUBIC else reference
    title = f"{subject}{f' against {against}' if against else ''}: x{scale}"
    evaluation, folder, _ = measure_models(
        root,
        candidates,
        pictures,
        protocol=protocol,
        metrics=metrics or _metrics_of(protocol),
        scale=scale,
        title=title,
        name=reference,
        address=address,
    )
    return evaluation, folder


def _metrics_of(protocol: str) -> list[str]:
    if protocol not in PROTOCOLS:
        raise ConfigError(f"there is no protocol {protocol!r}{nearest(protocol, PROTOCOLS)}", where="--protocol")
    return list(PROTOCOLS[protocol].metrics)


def promote_model(
    reference: str, root: str, *, to: str = CHAMPION, force: str = "", address: str | None = None
) -> Decision:
    """Measure a version and the holder of an alias; give the version the alias if the gate opens.

    Both are measured as the version's evaluation spec says, which comes from its pipeline file. Where nobody holds the
    alias, the values that were measured when the version was registered are used.

    Args:
        reference: `NAME` (its candidate), `NAME@ALIAS` or `NAME/VERSION`.
        force: a reason to promote it whatever was measured.
        address: of a Ray cluster, see `connect`.

    Raises:
        ModelError: when there is no such version, or it has no evaluation spec.
    """
    client = tracking.connect(root)
    version = find_subject(client, reference)

    def measure(candidate: Path, champion: Path | None) -> Measurements:
        spec = _evaluation_spec_of(version)
        if file := spec.get("code"):
            unpacked(tracking.read_json(client, str(version.run_id), file), f"{version.name}/{version.version}")
        rivals = {"candidate": str(candidate)} | ({"champion": str(champion)} if champion else {})
        evaluation, folder, _ = measure_models(
            root,
            rivals,
            measured_pictures(catalogue_for(), spec["on"], spec["scale"], spec["protocol"]),
            protocol=spec["protocol"],
            metrics=spec["metrics"],
            scale=spec["scale"],
            title=f"{version.name}: version {version.version} and the {to}",
            name=f"{version.name}-{version.version}",
            sheets=champion is not None,
            address=address,
        )
        scores = {rival: _scores(evaluation, rival) for rival in [*rivals, GROUND_TRUTH]}
        return Measurements(
            scores["candidate"],
            scores.get("champion"),
            spec["gate"],
            scores[GROUND_TRUTH],
            evaluation_spec={key: spec[key] for key in ("on", "protocol", "scale")},
            evidence=folder,
            overlap=version.tags.get(OVERLAP, ""),
        )

    subject = f"{version.name}/{version.version}"
    return promote(client, subject, measure=measure, who=user(), to=to, force=force)


def _evaluation_spec_of(version: ModelVersion) -> dict[str, Any]:
    if EVALUATION_SPEC not in version.tags:
        raise ModelError(
            "this version does not say how it is measured", where=version.name, fix="register it by `acutance run`"
        )
    spec: dict[str, Any] = json.loads(version.tags[EVALUATION_SPEC])
    return spec


def _scores(evaluation: Evaluation, candidate: str) -> dict[str, dict[str, float | None]]:
    return {f"{r.dataset}/{r.picture}": r.metrics for r in evaluation.rows if r.candidate == candidate}
