"""What works on this machine (doctor), a part's contract (check), file formats (schema) and data sets (data)."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from acutance.cli.options import Address, Json, Storage
from acutance.cli.show import print_row, show, table_of
from acutance.console import say

app = typer.Typer()
data = typer.Typer(help="Data sets: list, fetch and make them.", no_args_is_help=True)


@app.command()
def doctor(address: Address = None, storage: Storage = None, as_json: Json = False) -> None:
    """Test what works on this machine: compiler, storage, weights, data, GPU, MLflow, Ray.

    \b
    acutance doctor
    acutance doctor --address 10.0.0.1:6379 --storage s3://bucket/acutance
    """
    from acutance.commands.doctor import examine
    from acutance.data.datasets import catalogue_for
    from acutance.storage.outputs import storage_root

    colours = {"ok": "green", "missing": "yellow", "failed": "red"}
    findings = []
    for finding in examine(storage_root(storage), address, catalogue_for()):
        findings.append(finding)
        if not as_json:
            print_row((8, finding.state, colours[finding.state]), (34, finding.what, ""), (None, finding.note, "dim"))
    if as_json:
        show({"findings": [vars(finding) for finding in findings]}, True, None)
    if any(finding.state == "failed" for finding in findings):
        sys.exit(2)


@app.command()
def check(
    part: Annotated[str, typer.Argument(metavar="PART", help="a name, package.module:Name, or ./my_parts.py:Name")],
    settings: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="settings of the part")] = None,
    kind: Annotated[
        str | None, typer.Option(metavar="KIND", help="network, loss, ...; default: inferred from the part")
    ] = None,
    as_json: Json = False,
) -> None:
    """Test a network, a loss or another part against the contract of its kind; exit code 2 if it fails.

    \b
    acutance check ./my_parts.py:EdgeSR width=16
    acutance check my_package.losses:Charbonnier
    acutance check rrdbnet --kind network blocks=2
    """
    from acutance.commands.check import check_named
    from acutance.config.overrides import parse_override

    kind, results = check_named(part, dict(map(parse_override, settings or [])), kind)
    if as_json:
        show({"part": part, "kind": kind, "checks": [result._asdict() for result in results]}, True, None)
    else:
        article = "an" if kind[0] in "aeiou" else "a"
        say(f"{part} as {article} {kind.replace('_', ' ')}:")
        for result in results:
            state, colour = ("failed", "red") if result.problem else ("ok", "green")
            print_row((8, state, colour), (None, result.check + (f": {result.problem}" if result.problem else ""), ""))
    if any(result.problem for result in results):
        sys.exit(2)


@app.command()
def schema(of: Annotated[str, typer.Argument(metavar="pipeline|search-space", help="the file format")]) -> None:
    """Print the JSON schema of a file format, for editors.

    \b
    acutance schema pipeline > pipeline.schema.json
    """
    from acutance.config.pipeline import Pipeline
    from acutance.config.search_space import Campaign
    from acutance.errors import ConfigError

    models: dict[str, Any] = {"pipeline": Pipeline, "search-space": Campaign}
    if of not in models:
        raise ConfigError(f"there is no schema {of!r}", fix=f"choose {' or '.join(models)}")
    sys.stdout.write(json.dumps(models[of].model_json_schema(), indent=2) + "\n")


@data.command("list")
def data_list(as_json: Json = False) -> None:
    """List the named data sets: what they are for, and whether they are on this machine.

    \b
    ACUTANCE_DATA=~/pictures acutance data list
    """
    from acutance.data.datasets import catalogue_for

    found = catalogue_for().listing()
    rows = [(r.name, r.kind, "yes" if r.present else "no", r.pictures or "", r.where) for r in found]
    show(
        {"datasets": [vars(row) for row in found]},
        as_json,
        table_of("data set", "kind", "here", "pictures", "", rows=rows),
    )


@data.command("distort")
def data_distort(
    pictures: Annotated[str, typer.Argument(metavar="PICTURES", help="a data set, or a folder of pictures")],
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="folder of the new data set")],
    references: Annotated[int, typer.Option(help="number of pictures to distort; TID2013 has 25")] = 25,
    as_json: Json = False,
) -> None:
    """Make distorted pictures with scores, in TID2013's layout, to try score predictors on.

    Each picture is distorted in several ways, at five levels each. GMSD against the undistorted picture gives the
    score. A model that is trained on such scores is marked `scores: synthetic`.

    \b
    acutance data distort BSDS500_train ./tid-like
    acutance run pipelines/nima_tid2013.yaml --profile small data.train=./tid-like
    """
    from pathlib import Path

    from acutance.console import progress
    from acutance.data.datasets import catalogue_for
    from acutance.data.distorted import distort

    sources = catalogue_for().find(pictures)
    with progress("distort", references) as update:
        made = distort(sources, Path(folder).absolute(), references=references, on_progress=update)
    text = f"{made.pictures} distorted pictures of {made.references} references\n{made.folder}"
    show(vars(made), as_json, text)


@data.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="a data set, or a file of weights that a metric needs")],
    as_json: Json = False,
) -> None:
    """Download a data set into ACUTANCE_DATA, or a file of weights into the cache. An interrupted download continues.

    \b
    acutance data fetch niqe_pris_params.npz
    ACUTANCE_DATA=~/pictures acutance data fetch DIV2K_valid
    """
    from acutance.data.datasets import catalogue_for
    from acutance.data.fetch import fetch_dataset
    from acutance.errors import ConfigError, nearest
    from acutance.weights import KNOWN, fetch_weights

    catalogue = catalogue_for()
    if name not in KNOWN and name not in catalogue.entries:
        valid = [*KNOWN, *catalogue.entries]
        raise ConfigError(f"nothing is called {name!r}{nearest(name, valid)}", fix="see `acutance data list`")
    place = str(fetch_weights(name)) if name in KNOWN else fetch_dataset(catalogue, name)
    if as_json:
        show({"name": name, "place": place}, True, None)
    else:
        sys.stdout.write(place + "\n")  # one line, however long, for `$(acutance data fetch ...)`
