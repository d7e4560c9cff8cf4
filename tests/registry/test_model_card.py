"""What a card says, and what it leaves out."""

from __future__ import annotations

from typing import Any

import pytest

from acutance.evaluation.results import GROUND_TRUTH, Evaluation, Row
from acutance.models.model_file import build_network
from acutance.registry.card import DataSet, Facts, Training, model_card, shortened

NETWORK: dict[str, Any] = {"type": "rrdbnet", "blocks": 1, "channels": 8, "growth": 4, "scale": 4}
DESCRIPTION: dict[str, Any] = {
    "title": "Sharp",
    "scale": 4,
    "stage": "gan",
    "fingerprint": "0123456789abcdef",
    "network": NETWORK,
    "derive": {"lr_detail": {"type": "lgs", "of": "lr", "alpha": 4.0}},
    "notes": ["feature network: untrained"],
}
PSNR = {"a": 20.0, "b": 30.0, "c": 31.0}


def evaluation() -> Evaluation:
    rows = []
    for picture, value in PSNR.items():
        rows.append(Row("Set5", picture, "bicubic", {"psnr_y": value - 1, "niqe": None}))
        rows.append(Row("Set5", picture, "gan", {"psnr_y": value, "niqe": None}))
        rows.append(Row("Set5", picture, GROUND_TRUTH, {"niqe": None}))
    rows += [Row("One", "x", name, {"psnr_y": 25.0, "niqe": None}) for name in ("bicubic", "gan")]
    return Evaluation("y_crop4", 4, ("psnr_y", "niqe"), tuple(rows), {"niqe": "no parameter file"})


def facts() -> Facts:
    return Facts(
        paper={"title": "A Paper", "authors": "A. Author", "year": 2021},
        training=Training(
            data=DataSet("DIV2K", 800, "800 photographs", "research use only"),
            fingerprint="fedcba9876543210",
            samples=32_592,
            settings={"steps": 400_000, "batch": 16},
            starts={"main": "fidelity"},
        ),
        evaluation=evaluation(),
        candidate="gan",
        measured_on=(DataSet("Set5", 3, "benchmark", "cite it"), DataSet("One", 1)),
    )


def card(known: Facts) -> str:
    return model_card(
        "sr-x4", build_network(NETWORK), {**DESCRIPTION, "network": {**NETWORK, "taps": None}}, known, sheet=True
    )


@pytest.mark.parametrize(
    "text",
    [
        "# sr-x4\n\nSharp, x4.",
        "A. Author, *A Paper*, 2021",
        "- feature network: untrained\n",
        "Protocol `y_crop4`: Y of BT.601 studio range",
        "**Set5**, 3 pictures:",
        "| metric | this model | 95 % interval | bicubic | ground truth |",
        "| PSNR-Y dB ↑ | 27.00 | [20.00, 31.00] | 26.00 |  |",
        "**One**, 1 picture:",
        "| PSNR-Y dB ↑ | 25.00 | - | 25.00 |  |",
        "- NIQE is unavailable: no parameter file",
        "![held-out pictures, restored](sheet.png)",
        "rrdbnet (blocks=1, channels=8, growth=4, scale=4); 14,083 parameters",
        "- `lr_detail`, which it reads: lgs (of=lr, alpha=4.0)",
        "- stage: gan, fingerprint `0123456789abcdef`",
        "- pictures: DIV2K, 800 pictures: 800 photographs",
        "- data: 32,592 sub-images, fingerprint `fedcba9876543210`",
        "- training: steps 400000, batch 16",
        "- start: `main` from fidelity",
        "mlflow models serve -m models:/sr-x4@champion",
        "- trained on DIV2K: research use only",
        "- measured on Set5: cite it",
        "- measured on One: not stated",
    ],
)
def test_card_says(text: str) -> None:
    assert text in card(facts())


def test_interval_is_of_the_pictures_that_the_mean_runs_over() -> None:
    """Where bicubic has no value the mean leaves the picture out, and so does its interval."""
    whole = evaluation()
    rows = [
        Row(r.dataset, r.picture, r.candidate, {**r.metrics, "psnr_y": None})
        if (r.candidate, r.picture) == ("bicubic", "a")
        else r
        for r in whole.rows
    ]
    known = Facts(evaluation=Evaluation("y_crop4", 4, whole.metrics, tuple(rows), whole.unavailable), candidate="gan")
    assert "| PSNR-Y dB ↑ | 30.50 | [30.00, 31.00] | 29.50 |  |" in card(known)


def test_what_is_not_known_is_left_out() -> None:
    bare = model_card("sr-x4", build_network(NETWORK), {**DESCRIPTION, "derive": {}, "notes": []}, Facts())
    for absent in ("None", "Results", "sheet", "lr_detail", "pictures:", "training:", "After:", "untrained"):
        assert absent not in bare
    assert "14,083 parameters" in bare


def test_a_long_card_is_shortened_by_whole_sections() -> None:
    whole = card(facts())
    assert shortened(whole, 100_000) == whole.replace(
        "## Pictures\n\n![held-out pictures, restored](sheet.png)\n\n", ""
    )
    some = shortened(whole, 1200)
    assert len(some) <= 1200
    assert "## Results" in some
    assert "## Licences" not in some
    assert shortened(whole, 20) == ""
