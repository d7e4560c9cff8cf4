"""Masks: what they let through, on every term, by every divisor, and how they take effect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from acutance import parts
from acutance.config import pipeline as pipelines
from acutance.config.pipeline import columns_read
from acutance.errors import ConfigError
from acutance.imaging.gms import hard_mask, soft_mask
from acutance.losses.dual_perceptual import DualPerceptual
from acutance.losses.masks import GMS, ColumnMask, Divisor
from acutance.losses.objective import Objective
from acutance.losses.perceptual import Perceptual
from acutance.losses.pixel import Pixel
from acutance.losses.scores import Score
from acutance.models.highpass import HighPassNet
from command_line import REPOSITORY

QUICKSTART = REPOSITORY / "pipelines" / "quickstart.yaml"


def pictures() -> tuple[Tensor, Tensor]:
    """Return a restored picture whose texture was lost in a part of the first of two, and the truth; (2,3,16,16)."""
    random = torch.Generator().manual_seed(0)
    truth = 0.1 + 0.8 * torch.rand(2, 1, 16, 16, generator=random).expand(2, 3, 16, 16)
    restored = truth.clone()
    restored[0, :, 2:11, 3:12] = 0.5
    return restored, truth


def weight_map() -> Tensor:
    """Return a mask with 1 at 6 values of the first picture and 2 of the second."""
    mask = torch.zeros(2, 3, 16, 16)
    mask[0, 0, 5, 4:10] = mask[1, 2, 5:7, 3] = 1
    return mask


def weighted(divisor: Divisor = "batch") -> ColumnMask:
    return ColumnMask(column="hr_weight", divisor=divisor)


def value(mask: GMS | ColumnMask, term: nn.Module | None = None, step: int = 0, **batch: Tensor) -> dict[str, Tensor]:
    restored, truth = pictures()
    objective = Objective([("term", term or Pixel(), "image", 1.0, mask)])
    return objective({"image": restored}, {"hr": truth, **batch}, None, step)[1]


def test_a_mask_of_edges_is_where_they_were_lost() -> None:
    restored, truth = pictures()
    hard = GMS(form="hard")(restored, truth, {}, 0)
    assert hard.shape == (2, 1, 16, 16)
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    assert hard[0, 0, 4:9, 5:10].min() == 1, "the lost texture"
    assert hard[0, 0, 12:, :].max() == hard[1].max() == 0, "what is restored"
    soft = GMS()(restored, truth, {}, 0)
    torch.testing.assert_close(soft, soft_mask(255 * restored, 255 * truth))
    assert len(soft.unique()) > 10


@pytest.mark.parametrize(
    ("setting", "change"),
    [("threshold", 0.9), ("sigma", 2.0), ("repeats", 0), ("c", 1e5)],
)
def test_settings_of_the_mask_of_edges_arrive(setting: str, change: float) -> None:
    restored, truth = pictures()
    mask = GMS(**{setting: change})(restored, truth, {}, 0)  # type: ignore[arg-type]
    torch.testing.assert_close(mask, soft_mask(255 * restored, 255 * truth, **{setting: change}))  # type: ignore[arg-type]
    assert not torch.equal(mask, GMS()(restored, truth, {}, 0))


def test_a_ramp_brings_the_mask_in_by_and_by() -> None:
    restored, truth = pictures()
    whole = GMS()(restored, truth, {}, 0)
    ramped = GMS(ramp=10)
    torch.testing.assert_close(ramped(restored, truth, {}, 0), torch.ones_like(whole))
    torch.testing.assert_close(ramped(restored, truth, {}, 4), 1 - (1 - whole) * 0.4)
    for step in (10, 1000):
        torch.testing.assert_close(ramped(restored, truth, {}, step), whole)
    plain, masked = value(ramped), value(GMS(), step=5)
    halfway = value(ramped, step=5)
    torch.testing.assert_close(plain["term"], Pixel()(*pictures()))
    torch.testing.assert_close(halfway["term"], (plain["term"] + masked["term"]) / 2)


def test_a_floor_holds_what_is_not_poor() -> None:
    """A shift of all colours is free under the paper's mask; a floor lets a part of it through, ramped or not."""
    _, truth = pictures()
    shifted = {"image": truth + 10 / 255}

    def cost(mask: GMS, step: int) -> float:
        return Objective([("pixel", Pixel(), "image", 1.0, mask)])(shifted, {"hr": truth}, None, step)[0].item()

    assert cost(GMS(), 0) == pytest.approx(0, abs=1e-6)
    assert cost(GMS(floor=0.25), 0) == pytest.approx(0.25 * 10 / 255, rel=1e-4)
    assert [cost(GMS(floor=0.25, ramp=10), step) * 25.5 for step in (0, 4, 10)] == pytest.approx([1, 0.7, 0.25])
    restored = pictures()[0]
    whole = GMS()(restored, truth, {}, 0)
    torch.testing.assert_close(GMS(floor=0.25)(restored, truth, {}, 0), 0.25 + 0.75 * whole)


def test_no_gradient_goes_through_the_mask() -> None:
    restored, truth = pictures()
    restored += 0.01
    restored.requires_grad_()
    objective = Objective([("pixel", Pixel(), "image", 1.0, GMS())])
    objective({"image": restored}, {"hr": truth})[0].backward()
    mask = soft_mask(255 * restored.detach(), 255 * truth)
    torch.testing.assert_close(restored.grad, (restored - truth).detach().sign() * mask / restored.numel())


def test_what_a_sum_is_divided_by() -> None:
    """Of the second picture nothing is wrong, and the map counts some of it."""
    weights = weight_map()
    restored, truth = pictures()
    off = (restored - truth).abs()
    counted = {"hr_weight": weights}
    sums, counts = (off * weights).sum((1, 2, 3)), weights.sum((1, 2, 3))
    assert (float(sums[0]) > 0.5, float(sums[1]), counts.tolist()) == (True, 0, [6, 2])
    found = {d: value(weighted(d), **counted)["term"].item() for d in ("none", "batch", "image")}  # type: ignore[arg-type]
    assert found["none"] == pytest.approx(float(sums[0]) / weights.numel())
    assert found["batch"] == pytest.approx(float(sums[0]) / 8)
    assert found["image"] == pytest.approx(float(sums[0]) / 6 / 2)
    squares = value(weighted("image"), Pixel(criterion="l2"), **counted)["term"]
    assert squares.item() == pytest.approx(float((off.square() * weights).sum()) / 6 / 2)
    assert value(weighted(), **counted)["term.mask"].item() == pytest.approx(float(weights.mean()))


def test_all_ones_are_no_mask_and_all_zeros_do_not_divide_by_zero() -> None:
    ones = {"hr_weight": torch.ones(2, 3, 16, 16)}
    for divisor in ("none", "batch", "image"):
        assert value(weighted(divisor), **ones)["term"] == pytest.approx(float(Pixel()(*pictures())))  # type: ignore[arg-type]
        zeros = value(weighted(divisor), hr_weight=0 * ones["hr_weight"])  # type: ignore[arg-type]
        assert zeros["term"].item() == 0
    soft = value(GMS(divisor="batch"))
    torch.testing.assert_close(soft["term"], value(GMS())["term"] / soft["term.mask"])


class Scorer(nn.Module):
    """Scores a picture by its mean."""

    def features(self, picture: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
        return {layer: 10 * picture.mean((1, 2, 3)) for layer in layers}


def highpass() -> HighPassNet:
    torch.manual_seed(0)
    return HighPassNet(channels=2)


PICTURE_TERMS: dict[str, Callable[[], nn.Module]] = {
    "pixel": lambda: Pixel(border=2),
    "perceptual": lambda: Perceptual(network=highpass()),
    "dual_perceptual": lambda: DualPerceptual(network=highpass(), layer="conv0", second=highpass(), taps=("conv1",)),
    "score": lambda: Score(network=Scorer()),
}


@pytest.mark.parametrize("name", PICTURE_TERMS)
def test_every_term_of_pictures_sees_what_the_mask_leaves(name: str) -> None:
    assert name in parts.names("loss")
    term = PICTURE_TERMS[name]()
    restored, truth = pictures()
    mask = hard_mask(255 * restored, 255 * truth)
    expected = term(mask * restored, mask * truth)
    found = value(GMS(form="hard"), term)
    whole, shares = expected if isinstance(expected, tuple) else (expected, {})
    torch.testing.assert_close(found["term"], whole)
    assert found.keys() == {"term", "term.mask", *(f"term.{share}" for share in shares)}


def test_targets_and_maps_are_repeated_for_outputs_that_lie_one_after_another() -> None:
    restored, truth = pictures()
    batch = {"hr": truth, "hr_weight": weight_map()}
    for mask in (GMS(), weighted()):
        objective = Objective([("term", Pixel(), "image", 1.0, mask)])
        twice, _ = objective({"image": torch.cat([restored, restored])}, batch)
        torch.testing.assert_close(twice, objective({"image": restored}, batch)[0])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="the mask reads the column 'hr_weight', which the batch does not have"):
        value(weighted())
    with pytest.raises(ConfigError, match="meets a target of shape"):
        value(weighted(), hr_weight=torch.ones(2, 3, 8, 8))
    with pytest.raises(ConfigError, match="compares two pictures"):
        GMS()(torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8), {}, 0)


@pytest.mark.parametrize(
    ("setting", "wrong"),
    [("sigma", 0), ("c", 0), ("threshold", -1), ("repeats", -1), ("ramp", -1), ("floor", -0.1), ("floor", 1.5)],
)
def test_settings_out_of_range_are_named(setting: str, wrong: int) -> None:
    with pytest.raises(ConfigError, match=f"{setting} is {wrong}"):
        GMS(**{setting: wrong})  # type: ignore[arg-type]


def quickstart(*changes: str) -> pipelines.Pipeline:
    return pipelines.load(QUICKSTART, changes)


def test_a_term_carries_its_mask_in_a_file() -> None:
    term = (
        quickstart("stages.gan.objective.feature.mask={type: gms, threshold: 0.1, ramp: 5}").stages["gan"].objective[1]
    )
    assert term.mask is not None
    mask: Any = term.mask.part(**term.mask.arguments())
    assert (mask.form, mask.threshold, mask.ramp, mask.divisor) == ("soft", 0.1, 5, "none")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "stages.fidelity.objective.pixel.mask={type: column, column: hr_weight}",
            "stages.fidelity: needs the column 'hr_weight'",
        ),
        ("stages.fidelity.objective.pixel.mask={type: gmss}", "unknown type 'gmss'; did you mean 'gms'"),
        ("stages.gan.objective.adversarial.mask={type: gms}", "objective.adversarial.mask: adversarial compares no"),
        (
            "stages.gan.objective.detail_pixel.mask={type: gms}",
            "detail_pixel.mask: gms is for outputs that are compared",
        ),
        ("stages.gan.objective.pixel.mask={type: gms, divisor: image}", "mask.divisor"),
    ],
)
def test_a_mask_that_cannot_be_is_named(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        quickstart(override)
    assert message in str(caught.value)


def test_a_stage_reads_the_column_of_its_mask() -> None:
    stage = quickstart().stages["fidelity"].model_dump(by_alias=True)
    stage["objective"][0]["mask"] = {"type": "column", "column": "hr_weight"}
    assert columns_read(pipelines.Stage.model_validate(stage)) == {"lr", "hr", "hr_weight"}
