"""Every metric on pictures that have gone wrong: a number, or a reason that can be read; never NaN, never a warning."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from made_for_evaluation import picture

from acutance.config.metrics import METRICS
from acutance.evaluation.metrics import measure

HEIGHT, WIDTH = 104, 200
SHOWN, OTHER = picture(HEIGHT, WIDTH), picture(HEIGHT, WIDTH, seed=1)
SHOWN.flags.writeable = False  # as those of Pillow are


def flat(level: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def stripes(period: int) -> np.ndarray:
    return np.broadcast_to(np.uint8(255) * (np.arange(WIDTH)[:, None] // period % 2 == 0), (HEIGHT, WIDTH, 3)).copy()


PICTURES = {
    "different": (SHOWN, OTHER),
    "identical": (SHOWN, SHOWN),
    "constant": (flat(77), flat(90)),
    "constant and identical": (flat(77), flat(77)),
    "constant against a picture": (flat(77), SHOWN),
    "a picture against a constant": (SHOWN, flat(77)),
    "black against white": (flat(0), flat(255)),
    "white against black": (flat(255), flat(0)),
    "stripes": (stripes(1), stripes(2)),
    "half flat": (np.where(np.arange(WIDTH)[:, None] < 100, SHOWN, 128).astype(np.uint8), SHOWN),
    "one bright pixel": (np.pad(np.full((1, 1, 3), 255, np.uint8), ((50, 53), (99, 100), (0, 0))), flat(0)),
    "no pixel": (flat(5, 0, 7), flat(6, 0, 7)),
    "one pixel": (flat(5, 1, 1), flat(6, 1, 1)),
    "too small": (SHOWN[:9, :9], OTHER[:9, :9]),
    "narrow": (SHOWN[:, :3], OTHER[:, :3]),
}
MALFORMED = {
    "(H, W)": (SHOWN[..., 0], OTHER[..., 0]),
    "(H, W, 1)": (SHOWN[..., :1], OTHER[..., :1]),
    "(H, W, 4)": (np.dstack([SHOWN, SHOWN[..., 0]]), np.dstack([OTHER, OTHER[..., 0]])),
    "(1, H, W, 3)": (SHOWN[None], OTHER[None]),
    "float": (SHOWN / 255, OTHER / 255),
    "other sizes": (SHOWN, OTHER[:-4]),
    "sizes that NumPy would broadcast": (SHOWN, OTHER[:, :1]),
}


@pytest.fixture(autouse=True)
def weights_and_no_warning(made_weights: object) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("case", PICTURES)
@pytest.mark.parametrize("name", METRICS)
def test_a_picture_gives_a_number_or_a_reason(name: str, case: str) -> None:
    found = measure(*PICTURES[case], metrics=[name], protocol="y_crop4", scale=4)
    value = found.values[name]
    if value is None:
        assert len(found.reasons[name].split()) >= 4
    else:
        assert isinstance(value, float)
        assert math.isfinite(value)
        assert not found.reasons


@pytest.mark.parametrize("case", MALFORMED)
@pytest.mark.parametrize("name", METRICS)
def test_what_is_no_pair_of_pictures_is_refused(name: str, case: str) -> None:
    restored, truth = MALFORMED[case]
    with pytest.raises(ValueError, match=r"the restored picture (must be uint8 \(H, W, 3\), not|is) .*\("):
        measure(restored, truth, metrics=[name], protocol="y_crop4", scale=4)
    if restored.shape == truth.shape:
        with pytest.raises(ValueError, match=r"the truth must be uint8 \(H, W, 3\), not"):
            measure(SHOWN, truth, metrics=[name], protocol="y_crop4", scale=4)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_alone_refuses_what_it_cannot_read(name: str) -> None:
    metric, pictures, planes = METRICS[name], (SHOWN, OTHER), (SHOWN[..., 0] + 0.5, OTHER[..., 0] + 0.5)
    right, wrong = (planes, pictures) if metric.on == "plane" else (pictures, planes)
    refused = [wrong, tuple(array[None] for array in right), tuple(array[..., None] for array in right)]
    if metric.needs_truth:
        refused += [(right[0], right[1][:-4]), (right[0], right[1][:, :1])]
    count = 2 if metric.needs_truth else 1
    assert math.isfinite(metric.function(*right[:count]))
    for arrays in refused:
        with pytest.raises(ValueError, match=r"(measured on|compares) .* \("):
            metric.function(*arrays[:count])


@pytest.mark.parametrize("name", METRICS)
def test_what_identical_pictures_give(name: str) -> None:
    value = measure(SHOWN, SHOWN, metrics=[name], protocol="y_crop4", scale=4).values[name]
    if name.startswith("psnr"):
        assert value is None
    elif name.startswith("ssim"):
        assert value == pytest.approx(1, abs=1e-12)
    elif name.startswith("lpips"):
        assert value == 0
    else:
        assert value == measure(SHOWN, None, metrics=[name], protocol="y_crop4", scale=4).values[name]


def test_what_constant_pictures_give() -> None:
    found = measure(flat(77), flat(90), metrics=METRICS, protocol="y_crop4", scale=4)
    assert [name for name, value in found.values.items() if value is None] == ["niqe", "ma", "pi"]
    assert "flat" in found.reasons["niqe"]
    assert found.values["high_frequency"] == pytest.approx(0, abs=1e-9)
    assert found.values["high_frequency_share"] == 0


def test_a_grey_picture_is_three_equal_channels() -> None:
    grey = SHOWN[..., :1].repeat(3, axis=2)
    found = measure(grey, OTHER, metrics=METRICS, protocol="y_crop4", scale=4)
    assert None not in found.values.values()
