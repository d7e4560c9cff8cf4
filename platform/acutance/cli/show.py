"""How results are printed: a short table, or JSON on standard output."""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import sys
from typing import Any

from rich.markup import escape
from rich.table import Table as Grid

from acutance.config.packaged import found
from acutance.console import say, stdout
from acutance.table import Row, Table


def show(result: dict[str, Any], as_json: bool, text: Any) -> None:
    if as_json:
        sys.stdout.write(json.dumps(_strict(result), indent=2, allow_nan=False) + "\n")
    else:
        stdout.print(text)


def _strict(content: Any) -> Any:
    """Replace infinity and NaN, which JSON does not have, by the text that YAML uses for them."""
    if isinstance(content, dict):
        return {key: _strict(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_strict(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return ".nan" if math.isnan(content) else ".inf" if content > 0 else "-.inf"
    return content


def table_of(*columns: str, rows: list[tuple[Any, ...]]) -> Grid:
    return Table(columns, [Row(row) for row in rows]).rich()


def print_row(*cells: tuple[int | None, str, str]) -> None:
    """Print one line of a table whose other lines are not known yet: (width, text, style) a cell."""
    row = Grid.grid(padding=(0, 2, 0, 0))
    for width, _, style in cells:
        row.add_column(width=width, style=style, overflow="fold")
    row.add_row(*(escape(text) for _, text, _ in cells))
    stdout.print(row)


def show_plan(plan: dict[str, Any], as_json: bool, settings: bool) -> None:
    """Print what would be done, what is missing for it, and perhaps all settings."""
    if as_json:
        show(plan, True, None)
        return
    for sentence in plan.get("overlap", []):
        say(f"[yellow]overlap[/]: {escape(sentence)}")
    rows = []
    for stage in plan["stages"]:
        counts = stage["parameters"]
        discriminators = ", ".join(f"{name} {count:,}" for name, count in counts["discriminators"].items())
        state = "done" if stage["done"] else "to do"
        steps, curve = f"{stage['steps']:,}", _curve(stage.get("learning_rates", []))
        rows.append((stage["name"], state, steps, curve, f"{counts['network']:,}", discriminators or "-"))
    stdout.print(table_of("stage", "", "steps", "learning rate", "parameters", "discriminators", rows=rows))
    stdout.print(f"{plan['all_steps']:,} steps in all" + _counted(plan))
    if plan.get("rows"):
        stdout.print()
        stdout.print(_planned_rows(plan["rows"]))
        if plan["scale"] != 1:
            stdout.print(f"values are those at full length; numbers of steps are {plan['scale']:g} times as long")
        for note in _seeds_of_tables(plan["rows"]):
            stdout.print(note)
    for problem in plan["missing"]:
        say(f"[yellow]missing[/]: {escape(problem)}")
    if settings:
        stdout.print()
        stdout.print(_yaml(plan["config"]))


BARS = "▁▂▃▄▅▆▇█"


def _curve(rates: list[float]) -> str:
    """Return learning rates as a small curve from 0 to the highest, and that one as a number."""
    highest = max(rates, default=0.0)
    if not highest:
        return ""
    bars = "".join(BARS[min(int(rate / highest * len(BARS)), len(BARS) - 1)] for rate in rates)
    return f"{bars} {highest:.3g}"


def _counted(plan: dict[str, Any]) -> str:
    """Say how the steps of a campaign were counted."""
    if "trials" not in plan:
        return ""
    trials = f", of {plan['trials']} trials"
    return f"{trials}; what they share is counted once" if plan["rows"] else f"{trials} if none is stopped"


def _planned_rows(rows: list[dict[str, Any]]) -> Any:
    """Return the rows that a campaign would run, in order; those of a table whose start is not known say so."""
    from acutance.tuning.report.front import labels

    names = labels(path for row in rows for path in row["values"] if not path.endswith(".seed"))
    lines = []
    for row in rows:
        values = [f"{names[path]} {_short(value)}" for path, value in row["values"].items() if path in names]
        what = ", ".join([*filter(None, [row["start"]]), *values])
        steps = ", ".join(f"{name} {count:,}" for name, count in row["steps"].items())
        lines.append((row["table"], row["row"], row["seed"], steps, what or "the pipeline as it is"))
    columns = ("table", "row", "seed", "steps", "values")
    if len({line[3] for line in lines}) == 1:  # as the stages above have them
        return table_of(*(columns[:3] + columns[4:]), rows=[line[:3] + line[4:] for line in lines])
    return table_of(*columns, rows=lines)


def _seeds_of_tables(rows: list[dict[str, Any]]) -> list[str]:
    """Return, of each table with several seeds, which stages they reach."""
    from acutance.tuning.report.table import seeds_sentence

    notes = []
    for table in dict.fromkeys(row["table"] for row in rows if row["seeded"]):
        of_table = [row for row in rows if row["table"] == table]
        stages = [dict.fromkeys(s for row in of_table for s in row[key]) for key in ("seeded", "once")]
        if len({row["seed"] for row in of_table}) > 1:
            notes.append(escape(f"{table}: {seeds_sentence(*map(list, stages))}"))
    return notes


def _yaml(content: dict[str, Any]) -> str:
    from ruamel.yaml import YAML

    text = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = None
    yaml.width = 100
    yaml.dump(content, text)
    return escape(text.getvalue())


def show_outcome(context: Any, outcome: Any, as_json: bool) -> None:
    from acutance.evaluation.report import table

    reference = f"models:/{outcome.model}/{outcome.version}" if outcome.version else None
    result = {
        "fresh": outcome.fresh,
        "validations": outcome.validations,
        "evaluation": outcome.evaluation.to_json() if outcome.evaluation else None,
        "sheet": outcome.sheet or None,
        "mlflow_run": outcome.run_id,
        "model": reference,
        "overlap": context.overlap() if outcome.evaluation else [],
    }
    if as_json:
        show(result, as_json, None)
        return
    if outcome.validations:
        stdout.print(_validations(outcome.validations))
    if outcome.evaluation:
        stdout.print(table(outcome.evaluation))
        for sentence in result["overlap"]:
            stdout.print(f"[yellow]overlap[/]     {escape(sentence)}")
        stdout.print(f"pictures    {escape(outcome.sheet)}")
    show_files(context, context.plans())
    stdout.print(f"MLflow run  {outcome.run_id}")
    if reference:
        _next_steps(context, outcome, reference)


def show_files(context: Any, plans: list[Any]) -> None:
    """Print where trained stages, what was shown of them, and their MLflow runs are."""
    from acutance import storage
    from acutance.commands.training_shown import log_of
    from acutance.redact import redacted
    from acutance.registry.address import tracking_uri
    from acutance.training.validation_pictures import SHEET

    files = [("log", log_of(context.root, context.group))]
    for plan in plans:
        files.append((plan.name, plan.model))
        files += [(f"{plan.name}, best", plan.best_model)] if plan.stage.keep.best else []
        files += [(f"{plan.name}, as it changed", storage.join(plan.folder, SHEET))] if plan.pictures else []
    width = max(len(what) for what, _ in files)
    for what, file in files:
        if storage.exists(file):
            stdout.print(escape(f"{what:<{width}}  {file}"))
    store = tracking_uri(context.root)
    page = f"mlflow ui --backend-store-uri {store}, then http://127.0.0.1:5000" if store.startswith("sqlite") else store
    stdout.print(f"{'MLflow':<{width}}  {escape(redacted(page))}")


def _validations(found: dict[str, dict[int, dict[str, float]]]) -> Any:
    """Return the metrics of each stage: at its last step, and at its best step if it was validated several times."""
    from acutance.config.metrics import QUANTITIES, scored_by

    rows = []
    for stage, by_step in found.items():
        last = max(by_step)
        for name, value in by_step[last].items():
            metric, on = scored_by(name)
            about = QUANTITIES[metric]
            better = max if about.goal == "maximize" else min
            best = better(by_step, key=lambda step: by_step[step].get(name, math.nan))
            cell = f"{by_step[best][name]:.4f} at step {best:,}" if len(by_step) > 1 else ""
            rows.append((stage, f"{about.title} on {on}" if on else about.title, f"{value:.4f}", cell))
    several = any(row[-1] for row in rows)
    columns = ("stage", "validation", "at the end", *(("best (chosen on these pictures)",) if several else ()))
    return table_of(*columns, rows=[row[: len(columns)] for row in rows])


def _next_steps(context: Any, outcome: Any, reference: str) -> None:
    stdout.print(f"model       {reference} (alias: candidate)\n")
    stdout.print("next")
    search_space = found(context.name, "search_spaces")
    for command in (
        f"models promote {outcome.model}",
        f"restore {reference} PICTURE.png RESTORED.png",
        f"tune {search_space}" if search_space else f"models show {outcome.model}",
    ):
        stdout.print(f"  {_program()} {command}")


def _program() -> str:
    """Return how to call this program again from here."""
    return "acutance" if shutil.which("acutance") else os.path.relpath(sys.argv[0])


def campaign_table(context: Any, outcome: Any) -> Any:
    """Return the trials of a campaign, those on the Pareto front with a star; of a paper's table, its rows."""
    from acutance.tuning.report.front import heading, labels

    if outcome.table is not None:
        return paper_table(outcome.table)
    goals = context.campaign.objectives
    names = labels(path for trial in outcome.trials for path in trial.values)
    rows = [
        (
            f"{trial.number}{' *' if trial.number in outcome.front else ''}",
            *(_short(trial.values.get(path, "")) for path in names),
            f"{trial.step}{'' if trial.state == 'complete' else ' ' + trial.state}",
            *(_short(trial.scores.get(goal.name, "")) for goal in goals),
        )
        for trial in outcome.trials
    ]
    return table_of("trial", *names.values(), "steps", *(heading(goal) for goal in goals), rows=rows)


def paper_table(table: Any) -> Any:
    """Return a paper's table as measured: a part for each of its columns, then whether the order of rows agrees."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    from acutance.tuning.report.table import grids, notes

    parts: list[Any] = []
    for grid in grids(table):
        parts += [Text(grid.title, "bold"), Padding(grid.rich(), (0, 0, 1, 2))]
    return Group(*parts, *(Text(note, "dim") for note in notes(table)))


def differences_table(compared: dict[str, list[Any]]) -> Any:
    """Return how far apart two models are on each data set, with intervals."""
    rows = [
        (name, found.metric, f"{found.mean:+.4f}", f"{found.low:+.4f} .. {found.high:+.4f}", _verdict(found))
        for name, each in compared.items()
        for found in each
    ]
    return table_of("model - against", "", "mean", "95 % interval", "", rows=rows)


def _verdict(found: Any) -> str:
    return "" if found.resolved else f"not resolved on {found.pictures} pictures"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
