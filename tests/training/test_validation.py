"""Stages that are measured on pictures that they do not learn from; frozen parts; who moves first."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_for_training import learner_of
from torch import Tensor

from acutance import storage
from acutance.config.metrics import MEASURES
from acutance.config.mistakes import validate
from acutance.config.pipeline import Pipeline, Stage
from acutance.config.pipeline.validation import Validation
from acutance.data.datasets import Catalogue
from acutance.data.inputs import contents
from acutance.errors import ConfigError, TrainingError
from acutance.losses.adversarial import discriminator_loss, generator_loss
from acutance.models.model_file import load_model
from acutance.training.loop import train_stage, training_reports
from acutance.training.plan import plan_stages
from acutance.training.scores import read_scores, require_accepted
from acutance.training.shards import make_shards, shard_sets
from acutance.training.stage_plan import StagePlan
from acutance.training.validate import measure_outputs


def jobs_in(folder: Path, root: str, **changes: Any) -> list[StagePlan]:
    """Return the jobs of a classifier over twenty pictures of two classes that differ in brightness."""
    draw = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for split, count in {"train": 20, "val": 8, "test": 8}.items():
        labels = np.arange(count) % 2
        shade = 60 + 120 * labels[:, None, None, None]
        arrays[f"x_{split}"] = (shade + draw.integers(-40, 40, (count, 32, 32, 3))).astype(np.uint8)
        arrays[f"y_{split}"] = labels
    folder.mkdir(exist_ok=True)
    np.savez(folder / "two.npz", class_names=np.array(["dark", "light"]), **arrays)
    stage = {
        "data": {"train": str(folder / "two.npz"), "label": "class"},
        "validation": {"on": str(folder / "two.npz"), "split": "test", "metrics": ["accuracy"], "every": 2},
        "network": {"type": "resnet", "depth": 11, "classes": 2},
        "objective": [{"type": "cross_entropy", "on": "logits"}],
        "optimiser": {"type": "sgd", "learning_rate": 0.1},
        "steps": 5, "batch": 10, "patch": 32, "augment": "mirror", "pad": 2, "checkpoint_every": 2, **changes,
    }  # fmt: skip
    pipeline = validate(Pipeline, {"title": "Made", "scale": 1, "stages": {"classes": stage}}, "a test")
    catalogue = Catalogue({}, str(folder))
    data = [pipeline.data_of("classes"), pipeline.validation_data("classes")]
    jobs = plan_stages(pipeline, contents([one for one in data if one], 1, catalogue, root), root)
    for shards in shard_sets(jobs):
        make_shards(shards, catalogue, root, in_process=True)
    return jobs


def test_a_stage_is_measured_now_and_then_and_at_its_end(tmp_path: Path) -> None:
    [job] = jobs_in(tmp_path / "data", str(tmp_path / "out"))
    logged: list[tuple[int, dict[str, float]]] = []

    class Tracker:
        def metrics(self, rows: list[tuple[int, dict[str, float]]]) -> None:
            logged.extend(rows)

    train_stage(job, tracker=Tracker())
    found = read_scores(job.folder)
    assert sorted(found) == [2, 4, 5]
    assert {step: row["validation.accuracy"] for step, row in logged if "validation.accuracy" in row} == {
        step: row["accuracy"] for step, row in found.items()
    }
    network, _ = load_model(job.model)
    assert found[5] == measure_outputs(job, network, "cpu")
    assert not network.training
    hr = torch.from_numpy(np.load(tmp_path / "data" / "two.npz")["x_test"]).permute(0, 3, 1, 2) / 255
    right = network(hr)["logits"].argmax(1) == torch.arange(8) % 2
    assert found[5]["accuracy"] == right.float().mean()


def test_a_stage_that_is_not_accepted_ends_the_work_also_when_it_was_trained_before(tmp_path: Path) -> None:
    [plain], [strict], [mild] = (
        jobs_in(tmp_path / "data", str(tmp_path / "out"), **changes)
        for changes in ({}, {"accept": {"accuracy": 1.5}}, {"accept": {"accuracy": 0}})
    )
    assert plain.folder == strict.folder == mild.folder
    for _ in range(2):
        with pytest.raises(TrainingError, match=r"classes is not accepted: its accuracy is 0\.\d+, 1\.5 or more"):
            train_stage(strict)
        assert strict.done()
    train_stage(mild)


@pytest.mark.parametrize(
    ("metric", "worst", "found", "accepted"),
    [
        ("psnr_highpass", 40, 40.0, True),
        ("psnr_highpass", 40, 39.9, False),
        ("emd", 0.08, 0.079, True),
        ("emd", 0.08, 0.081, False),
        ("emd", 0.08, None, False),
    ],
)
def test_whether_a_stage_is_accepted_follows_from_its_last_value(
    tmp_path: Path, metric: str, worst: float, found: float | None, accepted: bool
) -> None:
    stage = Stage.model_construct(accept={metric: worst}, validation=Validation(on=["data"], metrics=[metric]))
    job = StagePlan("one", stage, 1, 0, None, str(tmp_path), "mark")  # type: ignore[arg-type]
    better = 100.0 if metric == "psnr_highpass" else 0.0
    storage.write_json(str(tmp_path / "validation.json"), {"9": {metric: better}, "10": {metric: found}})
    if accepted:
        require_accepted(job)
        return
    with pytest.raises(TrainingError, match=rf"its {metric} is (.|\n)*stages\.one\.accept"):
        require_accepted(job)


def test_a_stage_that_was_killed_is_measured_as_one_that_was_not(tmp_path: Path) -> None:
    [whole] = jobs_in(tmp_path / "data", str(tmp_path / "whole"))
    train_stage(whole)
    for killed_at in (1, 2, 3):  # before the first checkpoint, at it, behind it
        [job] = jobs_in(tmp_path / "data", str(tmp_path / f"killed at {killed_at}"), report_every=1)
        next(report for report in training_reports(job) if report.step == killed_at)
        train_stage(job)
        assert read_scores(job.folder) == read_scores(whole.folder)


def test_measuring_moves_nothing(tmp_path: Path) -> None:
    [with_it] = jobs_in(tmp_path / "data", str(tmp_path / "with"))
    [without] = jobs_in(tmp_path / "data", str(tmp_path / "without"), validation=None)
    assert with_it.fingerprint != without.fingerprint
    for job in (with_it, without):
        train_stage(job)
    one, other = (load_model(job.model)[0].state_dict() for job in (with_it, without))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_output_that_the_network_does_not_have_is_named(tmp_path: Path) -> None:
    place = {"on": str(tmp_path / "data" / "two.npz"), "split": "val", "metrics": ["srocc"]}
    with pytest.raises(ConfigError, match="measures 'distribution'; resnet gives logits"):
        jobs_in(tmp_path / "data", str(tmp_path / "out"), validation=place)
    with pytest.raises(ConfigError, match="did you mean 'accuracy'"):
        jobs_in(tmp_path / "data", str(tmp_path / "out"), validation={**place, "metrics": ["acuracy"]})


def test_more_classes_than_the_network_tells_apart_are_refused(tmp_path: Path) -> None:
    [job] = jobs_in(tmp_path / "data", str(tmp_path / "out"), network={"type": "resnet", "depth": 11, "classes": 1})
    with pytest.raises(ConfigError, match="of 2 classes, the network tells 1 apart") as caught:
        train_stage(job)
    assert (caught.value.where, caught.value.fix) == ("stages.classes.network.classes", "set it to 2")


@pytest.mark.parametrize(
    ("name", "predicted", "true", "value"),
    [
        ("emd", [[0, 1, 0], [1, 0, 0]], [[0, 0, 1], [1, 0, 0]], math.sqrt(1 / 3) / 2),
        ("emd_sum", [[0, 1, 0], [1, 0, 0]], [[0, 0, 1], [1, 0, 0]], 0.5),
        ("srocc", [[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 0, 1], [0, 1, 0]], 0.5),
        ("accuracy", [[1, 2, 0], [3, 1, 1], [0, 0, 1]], [[1], [0], [1]], 2 / 3),
        ("psnr_highpass", np.zeros((1, 1, 14, 14)), np.full((1, 1, 14, 14), 0.1), 20),
    ],
)  # fmt: skip
def test_measures_by_hand(name: str, predicted: Any, true: Any, value: float) -> None:
    assert MEASURES[name].of(np.array(predicted, np.float32), np.array(true, np.float32)) == pytest.approx(value)


def test_scores_that_are_all_equal_have_no_rank() -> None:
    assert math.isnan(MEASURES["srocc"].of(np.full((3, 10), 0.1), np.eye(10)[:3]))


FROZEN: dict[str, Any] = {
    "network": {"type": "resnet", "depth": 11, "classes": 2},
    "objective": [{"type": "cross_entropy", "on": "logits"}],
    "steps": 2, "batch": 4, "patch": 32,
}  # fmt: skip


def test_frozen_parts_stay_as_they_are_statistics_included() -> None:
    learner = learner_of(FROZEN)
    parts = [name for name, _ in learner.generator.module.named_children()]
    first, last = parts[1], parts[-1]
    learner = learner_of({**FROZEN, "frozen": [first]}, frozen=[first])
    before = {name: tensor.clone() for name, tensor in learner.generator.module.state_dict().items()}
    learner.train_step({"hr": torch.rand(4, 3, 32, 32), "class": torch.tensor([[0], [1], [0], [1]])})
    moved = {name for name, tensor in learner.generator.module.state_dict().items() if not tensor.equal(before[name])}
    assert not any(name.startswith(f"{first}.") for name in moved)
    assert any(name.startswith(f"{last}.") for name in moved)


GAN: dict[str, Any] = {
    "network": {"type": "msrresnet", "blocks": 1, "channels": 4},
    "discriminators": {"image": {"network": {"type": "eusr", "channels": 2, "size": 32}, "form": "vanilla"}},
    "objective": [{"type": "pixel", "weight": 0.2}, {"type": "adversarial", "weight": 0.5}],
    "optimiser": {"learning_rate": 1e-2}, "steps": 2, "batch": 2, "patch": 32, "first": "discriminator",
}  # fmt: skip


@pytest.mark.parametrize("form", ["vanilla", "relativistic_average"])
def test_the_generator_is_judged_by_the_discriminator_as_it_is_after_its_step(form: Any) -> None:
    settings = {**GAN, "discriminators": {"image": {**GAN["discriminators"]["image"], "form": form}}}
    learner, plain = learner_of(settings), learner_of(settings)
    batch = {"hr": torch.rand(2, 3, 32, 32), "lr": torch.rand(2, 3, 8, 8)}
    values = learner.train_step(batch)

    network, judge = plain.generator.module, plain.discriminators["image"].module
    fake = network(batch["lr"])["image"]
    loss = discriminator_loss(form, judge(batch["hr"]), judge(fake.detach()))
    loss.backward()
    plain.discriminators["image"].optimiser.step()
    told = generator_loss(form, judge(batch["hr"]), judge(fake))
    (0.2 * (fake - batch["hr"]).abs().mean() + 0.5 * told).backward()
    plain.generator.optimiser.step()

    assert values["adversarial"] == pytest.approx(told.item(), rel=1e-5)
    assert values["discriminator_image"] == pytest.approx(loss.item(), rel=1e-5)
    for mine, theirs in ((learner.generator, network), (learner.discriminators["image"], judge)):
        for a, b in zip(mine.module.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-5)


def test_a_generator_that_cannot_move_is_counted_though_its_judge_moved() -> None:
    learner = learner_of(GAN)
    batch: dict[str, Tensor] = {"hr": torch.rand(2, 3, 32, 32), "lr": torch.rand(2, 3, 8, 8)}
    before = {name: tensor.clone() for name, tensor in learner.generator.module.state_dict().items()}
    learner.objective.terms = tuple(term._replace(weight=math.inf) for term in learner.objective.terms)
    for step in (1, 2):
        learner.train_step(batch)
        assert (learner.consecutive_skips, learner.skipped_steps) == (step, step)
    assert all(torch.equal(before[name], t) for name, t in learner.generator.module.state_dict().items())


def test_parts_cannot_be_looked_at_twice() -> None:
    with pytest.raises(ValueError, match="where the discriminator moves first"):
        Stage.model_validate({**GAN, "accumulate": 2})


def test_what_was_measured_is_plain_json(tmp_path: Path) -> None:
    [job] = jobs_in(tmp_path / "data", str(tmp_path / "out"))
    train_stage(job)
    told = json.loads((Path(job.folder) / "validation.json").read_text())
    assert set(told) == {"2", "4", "5", "checksum"}
