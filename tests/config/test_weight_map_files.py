"""The weight map's pipelines and tables: what must be the same in two places, and the rates they train at."""

from __future__ import annotations

import pytest

from acutance.config import pipeline as pipelines
from acutance.config import search_space as campaigns
from acutance.config.size import sides
from acutance.training.parameter_counts import parameter_counts
from command_line import REPOSITORY

FOLDER = REPOSITORY / "pipelines"
SPACE = REPOSITORY / "search_spaces" / "weight_map.yaml"
CLASSIFIERS = ("original", "bicubic", "superres")


def test_the_restorer_of_classified_pictures_is_that_of_the_weight_map() -> None:
    alone, with_classifiers = (
        pipelines.load(FOLDER / f"{name}.yaml") for name in ("wdsr_weightmap", "cifar_superres_classify")
    )
    assert with_classifiers.data_of("wdsr") == alone.data_of("wdsr")
    assert with_classifiers.stages["wdsr"].model_copy(update={"data": None}) == alone.stages["wdsr"]
    assert alone.evaluate == with_classifiers.evaluate
    assert parameter_counts(alone.stages["wdsr"], "wdsr")["network"] == 597_716


@pytest.mark.parametrize(
    ("profile", "parameters", "pads"), [(None, 1_703_258, (2, 4, 4)), ("cifar100", 1_726_388, (4, 8, 8))]
)
def test_three_classifiers_differ_in_their_pictures_alone(
    profile: str | None, parameters: int, pads: tuple[int, ...]
) -> None:
    pipeline = pipelines.load(FOLDER / "cifar_superres_classify.yaml", profile=profile)
    stages = [pipeline.stages[name] for name in CLASSIFIERS]
    same = [stage.model_dump(exclude={"data", "patch", "pad"}) for stage in stages]
    assert same[0] == same[1] == same[2]
    assert parameter_counts(stages[0], "")["network"] == parameters
    assert tuple(stage.pad for stage in stages) == pads
    for name, stage in zip(CLASSIFIERS, stages, strict=True):
        assert stage.data is not None
        assert (sides(stage.patch), stage.data.source) == (stage.data.size, f"{stages[0].data.train}:train")
        held_out = pipeline.validation_data(name)
        assert held_out is not None
        assert (held_out.source, held_out.enlarge) == (f"{stage.data.train}:test", stage.data.enlarge)
    assert pipeline.upstream("superres") == ["wdsr"]


def test_rates_fall_as_in_the_papers_code() -> None:
    pipeline = pipelines.load(FOLDER / "cifar_superres_classify.yaml")
    rate = pipeline.stages["original"].optimiser.rate
    steps = (0, 79_999, 80_000, 120_000, 160_000, 179_999)
    assert [rate(step, 180_000) for step in steps] == pytest.approx([0.1, 0.1, 0.01, 1e-3, 1e-4, 1e-4])
    rate = pipeline.stages["wdsr"].optimiser.rate
    seen = [rate(300_000 * part // 105, 300_000) for part in (0, 41, 71, 91, 101)]
    assert seen == pytest.approx([1e-3, 5e-4, 1e-4, 5e-5, 1e-5], rel=0.6)
    assert seen == sorted(seen, reverse=True)


def test_pictures_are_weighed_as_png_without_another_training() -> None:
    points = [campaigns.load(SPACE, table=table).points for table in ("table_1", "table_4")]
    assert points[0] == points[1]
    assert points[0] is not None
    assert len(points[0]) == 18
