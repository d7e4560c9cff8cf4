"""Ma's forests, linear map and parameter file, and the perceptual index.

The authors' file is too large to be here: forests that scikit-learn has grown stand in for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_for_evaluation import picture
from made_for_ma import cells, grown_forests, made_fields
from scipy.io import savemat
from sklearn.ensemble import RandomForestRegressor

from acutance.config.metrics import PROTOCOLS
from acutance.errors import WeightsError
from acutance.evaluation.ma import ma, perceptual_index
from acutance.evaluation.ma.features import features
from acutance.evaluation.ma.forest import predict
from acutance.evaluation.ma.model_file import FEATURES, stored_model
from acutance.evaluation.niqe import niqe
from acutance.evaluation.unmeasurable import Unmeasurable
from free_pictures import ORACLES


@pytest.fixture(scope="module")
def grown() -> list[RandomForestRegressor]:
    return grown_forests()


@pytest.fixture
def fields(grown: list[RandomForestRegressor]) -> dict[str, Any]:
    return made_fields(grown)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], Path]:
    """Writes fields as a `model.mat` where it will be found."""
    monkeypatch.setenv("ACUTANCE_WEIGHTS", str(tmp_path))

    def write(fields: dict[str, Any]) -> Path:
        savemat(tmp_path / "model.mat", {"model": fields}, do_compression=True, oned_as="column")
        return tmp_path / "model.mat"

    return write


def plane() -> np.ndarray:
    return PROTOCOLS["y_crop4"].plane(picture(108, 131), 4)


def test_forests_predict_what_scikit_learn_predicts(
    grown: list[RandomForestRegressor], fields: dict[str, Any], store: Callable[[dict[str, Any]], Path]
) -> None:
    model = stored_model(store(fields))
    random = np.random.default_rng(1)
    for theirs, ours, count in zip(grown, model.forests, FEATURES.values(), strict=True):
        seen = random.standard_normal((40, count)).astype(np.float32)
        # a value that equals a threshold goes left
        tree = theirs.estimators_[0].tree_
        seen[0, tree.feature[0]] = tree.threshold[0]
        predicted = [predict(ours, one.astype(np.float64)) for one in seen]
        np.testing.assert_allclose(predicted, theirs.predict(seen), rtol=1e-12)
        assert np.std(predicted) > 0.1


def test_what_equals_a_threshold_goes_left(fields: dict[str, Any], store: Callable[[dict[str, Any]], Path]) -> None:
    """One tree of a root and two leaves, asking for feature 3."""
    stump = {
        "lDau": np.array([[2], [0], [0]]),
        "rDau": np.array([[3], [0], [0]]),
        "mbest": np.array([[3], [0], [0]]),
        "upper": np.array([[0.5], [0], [0]]),
        "avnode": np.array([[9.0], [1.0], [2.0]]),
    }
    fields["rf"][0, 0] = stump
    forest = stored_model(store(fields)).forests[0]
    for value, predicted in ((0.5, 1), (np.nextafter(0.5, 1), 2), (-9, 1)):
        assert predict(forest, np.array([7, -7, value, 7, *[0] * 14])) == predicted


def test_the_score_is_the_linear_map_of_the_three(
    grown: list[RandomForestRegressor], fields: dict[str, Any], store: Callable[[dict[str, Any]], Path]
) -> None:
    store(fields)
    seen = [family[None] for family in features(plane())]
    scores = [float(forest.predict(family)[0]) for forest, family in zip(grown, seen, strict=True)]
    assert ma(plane()) == pytest.approx(-1.5 + 0.4 * scores[0] + 0.5 * scores[1] + 0.3 * scores[2], abs=1e-6)
    assert len(set(scores)) == 3


def test_a_row_of_forests_is_read_as_well_and_a_correction_of_bias_applied(
    fields: dict[str, Any], store: Callable[[dict[str, Any]], Path], tmp_path: Path
) -> None:
    plain = stored_model(store(fields))
    fields["rf"] = fields["rf"].T
    fields["rf"][0, 1]["coef"] = np.array([[0.25], [2.0]])
    corrected = stored_model(store(fields).rename(tmp_path / "corrected.mat"))
    seen = np.zeros(45)
    assert predict(corrected.forests[1], seen) == pytest.approx(0.25 + 2 * predict(plain.forests[1], seen))
    np.testing.assert_array_equal(corrected.forests[2].value, plain.forests[2].value)


def spoil(fields: dict[str, Any], field: str, value: Any) -> dict[str, Any]:
    """The second forest with one of its fields changed."""
    first, second, third = fields["rf"].ravel()
    return {**fields, "rf": cells([first, {**second, field: value(second[field])}, third])}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda f: {"linear": f["linear"]}, "not a structure with rf"),
        (lambda f: {**f, "linear": f["linear"][:3]}, "linear is not 4 numbers"),
        (lambda f: {**f, "linear": f["linear"] * np.nan}, "linear is not 4 numbers"),
        (lambda f: {**f, "rf": f["rf"][:2]}, "not a cell array of 3 forests"),
        (lambda f: {**f, "rf": 1.0}, "not a cell array of 3 forests"),
        (lambda f: {**f, "rf": f["rf"][::-1]}, "forest of local frequency has nodes that are none, of 18"),
        (lambda f: spoil(f, "upper", lambda upper: upper[:-1]), "forest of global frequency does not have .* of one"),
        (lambda f: spoil(f, "mbest", lambda best: best * 0), "forest of global frequency has nodes that are none"),
        (lambda f: spoil(f, "rDau", lambda right: np.minimum(right, 1)), "forest of global frequency has nodes"),
        (lambda f: spoil(f, "lDau", lambda left: left.astype(str)), "does not hold the parameters"),
        (lambda f: spoil(f, "avnode", lambda mean: mean + np.inf), "forest of global frequency has nodes"),
    ],
)
def test_another_file_is_named_with_what_is_wrong(
    wrong: Callable[[dict[str, Any]], dict[str, Any]],
    said: str,
    fields: dict[str, Any],
    store: Callable[[dict[str, Any]], Path],
) -> None:
    path = store(wrong(fields))
    with pytest.raises(WeightsError, match=said) as caught:
        ma(plane())
    assert caught.value.where == str(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "does not hold the parameters"),
        (b"version https://git-lfs.github.com/spec/v1\n" * 30, "does not hold the parameters"),
        (b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n", r"v7\.3 \(HDF5\)"),
        (b"\x89HDF\r\n\x1a\n" + bytes(600), r"v7\.3 \(HDF5\)"),
    ],
)
def test_a_file_of_another_kind_is_named(
    content: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.mat").write_bytes(content)
    monkeypatch.setenv("ACUTANCE_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=said) as caught:
        ma(plane())
    assert caught.value.where == str(tmp_path / "model.mat")


def test_a_file_that_was_cut_is_named(fields: dict[str, Any], store: Callable[[dict[str, Any]], Path]) -> None:
    path = store(fields)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(WeightsError, match="does not hold the parameters"):
        ma(plane())


def test_a_file_of_other_variables_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    savemat(tmp_path / "model.mat", {"mu_prisparam": np.zeros(36)})
    monkeypatch.setenv("ACUTANCE_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match="model"):
        ma(plane())


def test_the_file_is_read_once(fields: dict[str, Any], store: Callable[[dict[str, Any]], Path]) -> None:
    path = store(fields)
    assert stored_model(path) is stored_model(path)


@pytest.mark.usefixtures("no_weights")
def test_without_the_file_it_says_where_it_is_published() -> None:
    with pytest.raises(WeightsError, match=r"chaoma99/sr-metric"):
        ma(plane())


def test_the_perceptual_index_is_half_of_what_ma_lacks_of_ten_and_niqe(
    fields: dict[str, Any], store: Callable[[dict[str, Any]], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store({**fields, "linear": np.array([[7.0], [0], [0], [0]])})
    monkeypatch.setenv("ACUTANCE_WEIGHTS", os.pathsep.join([str(path.parent), str(ORACLES)]))
    large = PROTOCOLS["y_crop4"].plane(picture(200, 208), 4)
    assert perceptual_index(large) == pytest.approx((3 + niqe(large)) / 2)
    with pytest.raises(Unmeasurable, match="two blocks"):
        perceptual_index(plane())
