from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from rich.console import Console

from acutance.evaluation.report import csv_text, markdown, notes, table
from acutance.evaluation.results import GROUND_TRUTH, Evaluation, Row

METRICS = ("psnr_y", "ssim_y", "niqe", "lpips_squeeze", "high_frequency")


def row(dataset: str, picture: str, candidate: str, *values: float | None) -> Row:
    if candidate == GROUND_TRUTH:
        return Row(dataset, picture, candidate, {"niqe": values[0], "high_frequency": values[1]})
    return Row(dataset, picture, candidate, dict(zip(METRICS, values, strict=True)))


def found(datasets: tuple[str, ...] = ("held out",), pictures: int = 2) -> Evaluation:
    rows = []
    for dataset in datasets:
        for index in range(pictures):
            rows += [
                row(dataset, f"p{index}", "bicubic", 25.0 + index, 0.7, 7.5, None, 2.0),
                row(dataset, f"p{index}", "fidelity", 27.004 + index, 0.8, 6.5, None, 9.0),
                row(dataset, f"p{index}", "GAN", 27.003 + index, 0.75, 4.5, None, 12.0),
                row(dataset, f"p{index}", GROUND_TRUTH, 3.5, 10.0),
            ]
    unavailable = {"lpips_squeeze": "the file squeezenet1_1-b8a52dc0.pth is not here; put it somewhere"}
    return Evaluation("y_crop4", 4, METRICS, tuple(rows), unavailable)


def printed(evaluation: Evaluation, width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(table(evaluation))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_every_picture_the_mean_and_the_word_unavailable_are_printed() -> None:
    text = printed(found())
    lines = {line[:19].strip(): line for line in text.splitlines()}
    assert text.count("unavailable") == 2 * 3 + 3 + 1
    assert "p0         bicubic" in text
    assert "mean of 2" in text
    assert "27.50" in text
    assert "squeezenet1_1-b8a52dc0.pth is not here" in " ".join(text.split())
    assert "GAN" in lines
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100


def test_the_truth_has_only_the_values_that_need_no_truth() -> None:
    truth = next(line for line in printed(found()).splitlines() if GROUND_TRUTH in line)
    assert truth.split() == ["ground", "truth", "3.50", "10.00"]


def test_the_best_is_marked_and_what_reads_the_same_with_it() -> None:
    lines = [line.split("|")[2:-1] for line in markdown(found(pictures=1)).splitlines()[2:6]]
    cells = {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines}
    assert cells["bicubic"] == ["25.00", "0.7000", "7.50", "unavailable", "2.00"]
    assert cells["fidelity"] == ["**27.00**", "**0.8000**", "6.50", "unavailable", "**9.00**"]
    assert cells["GAN"] == ["**27.00**", "0.7500", "**4.50**", "unavailable", "12.00"]
    assert cells[GROUND_TRUTH] == ["", "", "3.50", "", "10.00"]


def test_several_data_sets_are_told_apart() -> None:
    text = printed(found(("Set5", "Set14")))
    assert "Set14: p1" in text
    assert "mean of 2 of Set5" in text


def test_of_many_pictures_only_the_means_are_printed() -> None:
    text = printed(found(pictures=21))
    assert "mean of 21" in text
    assert "p0" not in text


def test_names_are_printed_as_they_are() -> None:
    evaluation = found(pictures=1)
    rows = tuple(replace(r, picture="[red]roses[/red]") for r in evaluation.rows)
    assert "[red]roses[/red]" in printed(replace(evaluation, rows=rows), width=140)


def test_a_missing_value_is_a_dash_and_its_reason_a_note() -> None:
    evaluation = found()
    first = replace(
        evaluation.rows[0],
        metrics={**evaluation.rows[0].metrics, "niqe": None},
        reasons={"niqe": "two blocks are needed"},
    )
    evaluation = replace(evaluation, rows=(first, *evaluation.rows[1:]))
    line = next(line for line in printed(evaluation).splitlines() if "bicubic" in line)
    assert line.split()[4] == "-"
    assert any("leaves out p0: two blocks are needed" in note for note in notes(evaluation))


@pytest.mark.parametrize("pictures", [1, 21])
def test_csv_has_every_value_unrounded(pictures: int) -> None:
    lines = list(csv.DictReader(io.StringIO(csv_text(found(pictures=pictures)))))
    assert len(lines) == pictures * 4
    assert float(lines[1]["psnr_y"]) == 27.004
    assert lines[1]["lpips_squeeze"] == "unavailable"
    assert lines[3]["candidate"] == GROUND_TRUTH
    assert lines[3]["psnr_y"] == ""


def test_the_bytes_of_a_whole_data_set_are_told_where_they_were_measured() -> None:
    sizes = {"bicubic": [1.5e6, 2e6], "GAN": [2e6, 3.125e6], GROUND_TRUTH: [4e6, 4e6]}
    rows = [
        Row("Set5", f"p{index}", name, {"compressed_size": size})
        for name, own in sizes.items()
        for index, size in enumerate(own)
    ]
    told = notes(Evaluation("wdsr", 2, ("compressed_size",), tuple(rows)))
    assert told[1:] == ["PNG files of all of Set5: bicubic 3.50 MB, GAN 5.12 MB, ground truth 8.00 MB"]
    assert not any("PNG" in note for note in notes(found()))
