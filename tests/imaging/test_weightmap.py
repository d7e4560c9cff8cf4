import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from acutance.errors import ConfigError
from acutance.imaging.weightmap import difference_statistics, neighbour_difference, weight_map
from free_pictures import PICTURES, VALUES, tensor


def random_picture(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", PICTURES)
def test_shares_of_free_photographs(name: str) -> None:
    shares = [100 * weight_map(tensor(PICTURES[name]), alpha=1 / k).mean().item() for k in (7, 6, 5, 4, 3)]
    assert shares == pytest.approx(VALUES[name]["selected_percent"], abs=1e-3)


def test_the_neighbour_that_differs_most_counts_with_its_sign() -> None:
    picture = torch.tensor([[10, 20, 15], [4, 10, 10], [0, 90, 10]], dtype=torch.uint8)
    # The centre: above -10, below -80, left 6, right 0. The left of its row: above -6, below 4, right -6.
    expected = [[-10, 10, 5], [-6, -80, -5], [-90, 90, -80]]
    assert neighbour_difference(picture).tolist() == expected


@pytest.mark.parametrize(
    ("above", "below", "left", "right", "expected"),
    [(0, 10, 0, 10, 5), (10, 0, 0, 0, -5), (5, 0, 10, 10, 5), (5, 10, 0, 0, -5), (5, 5, 0, 10, 5), (5, 5, 10, 0, -5)],
)
def test_of_equal_magnitudes_the_first_counts(above: int, below: int, left: int, right: int, expected: int) -> None:
    picture = torch.tensor([[5, above, 5], [left, 5, right], [5, below, 5]], dtype=torch.uint8)
    assert neighbour_difference(picture)[1, 1].item() == expected


def test_statistics_are_those_of_the_whole_picture_with_its_three_channels() -> None:
    picture = torch.full((3, 8, 8), 100, dtype=torch.uint8)
    picture[0, 4, 4] = 200  # 5 of 192 differences are not 0: 100 once, -100 four times
    mean, deviation = -300 / 192, (5 * 100**2 / 192 - (300 / 192) ** 2) ** 0.5
    only_edges = torch.zeros(3, 8, 8)
    only_edges[0, [4, 3, 5, 4, 4], [4, 4, 4, 3, 5]] = 1
    above_the_rest = abs(mean) / deviation * 1.01
    assert torch.equal(weight_map(picture, alpha=above_the_rest), only_edges)
    assert weight_map(picture, alpha=abs(mean) / deviation * 0.99).all()
    only_centre = (100 - mean) / deviation * 0.999
    assert weight_map(picture, alpha=only_centre).nonzero().tolist() == [[0, 4, 4]]
    assert weight_map(picture, alpha=(100 - mean) / deviation * 1.001).sum() == 0


def test_a_patch_is_judged_by_the_statistics_of_its_picture() -> None:
    """All but its outermost values, whose neighbours are outside, are those of the picture's own map."""
    pictures = torch.cat([random_picture(2, 3, 20, 30), random_picture(2, 3, 20, 30, seed=1) // 8])
    pictures[..., 15:] //= 4
    known = difference_statistics(pictures)
    assert (known.shape, known.dtype) == ((4, 2), torch.float64)
    torch.testing.assert_close(known[3], difference_statistics(pictures[3]))
    patches = pictures[..., 5:15, 4:20]
    seen, whole = weight_map(patches, alpha=0.7, statistics=known), weight_map(pictures, alpha=0.7)
    assert 0.1 < whole.mean() < 0.9
    assert torch.equal(seen[..., 1:-1, 1:-1], whole[..., 6:14, 5:19])
    assert not torch.equal(weight_map(patches, alpha=0.7)[..., 1:-1, 1:-1], whole[..., 6:14, 5:19])


def test_alpha_zero_and_constant_pictures_select_everything() -> None:
    assert weight_map(random_picture(3, 9, 7), alpha=0).all()
    assert weight_map(torch.full((3, 9, 7), 0.3), alpha=1 / 3).all()
    assert weight_map(torch.zeros(3, 1, 1), alpha=1 / 3).all()


def test_brightness_and_contrast_do_not_matter() -> None:
    picture = random_picture(3, 20, 30).double()
    torch.testing.assert_close(weight_map(picture / 255 - 4, alpha=0.2), weight_map(picture, alpha=0.2))


def test_no_gradient() -> None:
    picture = torch.rand(3, 4, 4, requires_grad=True)
    assert not weight_map(picture, alpha=0.2).requires_grad
    assert not neighbour_difference(picture).requires_grad


def test_unusable_input_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 0"):
        weight_map(random_picture(3, 4, 4), alpha=-0.1)
    with pytest.raises(ConfigError, match="at least 0"):
        weight_map(random_picture(3, 4, 4), alpha=float("nan"))
    with pytest.raises(ValueError, match="3, H, W"):
        weight_map(random_picture(1, 4, 4), alpha=0.2)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 23), st.integers(1, 23), st.integers(0, 2**31))
def test_values_are_chosen_alike_in_every_type(height: int, width: int, seed: int) -> None:
    picture = random_picture(3, height, width, seed=seed)
    selected = weight_map(picture, alpha=1 / 4)
    assert ((selected == 0) | (selected == 1)).all()
    assert torch.equal(neighbour_difference(picture), neighbour_difference(picture.float()))
    assert torch.equal(neighbour_difference(255 - picture.int()), -neighbour_difference(picture))
