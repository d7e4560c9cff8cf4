"""Objectives: what goes where, the weighted sum, and mistakes by name."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from acutance.config.mistakes import validate
from acutance.config.pipeline.stage import TermChoice
from acutance.config.schema import Strict
from acutance.errors import ConfigError
from acutance.losses.adversarial import Adversarial, generator_loss
from acutance.losses.objective import Logits, Objective
from acutance.losses.perceptual import Perceptual
from acutance.losses.pixel import Pixel
from acutance.models.highpass import HighPassNet


def five_terms() -> Objective:
    return Objective(
        [
            ("pixel", Pixel(), "image", 0.2),
            ("perceptual", Perceptual(network=HighPassNet(channels=2)), "image", 1.0),
            ("adversarial", Adversarial(), "image", 0.005),
            ("detail_pixel", Pixel(), "detail", 0.5),
            ("detail_adversarial", Adversarial(), "texture", 0.005),
        ]
    )


def data() -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Logits]]:
    generator = torch.Generator().manual_seed(0)

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    outputs = {"image": rand(2, 3, 8, 8).requires_grad_(), "detail": rand(2, 1, 8, 8).requires_grad_()}
    batch = {"hr": rand(2, 3, 8, 8), "hr_detail": rand(2, 1, 8, 8), "lr": rand(2, 3, 2, 2)}
    logits = {
        "image": Logits(rand(2, 1), rand(2, 1), "relativistic_average"),
        "texture": Logits(rand(2, 1), rand(2, 1), "vanilla"),
    }
    return outputs, batch, logits


def test_total_is_the_weighted_sum_and_values_are_unweighted() -> None:
    objective = five_terms()
    outputs, batch, logits = data()
    total, values = objective(outputs, batch, logits)
    assert list(values) == ["pixel", "perceptual", "adversarial", "detail_pixel", "detail_adversarial"]
    weights = dict(zip(values, (0.2, 1.0, 0.005, 0.5, 0.005), strict=True))
    torch.testing.assert_close(total, sum(weights[name] * value for name, value in values.items()))
    assert not any(value.requires_grad for value in values.values())
    torch.testing.assert_close(values["pixel"], (outputs["image"] - batch["hr"]).abs().mean().detach())
    torch.testing.assert_close(values["detail_pixel"], (outputs["detail"] - batch["hr_detail"]).abs().mean().detach())
    torch.testing.assert_close(
        values["detail_adversarial"],
        generator_loss("vanilla", logits["texture"].real, logits["texture"].fake),
    )
    assert values["adversarial"] != generator_loss("vanilla", *logits["image"][:2])


def test_gradient_carries_the_weights() -> None:
    objective = Objective([("pixel", Pixel(), "image", 0.25)])
    outputs, batch, _ = data()
    objective(outputs, batch)[0].backward()
    expected = 0.25 * (outputs["image"] - batch["hr"]).sign() / batch["hr"].numel()
    torch.testing.assert_close(outputs["image"].grad, expected.detach())


def test_an_output_without_a_rule_meets_the_column_of_its_name() -> None:
    objective = Objective([("filter", Pixel(border=1), "highpass", 2.0)])
    total, values = objective({"highpass": torch.ones(1, 3, 4, 4)}, {"highpass": torch.zeros(1, 3, 4, 4)})
    assert total.item() == 2
    assert values["filter"].item() == 1


def test_an_objective_holds_no_parameters_and_moves_its_networks() -> None:
    objective = five_terms()
    assert list(objective.parameters()) == []
    assert objective.state_dict() == {}
    objective.to("meta")
    assert objective.terms[1].term.network.conv0.weight.is_meta


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        (("outputs", "detail"), "'detail_pixel' needs the output 'detail'; there are: image"),
        (("batch", "hr_detail"), "'detail_pixel' needs the batch column 'hr_detail'; there are: hr, lr"),
        (("logits", "texture"), "'detail_adversarial' needs the discriminator 'texture'; there are: image"),
    ],
)
def test_what_is_missing_is_named(lost: tuple[str, str], message: str) -> None:
    given = dict(zip(("outputs", "batch", "logits"), data(), strict=True))
    del given[lost[0]][lost[1]]
    with pytest.raises(ConfigError, match=message):
        five_terms()(**given)


def test_adversarial_terms_need_logits() -> None:
    outputs, batch, _ = data()
    with pytest.raises(ConfigError, match="needs the discriminator 'image'; there are: none"):
        five_terms()(outputs, batch)


def test_names_must_differ_and_exist() -> None:
    with pytest.raises(ConfigError, match="different names"):
        Objective([("pixel", Pixel(), "image", 1.0), ("pixel", Pixel(), "detail", 1.0)])
    with pytest.raises(ConfigError, match="needs terms"):
        Objective([])


class Settings(Strict):
    """A file with a list of terms."""

    objective: list[TermChoice]


def test_every_term_can_be_written_in_a_file() -> None:
    written = [
        {"type": "pixel", "criterion": "l2"},
        {"type": "perceptual", "network": "highpass", "layers": ["conv0"]},
        {"type": "adversarial"},
    ]
    settings = validate(Settings, {"objective": written}, "file")
    assert [term.arguments() for term in settings.objective] == [
        {"criterion": "l2", "border": 0},
        {"network": "highpass", "layers": ("conv0",), "criterion": "l1"},
        {},
    ]
    with pytest.raises(ConfigError, match="unknown key"):
        validate(Settings, {"objective": [{"type": "adversarial", "form": "vanilla"}]}, "file")


def test_targets_are_repeated_for_outputs_that_lie_one_after_another() -> None:
    truth = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    ways = [truth + 0.1, truth - 0.3, truth.clone()]
    total, _ = Objective([("pixel", Pixel(), "image", 1.0)])({"image": torch.cat(ways)}, {"hr": truth})
    assert total.item() == pytest.approx((0.1 + 0.3 + 0) / 3, rel=1e-5)
