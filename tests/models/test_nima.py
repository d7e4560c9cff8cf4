"""NIMA: parameters, what it returns, what terms see of it, where its trunk starts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision

from acutance.errors import ConfigError, WeightsError
from acutance.models.features import DEVIATION, MEAN
from acutance.models.nima import NIMA, mean_score


def picture() -> torch.Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_parameters_are_those_of_mobilenet_and_one_layer() -> None:
    with torch.device("meta"):
        network = NIMA()
    assert sum(p.numel() for p in network.trunk.parameters()) == 2_223_872
    assert sum(p.numel() for p in network.linear.parameters()) == 12_810


def test_the_shares_of_ten_scores_add_up() -> None:
    torch.manual_seed(0)
    shares = NIMA(weights="none").eval()(picture())["distribution"]
    assert shares.shape == (2, 10)
    torch.testing.assert_close(shares.sum(1), torch.ones(2))
    assert (shares > 0).all()


def test_the_new_layer_starts_by_glorot_uniform() -> None:
    torch.manual_seed(0)
    layer = NIMA(weights="none").linear
    reach = (6 / (1280 + 10)) ** 0.5
    assert layer.weight.abs().max().item() == pytest.approx(reach, rel=0.01)
    assert layer.weight.std().item() == pytest.approx(reach / 3**0.5, rel=0.02)
    assert not layer.bias.any()


def test_the_mean_score_of_known_shares() -> None:
    shares = torch.zeros(3, 10)
    shares[0, 0] = shares[1, 9] = 1
    shares[2, 3] = shares[2, 6] = 0.5
    torch.testing.assert_close(mean_score(shares), torch.tensor([1.0, 10.0, 5.5]))


def test_score_and_representation_are_those_of_the_distribution() -> None:
    torch.manual_seed(0)
    network = NIMA(weights="none").eval()
    found = network.features(picture(), ("score", "representation"))
    assert found["representation"].shape == (2, 1280)
    shares = network.linear(found["representation"]).softmax(1)
    torch.testing.assert_close(shares, network(picture())["distribution"])
    torch.testing.assert_close(found["score"], mean_score(shares))
    with pytest.raises(ConfigError, match=r"no layer 'scores'.*did you mean 'score'"):
        network.features(picture(), ("scores",))


def test_the_trunk_starts_from_torchvisions_file(tmp_path: Path) -> None:
    torch.manual_seed(1)
    theirs = torchvision.models.mobilenet_v2(weights=None, num_classes=2).eval()
    torch.save(theirs.state_dict(), tmp_path / NIMA.file)
    network = NIMA().eval()
    network.fill(tmp_path / NIMA.file)
    normalised = (picture() - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)
    expected = theirs.features(normalised).mean((2, 3))
    torch.testing.assert_close(network.features(picture(), ("representation",))["representation"], expected)
    (tmp_path / NIMA.file).write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="MobileNetV2"):
        network.fill(tmp_path / NIMA.file)


def test_how_pictures_are_normalised_travels_with_the_weights() -> None:
    assert {"mean", "deviation"} <= NIMA(weights="none").state_dict().keys()
