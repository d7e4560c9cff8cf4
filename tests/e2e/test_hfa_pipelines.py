"""HFA from pictures to a registered model: each task at a small size, on two workers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from command_line import acutance

pytestmark = [pytest.mark.e2e, pytest.mark.long]
STAGES = ["highpass", "l1", "large", "retrain"]


@pytest.mark.parametrize(
    ("pipeline", "name", "least"),
    [
        ("hfa_denoise", "denoise-hfa", 18.7),  # the noisy pictures themselves have 18.59 dB
        ("hfa_denoise_sidd", "denoise-hfa-sidd", 18.7),
        ("hfa_deblur", "deblur-hfa", 20),
        ("hfa_deblur_reds", "deblur-hfa-reds", 20),
        ("hfa_sr", "sr-x4-hfa", 23),
        ("hfa_sr_reds", "sr-x4-hfa-reds", 23),
    ],
)
def test_a_small_run_ends_with_a_registered_model(
    pipeline: str, name: str, least: float, tmp_path: Path, data_root: Path
) -> None:
    here = {"ACUTANCE_DATA": str(data_root), "ACUTANCE_WEIGHTS": str(data_root)}
    command = ("run", f"pipelines/{pipeline}.yaml", "--profile", "smoke", "--storage", str(tmp_path), "--json")
    done = acutance(*command, **here)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["model"] == f"models:/{name}-smoke/1"
    stages = STAGES + (["gan"] if "_sr" in pipeline else [])
    notes = (tmp_path / pipeline).glob("*/done.json")
    assert sorted(json.loads(note.read_text())["stage"] for note in notes) == sorted(stages)
    means = {row["candidate"]: row["metrics"]["psnr_rgb"] for row in result["evaluation"]["rows"]}
    assert means[stages[-1]] > least
    (found,) = tmp_path.glob(f"{pipeline}/*/validation.json")
    assert json.loads(found.read_text())["4"]["psnr_highpass"] > 15
