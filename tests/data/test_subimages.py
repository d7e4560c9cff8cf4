"""Sub-images: where they lie, and that they are cut from layers of the whole picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from acutance.config.data import DataSettings, SubImages
from acutance.config.mistakes import validate
from acutance.data.columns import columns_of, dataset_fingerprint
from acutance.data.datasets import load_catalogue
from acutance.data.pictures import read_picture
from acutance.data.subimages import corners, crop_to_multiple, cut, layers, starts
from acutance.errors import ConfigError
from acutance.fingerprint import file_sha256
from acutance.imaging.derivations import lgs
from acutance.imaging.resize import imresize_uint8
from acutance.imaging.smoothers import guided_filter_detail, least_squares_detail

DIFFERENCES = {"type": "difference_statistics", "of": "hr", "stored": True}
IN_STEPS = {"type": "highpass", "of": "hr"}
CATALOGUE = load_catalogue(Path(__file__).resolve().parents[2] / "pipelines" / "datasets.yaml")


def details(kind: str = "lgs", **changes: object) -> dict[str, dict[str, object]]:
    """The detail layers of both pictures, as a file gives them."""
    return {f"{of}_detail": {"type": kind, "of": of, "stored": True, **changes} for of in ("hr", "lr")}


def settings(**changes: object) -> DataSettings:
    content = {"train": "x", "subimages": {"size": 48, "stride": 24}, "derive": details(), **changes}
    return validate(DataSettings, content, "a test")


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    return read_picture(CATALOGUE.find("photographs_heldout")[0].path)[:150, :203]


@pytest.mark.parametrize(
    ("length", "size", "stride", "expected"),
    [
        (480, 480, 240, [0]),
        (479, 480, 240, []),
        (481, 480, 240, [0, 1]),
        (960, 480, 240, [0, 240, 480]),
        (1356, 480, 240, [0, 240, 480, 720, 876]),
        (10, 4, 6, [0, 6]),
        (11, 4, 6, [0, 6, 7]),
    ],
)
def test_sub_images_start_at_strides_and_flush_with_the_border(
    length: int, size: int, stride: int, expected: list[int]
) -> None:
    assert starts(length, size, stride) == expected


def test_a_picture_of_div2k_gives_forty_sub_images() -> None:
    at = corners(1356, 2040, SubImages(size=480, stride=240))
    assert len(at) == len(set(at)) == 40
    assert at[:2] == [(0, 0), (0, 240)]
    assert at[-1] == (1356 - 480, 2040 - 480)
    assert all(top % 4 == 0 and left % 4 == 0 for top, left in at)


def test_sub_images_may_have_two_sides() -> None:
    cuts = SubImages(size=[720, 1280], stride=720)
    at = corners(1356, 2040, cuts)
    assert at == [(0, 0), (0, 720), (0, 760), (636, 0), (636, 720), (636, 760)]
    assert corners(2040, 1200, cuts) == []
    picture = np.arange(24 * 40).reshape(24, 40, 1)
    [part] = cut(picture, [(8, 4)], (12, 20), 1)
    np.testing.assert_array_equal(part, picture[8:20, 4:24])
    assert corners(24, 40, SubImages(size=[12, 20], stride="centre"), 4) == [(4, 8)]


def test_every_pixel_is_in_a_sub_image() -> None:
    covered = np.zeros((151, 203), int)
    for top, left in corners(151, 203, SubImages(size=48, stride=40)):
        covered[top : top + 48, left : left + 48] += 1
    assert covered.min() == 1


def test_layers_are_those_of_the_whole_picture(photograph: np.ndarray) -> None:
    """A sub-image is a crop of the picture's layers, not a picture with layers of its own."""
    hr = crop_to_multiple(photograph, [4])
    assert hr.shape == (148, 200, 3)
    whole, at = layers(hr, settings(), 4), corners(148, 200, SubImages(size=48, stride=24))
    assert {name: (layer.dtype.name, layer.shape) for name, layer in whole.items()} == {
        "hr": ("uint8", (148, 200, 3)),
        "lr": ("uint8", (37, 50, 3)),
        "hr_detail": ("float16", (148, 200, 1)),
        "lr_detail": ("float16", (37, 50, 1)),
    }
    number = at.index((48, 72))
    for name, column in columns_of(settings(), 4).items():
        parts = cut(whole[name], at, 48, column.divisor)
        assert parts.shape == (len(at), *column.shape)
        assert parts.dtype == column.dtype
        d = column.divisor
        expected = whole[name][48 // d : 96 // d, 72 // d : 120 // d]
        assert np.array_equal(parts[number], expected)
    alone = layers(hr[48:96, 72:120], settings(), 4)
    for name in ("lr", "hr_detail", "lr_detail"):
        d = 4 if name.startswith("lr") else 1
        assert not np.array_equal(alone[name], whole[name][48 // d : 96 // d, 72 // d : 120 // d])


def test_detail_layers_are_the_extractors_own(photograph: np.ndarray) -> None:
    hr = crop_to_multiple(photograph, [4])
    made = layers(hr, settings(derive=details(alpha=2.0)), 4)
    for name in ("hr", "lr"):
        picture = torch.from_numpy(made[name]).permute(2, 0, 1)
        expected = lgs(picture, alpha=2.0)[0].numpy()
        error = np.abs(made[f"{name}_detail"][..., 0].astype(np.float32) - expected)
        assert error.max() <= np.abs(expected).max() * 2**-11
        assert expected.std() > 0.01


@pytest.mark.parametrize(
    ("kind", "extract", "changed"),
    [("gif", guided_filter_detail, {"radius": 3}), ("wls", least_squares_detail, {"lam": 0.5})],
)
def test_differences_are_stored_signed_and_in_colour(
    kind: str, extract: Callable[..., torch.Tensor], changed: dict[str, float], photograph: np.ndarray
) -> None:
    """Sixteen bits keep them to 2^-12 of a picture's whole range, where they are below a quarter of it."""
    chosen = settings(derive=details(kind, **changed))
    hr = crop_to_multiple(photograph[:60, :80], [4])
    made, columns = layers(hr, chosen, 4), columns_of(chosen, 4)
    for name in ("hr", "lr"):
        column, layer = columns[f"{name}_detail"], made[f"{name}_detail"]
        assert (column.coding, column.dtype, column.shape[2]) == ("value", layer.dtype.name, layer.shape[2])
        expected = extract(torch.from_numpy(made[name]).permute(2, 0, 1), **changed).permute(1, 2, 0).numpy()
        assert expected.min() < 0 < expected.max()
        assert np.abs(layer.astype(np.float32) - expected).max() <= 2**-12
    assert {name: column.coding for name, column in columns.items() if "detail" not in name} == {
        "hr": "pixels",
        "lr": "pixels",
    }
    assert dataset_fingerprint(chosen, 4, []) != dataset_fingerprint(settings(derive=details(kind)), 4, [])


def test_layers_that_were_not_asked_for_are_not_made(photograph: np.ndarray) -> None:
    hr = crop_to_multiple(photograph, [4])
    assert set(layers(hr, settings(derive={}), 4)) == {"hr", "lr"}
    alone = settings(degradation=None, derive={"hr_detail": details()["hr_detail"]})
    assert set(layers(hr, alone, 4)) == {"hr", "hr_detail"}
    assert set(layers(hr, settings(derive=details(stored=False)), 4)) == {"hr", "lr"}
    assert set(columns_of(settings(degradation=None, derive={}), 4)) == {"hr"}


@pytest.mark.parametrize("scale", [2, 4])
def test_lr_pictures_are_the_older_matlabs(photograph: np.ndarray, scale: int) -> None:
    hr = crop_to_multiple(photograph, [scale])
    expected = imresize_uint8(torch.tensor(hr).permute(2, 0, 1), 1 / scale).permute(1, 2, 0)
    assert np.array_equal(layers(hr, settings(derive={}), scale)["lr"], expected.numpy())


def test_settings_have_defaults_and_refuse_what_they_do_not_know() -> None:
    plain = validate(DataSettings, {"train": "x", "subimages": {"size": 48, "stride": 24}}, "a test")
    assert (plain.degradation.type, plain.derive) == ("bicubic", {})
    with pytest.raises(ConfigError, match="bicubic"):
        settings(degradation={"type": "bicubc"})
    with pytest.raises(ConfigError, match="did you mean 'stride'"):
        settings(subimages={"size": 48, "strid": 24})
    with pytest.raises(ConfigError, match=r"derive\.hr_detail\.alpha"):
        settings(derive=details(alpha="big"))


@pytest.mark.parametrize("key", ["size", "stride"])
def test_sub_images_must_fit_the_scale(key: str) -> None:
    with pytest.raises(ConfigError, match="50 is no multiple of the scale 4") as caught:
        columns_of(settings(subimages={"size": 48, "stride": 24, key: 50}), 4)
    assert caught.value.where == f"data.subimages.{key}"


def test_the_fingerprint_depends_on_contents_and_settings_not_on_places(tmp_path: Path) -> None:
    def of(folder: str, content: bytes = b"one", name: str = "a", scale: int = 4, **changes: object) -> str:
        path = tmp_path / folder / "a.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return dataset_fingerprint(settings(**changes), scale, [(name, file_sha256(path))])

    first = of("here")
    assert first == of("there") == of("here", train="another")
    others = [
        of("here", b"two"),
        of("here", name="b"),
        of("here", scale=2),
        of("here", derive={}),
        of("here", derive=details(alpha=3)),
        of("here", subimages={"size": 48, "stride": 48}),
        of("here", derive=details() | {"hr_differences": DIFFERENCES}),
    ]
    assert len({first, *others}) == 8
    assert first == of("here", derive=details(alpha=4.0))  # the default, written out
    assert first == of("here", derive=details(margin=8)) == of("here", derive=details() | {"edges": IN_STEPS})
