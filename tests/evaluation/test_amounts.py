"""Shares of selected values and bytes of data sets, against the functions they add up, on shards made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from made_for_evaluation import picture

from acutance.data import Catalogue, DataSettings, prepare, write_picture
from acutance.evaluation.amounts import AMOUNTS
from acutance.evaluation.png import compressed_size
from acutance.imaging import weight_map

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


def amount(name: str, root: Path, **changes: object) -> float:
    content = {"train": str(root / "pictures"), "subimages": {"size": 32, "stride": 32}, "degradation": None, **changes}
    data = DataSettings.model_validate(content)
    made = prepare(data, 1, Catalogue({}, ""), str(root / "out"), alone=True)
    return AMOUNTS[name].of(f"{root}/out/shards/{made.fingerprint}", data)


def test_the_share_is_that_of_the_maps_by_each_pictures_statistics(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    """But for borders of sub-images, one value in nine of these small ones, it is that of whole pictures."""
    maps = [weight_map(torch.from_numpy(p.transpose(2, 0, 1).copy()), alpha=0.5) for p in pictures]
    whole = 100 * float(torch.cat([m.flatten() for m in maps]).mean())
    seen = amount("selected_percent", tmp_path, weight_map={"alpha": 0.5})
    assert seen == pytest.approx(whole, abs=2)
    blocks = [p[t : t + 32, c : c + 32] for p in pictures for t in (0, 32) for c in range(0, p.shape[1], 32)]
    alone = [weight_map(torch.from_numpy(b.transpose(2, 0, 1).copy()), alpha=0.5).mean() for b in blocks]
    assert seen != pytest.approx(100 * float(torch.stack(alone).mean()), abs=0.05)


def test_the_share_falls_with_alpha_from_all_of_it(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    shares = [amount("selected_percent", tmp_path, weight_map={"alpha": alpha}) for alpha in (0, 1 / 7, 1 / 5, 1 / 3)]
    assert shares[0] == amount("selected_percent", tmp_path) == 100
    assert shares == sorted(shares, reverse=True)
    assert len(set(shares)) == 4


def test_sizes_are_those_of_a_file_a_sub_image(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    expected = sum(compressed_size(p) for p in pictures)
    size = {"subimages": {"size": 64, "stride": 32}}
    wide = compressed_size(pictures[0][:, :64]) + compressed_size(pictures[0][:, 32:])
    expected += wide - compressed_size(pictures[0])
    assert amount("png_megabytes", tmp_path, **size) == pytest.approx(expected / 1e6)
