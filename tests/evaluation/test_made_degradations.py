"""Data sets whose degraded versions are made: the same each time, unrounded, and as noisy as HFA's tables say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from made_for_evaluation import made_sources, picture
from torch import Tensor, nn

from acutance.commands.context import open_pipeline
from acutance.commands.evaluate import evaluate_model, picture_checksums
from acutance.commands.tune.context import open_campaign
from acutance.config.metrics import PROTOCOLS
from acutance.config.overrides import load_yaml
from acutance.data.datasets import Catalogue, Source, load_catalogue
from acutance.data.entries import Entry
from acutance.data.pictures import write_picture
from acutance.errors import ConfigError, DataError
from acutance.evaluation.evaluate import BICUBIC, INPUT, Task, _perform, evaluate_one, spec_of, unrestored
from acutance.evaluation.metrics import measure
from acutance.evaluation.pictures import bicubic_for, pair_for, picture_file, read_pair, shown
from acutance.evaluation.results import GROUND_TRUTH, Evaluation
from acutance.evaluation.sheet import strips_of
from acutance.imaging.resize import imresize_uint8
from command_line import REPOSITORY

HFA = PROTOCOLS["hfa"]
NOISE = ({"type": "awgn", "sigma": 30.0},)


@pytest.fixture
def catalogue() -> Catalogue:
    return load_catalogue(REPOSITORY / "pipelines" / "datasets.yaml")


def degraded(source: Source, *steps: dict[str, object]) -> Source:
    return Source(source.name, source.path, degrade=steps)


@pytest.mark.parametrize(("sigma", "y", "rgb"), [(10, 32.95, 28.13), (30, 23.41, 18.59)])
def test_the_noisy_rows_of_hfa(
    data_root: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, sigma: int, y: float, rgb: float
) -> None:
    """Table 1 of HFA on Y: 20 log10(255 / sigma) + 4.819 dB, as only noise that is not clipped gives it."""
    monkeypatch.setenv("ACUTANCE_DATA", str(data_root))
    sources = catalogue.find(f"BSD100_awgn{sigma}")
    assert len(sources) == 100
    rows, clipped = [], []
    for source in sources[::4]:
        lr, truth = pair_for(HFA, "BSD100", source, 1)
        assert lr.dtype == np.float32
        row = bicubic_for(HFA, lr, truth, 1)
        rows.append(measure(row, truth, metrics=["psnr_y", "psnr_rgb"], protocol="hfa", scale=1).values)
        clipped.append(measure(shown(row), truth, metrics=["psnr_y"], protocol="hfa", scale=1).values["psnr_y"])
    for metric, wanted in {"psnr_y": y, "psnr_rgb": rgb}.items():
        assert np.mean([values[metric] for values in rows]) == pytest.approx(wanted, abs=0.01)
    assert np.mean(clipped) > y + 0.05


def test_a_picture_is_degraded_alike_each_time_and_otherwise_than_others(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", picture(20, 24))
    one, other = (Source(name, str(tmp_path / "a.png"), degrade=NOISE) for name in ("a", "b"))
    assert np.array_equal(read_pair(one, 1)[0], read_pair(one, 1)[0])
    assert not np.array_equal(read_pair(one, 1)[0], read_pair(other, 1)[0])
    assert np.array_equal(read_pair(one, 1)[1], picture(20, 24))


def test_steps_that_give_bytes_stay_bytes_and_may_make_it_smaller(tmp_path: Path) -> None:
    (source,) = made_sources(tmp_path, [(41, 48)])
    small = degraded(source, {"type": "bicubic", "scale": 4})
    lr, truth = read_pair(small, 4)
    expected = imresize_uint8(torch.from_numpy(picture(40, 48) * 0 + truth).permute(2, 0, 1), 1 / 4)
    assert lr.dtype == np.uint8
    assert np.array_equal(lr, expected.permute(1, 2, 0).numpy())
    assert read_pair(degraded(source, {"type": "jpeg", "quality": 25}), 1)[0].dtype == np.uint8
    noisy, truth = read_pair(degraded(source, *NOISE, {"type": "bicubic", "scale": 4}), 4)
    assert (noisy.dtype, noisy.shape, truth.shape) == (np.float32, (10, 12, 3), (40, 48, 3))
    assert bicubic_for(PROTOCOLS["dsrgan"], noisy, truth, 4).dtype == np.uint8
    enlarged = bicubic_for(HFA, noisy, truth, 4)
    assert (enlarged.dtype, np.array_equal(shown(enlarged), bicubic_for(PROTOCOLS["wdsr"], noisy, truth, 4))) == (
        np.float32,
        True,
    )
    with pytest.raises(DataError, match="does not fit its picture: 48x40 at x4"):
        read_pair(degraded(source, *NOISE), 4)


def test_at_scale_1_there_must_be_something_to_restore(tmp_path: Path) -> None:
    (source,) = made_sources(tmp_path, [(16, 16)])
    with pytest.raises(DataError, match="no degraded version to restore") as caught:
        read_pair(source, 1)
    assert caught.value.where == str(source.path)
    write_picture(tmp_path / "noisy.png", picture(16, 16, 5))
    pair = Source(source.name, source.path, {1: str(tmp_path / "noisy.png")})
    for protocol in PROTOCOLS.values():
        lr, truth = pair_for(protocol, "made", pair, 1)
        assert np.array_equal(bicubic_for(protocol, lr, truth, 1), picture(16, 16, 5)[: len(lr), : len(lr)])


class Halved(nn.Module):
    """Half of what it is given: its output tells what that was."""

    inputs: ClassVar[tuple[str, ...]] = ("lr",)
    scale = 1

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.5))

    def forward(self, lr: Tensor) -> dict[str, Tensor]:
        return {"image": lr * self.gain}


@pytest.mark.parametrize("protocol", ["hfa", "y_crop4"])
def test_networks_see_what_was_neither_clipped_nor_rounded_and_protocols_alone_round(
    tmp_path: Path, made_weights: Path, protocol: str
) -> None:
    """Every metric of restored pictures sees what the network gave; a PNG file's size is of 8 bits by nature."""
    (plain,) = made_sources(tmp_path, [(104, 200)])
    source = degraded(plain, *NOISE)
    metrics = ["psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb", "niqe", "high_frequency", "lpips_squeeze", "compressed_size"]
    found = evaluate_one(
        Halved(), {"scale": 1}, {"made": [source]}, scale=1, protocol=protocol, metrics=metrics, candidate="half"
    )
    lr, truth = read_pair(source, 1)
    exact = (lr * np.float32(0.5)).clip(0, 1)
    floats, files = (
        measure(p, truth, metrics=metrics, protocol=protocol, scale=1).values for p in (exact, shown(exact))
    )
    assert found.rows[0].metrics == pytest.approx(floats if protocol == "hfa" else files, rel=1e-5)
    assert [name for name in metrics if floats[name] == pytest.approx(files[name], rel=1e-6)] == ["compressed_size"]


def test_the_input_is_called_so_and_shown_in_place_of_the_lr(tmp_path: Path) -> None:
    assert (unrestored(1), unrestored(4)) == (INPUT, BICUBIC)
    (plain,) = made_sources(tmp_path, [(40, 48)])
    source, spec = degraded(plain, *NOISE), spec_of(1, "hfa", ["psnr_y", "ssim_rgb"])
    rows = []
    for candidate, model in ((INPUT, BICUBIC), (GROUND_TRUTH, None)):
        row, _, kept, _ = _perform(Task("made", source, candidate, model), spec, "once", keep=True, gpus=0)
        rows.append(row)
        for name, pixels in kept.items():
            assert pixels.dtype == np.uint8
            write_picture(picture_file(str(tmp_path), "made", plain.name, name), pixels)
    assert rows[0].metrics["psnr_y"] == pytest.approx(23.41, abs=0.3)
    (strip,) = strips_of(Evaluation("hfa", 1, spec.metrics, tuple(rows)), str(tmp_path))
    assert [panel.heading for panel in strip.panels] == [INPUT, GROUND_TRUTH]
    assert np.array_equal(strip.panels[0].pixels, shown(read_pair(source, 1)[0]))


def test_what_degrades_a_picture_is_part_of_what_an_evaluation_is_known_by(tmp_path: Path) -> None:
    (plain,) = made_sources(tmp_path, [(16, 16)])
    sources = [plain, degraded(plain, *NOISE), degraded(plain, {"type": "awgn", "sigma": 10.0})]
    sources += [Source("another", plain.path, degrade=NOISE)]
    checksums = picture_checksums(sources, 1, str(tmp_path / "out"), "made")
    assert len({str(one) for one in checksums}) == 4
    assert picture_checksums(sources[1:2], 1, str(tmp_path / "out"), "made") == checksums[1:2]


def test_an_entry_has_the_pictures_of_another_and_needs_not_its_lr(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACUTANCE_DATA", str(tmp_path))
    for number in ("000010", "000011", "000019", "000020"):
        write_picture(tmp_path / "Flickr2K" / "Flickr2K_HR" / f"{number}.png", picture(8, 8))
    blurred = catalogue.find("Flickr2K_valid_blur")
    assert [source.name for source in blurred] == ["000010", "000020"]
    assert blurred[0].degrade == ({"type": "blur_random", "scale": 4},)
    assert [source.name for source in catalogue.find("Flickr2K_train")] == ["000011", "000019"]
    for number in ("109", "110"):
        write_picture(tmp_path / "benchmarks" / "BSD100" / "HR" / f"img_{number}.png", picture(8, 8))
    assert [source.name for source in catalogue.find("BSD100_tenth_awgn10")] == ["img_110"], "those that `only` names"
    (tmp_path / "benchmarks" / "BSD100" / "HR" / "img_110.png").unlink()
    with pytest.raises(DataError, match=r"no picture of BSD100 is called \*0"):
        catalogue.find("BSD100_tenth_awgn10")
    write_picture(tmp_path / "DIV2K" / "DIV2K_valid_HR" / "0801.png", picture(8, 8))
    assert [source.lr_paths for source in catalogue.find("DIV2K_valid_awgn30")] == [{}]
    assert catalogue.count("DIV2K_valid_awgn30") == 1
    assert catalogue.place("DIV2K_valid_awgn30") == str(tmp_path / "DIV2K")
    assert catalogue.entry("DIV2K_valid_awgn30").licence == catalogue.entry("DIV2K_valid").licence
    shutil.rmtree(tmp_path / "benchmarks")
    with pytest.raises(DataError, match="no such folder") as caught:
        catalogue.find("BSD100_blur")
    assert "SelfExSR" in str(caught.value.fix)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "of: plian, degrade: [{type: jpeg, quality: 9}]",
            "datasets.mine.of: there is no 'plian'; did you mean 'plain'?",
        ),
        ("of: mine, degrade: [{type: jpeg, quality: 9}]", "datasets.mine.of: there is no 'mine'"),
        ("of: scored, degrade: [{type: jpeg, quality: 9}]", "datasets.mine.of: there is no 'scored'"),
        ("of: plain", "give both or neither"),
        ("folder: x, source: s, licence: l, degrade: [{type: jpeg, quality: 9}]", "give both or neither"),
        ("of: plain, hr: x, degrade: [{type: jpeg, quality: 9}]", "'hr' is for a 'folder'"),
        ("of: plain, degrade: [{type: jpeg, quality: 0}]", "jpeg.quality: quality is 0"),
        ("of: plain, degrade: [{type: jpg, quality: 9}]", "unknown type 'jpg'; did you mean 'jpeg'?"),
        ("folder: x", "'source' and 'licence'"),
    ],
)
def test_entries_that_make_no_sense_are_refused(tmp_path: Path, entry: str, message: str) -> None:
    path, known = tmp_path / "datasets.yaml", "about: a, source: s, licence: l, folder: x"
    path.write_text(
        f"datasets:\n  plain: {{{known}}}\n  scored: {{{known}, layout: ava}}\n  mine: {{about: a, {entry}}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_catalogue(path).steps("mine")
    assert message in str(caught.value)


def test_a_pipeline_of_another_scale_is_refused_before_it_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    file = str(REPOSITORY / "pipelines" / "quickstart.yaml")
    with pytest.raises(ConfigError, match="BSD100_awgn30 is degraded at scale 1, asked for is 4"):
        open_pipeline(file, ["evaluate.on=[BSD100_awgn30]"], "smoke", str(tmp_path))
    with pytest.raises(ConfigError, match="BSD100_blur is degraded at scale 1, asked for is 4"):
        evaluate_model("bicubic", ["BSD100_blur"], protocol="hfa", metrics=None, scale=4, root=str(tmp_path))
    space = tmp_path / "space.yaml"
    content = load_yaml(REPOSITORY / "search_spaces" / "quickstart.yaml")
    content["objectives"][0]["on"] = "BSD100_awgn10"
    content["pipeline"] = file
    space.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="BSD100_awgn10 is degraded at scale 1") as caught:
        open_campaign(str(space), [], str(tmp_path))
    assert str(caught.value.where) == f"{space}: objectives"


def test_an_entry_is_plain_data() -> None:
    entry = Entry(about="a", of="b", degrade=[{"type": "awgn", "sigma": [10, 30]}])
    assert Entry.model_validate_json(entry.model_dump_json(exclude_unset=True)) == entry
