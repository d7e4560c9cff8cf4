"""What a model will be measured on is looked at before it is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from acutance.commands.held_out import require_measurable
from acutance.data.datasets import Source
from acutance.data.pictures import write_picture
from acutance.errors import ConfigError, DataError

NOISE = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)


def source(folder: Path, name: str, height: int, width: int, lr: tuple[int, int] | None = None) -> Source:
    write_picture(folder / f"{name}.png", NOISE[:height, :width])
    if lr:
        write_picture(folder / f"{name}x4.png", NOISE[: lr[0], : lr[1]])
    return Source(name, str(folder / f"{name}.png"), {4: str(folder / f"{name}x4.png")} if lr else {})


def check(*sources: Source, metrics: tuple[str, ...] = ("psnr_y", "ssim_y"), protocol: str = "y_crop4") -> None:
    require_measurable({"mine": list(sources)}, scale=4, protocol=protocol, metrics=metrics)


def test_good_pictures_pass(tmp_path: Path) -> None:
    check(source(tmp_path, "a", 40, 50), source(tmp_path, "b", 300, 301, (75, 76)))


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    bad = source(tmp_path, "bad", 40, 40)
    Path(bad.path).write_bytes(Path(bad.path).read_bytes()[:-30])
    with pytest.raises(DataError, match="corrupt") as caught:
        check(source(tmp_path, "a", 40, 50), bad)
    assert caught.value.where == bad.path


@pytest.mark.parametrize(("size", "lr"), [((3, 40), None), ((40, 40), (9, 10)), ((40, 40), (20, 20))])
def test_sizes_that_do_not_fit_are_refused(tmp_path: Path, size: tuple[int, int], lr: tuple[int, int] | None) -> None:
    with pytest.raises(DataError, match=r"smaller than the scale|does not fit"):
        check(source(tmp_path, "a", *size, lr))


def test_a_metric_without_any_value_is_refused_and_one_with_some_is_not(tmp_path: Path) -> None:
    small = source(tmp_path, "small", 16, 16)
    with pytest.raises(ConfigError, match="SSIM-Y has no value on any picture of mine"):
        check(small)
    check(small, metrics=("psnr_y",))
    check(small, source(tmp_path, "large", 300, 300))
