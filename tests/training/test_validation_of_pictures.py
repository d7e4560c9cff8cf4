"""Restorers that are measured on whole pictures while they are trained: values, pictures, and when a training stops."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from acutance.cluster.hardware import NodeType
from acutance.config.mistakes import validate
from acutance.config.pipeline import Compute, Pipeline
from acutance.data.datasets import Catalogue
from acutance.data.inputs import contents
from acutance.data.pictures import read_picture
from acutance.errors import AbsentError, AcutanceError, ConfigError
from acutance.evaluation.evaluate import evaluate_one
from acutance.models.model_file import load_model
from acutance.training import checkpoint, launch
from acutance.training.extend import going_on
from acutance.training.loop import train_stage, training_reports
from acutance.training.plan import plan_stages, validation_pictures
from acutance.training.scores import read_scores, stop_reason
from acutance.training.shards import make_shards, shard_sets
from acutance.training.stage_plan import StagePlan

PSNR = "psnr_y on {}"


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of smooth pictures with edges: to learn from, and to be measured on."""
    folder = tmp_path_factory.mktemp("photographs")
    draw = np.random.default_rng(0)
    for name, count in {"train": 3, "held": 2}.items():
        (folder / name).mkdir()
        for index in range(count):
            rows, columns = np.mgrid[:48, :60] / 7
            shade = 128 + 90 * np.sign(np.sin(rows + index) * np.cos(columns - index)) + draw.normal(0, 3, (48, 60))
            Image.fromarray(np.stack([shade.clip(0, 255)] * 3, -1).astype(np.uint8)).save(
                folder / name / f"{index}.png"
            )
    return folder


def plan_in(root: Path, photographs: Path, *, on: Path | None = None, **changes: Any) -> StagePlan:
    held = str(on or photographs / "held")
    stage = {
        "validation": {"on": [held], "metrics": ["psnr_y", "ssim_y"], "every": 2},
        "network": {"type": "wdsr", "blocks": 1, "channels": 4},
        "objective": [{"type": "pixel"}],
        "optimiser": {"learning_rate": 1e-3},
        "steps": 5, "batch": 2, "patch": 16, "checkpoint_every": 2, **changes,
    }  # fmt: skip
    data = {"train": str(photographs / "train"), "subimages": {"size": 24, "stride": 24}}
    pipeline = validate(Pipeline, {"title": "Made", "scale": 2, "data": data, "stages": {"sharp": stage}}, "a test")
    catalogue = Catalogue({}, str(root))
    found = contents([pipeline.data_of("sharp")], 2, catalogue, str(root))
    pictures = {"sharp": validation_pictures(pipeline, catalogue, "sharp")}
    [plan] = plan_stages(pipeline, found, str(root), pictures=pictures)
    for shards in shard_sets([plan]):
        make_shards(shards, catalogue, str(root), in_process=True)
    return plan


class Tracker:
    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.pictures: dict[str, bytes] = {}

    def metrics(self, rows: list[tuple[int, dict[str, float]]]) -> None:
        self.rows += rows

    def picture(self, name: str, content: bytes) -> None:
        self.pictures[name] = content

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, photographs: Path) -> tuple[StagePlan, Tracker]:
    plan, tracker = plan_in(tmp_path_factory.mktemp("trained"), photographs, keep={"every": 2}), Tracker()
    train_stage(plan, tracker=tracker)
    return plan, tracker


def test_it_is_measured_untrained_now_and_then_and_at_its_end(
    trained: tuple[StagePlan, Tracker], photographs: Path
) -> None:
    plan, tracker = trained
    scores = read_scores(plan.folder)
    assert sorted(scores) == [0, 2, 4, 5]
    logged = {step: row for step, row in tracker.rows if any(name.startswith("validation.") for name in row)}
    assert logged == {step: {f"validation.{k}": v for k, v in row.items()} for step, row in scores.items()}


@pytest.mark.parametrize("step", [2, 4, 5])
def test_the_values_are_those_of_evaluate_for_the_same_weights(
    trained: tuple[StagePlan, Tracker], photographs: Path, step: int
) -> None:
    plan, _ = trained
    held = str(photographs / "held")
    file = plan.model if step == 5 else checkpoint.file_of(plan.checkpoints, step)
    network, description = load_model(file)
    found = evaluate_one(network, description, plan.pictures, scale=2, protocol="y_crop4", metrics=["psnr_y", "ssim_y"])
    for metric in ("psnr_y", "ssim_y"):
        assert read_scores(plan.folder)[step][f"{metric} on {held}"] == found.mean("candidate", metric, held)


def test_the_same_parts_are_shown_beside_bicubic_and_the_truth(trained: tuple[StagePlan, Tracker]) -> None:
    plan, tracker = trained
    sheet = Path(plan.folder) / "validation.png"
    assert tracker.pictures["validation.png"] == sheet.read_bytes()
    stacks = {file.name: read_picture(file) for file in sorted((Path(plan.folder) / "validation").iterdir())}
    assert list(stacks) == [f"step-{step:08d}.png" for step in (0, 2, 4, 5)]
    assert len({stack.shape for stack in stacks.values()}) == 1
    assert not np.array_equal(stacks["step-00000000.png"], stacks["step-00000005.png"])


def test_kept_checkpoints_stay_when_the_stage_is_done(trained: tuple[StagePlan, Tracker]) -> None:
    plan, _ = trained
    assert checkpoint.steps(plan.checkpoints) == [2, 4, 5]


@pytest.mark.parametrize("killed_at", [1, 2, 3, 4])
def test_a_killed_training_ends_with_the_values_and_the_bits_of_one_that_was_not(
    tmp_path: Path, photographs: Path, trained: tuple[StagePlan, Tracker], killed_at: int
) -> None:
    whole, _ = trained
    plan, tracker = plan_in(tmp_path, photographs, report_every=1, keep={"every": 2}), Tracker()
    next(report for report in training_reports(plan) if report.step == killed_at)
    train_stage(plan, tracker=tracker)
    assert read_scores(plan.folder) == read_scores(whole.folder)
    measured_again = [step for step, row in tracker.rows if any(name.startswith("validation.") for name in row)]
    assert measured_again == [step for step in (0, 2, 4, 5) if step > killed_at // 2 * 2]
    own, other = load_model(plan.model)[0].state_dict(), load_model(whole.model)[0].state_dict()
    assert all(bool((own[name] == other[name]).all()) for name in other)


def test_a_validation_that_was_killed_after_its_checkpoint_is_made_up_for(tmp_path: Path, photographs: Path) -> None:
    plan = plan_in(tmp_path, photographs)
    next(report for report in training_reports(plan, also_at=[2]) if report.step == 2)
    (Path(plan.folder) / "validation.json").unlink()  # as if it had been killed before it had any value
    train_stage(plan)
    assert sorted(read_scores(plan.folder)) == [2, 4, 5]


def test_a_data_set_that_vanishes_between_two_validations_is_made_up_for(tmp_path: Path, photographs: Path) -> None:
    held = Path(shutil.copytree(photographs / "held", tmp_path / "held"))
    plan, said = plan_in(tmp_path / "out", photographs, on=held), []
    for report in training_reports(plan, also_at=[1, 3], on_message=said.append):
        if report.step == 1:
            held.rename(tmp_path / "away")
        if report.step == 3:
            (tmp_path / "away").rename(held)
    assert "no validation at step 2" in "\n".join(said)
    assert sorted(read_scores(plan.folder)) == [0, 2, 4, 5]
    undisturbed = plan_in(tmp_path / "other", photographs, on=held)
    train_stage(undisturbed)
    assert read_scores(plan.folder) == read_scores(undisturbed.folder)


def test_a_data_set_that_is_away_at_the_end_is_an_error_and_loses_nothing(tmp_path: Path, photographs: Path) -> None:
    held = Path(shutil.copytree(photographs / "held", tmp_path / "held"))
    plan = plan_in(tmp_path / "out", photographs, on=held)

    def train_and_take_away() -> None:
        for report in training_reports(plan, also_at=[3]):
            if report.step == 3:
                held.rename(tmp_path / "away")

    with pytest.raises(AcutanceError, match=r"0\.png"):
        train_and_take_away()
    assert not plan.done()
    (tmp_path / "away").rename(held)
    train_stage(plan)
    assert sorted(read_scores(plan.folder)) == [0, 2, 4, 5]


def test_what_is_missing_is_found_before_the_first_step(tmp_path: Path, photographs: Path) -> None:
    held = Path(shutil.copytree(photographs / "held", tmp_path / "held"))
    plan = plan_in(tmp_path / "out", photographs, on=held)
    shutil.rmtree(held)
    with pytest.raises(AcutanceError, match=r"0\.png"):
        next(iter(training_reports(plan, also_at=[1])))
    with pytest.raises(AbsentError):
        plan_in(tmp_path / "out", photographs, on=tmp_path / "nowhere")


def test_patience_stops_a_training_and_says_why(tmp_path: Path, photographs: Path) -> None:
    name = PSNR.format(photographs / "held")
    validation = {
        "on": [str(photographs / "held")], "metrics": ["psnr_y"], "every": 1,
        "patience": {"metric": "psnr_y", "validations": 2},
    }  # fmt: skip
    stands_still = {"optimiser": {"learning_rate": 1e-30}, "steps": 50, "validation": validation}
    plan, said = plan_in(tmp_path, photographs, **stands_still), []
    train_stage(plan, on_message=said.append)
    message = said[-1]
    assert message.startswith("sharp stops at step 3 of 50: ")
    assert f"{name} did not get better in 2 validations since" in message
    assert plan.done()
    assert max(read_scores(plan.folder)) == 3
    # A killed run comes to the same end.
    other = plan_in(tmp_path / "killed", photographs, **stands_still, report_every=1)
    next(report for report in training_reports(other) if report.step == 2)
    train_stage(other)
    assert read_scores(other.folder) == read_scores(plan.folder)


def test_the_step_itself_does_not_count_for_patience(tmp_path: Path, photographs: Path) -> None:
    name = PSNR.format(photographs / "held")
    plan = plan_in(
        tmp_path,
        photographs,
        validation={
            "on": [str(photographs / "held")],
            "metrics": ["psnr_y"],
            "every": 1,
            "patience": {"metric": "psnr_y", "validations": 2},
        },
    )
    scores = {0: {name: 20.0}, 1: {name: 30.0}, 2: {name: 29.0}, 3: {name: 29.5}}
    assert stop_reason(plan, scores, 3) == ""
    assert stop_reason(plan, scores, 4) != ""
    assert stop_reason(plan, {**scores, 3: {name: 31.0}}, 4) == ""
    assert stop_reason(plan, {0: {name: float("nan")}, 1: {name: float("nan")}}, 2) != ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"validation": {"on": ["a"], "metrics": ["psnr_y", "accuracy"]}}, "cannot be mixed"),
        ({"validation": {"on": ["a"], "metrics": ["psnry"]}}, "did you mean 'psnr_y'"),
        ({"validation": {"on": ["a"], "metrics": ["psnr_y"], "protocol": "y_crop"}}, "there is no 'y_crop'"),
        ({"validation": {"on": ["a", "b"], "metrics": ["accuracy"]}}, "single data set"),
        ({"validation": {"on": ["a"], "metrics": ["psnr_y"], "split": "test"}}, "split: means nothing for restored"),
        ({"validation": {"on": ["a"], "metrics": ["accuracy"], "protocol": "dsrgan"}}, "protocol: means nothing"),
        ({"validation": {"on": ["a"], "metrics": ["accuracy"], "pictures": 2}}, "pictures: means nothing"),
        ({"keep": {"best": {"metric": "niqe"}}}, "not among the validation's"),
        ({"keep": {"best": {"metric": "psnr_y", "on": "elsewhere"}}}, "not among the validation's"),
        ({"validation": None, "keep": {"best": {"metric": "psnr_y"}}}, "needs a validation"),
        (
            {"validation": {"on": ["a"], "metrics": ["psnr_y"], "patience": {"metric": "psnr_y", "validations": 2}}},
            "needs `every`",
        ),
        ({"network": {"type": "highpass"}, "objective": [{"type": "pixel", "on": "highpass"}]}, "restores no pictures"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, photographs: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        plan_in(tmp_path, photographs, **changes)


def test_the_best_checkpoint_becomes_a_model_file_of_its_own(tmp_path: Path, photographs: Path) -> None:
    """The rate is so high from step 3 on that what comes then is worse."""
    rise = {"learning_rate": 1e-2, "schedule": {"type": "multi_step", "milestones": [3], "gamma": 500}}
    keep = {"best": {"metric": "psnr_y"}, "last": 1}
    plan = plan_in(tmp_path, photographs, optimiser=rise, steps=6, keep=keep)
    train_stage(plan)
    scores = read_scores(plan.folder)
    best = max((step for step in scores if step), key=lambda step: scores[step][PSNR.format(photographs / "held")])
    assert best in (2, 4)
    assert checkpoint.steps(plan.checkpoints) == [best, 6]
    network, description = load_model(plan.best_model)
    kept, _ = load_model(checkpoint.file_of(plan.checkpoints, best))
    assert description["step"] == best
    assert all(bool((a == b).all()) for a, b in zip(network.parameters(), kept.parameters(), strict=True))
    other = plan_in(tmp_path, photographs, optimiser=rise, steps=6, keep={"best": {"metric": "ssim_y"}})
    assert other.fingerprint != plan.fingerprint, "another metric may find another checkpoint best"


def test_a_longer_training_takes_over_the_values_of_the_shorter_one(tmp_path: Path, photographs: Path) -> None:
    train_stage(plan_in(tmp_path, photographs, steps=4))
    tracker = Tracker()
    longer = going_on(plan_in(tmp_path, photographs, steps=8), str(tmp_path))
    assert longer.begins_at is None, "only what was listed is found"
    shorter = going_on(plan_in(tmp_path, photographs, steps=4, seed=1), str(tmp_path))
    train_stage(shorter)
    longer = going_on(plan_in(tmp_path, photographs, steps=8, seed=1), str(tmp_path))
    train_stage(longer, tracker=tracker)
    scores = read_scores(longer.folder)
    assert sorted(scores) == [0, 2, 4, 6, 8]
    assert {step: scores[step] for step in (0, 2, 4)} == read_scores(shorter.folder)
    assert min(step for step, _ in tracker.rows) == 5


@pytest.mark.e2e
def test_ray_tasks_beside_the_training_find_the_same_values(
    tmp_path: Path, photographs: Path, trained: tuple[StagePlan, Tracker], cluster: None
) -> None:
    plan = replace(plan_in(tmp_path, photographs, keep={"every": 2}), validation_tasks=2)
    tracker, said = Tracker(), []
    train_stage(plan, tracker=tracker, on_message=said.append)
    whole, _ = trained
    scores = read_scores(plan.folder)
    assert {step: pytest.approx(row) for step, row in read_scores(whole.folder).items()} == scores
    assert [text.partition(": psnr_y")[0] for text in said] == [
        f"sharp: validation at step {step}" for step in (0, 2, 4, 5)
    ]
    assert (Path(plan.folder) / "validation.png").read_bytes() == tracker.pictures["validation.png"]


@pytest.mark.parametrize(
    ("nodes", "gpus", "trainings", "tasks"),
    [
        ({"CPU": 2}, 0, 1, 0),
        ({"CPU": 3}, 0, 1, 1),
        ({"CPU": 64}, 0, 1, 2),  # as many as there are pictures
        ({"CPU": 5}, 0, 2, 0),
        ({"CPU": 64, "GPU": 2}, 1, 1, 0),  # on a CPU it would fall behind
        ({"CPU": 64, "GPU": 3}, 1, 1, 2),
    ],
)
def test_it_runs_beside_the_training_where_there_is_room(
    tmp_path: Path,
    photographs: Path,
    monkeypatch: pytest.MonkeyPatch,
    nodes: dict[str, float],
    gpus: float,
    trainings: int,
    tasks: int,
) -> None:
    monkeypatch.setattr(launch, "alive", lambda: (NodeType(nodes, 1),))
    plan = replace(plan_in(tmp_path, photographs), workers=2)
    placed = launch._validated_beside(plan, Compute(workers=2), gpus, trainings)
    assert placed.validation_tasks == tasks
