from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from acutance import storage
from acutance.config import pipeline as pipelines
from acutance.config.mistakes import validate
from acutance.config.pipeline import Pipeline, Stage
from acutance.data.columns import Content
from acutance.errors import WeightsError
from acutance.storage import done
from acutance.storage.done import Done
from acutance.training.parameter_counts import parameter_counts
from acutance.training.plan import plan_stages
from acutance.training.stage_plan import StagePlan
from command_line import REPOSITORY

QUICKSTART = REPOSITORY / "pipelines" / "quickstart.yaml"


def plan(*overrides: str, root: str = "/out", checksum: str = "0") -> dict[str, StagePlan]:
    pipeline = pipelines.load(QUICKSTART, overrides)
    return {job.name: job for job in plan_stages(pipeline, {pipeline.data.source: Content([("a", checksum)])}, root)}


def test_a_fingerprint_depends_on_what_determines_the_weights_and_on_nothing_else() -> None:
    plain = plan()
    for same in (
        plan(root="/elsewhere"),
        plan("stages.gan.checkpoint_every=3", "stages.gan.report_every=3", "compute.workers=1", "title=x"),
        plan("evaluate.metrics=[psnr_y]", "register.gate={}", "register.name=x"),
    ):
        assert {name: job.fingerprint for name, job in same.items()} == {n: j.fingerprint for n, j in plain.items()}
    for changed in (
        plan("stages.highpass.steps=3"),
        plan("seed=1"),
        plan(checksum="1"),
    ):
        assert changed["gan"].fingerprint != plain["gan"].fingerprint
    assert plan("stages.gan.steps=3")["fidelity"].fingerprint == plain["fidelity"].fingerprint


def test_stages_of_one_seed_draw_from_keys_of_their_own() -> None:
    jobs, seeded = plan(), plan("seed=1")
    assert len({job.key for job in [*jobs.values(), *seeded.values()]}) == 2 * len(jobs)
    assert {name: job.key for name, job in plan("stages.gan.steps=3").items()} == {n: j.key for n, j in jobs.items()}


@pytest.mark.parametrize(("changes", "differs"), [({}, False), ({"degradation": {"type": "bicubic"}}, True)])
def test_the_scale_counts_for_labelled_pictures_that_have_lr_alone(changes: dict[str, Any], differs: bool) -> None:
    data = {"train": "scored", "label": "distribution", "subimages": {"size": 64, "stride": 64}, **changes}
    stage = {
        "network": {"type": "nima", "weights": "none"},
        "objective": [{"type": "earth_mover", "on": "distribution"}],
        "steps": 1,
        "patch": 60,
    }
    fingerprints = set()
    for scale in (1, 4):
        content = {"title": "t", "scale": scale, "data": data, "stages": {"one": stage}}
        pipeline = validate(Pipeline, content, "a test")
        fingerprints.add(plan_stages(pipeline, {pipeline.data.source: Content([("a", "0")])}, "/out")[0].fingerprint)
    assert len(fingerprints) == 1 + differs


def test_detail_layers_count_for_the_stages_that_read_them_alone() -> None:
    plain, other = plan(), plan("data.derive.*.alpha=2")
    changed = {name for name in plain if plain[name].fingerprint != other[name].fingerprint}
    assert changed == {"gan"}
    assert plain["gan"].shards != other["gan"].shards


def test_a_weight_map_counts_for_the_stages_that_read_it_alone() -> None:
    made = "data.derive.hr_weight={{type: weight_map, of: [hr, hr_differences], margin: 1, alpha: {}}}"
    differences = "data.derive.hr_differences={type: difference_statistics, of: hr, stored: true}"
    one, other = (plan(differences, made.format(alpha)) for alpha in (0.2, 0.3))
    assert {name: job.fingerprint for name, job in one.items()} == {n: j.fingerprint for n, j in other.items()}
    assert one["gan"].shards == other["gan"].shards
    reads = "stages.gan.objective.pixel.mask={type: column, column: hr_weight}"
    reading = [plan(reads, differences, made.format(alpha)) for alpha in (0.2, 0.3)]
    changed = {name for name in one if reading[0][name].fingerprint != reading[1][name].fingerprint}
    assert changed == {"gan"}
    job = reading[0]["gan"]
    assert job.stage.derive["hr_weight"].arguments() == {"alpha": 0.2}
    assert (job.margin, one["gan"].margin, list(one["gan"].stage.derive)) == (4, 0, [])


def test_a_weights_file_counts_by_its_content(tmp_path: Path) -> None:
    stages = []
    for folder, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        file = tmp_path / folder / "weights.pth"
        file.parent.mkdir()
        file.write_bytes(content)
        stages.append(plan(f"stages.gan.network.init.main={file}")["gan"])
    assert stages[0].fingerprint == stages[1].fingerprint != stages[2].fingerprint
    assert stages[0].sources[str(tmp_path / "a" / "weights.pth")] == str(tmp_path / "a" / "weights.pth")


def test_what_is_neither_a_stage_nor_a_file_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"stages\.gan"):
        plan("stages.gan.objective.feature.network=none.safetensors")


def test_a_stage_reads_the_models_of_those_before_it() -> None:
    jobs = plan()
    assert jobs["gan"].sources == {"fidelity": jobs["fidelity"].model, "highpass": jobs["highpass"].model}


def test_done_is_what_is_written_last(tmp_path: Path) -> None:
    job = plan(root=str(tmp_path))["fidelity"]
    storage.write_bytes(job.model, b"weights")
    assert not job.done()
    done.write(done.note_of("stage", job.folder), Done("stage", job.fingerprint, 1, {}))
    assert job.done()


def test_published_parameter_counts() -> None:
    """ESRGAN's generator and DSRGAN's, with BasicSR's VGG-128 discriminators."""
    stage = Stage.model_validate(
        {
            "network": {"type": "dsrgan"},
            "discriminators": {
                "image": {"network": {"type": "vgg"}},
                "detail": {"network": {"type": "vgg", "in_channels": 1}},
            },
            "objective": [{"type": "pixel"}],
            "steps": 1,
        }
    )
    counts = {"network": 23_228_677, "discriminators": {"image": 14_499_401, "detail": 14_498_249}}
    assert parameter_counts(stage, "gan") == counts


SQUEEZENET = "stages.gan.objective.feature={type: perceptual, network: squeezenet, layers: [fire9]}"
UNTRAINED_SQUEEZENET = SQUEEZENET.replace("squeezenet,", "{type: squeezenet, weights: none},")


@pytest.mark.usefixtures("no_weights")
def test_feature_networks_whose_files_are_not_here_are_all_named() -> None:
    dual = "{type: dual_perceptual, network: vgg19, second: resnet50}"
    with pytest.raises(WeightsError, match=r"resnet50-0676ba61\.pth, vgg19-dcbb9e9d\.pth are not here"):
        plan(f"stages.gan.objective.feature={dual}")
    infinite = dual.replace("}", ", mu: .inf}")
    with pytest.raises(WeightsError, match=r"the file vgg19-dcbb9e9d\.pth is not here"):
        plan(f"stages.gan.objective.feature={infinite}")


@pytest.mark.usefixtures("no_weights")
def test_an_untrained_feature_network_is_asked_for_by_name_and_told_of() -> None:
    jobs = plan(UNTRAINED_SQUEEZENET)
    assert jobs["gan"].weights == {}
    assert jobs["gan"].description["notes"] == ["feature network: untrained"]
    assert jobs["fidelity"].description["notes"] == []
    heirs = plan(UNTRAINED_SQUEEZENET.replace("gan", "fidelity").replace("feature", "pixel"))
    assert heirs["gan"].description["notes"] == heirs["fidelity"].description["notes"] == ["feature network: untrained"]


def test_a_feature_networks_file_counts_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprints = []
    for folder, content in (("a", b"1"), ("b", b"1"), ("c", b"22")):
        file = tmp_path / folder / "squeezenet1_1-b8a52dc0.pth"
        file.parent.mkdir()
        file.write_bytes(content)
        monkeypatch.setenv("ACUTANCE_WEIGHTS", str(file.parent))
        fingerprints.append(plan(SQUEEZENET)["gan"].fingerprint)
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]
    assert plan(UNTRAINED_SQUEEZENET)["gan"].fingerprint not in fingerprints
