"""Distorted pictures with scores, made of real ones: the layout, the order of the scores, whole or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch

from acutance.data import distorted
from acutance.data.datasets import Catalogue, load_catalogue
from acutance.data.distorted import DISTORTIONS, distort, opinion
from acutance.data.folders import Source
from acutance.data.pictures import read_picture, write_picture
from acutance.data.scored import read_tid2013
from acutance.errors import ConfigError, DataError

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    """Six parts of photographs, one of them too small."""
    folder = tmp_path_factory.mktemp("pictures")
    whole = [skimage.data.astronaut(), skimage.data.coffee()]
    parts = [picture[top : top + 260, left : left + 390] for picture in whole for top, left in ((0, 0), (130, 90))]
    parts = [parts[0][:100], *parts, whole[0][100:360, 60:450]]
    for number, part in enumerate(parts):
        write_picture(folder / f"{number}.png", part)
    return [Source(str(number), str(folder / f"{number}.png")) for number in range(len(parts))]


@pytest.fixture(scope="module")
def made(sources: list[Source], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set of five references."""
    folder = tmp_path_factory.mktemp("made") / "tid-like"
    assert distort(sources, folder, references=5).fresh
    return folder


@pytest.fixture(scope="module")
def scores(made: Path) -> np.ndarray:
    """Of each reference, distortion and level."""
    lines = (made / "mos_with_names.txt").read_text().splitlines()
    return np.array([float(line.split()[0]) for line in lines]).reshape(5, len(DISTORTIONS), 5)


def test_the_reader_of_tid2013_reads_it(made: Path) -> None:
    found = read_tid2013(str(made))
    assert len(found) == 5 * len(DISTORTIONS) * 5
    assert [scored.split for scored in found] == ["val"] * 90 + ["train"] * 60
    assert found[0].name == "i01_01_1"
    assert read_picture(found[-1].path).shape == (256, 384, 3)


def test_stronger_distortions_have_lower_scores(scores: np.ndarray) -> None:
    assert (np.diff(scores, axis=2) < 0).all()
    assert scores.min() < 3
    assert scores.max() > 8


def test_references_are_the_pictures_centres_and_score_nine(made: Path, sources: list[Source]) -> None:
    reference = read_picture(made / "reference_images" / "I01.BMP")
    np.testing.assert_array_equal(reference, read_picture(sources[1].path)[2:258, 3:387])
    tensor = torch.from_numpy(reference.copy()).movedim(-1, 0)
    assert opinion(tensor, tensor) == 9


def test_the_same_pictures_make_the_same_files(
    made: Path, sources: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distorted, "DISTORTIONS", {"noise": DISTORTIONS["noise"]})
    again = [distort(sources, tmp_path / name, references=5) for name in ("a", "b")]
    assert [each.fresh for each in again] == [True, True]
    for file in ("i05_01_1.bmp", "i02_01_5.bmp"):
        content = [
            (folder / "distorted_images" / file).read_bytes() for folder in (made, tmp_path / "a", tmp_path / "b")
        ]
        assert content[0] == content[1] == content[2]


def test_what_is_there_is_not_made_again(made: Path, sources: list[Source]) -> None:
    before = (made / "mos_with_names.txt").stat().st_mtime_ns
    assert not distort(sources, made, references=5).fresh
    assert (made / "mos_with_names.txt").stat().st_mtime_ns == before


def test_what_is_something_else_stays_as_it_is(made: Path, sources: list[Source], tmp_path: Path) -> None:
    (tmp_path / "TID2013").mkdir()
    (tmp_path / "TID2013" / "mos_with_names.txt").write_text("5.51429 I01_01_1.bmp\n")
    with pytest.raises(DataError, match="something else"):
        distort(sources, tmp_path / "TID2013", references=5)
    assert (tmp_path / "TID2013" / "mos_with_names.txt").read_text() == "5.51429 I01_01_1.bmp\n"
    with pytest.raises(DataError, match="something else"):  # of other pictures
        distort(list(reversed(sources)), made, references=5)


def test_a_run_that_was_cut_short_leaves_nothing_to_be_read(
    sources: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(done: int, _: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(distorted, "DISTORTIONS", {"blur": DISTORTIONS["blur"]})
    (tmp_path / ".set.unfinished" / "distorted_images").mkdir(parents=True)  # of one that was killed
    with pytest.raises(KeyboardInterrupt):
        distort(sources, tmp_path / "set", references=5, on_progress=interrupted)
    assert list(tmp_path.iterdir()) == []
    assert distort(sources, tmp_path / "set", references=5).pictures == 25
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize(("references", "error"), [(4, ConfigError), (100, ConfigError), (6, DataError)])
def test_too_few_and_too_many_references(
    references: int, error: type[Exception], sources: list[Source], tmp_path: Path
) -> None:
    with pytest.raises(error):
        distort(sources, tmp_path / "set", references=references)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_cannot_be_read_is_left_out(
    sources: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.png").write_bytes(b"nothing")
    monkeypatch.setattr(distorted, "DISTORTIONS", {})
    distort([Source("bad", str(tmp_path / "bad.png")), *sources], tmp_path / "set", references=5)
    about = json.loads((tmp_path / "set" / "synthetic.json").read_text())
    assert [name for name, _ in about["references"]] == ["1", "2", "3", "4", "5"]


def test_scores_that_are_no_peoples_say_so(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue: Catalogue = load_catalogue(REPOSITORY / "pipelines" / "datasets.yaml")
    assert catalogue.notes(str(made)) == ("scores: synthetic",)
    monkeypatch.setenv("ACUTANCE_DATA", str(tmp_path))
    assert catalogue.notes("TID2013") == ()
    shutil.copytree(made, tmp_path / "TID2013")
    assert catalogue.notes("TID2013") == ("scores: synthetic",)
    assert catalogue.notes("photographs_train") == ()
