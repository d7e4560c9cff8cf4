"""A shorter training is shorter in all that is counted in steps, in every stage that it comes from."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from acutance import parts
from acutance.config import pipeline as pipelines
from acutance.config import search_space as campaigns
from acutance.config.length import mark_of, scaled
from acutance.config.mistakes import _models
from acutance.config.pipeline import Stage
from acutance.config.schema import Choice
from acutance.config.search_space.settings import Asha, Median, Pbt
from acutance.errors import ConfigError
from command_line import REPOSITORY

NOT_THE_SCHEDULE = {
    "checkpoint_every", "report_every", "Validation.every", "Keep.every",  # intervals, and at the end in any case
    "batch", "patch", "scales", "pad", "seed", "accumulate", "workers", "skips",
    "Validation.pictures", "Patience.validations", "Keep.last", "Best.count",
    "SubImages.size", "SubImages.stride", "Asha.reduction_factor", "Median.after", "Pbt.population",
}  # fmt: skip
"""What is a whole number of a stage, a term, a mask or a scheduler, and not of steps."""

PARTS = {"data", "network"}
"""What has no schedule: pictures, and the sizes of networks."""


def numbers(model: type[BaseModel], seen: set[type]) -> Iterator[tuple[str, bool]]:
    """Yield the whole numbers of a model and all it holds by name, and whether they follow the length."""
    if model in seen:
        return
    seen.add(model)
    for name, field in model.model_fields.items():
        if name in PARTS:
            continue
        if int in leaves(field.annotation):
            own = name if model is Stage else f"{model.__name__.removesuffix('_settings')}.{name}"
            yield own, mark_of(field.annotation, *field.metadata) is not None
        for part in models(field.annotation):
            yield from numbers(part, seen)


def leaves(hint: Any) -> set[Any]:
    inside = typing.get_args(hint)
    return set().union(*map(leaves, inside)) if inside else {hint}


def models(hint: Any) -> list[type[BaseModel]]:
    """Return the settings that a type stands for; of a choice those of all parts that can be chosen."""
    if not (found := _models(hint)):
        return [model for part in typing.get_args(hint) for model in models(part)]
    chosen = [one.settings_of(name) for one in found if issubclass(one, Choice) for name in parts.names(one.kind)]
    return [one for one in found if not issubclass(one, Choice)] + chosen


def test_every_whole_number_of_a_stage_is_known_to_follow_its_length_or_not_to() -> None:
    """A new one fails here until it is marked `IN_STEPS`, or named above."""
    found = dict(pair for model in (Stage, Asha, Median, Pbt) for pair in numbers(model, set()))
    following = {name for name, follows in found.items() if follows}
    warmups = {f"{optimiser}.warmup" for optimiser in parts.names("optimiser")}
    assert following == warmups | {
        "steps", "multi_step.milestones", "step.every", "cosine_restarts.periods", "one_cycle.rise", "gms.ramp",
        "Asha.first_rung", "Median.every", "Pbt.every",
    }  # fmt: skip
    others = {name for name in found.keys() - following if "." not in name or name.split(".")[0][0].isupper()}
    assert others <= NOT_THE_SCHEDULE
    terms = found.keys() - following - others
    assert not [name for name in terms if {"step", "steps", "every", "ramp"} & set(name.split(".")[1].split("_"))]


@pytest.mark.parametrize("factor", [0.1, 0.01])
def test_the_rates_of_a_shortened_training_are_those_of_the_whole_one(factor: float) -> None:
    for name in ("hfa_denoise", "dsrgan", "wdsr_weightmap", "cifar_superres_classify"):
        for stage in pipelines.load(REPOSITORY / "pipelines" / f"{name}.yaml").stages.values():
            short = scaled(stage, factor)
            assert short.steps == round(stage.steps * factor)
            at = [share / 20 + 1e-3 for share in range(20)]
            rates, whole = (
                [one.optimiser.rate(int(share * one.steps), one.steps) for share in at] for one in (short, stage)
            )
            assert rates == pytest.approx(whole, rel=0.011)  # where the rate falls by a hundredth every 1,000 steps


def test_steps_are_one_at_least_and_none_stay_none() -> None:
    every = {"schedule": {"type": "step", "every": 10}}
    content = {
        "network": {"type": "highpass"},
        "objective": [{"type": "pixel", "mask": {"type": "gms", "ramp": 7}}, {"name": "b", "type": "pixel"}],
        "optimiser": {"schedule": {"type": "multi_step", "milestones": [3, 0.5, 900]}},
        "discriminators": {"image": {"network": {"type": "vgg"}, "optimiser": every}},
        "steps": 1000, "ema": 0.999,
    }  # fmt: skip
    stage = scaled(Stage.model_validate(content), 0.01)
    assert (stage.steps, stage.optimiser.schedule.milestones) == (10, [1, 0.5, 9])
    assert (stage.objective[0].mask.ramp, stage.objective[1].mask) == (1, None)
    assert stage.discriminators["image"].optimiser.schedule.every == 1
    assert stage.ema == pytest.approx(0.999**100)
    assert (stage.checkpoint_every, stage.report_every) == (1000, 50)
    assert scaled(Stage.model_validate({**content, "steps": 0, "ema": None}), 0.01).steps == 0


def test_a_campaigns_steps_shorten_all_that_its_stage_comes_from_and_its_scheduler() -> None:
    found = campaigns.load(REPOSITORY / "search_spaces" / "hfa.yaml", ["budget.steps=1400"])
    stages = {name: stage.steps for name, stage in found.shortened.stages.items()}
    assert stages == {"highpass": 2000, "l1": 4000, "large": 1600, "retrain": 1400}
    assert {term.mask.ramp for term in found.shortened.stages["retrain"].objective if term.mask} == {700}
    assert found.shortened.stages["highpass"].optimiser.schedule.milestones == [1400, 1800]
    assert isinstance(found.campaign.scheduler, Asha)
    assert found.campaign.scheduler.first_rung == 200
    assert found.base.stages["l1"].steps == 40_000


def test_a_stage_without_steps_is_shortened_by_a_scale() -> None:
    file = REPOSITORY / "search_spaces" / "eusr_4pp.yaml"
    with pytest.raises(ConfigError, match=r"budget\.steps: the stage way has 0 steps(.|\n)*budget\.scale"):
        campaigns.load(file, ["budget.steps=20000"], table="table_3")
    short = campaigns.load(file, ["budget.scale=0.05"], table="table_3").shortened.stages
    assert (short["way"].steps, short["perceptual"].steps, short["eusr"].steps) == (0, 20_000, 50_000)
    with pytest.raises(ConfigError, match="say the same thing"):
        campaigns.load(file, ["budget.scale=0.05", "budget.steps=5"])
