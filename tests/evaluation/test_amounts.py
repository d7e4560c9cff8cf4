"""Shares of selected values and bytes of data sets, against the functions they add up, on shards made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from made_for_evaluation import picture

from acutance.config.data import DataSettings, SubImages
from acutance.config.metrics import AMOUNTS
from acutance.data.datasets import Catalogue
from acutance.data.pictures import write_picture
from acutance.data.prepare import found_shards, prepare
from acutance.data.subimages import corners
from acutance.evaluation.png_size import compressed_size
from acutance.imaging.weightmap import difference_statistics, weight_map

SIZES = [(64, 96), (64, 64)]


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Two pictures, the second of less contrast, whose sub-images do not overlap."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = [picture(*SIZES[0]), picture(*SIZES[1]) // 4]
    made[0][:, :32] //= 8
    for number, one in enumerate(made):
        write_picture(tmp_path / "pictures" / f"{number}.png", one)
    return made


def weighted(alpha: float) -> dict[str, dict[str, object]]:
    """The columns of a weight map, as a file gives them."""
    differences = {"type": "difference_statistics", "of": "hr", "stored": True}
    weight = {"type": "weight_map", "of": ["hr", "hr_differences"], "margin": 1, "alpha": alpha}
    return {"hr_differences": differences, "hr_weight": weight}


def amount(name: str, root: Path, **changes: object) -> float:
    content = {"train": str(root / "pictures"), "subimages": {"size": 32, "stride": 32}, "degradation": None, **changes}
    data = DataSettings.model_validate(content)
    made = prepare(data, 1, Catalogue({}, ""), str(root / "out"), in_process=True)
    return AMOUNTS[name].of(str(found_shards(f"{root}/out", made.fingerprint)), data)


@pytest.mark.parametrize("cuts", [(32, 32), (32, 16), (64, 32)])
def test_the_share_is_that_of_whole_pictures_however_they_are_cut(
    tmp_path: Path, pictures: list[np.ndarray], cuts: tuple[int, int]
) -> None:
    maps = [weight_map(torch.from_numpy(p.transpose(2, 0, 1).copy()), alpha=0.5) for p in pictures]
    whole = 100 * float(torch.cat([m.flatten() for m in maps]).double().mean())
    subimages = {"size": cuts[0], "stride": cuts[1]}
    assert amount("selected_percent", tmp_path, derive=weighted(0.5), subimages=subimages) == pytest.approx(whole)


def test_of_sub_images_with_gaps_it_is_their_own_share(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    """By the statistics of the whole picture all the same."""
    subimages = {"size": 24, "stride": 64}
    selected, values = 0.0, 0
    for one in (torch.from_numpy(p.transpose(2, 0, 1).copy()) for p in pictures):
        for top, left in corners(*one.shape[1:], SubImages(size=24, stride=64)):
            part = one[:, top : top + 24, left : left + 24]
            selected += float(weight_map(part, alpha=0.5, statistics=difference_statistics(one)).sum())
            values += part.numel()
    seen = amount("selected_percent", tmp_path, derive=weighted(0.5), subimages=subimages)
    assert seen == pytest.approx(100 * selected / values)


@pytest.mark.long
def test_the_shares_of_bsd100(data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut in the proportions of the paper's pipeline, whose sub-images overlap by half."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    content = {"train": str(data_root / "benchmarks" / "BSD100" / "HR"), "subimages": {"size": 120, "stride": 60}}
    alphas, root = [1 / 7, 1 / 6, 1 / 5, 1 / 4, 1 / 3], str(tmp_path / "out")
    cut = [DataSettings(**content, degradation=None, derive=weighted(alpha)) for alpha in alphas]
    made = prepare(cut[0], 1, Catalogue({}, ""), root, in_process=True)
    shares = [AMOUNTS["selected_percent"].of(str(found_shards(str(root), made.fingerprint)), data) for data in cut]
    assert [round(share, 2) for share in shares] == [78.80, 75.81, 71.83, 65.82, 57.82]


def test_the_share_falls_with_alpha_from_all_of_it(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    shares = [amount("selected_percent", tmp_path, derive=weighted(alpha)) for alpha in (0, 1 / 7, 1 / 5, 1 / 3)]
    assert shares[0] == amount("selected_percent", tmp_path) == 100
    assert shares == sorted(shares, reverse=True)
    assert len(set(shares)) == 4


def test_sizes_are_those_of_a_file_a_sub_image(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    expected = sum(compressed_size(p) for p in pictures)
    size = {"subimages": {"size": 64, "stride": 32}}
    wide = compressed_size(pictures[0][:, :64]) + compressed_size(pictures[0][:, 32:])
    expected += wide - compressed_size(pictures[0])
    assert amount("png_megabytes", tmp_path, **size) == pytest.approx(expected / 1e6)
