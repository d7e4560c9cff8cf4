from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from made_for_evaluation import made_sources, model_file, picture

from acutance.config.metrics import METRICS
from acutance.data.datasets import Source
from acutance.data.pictures import read_picture, write_picture
from acutance.errors import ConfigError, DataError, ModelError
from acutance.evaluation.evaluate import Sources, evaluate_one, tasks_of
from acutance.evaluation.metrics import measure
from acutance.evaluation.pictures import bicubic, picture_file, read_pair, shown_detail
from acutance.evaluation.results import GROUND_TRUTH, Evaluation
from acutance.inference.restore import restore
from acutance.models.model_file import load_model


def run(folder: Path, sources: Sources, metrics: tuple[str, ...] = ("psnr_y", "high_frequency")) -> Evaluation:
    network, description = load_model(model_file(folder / "model.safetensors"))
    return evaluate_one(network, description, sources, scale=4, protocol="y_crop4", metrics=metrics, candidate="gan")


def test_values_are_those_of_the_restored_pictures(tmp_path: Path) -> None:
    sources = made_sources(tmp_path, [(48, 64), (64, 48)])
    evaluation = run(tmp_path, {"made": sources})
    network, description = load_model(str(tmp_path / "model.safetensors"))
    for source in sources:
        lr, truth = read_pair(source, 4)
        expected = measure(
            restore(network, description, lr)["image"],
            truth,
            metrics=["psnr_y", "high_frequency"],
            protocol="y_crop4",
            scale=4,
        )
        assert {row.picture: row.metrics for row in evaluation.rows if row.candidate == "gan"}[
            source.name
        ] == expected.values
    truths = [row for row in evaluation.rows if row.candidate == GROUND_TRUTH]
    assert [set(row.metrics) for row in truths] == [{"high_frequency"}] * 2


@pytest.mark.usefixtures("no_weights")
def test_metrics_without_files_are_unavailable_and_have_no_number(tmp_path: Path) -> None:
    evaluation = run(tmp_path, {"made": made_sources(tmp_path, [(48, 64)])}, tuple(METRICS))
    assert set(evaluation.unavailable) == {"niqe", "ma", "pi", "lpips_squeeze", "lpips_alex", "lpips_vgg"}
    restored, truth = evaluation.rows
    assert restored.metrics["niqe"] is None
    assert restored.metrics["lpips_squeeze"] is None
    assert truth.metrics.keys() == {name for name, metric in METRICS.items() if not metric.needs_truth}
    assert truth.metrics["niqe"] is None
    assert restored.reasons == {}
    assert evaluation.mean("gan", "niqe") is None
    assert evaluation.mean("gan", "psnr_y") is not None


@pytest.mark.usefixtures("niqe_parameters")
def test_a_picture_too_small_for_niqe_has_no_value_but_a_reason(tmp_path: Path) -> None:
    evaluation = run(tmp_path, {"made": made_sources(tmp_path, [(48, 64), (104, 200)])}, ("niqe",))
    assert evaluation.unavailable == {}
    small, _, large, _ = evaluation.rows
    assert small.metrics == {"niqe": None}
    assert "two blocks" in small.reasons["niqe"]
    assert large.metrics["niqe"] is not None
    assert evaluation.mean("gan", "niqe") == large.metrics["niqe"]


def test_measuring_leaves_a_network_in_training_as_it_was(tmp_path: Path) -> None:
    network, description = load_model(model_file(tmp_path / "model.safetensors"))
    network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    random = torch.random.get_rng_state()
    sources = {"made": made_sources(tmp_path, [(48, 64)])}
    evaluate_one(network, description, sources, scale=4, protocol="y_crop4", metrics=["psnr_y"])
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert torch.equal(random, torch.random.get_rng_state())


def test_lr_is_made_from_a_truth_cut_to_a_multiple_of_the_scale(tmp_path: Path) -> None:
    (even,) = made_sources(tmp_path, [(48, 64)])
    whole = read_picture(even.path)
    uneven = np.pad(whole, ((0, 3), (0, 2), (0, 0)), mode="edge")
    write_picture(tmp_path / "uneven.png", uneven)
    lr, truth = read_pair(Source("uneven", str(tmp_path / "uneven.png")), 4)
    assert np.array_equal(truth, whole)
    assert np.array_equal(lr, read_pair(even, 4)[0])


def test_an_lr_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    (source,) = made_sources(tmp_path, [(48, 64)])
    write_picture(tmp_path / "lr.png", picture(12, 15))
    with pytest.raises(DataError, match=r"lr\.png"):
        read_pair(Source(source.name, source.path, {4: str(tmp_path / "lr.png")}), 4)


def test_a_picture_smaller_than_the_scale_is_refused(tmp_path: Path) -> None:
    write_picture(tmp_path / "tiny.png", picture(3, 9))
    with pytest.raises(DataError, match=r"tiny\.png"):
        read_pair(Source("tiny", str(tmp_path / "tiny.png")), 4)


def test_bicubic_of_a_flat_picture_is_flat_and_saturates() -> None:
    assert (bicubic(np.full((5, 6, 3), 77, np.uint8), 4) == 77).all()
    edge = np.repeat(np.array([0, 255], np.uint8), 8)[None, :, None].repeat(16, 0).repeat(3, 2)
    enlarged = bicubic(edge, 4)
    assert enlarged.shape == (64, 64, 3)
    assert (enlarged.min(), enlarged.max()) == (0, 255)


def test_what_cannot_be_measured_is_refused_by_name(tmp_path: Path) -> None:
    network, description = load_model(model_file(tmp_path / "model.safetensors"))
    sources = {"made": made_sources(tmp_path, [(48, 64)])}
    with pytest.raises(ConfigError, match="psnr_y"):
        evaluate_one(network, description, sources, scale=4, protocol="y_crop4", metrics=["psnr"])
    with pytest.raises(ConfigError, match="y_crop4"):
        evaluate_one(network, description, sources, scale=4, protocol="y_crop", metrics=["psnr_y"])
    with pytest.raises(ModelError, match="4 times, asked for is 2"):
        evaluate_one(network, description, sources, scale=2, protocol="y_crop4", metrics=["psnr_y"])
    with pytest.raises(DataError, match="no picture"):
        evaluate_one(network, description, {"made": []}, scale=4, protocol="y_crop4", metrics=["psnr_y"])
    for name in (GROUND_TRUTH, "lr"):
        with pytest.raises(ConfigError, match=name):
            tasks_of({name: "bicubic"}, sources)


def test_a_detail_layer_is_shown_on_a_fixed_scale() -> None:
    detail = np.array([[1.0, 4.0, 0.25], [100.0, 0.0, 2.0]], np.float32)
    assert shown_detail(detail).tolist() == [[128, 255, 1], [255, 1, 192]]
    assert np.array_equal(shown_detail(detail[..., None]), shown_detail(detail))


def test_a_difference_is_shown_around_grey() -> None:
    detail = np.array([[[0.0, 0.5, -0.5], [1.0, -1.0, 0.25]]], np.float32)
    assert shown_detail(detail).tolist() == [[[128, 255, 1], [255, 1, 192]]]


@pytest.mark.parametrize("name", ["北" * 80, "Ж" * 120, "a/" * 200, "x/../../y", "b\\xfc", " "])
def test_pictures_are_kept_whatever_they_are_called(tmp_path: Path, name: str) -> None:
    for dataset in ("./" + "long folder/" * 40, "s3://bucket/a", name):
        file = picture_file(str(tmp_path), dataset, name, f"{name}.detail")
        assert Path(file).parent.parent == tmp_path
        write_picture(file, picture(8, 8, 0))
    assert len(list(tmp_path.iterdir())) == 3


def test_names_of_kept_pictures_are_apart() -> None:
    names = [picture_file("/root", "./my/pictures", p, "a/b") for p in ("x/y", "x%2Fy", "x y")]
    names += [
        picture_file("/root", "./my", "pictures/x/y", "a/b"),
        picture_file("/root", "./my/pictures", "x/y/a", "b"),
    ]
    assert len(set(names)) == 5


@pytest.mark.parametrize("lr_size", [(12, 17), (13, 18), (12, 18)])
def test_sides_of_a_stored_lr_may_be_rounded_down_or_up(tmp_path: Path, lr_size: tuple[int, int]) -> None:
    """As `prepare` takes them: 51 and 70 over 4 are 12.75 and 17.5."""
    write_picture(tmp_path / "a.png", picture(51, 70))
    write_picture(tmp_path / "small.png", picture(*lr_size, 1))
    lr, truth = read_pair(Source("a", str(tmp_path / "a.png"), {4: str(tmp_path / "small.png")}), 4)
    assert np.array_equal(lr, picture(*lr_size, 1)[:12, :17])
    assert np.array_equal(truth, picture(51, 70)[:48, :68])
