from __future__ import annotations

import json
from pathlib import Path

import pytest

from acutance.config import pipeline as pipelines
from acutance.config.pipeline import Pipeline
from acutance.errors import ConfigError
from command_line import REPOSITORY

QUICKSTART = REPOSITORY / "pipelines" / "quickstart.yaml"


PIPELINES = sorted(set((REPOSITORY / "pipelines").glob("*.yaml")) - {REPOSITORY / "pipelines" / "datasets.yaml"})


@pytest.mark.parametrize("file", PIPELINES, ids=lambda file: file.stem)
def test_every_pipeline_is_valid_and_has_a_smoke_profile(file: Path) -> None:
    assert pipelines.load(file).stages.keys() == pipelines.load(file, profile="smoke").stages.keys()


def test_stages_come_after_what_they_need() -> None:
    pipeline = pipelines.load(QUICKSTART)
    assert pipeline.order() == ["highpass", "fidelity", "gan"]
    assert pipeline.order("fidelity") == ["fidelity"]
    assert pipeline.upstream("gan") == ["fidelity", "highpass"]


def test_a_trials_values_come_after_the_profile_and_overrides_last() -> None:
    values = {"seed": 4, "stages.gan.steps": 8, "stages.fidelity.steps": 7}
    loaded = pipelines.load(QUICKSTART, ["stages.gan.steps=9"], profile="smoke", values=values)
    steps = {name: stage.steps for name, stage in loaded.stages.items()}
    assert (steps, loaded.seed) == ({"highpass": 4, "fidelity": 7, "gan": 9}, 4)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stages.gan.network.bloks=3", "stages.gan.network.bloks: unknown key; did you mean 'blocks'?"),
        ("stages.gan.patch=62", "stages.gan.patch: 62 is no multiple of the scale 4"),
        ("stages.gan.patch=[64, 32]", "augment: a patch of two sides cannot be turned; use flips, mirror or none"),
        (
            "stages.fidelity.patch=[64]",
            "stages.fidelity.patch: give a number of pixels above 0, or two, [height,",
        ),
        ("stages.fidelity.patch=0", "stages.fidelity.patch: give a number of pixels above 0, or two, [height,"),
        ("stages.gan.patch=256", "stages.gan.patch: 256 is larger than data.subimages.size"),
        ("stages.gan.patch=96", "stages.gan.discriminators.image.network.size: 64 is not the stage's patch, 96"),
        ("evaluate.metrics=[psnr]", "evaluate.metrics: there is no 'psnr'; did you mean 'psnr_y'?"),
        ("evaluate.protocol=y", "evaluate.protocol: there is no 'y'"),
        ("evaluate.stages=[gann]", "did you mean 'gan'?"),
        ("evaluate.stages=[highpass, gan]", "evaluate.stages: highpass makes no pictures"),
        ("register.name=quickstart.x4", "register.name: "),
        (
            "stages.fidelity.validation={on: CIFAR10, metrics: [emd]}",
            "stages.fidelity.validation.metrics: emd measures 'distribution'; rrdbnet gives image",
        ),
        (
            "stages.highpass.validation={on: CIFAR10, metrics: [psnr_highpass, accuracy]}",
            "stages.highpass.validation.metrics: accuracy measures 'logits'; highpass gives highpass",
        ),
        ("stages.fidelity.needs=[gan]", "wait for one another"),
        ("data.derive={}", "needs the column 'hr_detail'"),
        (
            "stages.gan.workers=3",
            "stages.gan.workers: a batch of 16 cannot be shared by 3 workers; choose one of 1, 2, 4, 8, 16",
        ),
        ("stages.gan.accumulate=3", "stages.gan.accumulate: a batch of 16 makes no 3 equal parts"),
        ("stages.gan.objective.adversarial.on=picture", "stages.gan.objective adversarial on: there is no 'picture'"),
        ("stages.gan.objective.feature.name=pixel", "two terms are named pixel"),
        ("stages.highpass.derive.highpass.of=hq", "stages.highpass.derive.highpass.of: there is no 'hq'"),
        (
            "data.derive.lr_detail={type: gif, of: lr}",
            "stages.gan.network.detail_planes: 1 where data.derive.lr_detail, gif, makes 3",
        ),
        (
            "data.derive.hr_detail={type: wls, of: hr}",
            "stages.gan.discriminators.detail.network.in_channels: 1 where data.derive.hr_detail, wls",
        ),
        (
            "data.derive.lr_detail={type: lgs, of: lr, margin: 12}",
            "stages.gan.patch: 64 and its margins are larger than data.subimages.size",
        ),
        (
            "stages.gan.objective.feature={type: perceptual, network: vgg19, layers: [conv5_5]}",
            "stages.gan.objective.perceptual: vgg19 has no layer 'conv5_5'; did you mean 'conv5_4'?",
        ),
        (
            "stages.gan.objective.feature={type: dual_perceptual, network: vgg19}",
            "stages.gan.objective.dual_perceptual: needs 'second': a stage, a model file, or one of vgg19",
        ),
        ("stages.gan.objective.feature.network={type: vgg91}", "unknown type 'vgg91'; did you mean 'vgg19'?"),
        ("stages.gan.objective.feature.network={type: vgg19, weight: none}", "did you mean 'weights'?"),
        ("evaluate.on=/folder", "evaluate.on: this must be a list, such as [/folder]"),
        ("stages.gan.optimiser.type=addam", "stages.gan.optimiser: unknown type 'addam'; did you mean 'adam'?"),
        ("stages.gan.optimiser.momentum=0.9", "stages.gan.optimiser.momentum: unknown key; valid are amsgrad, betas"),
        (
            "optimiser.type=adamw",
            "optimiser: unknown key; valid are budget, compute, data, evaluate, paper, prof",
        ),
        ("registered.name=a", "registered: unknown key; did you mean 'register'?"),
        ("register.gate=psnr_y", "register.gate: this must be a mapping, such as {key: value}"),
        ("data.degradation=bicubic", "data.degradation: this must be a mapping, such as {type: bicubic}"),
        ("data.subimages=128", "data.subimages: this must be a mapping of size, stride"),
        ("compute.gpus=all", "compute.gpus: 'all' is not a whole number"),
    ],
)
def test_what_does_not_fit_is_named_by_its_path(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pipelines.load(QUICKSTART, [override])
    assert message in str(caught.value)
    assert "quickstart.yaml" in str(caught.value)


def test_two_folders_take_the_place_of_a_data_set_whose_lr_is_made() -> None:
    data = pipelines.load(QUICKSTART, ["data.train={hr: ./hr, lr: ./lr}"]).data
    assert (data.train, data.lr, data.degradation.type) == ("./hr", "./lr", "paired")
    with pytest.raises(ConfigError, match="lr: a folder of LR is `paired`"):
        pipelines.load(QUICKSTART, ["data.lr=./lr"])


def test_a_folder_is_one_data_set_wherever_a_file_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    at = ("data.train", "stages.highpass.validation.on")

    def read(folder: str) -> pipelines.Pipeline:
        return pipelines.load(QUICKSTART, [f"{at[0]}={folder}", f"{at[1]}={folder}", *more])

    more = ["stages.highpass.validation.metrics=[psnr_highpass]"]
    for one, ways in {"./a": ("a/", ".//a", "./b/../a/"), "/home/me/a": ("~/a", "~/a/")}.items():
        assert all(read(way) == read(one) for way in ways)


def test_an_unknown_profile_is_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'smoke'"):
        pipelines.load(QUICKSTART, profile="smok")


@pytest.mark.parametrize(("profiles", "key"), [("{smoke: fast}", "profiles.smoke"), ("fast", "profiles")])
def test_a_profile_that_is_a_text_is_named(tmp_path: Path, profiles: str, key: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"profiles: {profiles}\n")
    with pytest.raises(ConfigError, match=f"^{key}: this is no mapping"):
        pipelines.load(file, profile="smoke")


def test_a_resolved_pipeline_resolves_to_itself() -> None:
    pipeline = pipelines.load(QUICKSTART)
    settings = pipeline.model_dump(mode="json", by_alias=True)
    again = pipelines.resolve(settings, {"stages.gan.objective.adversarial.weight": 0.01}, "a test")
    weights = {term.name: term.weight for term in again.stages["gan"].objective}
    assert weights["adversarial"] == 0.01
    assert again.stages["fidelity"].model_dump() == pipeline.stages["fidelity"].model_dump()


def test_the_schema_names_every_choice() -> None:
    text = str(Pipeline.model_json_schema())
    for name in ("rrdbnet", "dsrgan", "perceptual", "relativistic_average", "lgs", "bicubic"):
        assert name in text


def test_a_pair_that_is_too_short_is_named() -> None:
    with pytest.raises(ConfigError, match=r"stages.gan.optimiser.betas"):
        pipelines.load(QUICKSTART, ["stages.gan.optimiser.betas=[0.9]"])


def test_a_gate_says_what_may_be_lost_or_must_be_gained() -> None:
    gate = "register.gate={psnr_y: 0.1, ssim_y: {improve_by: 0.01}}"
    assert pipelines.load(QUICKSTART, [gate]).registered.gate == {"psnr_y": 0.1, "ssim_y": {"improve_by": 0.01}}
    changed = pipelines.load(QUICKSTART, ["register.gate.psnr_y={improve_by: 0}"]).registered.gate
    assert json.loads(json.dumps(changed))["psnr_y"] == {"improve_by": 0}
    described = Pipeline.model_json_schema()["$defs"]
    assert "improve_by: 0.05" in described["Register"]["properties"]["gate"]["description"]
    assert described["Improvement"]["properties"].keys() == {"improve_by"}


@pytest.mark.parametrize("rule", ["better", "{improve_by: -1}", "{improve_bye: 1}", "{improve_by: 1, worse_by: 1}"])
def test_a_gate_that_says_something_else_is_told_what_to_say(rule: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pipelines.load(QUICKSTART, [f"register.gate.psnr_y={rule}"])
    assert str(caught.value).startswith("register.gate.psnr_y: give how much worse it may be, such as 0.1, or {improve")


def test_a_suggestion_is_one_that_would_be_taken() -> None:
    with pytest.raises(ConfigError) as caught:
        pipelines.load(QUICKSTART, ["evaluate.metrics=[psnr, ssim_y, high_frequency]"])
    assert str(caught.value).startswith("evaluate.metrics: there is no 'psnr'; did you mean 'psnr_y'?\n  where")
    with pytest.raises(ConfigError) as caught:
        pipelines.load(QUICKSTART, ["evaluate.stages=[fidelity, gann]"])
    assert "did you mean 'gann'" not in str(caught.value)


@pytest.mark.parametrize("file", PIPELINES, ids=lambda file: file.stem)
def test_a_profile_registers_under_a_name_of_its_own(file: Path) -> None:
    plain = pipelines.load(file)
    names = [plain.registered.name] if plain.registered else []
    loaded = [pipelines.load(file, profile=profile).registered for profile in plain.profiles]
    names += [registered.name for registered in loaded if registered]
    assert len(set(names)) == len(names)
    assert pipelines.load(file, ["register.name=mine"], profile="smoke").registered.name == "mine" if names else True


def test_a_gate_names_metrics_that_are_measured() -> None:
    with pytest.raises(ConfigError, match=r"register\.gate: there is no 'psnr'; did you mean 'psnr_y'"):
        pipelines.load(QUICKSTART, ["register.gate={psnr: 0.1}"])


def test_hfas_high_pass_network_is_accepted_at_40_db_and_in_smoke_runs_as_it_is() -> None:
    for file in (REPOSITORY / "pipelines").glob("hfa_*.yaml"):
        stages = [pipelines.load(file, profile=profile).stages["highpass"] for profile in (None, "smoke")]
        assert [stage.accept for stage in stages] == [{"psnr_highpass": 40}, {}]
    with pytest.raises(ConfigError, match="accept: 'psnr' is not among the values of the stage's validation"):
        pipelines.load(REPOSITORY / "pipelines" / "hfa_denoise.yaml", ["stages.highpass.accept={psnr: 40}"])


def test_hfas_large_pictures_are_of_the_papers_size() -> None:
    for file in (REPOSITORY / "pipelines").glob("hfa_*.yaml"):
        pipeline = pipelines.load(file)
        assert pipeline.stages["large"].patch == pipeline.data_of("large").size == (720, 1280)
        assert pipeline.stages["large"].batch == 1
        other = pipelines.load(file, ["data.train=elsewhere"])
        assert other.data_of("large").train == "elsewhere", "its pictures are cut otherwise, and are the same"


def test_a_stage_gets_as_many_workers_as_its_batch_can_be_shared_by() -> None:
    def workers(name: str, *overrides: str) -> dict[str, int]:
        pipeline = pipelines.load(REPOSITORY / "pipelines" / f"{name}.yaml", ["compute.workers=8", *overrides])
        return {stage: pipeline.workers_of(stage) for stage in pipeline.stages}

    assert workers("dsrgan") == {"fidelity": 8, "gan": 5}
    assert workers("hfa_denoise") == {"highpass": 8, "l1": 8, "large": 1, "retrain": 8}
    assert workers("eusr_4pp")["perceptual"] == 2
    assert workers("dsrgan", "stages.gan.accumulate=2", "stages.fidelity.workers=4") == {"fidelity": 4, "gan": 5}
    assert workers("dsrgan", "stages.gan.accumulate=5") == {"fidelity": 8, "gan": 4}


def test_a_stage_that_nothing_needs_is_not_trained() -> None:
    dsrgan = REPOSITORY / "pipelines" / "dsrgan.yaml"
    start = "stages.gan.network.init.main=RRDB_PSNR_x4.pth"

    def trained(file: Path, *overrides: str) -> tuple[list[str], list[str]]:
        pipeline = pipelines.load(file, overrides)
        return pipeline.order(), pipeline.evaluated()

    assert trained(dsrgan) == (["fidelity", "gan"], ["fidelity", "gan"])
    assert trained(dsrgan, start) == (["gan"], ["gan"])
    assert trained(dsrgan, start, "evaluate.stages=[fidelity, gan]")[0] == ["fidelity", "gan"]
    assert trained(QUICKSTART)[1] == ["fidelity", "gan"], "a high-pass network makes no pictures"
    assert "retrain" in trained(REPOSITORY / "pipelines" / "hfa_denoise.yaml")[0], "it is measured beside `large`"
    assert trained(dsrgan, start, "register=null", "evaluate=null")[0] == ["fidelity", "gan"]


def test_what_is_measured_is_named_where_nothing_is_registered() -> None:
    with pytest.raises(ConfigError, match=r"evaluate.stages: name them"):
        pipelines.load(QUICKSTART, ["register=null"])
