from __future__ import annotations

import io
import math
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_for_tuning import campaign_of
from made_up_campaigns import ASHA, LPIPS, PSNR, RATE, TWO, WEIGHT, played
from PIL import Image

from acutance.config.search_space import Campaign, Point
from acutance.data.datasets import Source
from acutance.data.pictures import write_picture
from acutance.models.model_file import build_network, save_model
from acutance.tuning.report.derived_studies import study_of
from acutance.tuning.report.plots import importance_picture, pareto_picture
from acutance.tuning.report.record import Record
from acutance.tuning.report.study_link import dashboard_command, yaml_text
from acutance.tuning.report.write import write_report
from acutance.tuning.study import trial_records
from acutance.tuning.tables import measured_table

VOID = {"meta", "img", "br"}
FIGURES = {"pareto.png", "curves.png", "history.png", "parallel.png", "importances.png", "sheet.png"}
NETWORK = {"type": "rrdbnet", "blocks": 1, "channels": 4, "growth": 2, "skip": "bicubic"}
DESCRIPTION = {"network": NETWORK, "scale": 4, "stage": "gan", "fingerprint": "0" * 16, "title": "t"}


class Page(HTMLParser):
    """Checks that every tag is closed in its turn; keeps text, tags and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Source]]:
    folder = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(0)
    for name in "abc":
        smooth = np.repeat(np.repeat(draw.integers(0, 255, (20, 24, 3)), 8, 0), 8, 1).astype(np.uint8)
        write_picture(folder / f"{name}.png", smooth)
    return {"Set5": [Source(name, str(folder / f"{name}.png")) for name in "abc"]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    path = str(tmp_path_factory.mktemp("model") / "model.safetensors")
    save_model(path, build_network(NETWORK), {**DESCRIPTION, "notes": []})
    return path


Reported = Callable[..., tuple[Page, set[str]]]


@pytest.fixture
def reported(tmp_path: Path, pictures: dict[str, list[Source]], model: str) -> Reported:
    def report(campaign: Campaign, address: str = "sqlite:////data/studies.db", **how: Any) -> tuple[Page, set[str]]:
        study, search = played(campaign, **{"model": model, **how})
        known, table = trial_records(study), search.table
        measured = measured_table(table, campaign.tables[table], known) if table else None
        files = write_report(
            Record("a-study", "/out puts", search, known, address, "run-id", pictures, measured), tmp_path
        )
        assert all(file.parent == tmp_path for file in files)
        return Page((tmp_path / "report.html").read_text()), {file.name for file in files}

    return report


def two(**changes: Any) -> Campaign:
    content = {"parameters": TWO, "objectives": [PSNR, LPIPS], "scheduler": ASHA, "budget": {"trials": 12}}
    return campaign_of(**{**content, **changes})


def test_a_search_ends_with_a_page_that_holds_everything(reported: Reported, tmp_path: Path) -> None:
    campaign = two(title="Perception", profile="smoke", overrides={"stages.gan.batch": [1, 2]})
    page, files = reported(campaign, failing=lambda number: number == 5)
    assert files == FIGURES | {"report.html"}
    for name in FIGURES:
        assert np.asarray(Image.open(tmp_path / name).convert("L")).std() > 1
    sources = [attributes["src"] or "" for tag, attributes in page.tags if tag == "img"]
    assert len(sources) == len(FIGURES)
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert all(attributes["alt"] for tag, attributes in page.tags if tag == "img")
    assert not [tag for tag, attributes in page.tags if tag in ("script", "link", "iframe") or "href" in attributes]
    for said in (
        "12 of 12trials",
        "1failed",
        "the loss is not finite at step 12: adversarial",
        "place 2 of 3 at step 20; 1 went on",
        "They trained",
        "From 4 trials these shares are a rough guess.",
        "optuna-dashboard sqlite:////data/studies.db",
        "--profile smoke --from-trial a-study/",
        "--storage '/out puts' 'stages.gan.batch=[1, 2]'",
        "run-id",
        "first_rung: 20",
    ):
        assert said in page.text
    assert (tmp_path / "report.html").stat().st_size < 5_000_000


def test_the_best_trials_pictures_are_side_by_side(reported: Reported, tmp_path: Path) -> None:
    reported(two(objectives=[PSNR], scheduler=None, budget={"trials": 4}))
    sheet = Image.open(tmp_path / "sheet.png")
    assert 5 * 240 < sheet.width < 6 * 240  # LR, three trials, truth
    assert sheet.height > 2 * (240 + 240)  # two of the three pictures, whole and enlarged


def test_a_model_that_is_gone_does_not_spoil_the_report(reported: Reported) -> None:
    page, files = reported(two(scheduler=None, budget={"trials": 1}), model="/nowhere/model.safetensors")
    assert files == {"report.html", "pareto.png", "history.png"}
    assert "There are no pictures to look at: " in page.text
    assert "/nowhere/model.safetensors" in page.text


def test_a_single_trial_is_enough(reported: Reported) -> None:
    page, files = reported(two(scheduler=None, budget={"trials": 1}))
    assert files == {"report.html", "pareto.png", "history.png", "sheet.png"}
    assert "Importances need two trials trained to their end; there is one." in page.text
    assert "Parallel coordinates need two trials" in page.text
    assert "there are no learning curves" in page.text


def test_a_campaign_in_which_everything_failed_has_a_report_too(reported: Reported) -> None:
    page, files = reported(two(budget={"trials": 3}), failing=lambda number: True)
    assert files == {"report.html", "pareto.png"}
    assert "No trial was trained to its end: there are no pictures to look at." in page.text
    assert "3 failed." in page.text
    assert "acutance run" not in page.text


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("scheduler", [None, ASHA])
def test_a_campaign_in_which_nothing_could_be_measured_has_a_report_too(
    reported: Reported, value: float, scheduler: dict[str, Any] | None
) -> None:
    unmeasured = dict.fromkeys(["psnr_y on Set5", "lpips_squeeze on Set5"], value)
    page, _ = reported(two(scheduler=scheduler, budget={"trials": 3}), law=lambda *_: unmeasured)
    assert "there are no pictures to look at" in page.text
    assert "acutance run" not in page.text


def test_one_objective_conditions_and_choices_of_any_kind(reported: Reported) -> None:
    parameters = {
        "objective.adversarial.form": {"choice": ["vanilla", "relativistic"]},
        WEIGHT: {"float": [0.001, 0.1], "log": True, "when": {"objective.adversarial.form": ["relativistic"]}},
        "network.blocks": {"int": [2, 16]},
        "objective.dp.mu": {"choice": [0.5, math.inf, None]},
        "objective.dp.tap": {"choice": [[1, 3], [2, 4]]},
    }
    campaign = campaign_of(parameters=parameters, objectives=[PSNR], budget={"trials": 8})
    page, files = reported(campaign)
    assert files == FIGURES - {"curves.png"} | {"report.html"}
    assert "Not weighed, since not every trial has it: adversarial.weight." in page.text
    assert "[1, 3]" in page.text


def test_a_population_is_drawn_from_parent_to_child(reported: Reported) -> None:
    scheduler = {"type": "pbt", "population": 2, "every": 40}
    page, files = reported(two(objectives=[PSNR], scheduler=scheduler, budget={"trials": 6}))
    assert "curves.png" in files
    assert "240steps trained" in page.text  # 6 times 40: a child does not train its parent's steps again


def test_a_table_stands_beside_its_published_rows(reported: Reported, tmp_path: Path) -> None:
    columns = [{"metric": "psnr_y", "on": "Set5"}, {"metric": "lpips_squeeze", "on": "Set5"}]
    published = {"0.01": [27.4, 0.105], "0.05": [26.9, 0.1], "another": [26.7, 0.36]}
    table = {"vary": {WEIGHT: [0.01, 0.05]}, "columns": columns, "published": published, "seeds": 2}
    points = [
        Point(row, seed, {f"stages.gan.{WEIGHT}": float(row), "stages.gan.seed": seed})
        for seed in (0, 1)
        for row in ("0.01", "0.05")
    ]
    campaign = two(scheduler=None, sampler={"type": "grid"}, tables={"t1": table}, published="t1")
    page, files = reported(campaign, points=points, table="t1")
    assert files == {"report.html", "pareto.png", "sheet.png", "table.md", "table.csv", "orders.csv"}
    assert "Measured beside published" in page.text
    assert "another" in page.text
    assert "0.01 : 0.05" in page.text
    assert "| another | - |" in (tmp_path / "table.md").read_text()


def test_names_cannot_break_the_page(reported: Reported) -> None:
    hostile = "<script>alert('$x$ \\frac')</script> & \"more\""
    page, _ = reported(two(title=hostile, budget={"trials": 1}), failing=lambda number: True)
    assert hostile in page.text
    assert "script" not in {tag for tag, _ in page.tags}


def test_a_password_is_nowhere_in_the_report(reported: Reported, tmp_path: Path) -> None:
    address = "postgresql+psycopg2://someone:hunter22@db.example:5432/studies?password=hunter22"
    page, files = reported(two(budget={"trials": 1}), address=address, failing=lambda number: True)
    assert 'optuna-dashboard "$ACUTANCE_STUDIES"' in page.text
    assert "postgresql+psycopg2://***@db.example:5432/studies?***" in page.text
    assert not [name for name in files if b"hunter22" in (tmp_path / name).read_bytes()]
    assert "hunter22" not in repr(Record("s", "", None, [], address, "", {}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("address", "command"),
    [
        ("sqlite:////my data/s.db", "optuna-dashboard 'sqlite:////my data/s.db'"),
        ("/shared/s.journal", "optuna-dashboard /shared/s.journal"),
        ("mysql+pymysql://host/db", "optuna-dashboard mysql+pymysql://host/db"),
        ("postgresql://u@h/db", "optuna-dashboard postgresql://u@h/db"),
        ("postgresql://u:pw@h/db", 'optuna-dashboard "$ACUTANCE_STUDIES"'),
    ],
)
def test_a_study_is_opened_without_its_password_on_the_command_line(address: str, command: str) -> None:
    assert dashboard_command(address) == command


def test_values_are_given_as_the_command_line_takes_them() -> None:
    values = [0.5, math.inf, "a b", [1, [2, 3]], None, True, {"x": 1}]
    texts = [yaml_text(value, inline=True) for value in values]
    assert texts == ["0.5", ".inf", "a b", "[1, [2, 3]]", "null", "true", "{x: 1}"]


def test_what_optuna_draws_has_the_trials_with_their_numbers_parameters_and_courses() -> None:
    campaign = two(objectives=[PSNR])
    known, _ = played(campaign, failing=lambda number: number == 5)
    records = trial_records(known)
    trials = study_of(records, campaign.objectives, campaign).trials
    states = {"complete": "COMPLETE", "stopped": "PRUNED", "failed": "FAIL"}
    assert [trial.state.name for trial in trials] == [states[record.state] for record in records]
    assert trials[0].value == records[0].scores["psnr_y on Set5"]
    assert trials[0].params == {
        "adversarial.weight": records[0].values[f"stages.gan.{WEIGHT}"],
        "optimiser.learning_rate": records[0].values[f"stages.gan.{RATE}"],
    }
    assert list(trials[0].intermediate_values) == [20, 60, 180]


def test_scores_that_do_not_vary_have_no_importances() -> None:
    study, _ = played(two(objectives=[PSNR], scheduler=None), lambda assignment, step: {"psnr_y on Set5": 28.0})
    drawn = importance_picture(trial_records(study), two(objectives=[PSNR]))
    assert drawn.png is None
    assert drawn.notes[-1] == "psnr_y on Set5 hardly varies: no share of it can be told."


def test_figures_survive_letters_without_a_shape() -> None:
    picture = pareto_picture([], campaign_of(objectives=[{**PSNR, "on": "数据"}]).objectives, "超分辨率")
    assert Image.open(io.BytesIO(picture)).width > 300
