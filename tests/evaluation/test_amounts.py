"""Shares of selected values and bytes of data sets, against the functions they add up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_for_evaluation import picture

from acutance.evaluation.amounts import png_megabytes, selected_percent
from acutance.evaluation.png import compressed_size
from acutance.imaging import weight_map

PICTURES = [picture(20, 30), picture(41, 40)]


def test_each_picture_counts_the_same_with_its_own_statistics() -> None:
    tensors = [torch.from_numpy(p.transpose(2, 0, 1).copy()) for p in PICTURES]
    shares = [100 * weight_map(tensor, alpha=1 / 5).mean().item() for tensor in tensors]
    assert shares[0] != pytest.approx(shares[1], abs=0.1)
    assert selected_percent(iter(PICTURES), alpha=1 / 5) == pytest.approx(sum(shares) / 2, abs=1e-4)


def test_the_share_falls_with_alpha_from_all_of_it() -> None:
    shares = [selected_percent(PICTURES, alpha=alpha) for alpha in (0, 1 / 7, 1 / 5, 1 / 3)]
    assert shares[0] == 100
    assert shares == sorted(shares, reverse=True)
    assert len(set(shares)) == 4


def test_sizes_are_those_of_a_file_a_picture() -> None:
    rows = np.stack([PICTURES[0], PICTURES[0][::-1]])
    expected = compressed_size(rows[0]) + compressed_size(rows[1])
    assert png_megabytes(rows) == pytest.approx(expected / 1e6)
