"""The pipelines that a trial trains: one for each of its seeds."""

from __future__ import annotations

from made_for_tuning import campaign_of, search_of

from acutance.data.columns import Content
from acutance.data.datasets import catalogue_for
from acutance.tuning.ask_tell import Assignment
from acutance.tuning.trial import TrialSetup, pipeline_of, upstream_of


def setup_of(**changes: object) -> TrialSetup:
    search = search_of(campaign_of(**changes))
    return TrialSetup(
        campaign=search.campaign.model_dump(mode="json", by_alias=True),
        pipeline=search.base.model_dump(mode="json", by_alias=True),
        catalogue=catalogue_for(),
        contents={search.base.data.source: Content([("a", "0")])},
        root="/out",
        group="campaigns/one",
        measured_on={},
        resources={"CPU": 1},
        open_tracker=lambda *_: None,
    )


def test_every_seed_of_a_trial_is_one_of_all_that_it_comes_from() -> None:
    shared, trial = setup_of(seeds=2), Assignment(0, {"stages.gan.optimiser.learning_rate": 0.5}, [90])
    for further in range(2):
        pipeline = pipeline_of(shared, trial, further)
        assert {name: pipeline.seed_of(name) for name in pipeline.order("gan")} == dict.fromkeys(
            ("fidelity", "highpass", "gan"), further
        )
        assert (pipeline.stages["gan"].steps, pipeline.stages["gan"].optimiser.learning_rate) == (90, 0.5)


def test_a_trial_is_as_long_as_its_campaign_in_all_stages() -> None:
    shared = setup_of()
    shared.pipeline["budget"]["scale"] = 0.5
    own = Assignment(0, {"stages.gan.steps": 100, "stages.fidelity.optimiser.schedule.milestones": [40]}, [200])
    pipeline = pipeline_of(shared, own)
    assert (pipeline.stages["fidelity"].steps, pipeline.stages["fidelity"].optimiser.schedule.milestones) == (300, [20])
    assert pipeline.stages["gan"].steps == 50  # half of the row's own
    assert pipeline_of(shared, Assignment(1, {}, [200])).stages["gan"].steps == 200


def test_what_a_trial_trains_first_is_counted_with_every_seed() -> None:
    trial = Assignment(0, {}, [90])
    one, two = (upstream_of(setup_of(seeds=seeds), trial) for seeds in (1, 2))
    assert (len(one), len(two)) == (2, 4)
    assert one < two
