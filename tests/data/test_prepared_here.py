"""Shards made in this process, without Ray: weight maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from acutance.data import Catalogue, DataSettings, Manifest, open_columns, prepare, read_manifest, write_picture
from acutance.schema import validate

SIZES = {"a": (50, 70), "b": (48, 64)}


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Half of it smooth, half of it noise, so that a weight map has something to choose."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    noise[:, width // 2 :] = 100 + np.arange(width - width // 2, dtype=np.uint8)[:, None]
    return noise


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for name, (height, width) in SIZES.items():
        write_picture(tmp_path / "pictures" / f"{name}.png", picture(height, width, ord(name)))
    return tmp_path / "pictures"


def prepared(pictures: Path, catalogue: Catalogue | None = None, *, scale: int = 2, **changes: object) -> Manifest:
    content = {"train": str(pictures), "subimages": {"size": 32, "stride": 16}, **changes}
    settings = validate(DataSettings, content, "a test")
    return prepare(settings, scale, catalogue or Catalogue({}, ""), str(pictures.parent / "out"), alone=True)


def columns(pictures: Path, manifest: Manifest, *names: str) -> dict[str, np.memmap]:
    scratch = pictures.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    return open_columns(f"{pictures.parent}/out/shards/{manifest.fingerprint}", names, scratch)


def test_weight_maps_are_stored_and_their_share_is_told(pictures: Path) -> None:
    manifest = prepared(pictures, weight_map={"alpha": 0.2})
    stored = columns(pictures, manifest, "hr", "hr_weight")
    assert stored["hr_weight"].shape == stored["hr"].shape
    assert set(np.unique(stored["hr_weight"])) == {0, 1}
    shares = [source.share for source in manifest.sources]
    assert all(0.3 < share < 0.6 for share in shares)  # of the noise nearly all, of the rest nothing
    assert manifest.share == pytest.approx(np.mean(shares))
    assert read_manifest(f"{pictures.parent}/out/shards/{manifest.fingerprint}").share == manifest.share
    more = prepared(pictures, weight_map={"alpha": 0})
    assert more.share == 1
    assert more.fingerprint != manifest.fingerprint
    assert prepared(pictures).share is None
