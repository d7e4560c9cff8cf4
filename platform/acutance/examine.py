"""Models examined on pictures nobody trained on: for a table, and for a promotion."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mlflow.entities.model_registry import ModelVersion
from rich.markup import escape

from acutance import storage
from acutance.console import progress, say
from acutance.data import Source
from acutance.data.inventory import checksums
from acutance.errors import ConfigError, ModelError, WeightsError
from acutance.evaluation.evaluate import BICUBIC, evaluate, tasks_of, unrestored
from acutance.evaluation.metrics import METRICS, unavailable
from acutance.evaluation.protocols import PROTOCOLS
from acutance.evaluation.report import csv_text
from acutance.evaluation.results import GROUND_TRUTH, Evaluation
from acutance.evaluation.sheet import picture_sheet, strips_of
from acutance.evaluation.spectrograms import spectrogram_sheet
from acutance.fingerprint import fingerprint
from acutance.hardware import Asked
from acutance.models.model_file import load_model
from acutance.policy import found
from acutance.registry import Decision, Verdict, promote, resolve_model, tracking, user
from acutance.registry.promotion import find_subject
from acutance.registry.resolve import CHAMPION
from acutance.schema import nearest
from acutance.scratch import working_folder
from acutance.training.plan import StageJob
from acutance.weights import fetch_weights
from acutance.work import Work, catalogue_for, measured_pictures, open_work, require_scale

EXAM = "acutance.exam"
"""The tag of a model version that says how it is examined: data sets, protocol, metrics, gate."""

EVALUATION_VERSION = 3
"""Counts changes of the evaluation's code after which equal models give other numbers."""


def evaluate_models(work: Work, jobs: list[StageJob]) -> tuple[Evaluation, str, bool]:
    """Measure bicubic and the pipeline's evaluated stages on the held-out pictures; the caller has connected to Ray.

    Returns:
        The evaluation, the URI of its folder (`evaluation.json`, `evaluation.csv`, `sheet.png`, `spectrograms.png`),
        and whether it was made just now.
    """
    wanted = work.pipeline.evaluate
    assert wanted is not None, "a pipeline that restores nothing is not evaluated"
    measured = work.pipeline.evaluated()
    models = {job.name: job.model for job in jobs if job.name in measured}
    return measure_models(
        work.root,
        {unrestored(work.pipeline.scale): BICUBIC, **models},
        work.held_out(),
        protocol=wanted.protocol,
        metrics=wanted.metrics,
        scale=work.pipeline.scale,
        gpus=work.pipeline.compute.gpus,
        title=f"{work.pipeline.title}: x{work.pipeline.scale}",
    )


def measure_models(
    root: str,
    candidates: dict[str, str],
    pictures: dict[str, list[Source]],
    *,
    protocol: str,
    metrics: list[str],
    scale: int,
    gpus: Asked = "auto",
    title: str,
) -> tuple[Evaluation, str, bool]:
    """Measure candidates on pictures, or fetch what was measured before."""
    determines = {
        "version": EVALUATION_VERSION,
        "candidates": {label: _mark(model) for label, model in candidates.items()},
        "pictures": {name: picture_marks(sources, scale, root, name) for name, sources in pictures.items()},
        "protocol": protocol,
        "metrics": metrics,
        "unavailable": sorted(unavailable(metrics)),
        "scale": scale,
    }
    folder = storage.join(root, "evaluations", fingerprint(determines))
    result = storage.join(folder, "evaluation.json")
    if storage.exists(result):
        return Evaluation.from_json(storage.read_json(result)), folder, False
    total = len(tasks_of(candidates, pictures))
    with working_folder("evaluate") as kept:
        with progress("evaluate", total) as update:
            evaluation = evaluate(
                candidates,
                pictures,
                scale=scale,
                protocol=protocol,
                metrics=metrics,
                gpus=gpus,
                on_progress=update,
                pictures_to=str(kept),
            )
        strips = strips_of(evaluation, str(kept))
        picture_sheet(storage.join(folder, "sheet.png"), strips, title=title)
        spectrogram_sheet(storage.join(folder, "spectrograms.png"), strips, title=title)
    storage.write_bytes(storage.join(folder, "evaluation.csv"), csv_text(evaluation).encode())
    storage.write_json(result, evaluation.to_json())
    return evaluation, folder, True


def picture_marks(sources: list[Source], scale: int, root: str, name: str) -> list[list[str]]:
    """Return the checksums of pictures and, where they have some, of their LR, or of all that their LR is made by."""
    files = [[path for path in (s.hr_path(scale), s.lr_paths.get(scale)) if path] for s in sources]
    known = checksums((path for paths in files for path in paths), root, name)
    made = [[fingerprint({"name": s.name, "steps": s.degrade})] if s.degrade else [] for s in sources]
    return [[known[path] for path in paths] + steps for paths, steps in zip(files, made, strict=True)]


def _mark(model: str) -> str:
    return model if model == BICUBIC else hashlib.sha256(storage.read_bytes(model)).hexdigest()


def model_file(reference: str, root: str) -> str:
    """Return the URI of the model file that MODEL names: a registry reference, PIPELINE:STAGE, or a file.

    Raises:
        ModelError: when it names nothing, or a stage that is not trained yet.
    """
    if storage.is_remote(reference):
        return reference
    file, colon, stage = reference.rpartition(":")
    if not colon or found(file, "pipelines") is None:
        return str(resolve_model(reference, root))
    work = open_work(file, [], None, root)
    job = next(job for job in work.jobs(stage) if job.name == stage)
    if not job.done():
        raise ModelError("this stage is not trained yet", where=reference, fix=f"acutance train {file} --stage {stage}")
    return job.model


def evaluate_model(
    reference: str,
    datasets: list[str],
    *,
    against: str | None = None,
    protocol: str,
    metrics: list[str] | None,
    scale: int,
    root: str,
) -> tuple[Evaluation, str]:
    """Measure a model, or bicubic, beside bicubic and perhaps another model; the caller has connected to Ray.

    Args:
        scale: for bicubic alone; a model knows its own.

    Returns:
        The evaluation, with the candidates `bicubic` (at scale 1 `input`), `model` and `against`, and the URI of its
        folder.
    """
    candidates = {}
    for label, named in (("model", reference), ("against", against)):
        if named and named != BICUBIC:
            candidates[label] = model_file(named, root)
    if "model" in candidates:
        scale = int(load_model(candidates["model"])[1]["scale"])
    candidates = {unrestored(scale): BICUBIC, **candidates}
    for file in (file for name in metrics or [] if name in METRICS for file in METRICS[name].requires):
        try:
            fetch_weights(file)  # a metric that was asked for by name; those of a protocol are taken as they are there
        except WeightsError as error:
            say(escape(str(error)))
    require_scale(catalogue_for(), datasets, scale, "--on")
    pictures = measured_pictures(catalogue_for(), datasets, scale, protocol)
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
    )
    return evaluation, folder


def _metrics_of(protocol: str) -> list[str]:
    if protocol not in PROTOCOLS:
        raise ConfigError(f"there is no protocol {protocol!r}{nearest(protocol, PROTOCOLS)}", where="--protocol")
    return list(PROTOCOLS[protocol].metrics)


def promote_model(reference: str, root: str, *, to: str = CHAMPION, force: str = "") -> Decision:
    """Let a version be examined beside the holder of an alias and, if the gate opens, have the alias.

    The caller has connected to Ray. The version's own exam (from its pipeline file) is taken by both models.

    Args:
        reference: `NAME` (its candidate), `NAME@ALIAS` or `NAME/VERSION`.
        force: a reason to promote it whatever the exam says.

    Raises:
        ModelError: when there is no such version, or it does not say how it is examined.
    """
    client = tracking.connect(root)
    version = find_subject(client, reference)

    def judge(candidate: Path, champion: Path | None) -> Verdict:
        exam = _exam_of(version)
        rivals = {"candidate": str(candidate)} | ({"champion": str(champion)} if champion else {})
        evaluation, folder, _ = measure_models(
            root,
            rivals,
            measured_pictures(catalogue_for(), exam["on"], exam["scale"], exam["protocol"]),
            protocol=exam["protocol"],
            metrics=exam["metrics"],
            scale=exam["scale"],
            title=f"{version.name}: version {version.version} and the {to}",
        )
        scores = {rival: _scores(evaluation, rival) for rival in [*rivals, GROUND_TRUTH]}
        return Verdict(
            scores["candidate"],
            scores.get("champion"),
            exam["gate"],
            scores[GROUND_TRUTH],
            exam={key: exam[key] for key in ("on", "protocol", "scale")},
            evidence=folder,
        )

    subject = f"{version.name}/{version.version}"
    return promote(client, subject, judge=judge, who=user(), to=to, force=force)


def _exam_of(version: ModelVersion) -> dict[str, Any]:
    if EXAM not in version.tags:
        raise ModelError(
            "this version does not say how it is examined", where=version.name, fix="register it by `acutance run`"
        )
    exam: dict[str, Any] = json.loads(version.tags[EXAM])
    return exam


def _scores(evaluation: Evaluation, candidate: str) -> dict[str, dict[str, float | None]]:
    return {f"{r.dataset}/{r.picture}": r.metrics for r in evaluation.rows if r.candidate == candidate}
