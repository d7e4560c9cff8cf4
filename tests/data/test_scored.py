"""Scored pictures in the published layouts of AVA and TID2013, and the distributions of their scores."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from acutance.data.datasets import Catalogue, load_catalogue
from acutance.data.scored import distribution_of_counts, distribution_of_mos, read_ava, read_tid2013
from acutance.errors import ConfigError, DataError

REPOSITORY = Path(__file__).resolve().parents[2]
COUNTS = "0 1 5 17 38 36 15 6 5 1"
NAMES = ["I01_01_1.bmp", "i01_01_2.bmp", "i03_24_5.bmp", "I04_01_1.bmp", "i25_24_5.bmp"]


@pytest.fixture
def catalogue() -> Catalogue:
    return load_catalogue(REPOSITORY / "pipelines" / "datasets.yaml")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACUTANCE_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def ava(root: Path) -> Path:
    """Twelve lines and their pictures."""
    (root / "AVA" / "images").mkdir(parents=True)
    lines = [f"{index} {1000 - index} {COUNTS} 1 22 1396\n" for index in range(1, 13)]
    (root / "AVA" / "AVA.txt").write_text("".join(lines))
    for index in range(1, 13):
        (root / "AVA" / "images" / f"{1000 - index}.{'JPG' if index == 2 else 'jpg'}").touch()
    return root / "AVA"


@pytest.fixture
def tid(root: Path) -> Path:
    """Some distorted pictures; the list and the files disagree in case, as they do in the published ones."""
    folder = root / "TID2013"
    (folder / "distorted_images").mkdir(parents=True)
    (folder / "mos_with_names.txt").write_text("".join(f"{5 - n}.51429 {name}\r\n" for n, name in enumerate(NAMES)))
    (folder / "mos_std.txt").write_text("".join(f"0.1{n}\r\n" for n in range(len(NAMES))))
    for name in NAMES:
        other = name.replace(".bmp", ".BMP") if name.startswith("I") else name.replace("i", "I")
        (folder / "distorted_images" / other).touch()
    return folder


def phi(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2


def test_counts_become_shares() -> None:
    found = distribution_of_counts(0, 1, 5, 17, 38, 36, 15, 6, 5, 1)
    assert found == pytest.approx(
        [0, 1 / 124, 5 / 124, 17 / 124, 38 / 124, 36 / 124, 15 / 124, 6 / 124, 5 / 124, 1 / 124]
    )
    assert math.fsum(found) == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize("counts", [[0] * 10, [1] * 9, [1] * 11, [-1, *[1] * 9], [math.nan, *[1] * 9], [math.inf] * 10])
def test_other_counts_are_refused(counts: list[float]) -> None:
    with pytest.raises(ValueError, match="10 counts"):
        distribution_of_counts(*counts)


def test_a_mean_opinion_score_becomes_a_gaussian_in_bins() -> None:
    """By hand: of N(4, 1), bin 4 is Phi(0.5) - Phi(-0.5) = 0.382925, bins 3 and 5 0.241730, 2 and 6 0.060598."""
    found = distribution_of_mos(4, 1)
    assert found == pytest.approx(
        [0.000229, 0.005977, 0.060598, 0.241730, 0.382925, 0.241730, 0.060598, 0.005977, 0.000229, 0.0000034], abs=1e-5
    )
    assert math.fsum(found) == pytest.approx(1, abs=1e-15)


def test_bins_at_the_ends_are_scaled_to_one() -> None:
    """N(0, 1) has Phi(-0.5) = 0.308538 below bin 0; without it, bin 0 is 0.382925 / 0.691462."""
    assert distribution_of_mos(0, 1)[:2] == pytest.approx((0.382925 / 0.691462, 0.241730 / 0.691462), abs=2e-6)
    assert distribution_of_mos(9, 1) == pytest.approx(distribution_of_mos(0, 1)[::-1])


@pytest.mark.parametrize(
    ("mos", "bins"), [(2, {2: 1}), (2.4, {2: 1}), (2.5, {2: 0.5, 3: 0.5}), (0, {0: 1}), (9, {9: 1})]
)
def test_without_a_deviation_one_bin_has_all(mos: float, bins: dict[int, float]) -> None:
    assert distribution_of_mos(mos, 0) == pytest.approx([bins.get(j, 0) for j in range(10)])


def test_a_published_line_of_tid2013() -> None:
    """I01_01_1: 5.51429 +- 0.13013; nearly half of it on either side of 5.5."""
    share = phi((5.5 - 5.51429) / (0.13013 + 1e-10))
    assert distribution_of_mos(5.51429, 0.13013) == pytest.approx([0] * 5 + [share, 1 - share] + [0] * 3, abs=1e-12)


@pytest.mark.parametrize(("mos", "std"), [(-0.1, 1), (9.1, 1), (5, -1), (math.nan, 1), (5, math.inf)])
def test_other_scores_are_refused(mos: float, std: float) -> None:
    with pytest.raises(ValueError, match="mean opinion score"):
        distribution_of_mos(mos, std)


def test_ava_in_its_order_with_the_last_for_validation(ava: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = read_ava(str(ava), validation=4)
    assert [s.name for s in found] == [str(1000 - index) for index in range(1, 13)]
    assert [s.split for s in found] == ["train"] * 8 + ["val"] * 4
    assert found[1].path == str(ava / "images" / "998.JPG")
    assert found[0].distribution == distribution_of_counts(*map(int, COUNTS.split()))
    assert capsys.readouterr().err == ""


def test_a_picture_that_ava_lacks_is_told_and_moves_no_other(ava: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (ava / "images" / "989.jpg").unlink()
    found = read_ava(str(ava), validation=4)
    assert [s.split for s in found] == ["train"] * 8 + ["val"] * 3
    assert "1 of the 12 pictures that AVA.txt lists are absent" in capsys.readouterr().err
    (ava / "images" / "990.jpg").unlink()
    with pytest.raises(DataError, match="2 of the 12 pictures") as caught:
        read_ava(str(ava), validation=4)
    assert caught.value.where == str(ava / "images")


@pytest.mark.parametrize(
    ("content", "message", "where"),
    [
        (f"1 999 {COUNTS} 1 22\n", "14 columns, not 15", "AVA.txt:1"),
        (f"1 999 {COUNTS} 1 22 13\n\n2 998 {COUNTS[:-1]}x 1 22 13\n", "could not convert", "AVA.txt:3"),
        (f"1 999 {'0 ' * 10} 1 22 13\n", "not all 0", "AVA.txt:1"),
        (f"1 999 {COUNTS} 1 22 13\n", "lists 1 pictures; the last 1 are for validation", "AVA.txt"),
        ("\n", "is empty", "AVA.txt"),
        ("\xff", "cannot be read", "AVA.txt"),
    ],
)
def test_a_list_of_ava_that_is_cut_or_another_file(ava: Path, content: str, message: str, where: str) -> None:
    (ava / "AVA.txt").write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=message) as caught:
        read_ava(str(ava), validation=1 if "lists 1" in message else 0)
    assert caught.value.where == str(ava / where)


def test_tid2013_whatever_the_case_of_its_names(tid: Path) -> None:
    found = read_tid2013(str(tid))
    assert [s.name for s in found] == ["i01_01_1", "i01_01_2", "i03_24_5", "i04_01_1", "i25_24_5"]
    assert [Path(s.path).name for s in found][:2] == ["I01_01_1.BMP", "I01_01_2.bmp"]
    assert [s.split for s in found] == ["val", "val", "val", "train", "train"]
    for n, scored in enumerate(found):
        assert scored.distribution == pytest.approx(distribution_of_mos(5.51429 - n, 0.1 + n / 100), abs=1e-12)


def test_tid2013_without_a_picture(tid: Path) -> None:
    (tid / "distorted_images" / "I03_24_5.bmp").unlink()
    with pytest.raises(DataError, match=r"1 of 5 distorted pictures are missing, the first i03_24_5\.bmp") as caught:
        read_tid2013(str(tid))
    assert caught.value.where == str(tid / "distorted_images")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("mos_std.txt", "0.1\n" * 4, "mos_std.txt has 4 lines, mos_with_names.txt has 5"),
        ("mos_std.txt", "0.1\n" * 4 + "-0.1\n", "holds no scores"),
        ("mos_std.txt", "0.1 2\n" * 5, "2 columns, not 1"),
        ("mos_with_names.txt", "0.1\n" * 5, "1 columns, not 2"),
        ("mos_with_names.txt", "5.5 other.bmp\n" * 5, "missing, the first other.bmp"),
        ("mos_with_names.txt", "95.5 i01_01_1.bmp\n" * 5, "0 to 9"),
    ],
)
def test_lists_of_tid2013_that_are_not_whole(tid: Path, file: str, content: str, message: str) -> None:
    (tid / file).write_text(content)
    with pytest.raises(DataError, match=message):
        read_tid2013(str(tid))


def test_a_name_of_another_data_set_is_not_one_of_tid2013(tid: Path) -> None:
    (tid / "mos_with_names.txt").write_text("5.5 other.bmp\n" * 5)
    (tid / "distorted_images" / "other.bmp").touch()
    with pytest.raises(DataError, match="no name of a distorted picture") as caught:
        read_tid2013(str(tid))
    assert str(caught.value.where).endswith("mos_with_names.txt:1")


def test_the_catalogue_knows_both(catalogue: Catalogue, root: Path, tid: Path) -> None:
    assert [s.name for s in catalogue.scored("TID2013")][-1] == "i25_24_5"
    assert catalogue.count("TID2013") == 5
    assert catalogue.scored(str(tid)) == catalogue.scored("TID2013")  # any folder in that layout
    with pytest.raises(DataError, match=r"there is no AVA\.txt") as caught:
        catalogue.scored("AVA")
    assert caught.value.where == str(root / "AVA" / "AVA.txt")
    assert "ava_downloader" in str(caught.value.fix)
    (root / "AVA").mkdir()
    (root / "AVA" / "AVA.txt").write_text(f"1 999 {COUNTS} 1 22 1396\n" * 5001)
    with pytest.raises(DataError, match="there is no such folder") as caught:
        catalogue.scored("AVA")
    assert caught.value.where == str(root / "AVA" / "images")


def test_scored_pictures_are_not_pictures_to_restore(catalogue: Catalogue, root: Path) -> None:
    with pytest.raises(ConfigError, match=r"TID2013 is a dataset of scored pictures \(tid2013\), not of pictures to"):
        catalogue.find("TID2013")
    with pytest.raises(ConfigError, match=r"Set5 is a dataset of pictures to restore .*, not of scored pictures"):
        catalogue.scored("Set5")
    with pytest.raises(ConfigError, match="did you mean 'TID2013'"):
        catalogue.scored("TID2014")
    with pytest.raises(DataError, match=r"no scored pictures in a known layout \(ava, tid2013\)") as caught:
        catalogue.scored(str(root))
    assert caught.value.where == str(root)
