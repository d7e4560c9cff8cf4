"""The same numbers as in this process, from Ray tasks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_for_evaluation import made_sources, model_file

from acutance.config.metrics import PROTOCOLS
from acutance.data.datasets import Source
from acutance.data.pictures import read_picture
from acutance.errors import DataError, ModelError
from acutance.evaluation.evaluate import evaluate, evaluate_one, tasks_of
from acutance.evaluation.pictures import bicubic, bicubic_for, pair_for, picture_file, read_pair
from acutance.evaluation.results import GROUND_TRUTH
from acutance.inference.restore import restore
from acutance.models.model_file import load_model

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("cluster")]

METRICS = ("psnr_y", "ssim_y", "high_frequency")


def test_the_numbers_pictures_and_progress_of_two_candidates(tmp_path: Path) -> None:
    model = model_file(tmp_path / "model.safetensors")
    sources = {"made": made_sources(tmp_path / "pictures", [(48, 64), (64, 48), (60, 60)])}
    candidates = {"bicubic": "bicubic", "gan": model}
    heard: list[tuple[int, str]] = []
    evaluation = evaluate(
        candidates,
        sources,
        scale=4,
        protocol="y_crop4",
        metrics=METRICS,
        on_progress=lambda done, note: heard.append((done, note)),
        pictures_to=str(tmp_path / "kept"),
    )
    network, description = load_model(model)
    alone = evaluate_one(network, description, sources, scale=4, protocol="y_crop4", metrics=METRICS, candidate="gan")
    shared = [row for row in evaluation.rows if row.candidate != "bicubic"]
    for mine, theirs in zip(alone.rows, shared, strict=True):
        # Each process compiles the inner loops for itself, so sums may differ in their last bit.
        assert theirs.metrics == pytest.approx(mine.metrics, rel=1e-13, abs=0)
        assert replace(theirs, metrics={}) == replace(mine, metrics={})
    assert evaluation.candidates == ["bicubic", "gan", GROUND_TRUTH]
    assert [done for done, _ in heard] == list(range(1, len(tasks_of(candidates, sources)) + 1))
    for source in sources["made"]:
        lr, truth = read_pair(source, 4)
        expected = {
            "lr": lr,
            "bicubic": bicubic(lr, 4),
            "gan": restore(network, description, lr)["image"],
            GROUND_TRUTH: truth,
        }
        for name, pixels in expected.items():
            kept = read_picture(picture_file(str(tmp_path / "kept"), "made", source.name, name))
            assert np.array_equal(kept, pixels), name
        assert Path(picture_file(str(tmp_path / "kept"), "made", source.name, "gan.detail")).is_file()


def test_workers_follow_the_rules_of_the_protocol(tmp_path: Path) -> None:
    sources = {"Set5": made_sources(tmp_path / "pictures", [(50, 64)])}
    evaluate(
        {"bicubic": "bicubic"},
        sources,
        scale=4,
        protocol="dsrgan",
        metrics=["psnr_y"],
        pictures_to=str(tmp_path / "kept"),
    )
    lr, truth = pair_for(PROTOCOLS["dsrgan"], "Set5", sources["Set5"][0], 4)
    expected = {"lr": lr, "bicubic": bicubic_for(PROTOCOLS["dsrgan"], lr, truth, 4), GROUND_TRUTH: truth}
    assert truth.shape == (48, 60, 3)
    for name, pixels in expected.items():
        assert np.array_equal(read_picture(picture_file(str(tmp_path / "kept"), "Set5", "made_0", name)), pixels), name


def test_a_model_whose_file_has_changed_is_read_anew(tmp_path: Path) -> None:
    sources = {"made": made_sources(tmp_path, [(48, 64)])}
    model = model_file(tmp_path / "model.safetensors")
    settings = {"scale": 4, "protocol": "y_crop4", "metrics": METRICS}
    first = evaluate({"m": model}, sources, **settings)
    network, description = load_model(model)
    next(network.parameters()).data.mul_(3)
    from acutance.models.model_file import save_model

    save_model(model, network, description)
    assert evaluate({"m": model}, sources, **settings).mean("m", "psnr_y") != first.mean("m", "psnr_y")


def test_failures_are_ours_and_name_the_file(tmp_path: Path) -> None:
    sources = {"made": made_sources(tmp_path, [(48, 64)])}
    settings = {"scale": 4, "protocol": "y_crop4", "metrics": METRICS}
    with pytest.raises(ModelError, match=r"absent\.safetensors") as missing:
        evaluate({"absent": str(tmp_path / "absent.safetensors")}, sources, **settings)
    assert missing.type is ModelError
    assert missing.value.exit_code == 2
    (tmp_path / "broken.png").write_bytes(Path(sources["made"][0].path).read_bytes()[:500])
    broken = {"made": [Source("broken", str(tmp_path / "broken.png"))]}
    with pytest.raises(DataError, match=r"broken\.png"):
        evaluate({"bicubic": "bicubic"}, broken, **settings)
