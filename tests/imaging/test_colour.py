import pytest
import torch

from acutance.imaging.colour import rgb_to_y

PIXELS = {  # colour: (MATLAB's rgb2ycbcr, full range)
    (0, 0, 0): (16.0, 0.0),
    (255, 255, 255): (235.0, 255.0),
    (255, 0, 0): (81.481, 76.245),
    (0, 255, 0): (144.553, 149.685),
    (0, 0, 255): (40.966, 29.07),
    (10, 20, 30): (31.58762, 18.15),
}


@pytest.mark.parametrize(("colour", "expected"), PIXELS.items())
def test_known_colours(colour: tuple[int, int, int], expected: tuple[float, float]) -> None:
    pixel = torch.tensor(colour, dtype=torch.uint8)[:, None, None]
    assert rgb_to_y(pixel).item() == pytest.approx(expected[0], abs=1e-4)
    assert rgb_to_y(pixel, studio=False).item() == pytest.approx(expected[1], abs=1e-4)


def test_double_precision_is_kept() -> None:
    assert rgb_to_y(torch.rand(3, 7, 4).double()).dtype == torch.float64


def test_other_channel_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="3, H, W"):
        rgb_to_y(torch.zeros(1, 8, 8))
