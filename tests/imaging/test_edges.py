import pytest
import torch
from torch import Tensor
from torch.nn import functional

from acutance.imaging.edges import edge_filters, hessian_filters

Y, X = torch.meshgrid(torch.arange(9.0) - 4, torch.arange(11.0) - 5, indexing="ij")


def responses(filters: Tensor, plane: Tensor, dilation: int = 1) -> Tensor:
    return functional.conv2d(plane[None, None], filters, dilation=dilation)[0]


def test_values() -> None:
    e, q = 1 / 8, 1 / 4
    expected = [
        [[-e, 0, e], [-q, 0, q], [-e, 0, e]],
        [[-e, -q, -e], [0, 0, 0], [e, q, e]],
        [[0, 0, 0], [1, -2, 1], [0, 0, 0]],
        [[0, 1, 0], [0, -2, 0], [0, 1, 0]],
        [[q, 0, -q], [0, 0, 0], [-q, 0, q]],
        [[e, e, e], [e, -1, e], [e, e, e]],
    ]
    assert edge_filters().dtype == torch.float32
    assert torch.equal(edge_filters(), torch.tensor(expected)[:, None])
    assert hessian_filters().dtype == torch.float32
    assert torch.equal(hessian_filters(), torch.tensor(expected)[2:5, None])


@pytest.mark.parametrize(
    ("plane", "expected"),
    [
        (torch.ones_like(X), [0, 0, 0, 0, 0, 0]),
        (X, [1, 0, 0, 0, 0, 0]),
        (Y, [0, 1, 0, 0, 0, 0]),
        (X * Y, [None, None, 0, 0, 1, 0]),
        (X**2 / 2, [None, 0, 1, 0, 0, 3 / 8]),
        (Y**2 / 2, [0, None, 0, 1, 0, 3 / 8]),
    ],
    ids=["constant", "x", "y", "xy", "xx", "yy"],
)
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_they_are_derivatives(plane: Tensor, expected: list[float | None], dilation: int) -> None:
    order = torch.tensor([1.0, 1, 2, 2, 2, 2])  # a derivative of order n grows with the n-th power of the distance
    found = responses(edge_filters(), plane, dilation) / dilation ** order[:, None, None]
    for response, value in zip(found, expected, strict=True):
        if value is not None:
            torch.testing.assert_close(response, torch.full_like(response, value), atol=1e-5, rtol=0)


def test_first_derivatives_follow_a_parabola() -> None:
    torch.testing.assert_close(responses(edge_filters(), X**2 / 2)[0], X[1:-1, 1:-1])
    torch.testing.assert_close(responses(edge_filters(), Y**2 / 2)[1], Y[1:-1, 1:-1])
