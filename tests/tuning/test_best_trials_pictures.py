"""Pictures of the best trials: what noise has not been rounded away from is shown, too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from acutance.config.search_space import Goal
from acutance.data.datasets import Source
from acutance.data.pictures import write_picture
from acutance.evaluation.sheet import picture_sheet
from acutance.models.dncnn import DnCNN
from acutance.models.model_file import save_model
from acutance.tuning.report.sheets import best_strips
from acutance.tuning.study import TrialRecord

GOAL = Goal(metric="psnr_y", on="noisy", goal="maximize")
NOISE = ({"type": "awgn", "sigma": 30.0},)


def test_a_denoisers_strip_begins_with_the_noise_and_looks_where_the_truth_has_edges(tmp_path: Path) -> None:
    truth = np.full((300, 400, 3), 120, np.uint8)
    truth[200:260, 300:360] += np.random.default_rng(0).integers(0, 100, (60, 60, 3), dtype=np.uint8)
    write_picture(tmp_path / "a.png", truth)
    settings = {"type": "dncnn", "layers": 3, "channels": 4}
    torch.manual_seed(0)
    save_model(str(tmp_path / "model.safetensors"), DnCNN(layers=3, channels=4), {"network": settings, "scale": 1})
    trial = TrialRecord(0, "complete", {}, history={9: {GOAL.name: 20.0}}, model=str(tmp_path / "model.safetensors"))
    source = Source("a", str(tmp_path / "a.png"), degrade=NOISE)
    (strip,) = best_strips([trial], GOAL, {"noisy": [source]}, protocol="hfa", scale=1)
    assert [panel.heading for panel in strip.panels] == ["input", "trial 0", "ground truth"]
    assert {panel.pixels.dtype for panel in strip.panels} == {np.dtype(np.uint8)}
    noisy, _, true = (panel.pixels.astype(float) for panel in strip.panels)
    assert noisy.shape == true.shape == (240, 240, 3)
    assert 20 < np.std(noisy - true) < 32
    row, column = strip.region
    assert true[row - 10 : row + 10, column - 10 : column + 10].std() > 20
    picture_sheet(str(tmp_path / "sheet.png"), [strip], title="a test")
    assert (tmp_path / "sheet.png").stat().st_size > 1000
