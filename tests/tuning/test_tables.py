from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace

import pytest

from acutance.cli.show import paper_table
from acutance.config import search_space as campaigns
from acutance.config.mistakes import validate
from acutance.config.search_space.tables import TableSettings
from acutance.console import stdout
from acutance.errors import ConfigError
from acutance.tuning.report.table import grids, markdown, notes, orders_csv, rows_csv, title
from acutance.tuning.study import TrialRecord
from acutance.tuning.tables import Table, best_row, estimate, measured_table
from command_line import REPOSITORY

PSNR, LPIPS = "psnr_y on a", "lpips_squeeze on a"
PUBLISHED = {"small": [30.0, 0.20], "large": [30.5, 0.18], "other method": [31.0, None]}


def settings(**changes: object) -> TableSettings:
    content = {
        "rows": {"small": {"x": 1}, "large": {"x": 2}},
        "columns": [{"metric": "psnr_y", "on": "a"}, {"metric": "lpips_squeeze", "on": "a"}],
        "published": PUBLISHED,
        "baseline": "small",
        "seeds": 3,
    }
    return validate(TableSettings, {**content, **changes}, "a test")


def trial(row: str, seed: int, psnr: float, lpips: float, state: str = "complete", reason: str = "") -> TrialRecord:
    scores = {} if state == "failed" else {10: {PSNR: psnr, LPIPS: lpips}}
    return TrialRecord(0, state, {}, row=row, seed=seed, history=scores, reason=reason)


def trials(small: list[float], large: list[float], lpips: float = 0.01) -> list[TrialRecord]:
    """`lpips`: how much lower it is with `large`."""
    rows = [trial("small", seed, psnr, 0.2) for seed, psnr in enumerate(small)]
    return rows + [trial("large", seed, psnr, 0.2 - lpips) for seed, psnr in enumerate(large)]


def agreements(table: Table) -> dict[str, str]:
    return {order.column: order.agreement for order in table.orders}


def test_a_mean_has_students_interval_over_seeds_and_none_with_one() -> None:
    found = estimate([1.0, 2.0, 3.0])
    assert found is not None
    assert (found.mean, found.deviation, found.seeds) == (2, 1, 3)
    assert found.low == pytest.approx(2 - 4.302653 / math.sqrt(3), abs=1e-6)
    assert found.high == pytest.approx(2 + 4.302653 / math.sqrt(3), abs=1e-6)
    one = estimate([5.0])
    assert one is not None
    assert (one.mean, one.low, one.high, one.resolved) == (5, None, None, False)
    assert estimate([]) is None


def test_what_a_seed_does_to_both_rows_drops_out_of_their_difference() -> None:
    table = measured_table("t", settings(), trials([25.0, 27.0, 29.0], [25.4, 27.5, 29.45]))
    small, large = (table.rows[index].cells[PSNR] for index in (0, 1))
    assert small.measured is not None
    assert large.measured is not None
    assert small.measured.high is not None
    assert small.measured.high > (large.measured.low or math.inf)  # the rows' own intervals overlap widely
    assert large.difference is not None
    assert large.difference.mean == pytest.approx(0.45)
    assert large.published_difference == 0.5
    assert small.difference is None
    assert agreements(table) == {PSNR: "agrees", LPIPS: "agrees"}
    assert {order.better_measured for order in table.orders} == {"large"}  # more PSNR, less LPIPS


def test_an_order_against_the_papers_disagrees_and_a_doubtful_one_is_not_resolved() -> None:
    against = measured_table("t", settings(), trials([26.0, 26.1, 26.2], [25.0, 25.1, 25.3], lpips=-0.01))
    assert agreements(against) == {PSNR: "disagrees", LPIPS: "disagrees"}
    assert {(o.better_published, o.better_measured) for o in against.orders} == {("large", "small")}
    doubtful = measured_table("t", settings(), trials([26.0, 26.1, 26.2], [26.5, 26.0, 26.4]))
    assert agreements(doubtful)[PSNR] == "not resolved"
    assert doubtful.orders[0].better_measured == "large"


def test_one_seed_resolves_nothing_and_the_table_says_so() -> None:
    table = measured_table("t", settings(seeds=1), trials([20.0], [30.0]))
    assert set(agreements(table).values()) == {"not resolved"}
    assert any("With one seed a row no order is resolved" in note for note in notes(table))
    assert "95 % interval" not in grids(table)[0].titles


def test_only_seeds_that_both_rows_have_are_compared() -> None:
    found = [trial("small", 0, 20, 0.2), trial("small", 1, 21, 0.2), trial("small", 2, 22, 0.2)]
    found += [trial("large", 2, 22.5, 0.2), trial("large", 0, 20.5, 0.2), trial("large", 1, 0, 0, "failed", "NaN")]
    table = measured_table("t", settings(), found)
    difference = table.rows[1].cells[PSNR].difference
    assert difference is not None
    assert (difference.mean, difference.seeds) == (0.5, 2)
    assert table.rows[1].note == "2 of 3 seeds; seed 1 failed: NaN"


def test_a_table_says_which_stages_its_seeds_reach() -> None:
    table = measured_table("t", settings(), trials([25, 27, 29], [25, 27, 29]))
    completed = replace(table, seeded=["l1", "gan"])
    assert "The seeds reach the stages l1, gan, which is all that is trained." in notes(completed)
    part = replace(table, seeded=["gan"], once=["l1"])
    assert "- The seeds reach the stage gan; trained once for all seeds: l1." in markdown(part)
    assert part.to_json()["once"] == ["l1"]


def test_rows_that_are_unfinished_or_have_failed_say_so() -> None:
    found = [
        trial("small", 0, 20, 0.2),
        trial("small", 1, 21, 0.2, "running"),
        trial("large", 0, 0, 0, "failed", "NaN"),
    ]
    table = measured_table("t", settings(), found)
    assert [row.note for row in table.rows] == [
        "1 of 3 seeds; seed 1 is unfinished at step 10; 1 not run yet",
        "0 of 3 seeds; seed 0 failed: NaN; 2 not run yet",
        "",
    ]
    assert set(agreements(table).values()) == {"not measured"}
    measured = table.rows[0].cells[PSNR].measured
    assert measured is not None
    assert (measured.mean, measured.seeds) == (20, 1)
    assert grids(table)[0].rows[1].cells[:2] == ["large", "missing"]
    assert measured_table("t", settings(), []).rows[0].note == "not run yet"


def test_rows_of_other_methods_are_printed_and_not_compared() -> None:
    table = measured_table("t", settings(), trials([25, 27, 29], [25.4, 27.5, 29.45]))
    other = table.rows[2]
    assert (other.name, other.run, other.cells[PSNR].measured) == ("other method", False, None)
    assert (other.cells[PSNR].published, other.cells[LPIPS].published) == (31.0, None)
    assert other.cells[PSNR].published_difference == 1.0
    assert {name for order in table.orders for name in (order.first, order.second)} == {"small", "large"}


def test_where_the_paper_has_no_order_there_is_nothing_to_agree_with() -> None:
    published = {"small": [30.0, None], "large": [30.0, 0.18]}
    table = measured_table("t", settings(published=published), trials([25, 27, 29], [26, 28, 30]))
    assert agreements(table) == {PSNR: "equal in the paper", LPIPS: "not published"}


def test_the_best_row_of_a_column_has_all_its_seeds() -> None:
    table = measured_table("t", settings(), trials([25, 27, 29], [25.4, 27.5, 29.45]))
    assert (best_row(table, PSNR), best_row(table, LPIPS)) == ("large", "large")  # more PSNR, less LPIPS
    worse = measured_table("t", settings(), trials([25, 27, 29], [25.4, 27.5, 29.45], lpips=-0.01))
    assert best_row(worse, LPIPS) == "small"
    equal = measured_table("t", settings(), trials([25, 27, 29], [25, 27, 29]))
    assert best_row(equal, PSNR) == "small"
    lost = [trial("large", 2, 0, 0, "failed", "NaN"), *trials([25, 27, 29], [35, 37])]
    assert best_row(measured_table("t", settings(), lost), PSNR) == "small"
    assert best_row(measured_table("t", settings(), lost[:1]), PSNR) is None


def test_the_same_table_in_every_form() -> None:
    table = measured_table("t", settings(about="What for."), trials([25, 27, 29], [25.4, 27.5, 29.45]))
    text = markdown(table)
    assert "| large | 27.45 |" in text
    assert "| +0.450 (+0.326 .. +0.574) | +0.50 |" in text
    assert "| small : large | agrees | agrees |" in text
    assert "What for." in text
    rows = list(csv.DictReader(io.StringIO(rows_csv(table))))
    assert [(row["row"], row["column"]) for row in rows[2:4]] == [("large", PSNR), ("large", LPIPS)]
    assert float(rows[2]["measured"]) == pytest.approx(27.45)
    assert rows[4]["measured"] == ""
    orders = list(csv.DictReader(io.StringIO(orders_csv(table))))
    assert [(order["agreement"], order["better_published"]) for order in orders] == [("agrees", "large")] * 2
    content = json.loads(json.dumps(table.to_json(), allow_nan=False))
    assert content["rows"][1]["cells"][PSNR]["published"] == 30.5
    with stdout.capture() as printed:
        stdout.print(paper_table(table))
    assert "PSNR-Y on a (larger is better)" in printed.get()
    assert "other method" in printed.get()


def test_a_table_of_ones_own_has_nothing_of_a_paper() -> None:
    table = measured_table("t", settings(published={}), trials([25, 27, 29], [25.4, 27.5, 29.45]))
    columns = ["row", "measured", "95 % interval", "deviation", "minus small"]
    assert [grid.titles for grid in grids(table)] == [columns] * 2
    assert grids(table)[0].rows[1].cells[-1] == "+0.450 (+0.326 .. +0.574)"


def test_a_wide_table_is_printed_in_parts() -> None:
    columns = [{"metric": metric, "on": on} for on in "abc" for metric in ("psnr_y", "ssim_y")]
    published = {"small": [1.0] * 6, "large": [2.0] * 6}
    table = measured_table("t", settings(columns=columns, published=published), [])
    assert [len(grid.titles) for grid in grids(table)[6:]] == [6, 2]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["published=table_2"], "there is no table 'table_2'; did you mean 'table_1'"),
        (["published=table_1"], "no column 'high_frequency_distance on photographs_heldout'"),
        (
            [
                "tables.table_1.columns=[{metric: psnr_y, on: a}, {metric: psnr_y, on: a}]",
                "tables.table_1.published={}",
            ],
            "psnr_y on a is named twice",
        ),
    ],
)
def test_mistakes_in_tables_are_found_before_anything_starts(overrides: list[str], message: str) -> None:
    table = (
        "tables={table_1: {rows: {b: {}}, columns: [{metric: psnr_y, on: photographs_heldout}], published: {b: [1]}}}"
    )
    with pytest.raises(ConfigError) as caught:
        campaigns.load(REPOSITORY / "search_spaces" / "quickstart.yaml", [table, *overrides])
    assert message in str(caught.value)


def test_a_table_that_is_run_is_drawn_beside_its_own_published_rows() -> None:
    table = "tables={one: {rows: {b: {}, c: {}}, columns: [{metric: niqe, on: photographs_heldout}]}}"
    found = campaigns.load(REPOSITORY / "search_spaces" / "quickstart.yaml", [table], table="one")
    assert found.campaign.published == "one"
    type(found.campaign).model_validate(found.campaign.model_dump(mode="json", by_alias=True))


def test_a_column_of_a_metric_that_aims_at_the_truth_is_called_a_distance() -> None:
    columns = [{"metric": metric, "on": "a on b"} for metric in ("high_frequency", "psnr_y")]
    names = [column.name for column in settings(columns=columns, published={}).columns]
    assert names == ["high_frequency_distance on a on b", "psnr_y on a on b"]
    assert [title(name) for name in names] == ["fine detail, distance from the truth, on a on b", "PSNR-Y on a on b"]
