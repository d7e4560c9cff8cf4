"""DSRGAN's pipeline, small: from pictures to a registered model, its ablations, its extractors, its public start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch

from acutance.commands.context import open_pipeline, plan_summary
from acutance.config import pipeline as pipelines
from acutance.config import search_space as campaigns
from acutance.config.overrides import load_yaml
from acutance.data.columns import Content
from acutance.data.datasets import catalogue_for
from acutance.data.pictures import write_picture
from acutance.data.prepare import prepare
from acutance.data.shards import open_columns
from acutance.errors import WeightsError
from acutance.inference.restore import restore
from acutance.models.model_file import load_model
from acutance.models.public_weights import public_state_dict
from acutance.models.rrdbnet import RRDBNet
from acutance.training.build import build_learner
from acutance.training.loop import train_stage
from acutance.training.parameter_counts import parameter_counts
from acutance.training.plan import plan_stages
from acutance.training.stage_plan import StagePlan
from command_line import REPOSITORY, acutance, in_this_process

FILE = REPOSITORY / "pipelines" / "dsrgan.yaml"
SEARCH = REPOSITORY / "search_spaces" / "dsrgan.yaml"
PROFILES: dict[str, dict[str, Any]] = load_yaml(FILE)["profiles"]
FEATURES = (
    "stages.gan.objective.perceptual.network={type: squeezenet, weights: none}",
    "stages.gan.objective.perceptual.layers=[conv1]",
)


@pytest.mark.parametrize(
    ("profile", "network", "discriminators"),
    [
        ("ablation_1", 19_575_683, {"image": 14_499_401}),
        ("ablation_2", 23_117_124, {"image": 14_499_401}),
        ("ablation_3", 23_117_124, {"image": 14_499_401, "detail": 14_498_249}),
        (None, 23_228_677, {"image": 14_499_401, "detail": 14_498_249}),
        ("gif", 23_230_983, {"image": 14_499_401, "detail": 14_499_401}),
        ("msdm", 23_230_983, {"image": 14_499_401, "detail": 14_499_401}),
    ],
)
def test_ablations_and_extractors_have_the_networks_of_the_paper(
    profile: str | None, network: int, discriminators: dict[str, int]
) -> None:
    pipeline = pipelines.load(FILE, profile=profile)
    counts = {name: parameter_counts(stage, name) for name, stage in pipeline.stages.items()}
    assert counts["gan"] == {"network": network, "discriminators": discriminators}
    assert counts["fidelity"]["network"] == (19_575_683 if profile == "ablation_1" else 16_697_987)


def test_the_objective_has_the_weights_of_the_paper_and_ablations_lose_what_they_name() -> None:
    terms = {
        profile: {term.name: term.weight for term in pipelines.load(FILE, profile=profile).stages["gan"].objective}
        for profile in (None, "ablation_1", "ablation_2", "ablation_3")
    }
    image = {"pixel": 0.2, "perceptual": 1.0, "adversarial": 0.005}
    assert terms[None] == terms["ablation_3"] == {**image, "detail_pixel": 0.5, "detail_adversarial": 0.005}
    assert terms["ablation_2"] == {**image, "detail_pixel": 0.5}
    assert terms["ablation_1"] == image


@pytest.mark.parametrize(
    ("table", "row", "profile"),
    [
        *(("table_1", f"No. {number}", f"ablation_{number}") for number in (1, 2, 3)),
        ("table_1", "No. 4", None),
        ("table_2", "DSRGAN", None),
        ("table_3", "GIF", "gif"),
        ("table_3", "MSDM", "msdm"),
        ("table_3", "DSRGAN", None),
    ],
)
def test_the_tables_run_what_the_profiles_say(table: str, row: str, profile: str | None) -> None:
    found = campaigns.load(SEARCH, table=table)
    values = next(point.values for point in found.points or [] if point.row == row)
    run = pipelines.load(FILE, values={**found.campaign.overrides, **values, "stages.*.seed": None})
    apart = {"profiles": {}, "registered": None}
    assert run.model_copy(update=apart) == pipelines.load(FILE, profile=profile).model_copy(update=apart)


def test_a_dry_run_needs_neither_pictures_nor_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ACUTANCE_DATA", "ACUTANCE_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    planned = plan_summary(open_pipeline(str(FILE), [], None, str(tmp_path)))
    assert [stage["parameters"]["network"] for stage in planned["stages"]] == [16_697_987, 23_228_677]
    missing = " ".join(planned["missing"])
    assert all(name in missing for name in ("DIV2K_train", "Set5", "Set14", "BSD100", "vgg19-dcbb9e9d.pth"))


def small(folder: Path, *overrides: str, values: dict[str, Any] | None = None) -> tuple[list[StagePlan], str]:
    """Return the smoke profile's jobs over one crop of a photograph, and the folder of its shards, which are there."""
    write_picture(folder / "pictures" / "one.png", skimage.data.coffee()[:128, :160])
    chosen = (*FEATURES, f"data.train={folder / 'pictures'}", "compute.workers=1", *overrides)
    pipeline = pipelines.load(FILE, chosen, profile="smoke", values=values)
    manifest = prepare(pipeline.data, 4, catalogue_for(str(FILE)), str(folder), in_process=True)
    sums = [(source.name, source.sha256) for source in manifest.sources]
    plans = plan_stages(pipeline, {pipeline.data.source: Content(sums)}, str(folder), only="gan")
    return plans, plans[-1].shards


@pytest.mark.parametrize("profile", ["gif", "msdm"])
def test_an_extractor_takes_the_place_of_another(tmp_path: Path, profile: str) -> None:
    plans, shards = small(tmp_path, values=PROFILES[profile] | {"stages.gan.batch": 2, "stages.fidelity.batch": 2})
    stored = open_columns(shards, ["hr_detail", "lr_detail"], tmp_path / "scratch")
    assert {column.shape[-1] for column in stored.values()} == {3}
    assert stored["hr_detail"].min() < 0 < stored["hr_detail"].max()
    for plan in plans:
        train_stage(plan)
    network, description = load_model(plans[-1].model)
    assert description["derive"]["lr_detail"]["type"] == PROFILES[profile]["data.derive.lr_detail"]["type"]
    made = restore(network, description, skimage.data.coffee()[100:124, 100:132])
    assert (made["image"].shape, made["detail"].shape) == ((96, 128, 3), (96, 128, 3))
    assert made["detail"].std() > 0


RELEASED = {"conv_body": "model.1.sub.{blocks}", "body.": "model.1.sub.", ".rdb": ".RDB", "conv_first": "model.0",
            "conv_up1": "model.3", "conv_up2": "model.6", "conv_hr": "model.8", "conv_last": "model.10"}  # fmt: skip
"""Of the generations of names that of the published file; tests/models/test_public_weights.py reads them all."""


def public_file(path: Path, **size: int) -> RRDBNet:
    """Write a file such as the published RRDB_PSNR_x4."""
    torch.manual_seed(7)
    network = RRDBNet(**size)
    content = {}
    for name, tensor in public_state_dict(network).items():
        role = name
        for ours, theirs in RELEASED.items():
            role = role.replace(ours, theirs.format(blocks=len(network.body)))
        if ".RDB" in role:
            role = role.replace(".weight", ".0.weight").replace(".bias", ".0.bias")
        content[role] = tensor
    torch.save(content, path)
    return network


def test_the_gan_starts_from_all_702_tensors_of_the_public_file(tmp_path: Path) -> None:
    file = tmp_path / "RRDB_PSNR_x4.pth"
    public = public_file(file)
    [plan] = small(tmp_path, values={"stages.gan.network": {"type": "dsrgan", "init": {"main": str(file)}}})[0]
    network = build_learner(plan, "cpu").generator.module
    started = network.main.state_dict()  # type: ignore[union-attr]
    assert len(started) == 702
    assert all(torch.equal(tensor, started[name]) for name, tensor in public.state_dict().items())
    lr = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(network(lr, torch.rand(1, 1, 8, 8))["image"], public(lr)["image"])
    content = torch.load(file, weights_only=True)
    content.popitem()
    torch.save(content, file)
    with pytest.raises(WeightsError, match="701 tensors do not fit the network's 702; missing: "):
        build_learner(plan, "cpu")


def test_the_gan_trains_from_a_public_file_without_the_fidelity_stage(tmp_path: Path) -> None:
    file = tmp_path / "small.pth"
    public_file(file, blocks=2, channels=16, growth=8)
    plans, _ = small(tmp_path, f"stages.gan.network.init.main={file}", "stages.gan.batch=2")
    assert [plan.name for plan in plans] == ["gan"]
    train_stage(plans[0])
    assert load_model(plans[0].model)[1]["stage"] == "gan"


@pytest.mark.e2e
@pytest.mark.long
def test_from_shards_to_a_registered_model_on_two_workers(tmp_path: Path, data_root: Path) -> None:
    spandrel = pytest.importorskip("spandrel")
    here = {"ACUTANCE_DATA": str(data_root), "ACUTANCE_WEIGHTS": str(data_root)}
    storage = ("--storage", str(tmp_path / "out"))
    done = acutance("run", "pipelines/dsrgan.yaml", "--profile", "smoke", *storage, "--json", **here)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    means = {row["candidate"]: row["metrics"] for row in result["evaluation"]["rows"]}
    assert means["bicubic"]["psnr_y"] == pytest.approx(26.097, abs=5e-4)  # Table II, Set14
    assert means["bicubic"]["ssim_y_wang"] == pytest.approx(0.7853, abs=5e-5)
    assert all(means[stage]["lpips_squeeze"] > 0 for stage in ("fidelity", "gan"))

    models = {}
    for file in (tmp_path / "out" / "dsrgan").glob("*/model.safetensors"):
        models[load_model(str(file))[1]["stage"]] = str(file)
    exported = tmp_path / "gan.safetensors"
    candidate = "models:/sr-x4-dsrgan-smoke@candidate"
    assert in_this_process("models", "export", candidate, str(exported), *storage).returncode == 0
    assert exported.read_bytes() == Path(models["gan"]).read_bytes()
    fidelity = (models["fidelity"], str(tmp_path / "fidelity.pth"))
    assert in_this_process("models", "export", *fidelity, *storage).returncode == 0
    theirs = spandrel.ModelLoader().load_from_file(str(tmp_path / "fidelity.pth"))
    network, description = load_model(models["fidelity"])
    picture = np.ascontiguousarray(skimage.data.coffee()[:64, :80])
    with torch.no_grad():
        expected = theirs(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255)[0]
    made = restore(network, description, picture)["image"].astype(int)
    assert made.std() > 1
    assert np.abs(made - (255 * expected).permute(1, 2, 0).round().int().numpy()).max() <= 1
