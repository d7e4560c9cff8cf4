from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_for_evaluation import picture

from acutance.data.pictures import read_picture, write_picture
from acutance.errors import DataError
from acutance.evaluation import sheet as sheets
from acutance.evaluation.pictures import bicubic, picture_file, shown_detail
from acutance.evaluation.results import GROUND_TRUTH, Evaluation, Row
from acutance.evaluation.sheet import GAP, LINE, MARGIN, picture_sheet, sharpest, strips_of
from acutance.evaluation.spectrograms import WIDTH, spectrogram_sheet


def kept(folder: Path, sizes: list[tuple[int, int]], *, detail: bool = True) -> Evaluation:
    """What an evaluation keeps: LR, two candidates, the truth, a detail layer of the second."""
    rows = []
    for index, (height, width) in enumerate(sizes):
        name = f"picture_{index}"
        truth = picture(height, width, index)
        lr = truth[2::4, 2::4]
        made = {"lr": lr, "bicubic": bicubic(lr, 4), "gan": truth[::-1], GROUND_TRUTH: truth}
        if detail:
            made["gan.detail"] = shown_detail(truth[..., 0] / 128)
        for file, pixels in made.items():
            write_picture(picture_file(str(folder), "made", name, file), np.ascontiguousarray(pixels))
        rows += [Row("made", name, candidate, {"psnr_y": 25.0}) for candidate in ("bicubic", "gan")]
        rows.append(Row("made", name, GROUND_TRUTH, {}))
    return Evaluation("y_crop4", 4, ("psnr_y",), tuple(rows))


def test_columns_and_captions(tmp_path: Path) -> None:
    (strip,) = strips_of(kept(tmp_path, [(96, 120)]), str(tmp_path))
    assert [p.heading for p in strip.panels] == ["LR", "bicubic", "gan", GROUND_TRUTH, "detail layer"]
    captions = [p.caption for p in strip.panels]
    assert captions == ["30 x 24 pixels", "PSNR-Y 25.00 dB", "PSNR-Y 25.00 dB", "120 x 96 pixels", "of gan"]


def test_without_a_detail_layer_there_is_no_such_column(tmp_path: Path) -> None:
    (strip,) = strips_of(kept(tmp_path, [(96, 120)], detail=False), str(tmp_path))
    assert [p.heading for p in strip.panels] == ["LR", "bicubic", "gan", GROUND_TRUTH]


@pytest.mark.parametrize("sizes", [[(8, 8)], [(40, 400)], [(96, 120), (300, 200), (512, 512)]])
def test_a_sheet_of_pictures_of_any_size_is_written(tmp_path: Path, sizes: list[tuple[int, int]]) -> None:
    strips = strips_of(kept(tmp_path, sizes), str(tmp_path))
    picture_sheet(str(tmp_path / "sheet.png"), strips, title="A title")
    sheet = read_picture(tmp_path / "sheet.png")
    assert sheet.shape[1] > 5 * 240
    assert sheet.std() > 20
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ""] == ["sheet.png"]


def test_the_enlarged_part_shows_the_pixels_of_the_truth(tmp_path: Path) -> None:
    evaluation = kept(tmp_path, [(160, 160)])
    strips = strips_of(evaluation, str(tmp_path))
    picture_sheet(str(tmp_path / "sheet.png"), strips, title="A title")
    row, column = strips[0].region
    truth = read_picture(picture_file(str(tmp_path), "made", "picture_0", GROUND_TRUTH))
    part = truth[row - 40 : row + 40, column - 40 : column + 40].repeat(3, 0).repeat(3, 1)
    sheet = read_picture(tmp_path / "sheet.png")
    left = 28 + 3 * 250
    window = np.lib.stride_tricks.sliding_window_view(sheet[:, left : left + 240], (240, 240, 3))
    assert (window == part).all(axis=(-1, -2, -3)).any()


def test_a_sheet_whose_file_would_be_too_large_gets_narrower_panels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, generator = str(tmp_path), np.random.default_rng(0)
    evaluation = kept(tmp_path, [(120, 120)], detail=False)
    for file in ("bicubic", "gan", GROUND_TRUTH):
        noise = generator.integers(0, 256, (120, 120, 3), dtype=np.uint8)
        write_picture(picture_file(folder, "made", "picture_0", file), noise)
    strips = strips_of(evaluation, folder)
    picture_sheet(str(tmp_path / "whole.png"), strips, title="Noise")
    whole = (tmp_path / "whole.png").stat().st_size
    monkeypatch.setattr(sheets, "LARGEST_FILE", whole - 1)
    picture_sheet(str(tmp_path / "sheet.png"), strips, title="Noise")
    assert (tmp_path / "sheet.png").stat().st_size < whole
    assert read_picture(tmp_path / "sheet.png").shape[1] < read_picture(tmp_path / "whole.png").shape[1]


def test_of_many_pictures_some_are_shown(tmp_path: Path) -> None:
    assert 4 <= len(strips_of(kept(tmp_path, [(32, 32)] * 10, detail=False), str(tmp_path))) <= 8


def test_the_enlarged_part_is_where_the_detail_is() -> None:
    truth = np.full((200, 300, 3), 128, np.uint8)
    truth[120:160, 200:240] = np.random.default_rng(0).integers(0, 256, (40, 40, 3))
    row, column = sharpest(truth, 60)
    assert abs(row - 140) <= 12
    assert abs(column - 220) <= 12
    truth[:] = 128
    truth[:4, :4] = np.random.default_rng(0).integers(0, 256, (4, 4, 3))
    assert sharpest(truth, 60) == (30, 30)
    assert sharpest(truth[:50], 60) == (25, 150)


def test_pictures_that_were_not_kept_are_missed_by_name(tmp_path: Path) -> None:
    evaluation = kept(tmp_path, [(96, 120)])
    Path(picture_file(str(tmp_path), "made", "picture_0", "gan")).unlink()
    with pytest.raises(DataError, match=r"gan-\w+\.png"):
        strips_of(evaluation, str(tmp_path))


def test_spectrograms_show_what_blur_takes_away(tmp_path: Path) -> None:
    strips = strips_of(kept(tmp_path, [(96, 120), (64, 64)]), str(tmp_path))
    spectrogram_sheet(str(tmp_path / "spectrograms.png"), strips, title="A title")
    sheet = read_picture(tmp_path / "spectrograms.png").astype(float)
    top, width = MARGIN + 6 * LINE + 2, WIDTH + GAP
    bicubic_row, truth = (sheet[top : top + WIDTH, MARGIN + i * width :][:, :WIDTH] for i in (0, 2))
    centre, corner = slice(WIDTH // 2 - 20, WIDTH // 2 + 20), slice(0, 10)
    assert bicubic_row[centre, centre].mean() < truth[centre, centre].mean() - 20
    assert bicubic_row[corner, corner].mean() > bicubic_row[centre, centre].mean()
