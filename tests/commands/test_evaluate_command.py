"""What was measured once is not measured again."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from acutance.commands import evaluate as evaluate_command
from acutance.data.datasets import Source
from acutance.data.pictures import write_picture
from acutance.evaluation.evaluate import tasks_of
from acutance.evaluation.results import GROUND_TRUTH, Evaluation, Row


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, list[Source]]:
    for name in ("a", "b"):
        write_picture(tmp_path / f"{name}.png", np.full((8, 8, 3), ord(name), np.uint8))
    return {"two": [Source(name, str(tmp_path / f"{name}.png")) for name in ("a", "b")]}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Which candidates were measured, each time; a model's value is the number in its file."""
    times: list[list[str]] = []

    def evaluate(candidates: dict[str, str], sources: dict[str, list[Source]], **how: object) -> Evaluation:
        times.append(list(candidates))
        rows = [
            Row(task.dataset, task.source.name, task.candidate, {"psnr_y": float(Path(task.model).read_text())})
            if task.model
            else Row(task.dataset, task.source.name, task.candidate, {})
            for task in tasks_of(candidates, sources)
        ]
        return Evaluation("y_crop4", 4, ("psnr_y",), tuple(rows))

    monkeypatch.setattr(evaluate_command, "evaluate", evaluate)
    monkeypatch.setattr(evaluate_command, "connect", lambda address: nullcontext())
    for drawn in ("strips_of", "picture_sheet", "spectrogram_sheet"):
        monkeypatch.setattr(evaluate_command, drawn, lambda *_, **__: None)
    return times


def test_a_model_keeps_its_values_in_other_company_and_by_another_name(
    tmp_path: Path, pictures: dict[str, list[Source]], measured: list[list[str]]
) -> None:
    files = {}
    for name, db in (("fidelity", 27), ("gan", 26), ("old", 25)):
        (tmp_path / name).write_text(str(db))
        files[name] = str(tmp_path / name)
    how = {"protocol": "y_crop4", "metrics": ["psnr_y"], "scale": 4, "title": "", "name": "models"}
    root = str(tmp_path / "out")
    ran, _, fresh = evaluate_command.measure_models(
        root, {name: files[name] for name in ("fidelity", "gan")}, pictures, **how
    )
    assert fresh
    alone, folder, fresh = evaluate_command.measure_models(
        root, {"candidate": files["gan"]}, pictures, sheets=False, **how
    )
    assert not fresh
    assert measured == [["fidelity", "gan"]]
    assert alone.candidates == ["candidate", GROUND_TRUTH]
    assert alone.values("candidate", "psnr_y") == ran.values("gan", "psnr_y")
    assert (Path(folder) / "evaluation.csv").is_file()
    evaluate_command.measure_models(
        root, {"candidate": files["gan"], "champion": files["old"]}, pictures, sheets=False, **how
    )
    assert measured[1:] == [["candidate", "champion"]]
    evaluate_command.measure_models(root, {"old": files["old"]}, pictures, **how)  # for its sheet
    assert measured[2:] == [["old"]]
