"""Commands that use a model (evaluate, restore), and the model registry (models ...)."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from acutance.cli.options import Address, AllowCode, Json, ModelName, ModelReference, Storage
from acutance.cli.show import differences_table, show, table_of
from acutance.console import say, stdout
from acutance.errors import UserError, readable
from acutance.parts import with_sources

if TYPE_CHECKING:
    from acutance.registry.decision_log import Decision

uses = typer.Typer()
app = typer.Typer(help="The model registry: list, show, promote, roll back, export.", no_args_is_help=True)


@uses.command()
def evaluate(
    model: ModelReference,
    on: Annotated[
        list[str], typer.Option("--on", metavar="DATASET...", help="names of data sets, or folders of pictures")
    ],
    against: Annotated[
        str | None, typer.Option(metavar="MODEL", help="compare with this model, on the same pictures")
    ] = None,
    protocol: Annotated[str, typer.Option(help="y_crop4, dsrgan, rgb_crop4, wdsr or hfa; see above")] = "y_crop4",
    metric: Annotated[list[str] | None, typer.Option("--metric", help="default: the metrics of the protocol")] = None,
    scale: Annotated[int, typer.Option(help="only for MODEL = bicubic; a model file holds its scale")] = 4,
    address: Address = None,
    storage: Storage = None,
    allow_code: AllowCode = False,
    as_json: Json = False,
) -> None:
    """Measure a model on whole pictures. MODEL may be `bicubic`: at scale 1 that is the input itself.

    \b
    acutance evaluate models:/quickstart-x4@champion --on photographs_heldout
    acutance evaluate models:/NAME/2 --against models:/NAME/1 --on Set5
    acutance evaluate bicubic --on Set5 Set14 BSD100 --protocol dsrgan --json

    \b
    y_crop4    Y in whole grey levels, a border of `scale` pixels cut;
               LPIPS of whole RGB pictures: 4PP-EUSR's tables.
    dsrgan     Y as y_crop4, Wang's SSIM, truths cut to multiples of 12,
               bicubic of the unrounded LR: DSRGAN's Table II.
    rgb_crop4  RGB and Y, a border of `scale` pixels cut, truths cut to
               multiples of 12: ESRGAN-DP's released settings.
    wdsr       RGB, a border of `scale` + 6 pixels cut: the tables of
               WDSR and of the weight map.
    hfa        Y in float and RGB, both of the whole picture; LPIPS of
               AlexNet: HFA's tables.
    """
    from acutance.commands.evaluate import evaluate_model
    from acutance.evaluation.compare import differences
    from acutance.evaluation.evaluate import BICUBIC, unrestored
    from acutance.evaluation.report import table
    from acutance.storage.outputs import storage_root

    root = storage_root(storage)
    evaluation, folder = evaluate_model(
        model,
        on,
        against=against,
        protocol=protocol,
        metrics=with_sources(metric, Path.cwd()),
        scale=scale,
        root=root,
        address=address,
    )
    alone = unrestored(evaluation.scale)
    rivals = (alone if model == BICUBIC else "model", alone if against == BICUBIC else "against")
    compared = {name: differences(evaluation, *rivals, name) for name in evaluation.datasets if against}
    result = evaluation.to_json()
    if against:
        result["differences"] = {name: [vars(found) for found in each] for name, each in compared.items()}
    show(result, as_json, table(evaluation))
    if against and not as_json:
        stdout.print(differences_table(compared))
    say(f"pictures: {folder}/sheet.png, {folder}/spectrograms.png; single values: {folder}/evaluation.csv")


@uses.command()
def restore(
    model: ModelReference,
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="a picture, a folder of pictures, or an s3:// prefix of them")
    ],
    target: Annotated[str, typer.Argument(metavar="OUTPUT", help="a PNG, JPEG or WebP file; a folder or s3:// prefix")],
    strip: Annotated[bool, typer.Option("--strip", help="write no EXIF, XMP and dots per inch")] = False,
    address: Address = None,
    storage: Storage = None,
    allow_code: AllowCode = False,
    as_json: Json = False,
) -> None:
    """Restore a picture, or a folder of them on Ray; pictures that cannot be read are listed at the end.

    \b
    acutance restore models:/quickstart-x4@champion photo.png photo-x4.png
    acutance restore pipelines/quickstart.yaml:gan ./small ./large
    acutance restore model.safetensors s3://album/small s3://album/large

    \b
    The result keeps transparency, grey, 16 bits, the colour profile, and the
    metadata: EXIF (date, camera, place, copyright), XMP, dots per inch. --strip
    leaves the metadata out. Pictures are turned upright. After an interruption
    run it again: it skips PNG files that are done.
    """
    from acutance.inference.check_input import require_input

    require_input(source)
    from acutance.commands.restore import restore_pictures

    outcomes = restore_pictures(model_at(model, storage), source, target, address=address, strip=strip)
    result: dict[str, Any] = {
        state: [readable(one.target) for one in outcomes if one.state == state] for state in ("written", "kept")
    }
    result["failed"] = {readable(one.source): one.why for one in outcomes if one.state == "failed"}
    counts = [f"{len(found)} {state}" for state, found in result.items() if found]
    show(result, as_json, escape(f"{', '.join(counts)}: {target}"))
    for name, why in () if as_json else result["failed"].items():
        stdout.print(escape(f"{name}: {why}"))
    if result["failed"]:
        sys.exit(2)


def model_at(reference: str, storage: str | None) -> str:
    """Return the URI of the model file that MODEL names; for a file that is there, without importing MLflow."""
    from acutance.storage import is_remote

    if is_remote(reference) or Path(reference).is_file():
        return reference
    from acutance.commands.model_names import model_file
    from acutance.storage.outputs import storage_root

    return model_file(reference, storage_root(storage))


@app.command("list")
def models_list(storage: Storage = None, as_json: Json = False) -> None:
    """List the registered models, and which version has each alias.

    \b
    acutance models list
    """
    from acutance.registry.address import connect
    from acutance.registry.versions import listing
    from acutance.storage.outputs import storage_root

    found = listing(connect(storage_root(storage)))
    rows = [(m.name, m.versions, ", ".join(f"{alias} = {v}" for alias, v in m.aliases.items())) for m in found]
    show(
        {"models": [vars(model) for model in found]},
        as_json,
        table_of("model", "versions", "aliases", rows=rows),
    )


@app.command("show")
def models_show(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="a model as for `restore`, or NAME for its versions")],
    code: Annotated[bool, typer.Option("--code", help="print the code that the model carries")] = False,
    storage: Storage = None,
    as_json: Json = False,
) -> None:
    """Show a model's versions with the last decision about each, or what one model file holds.

    \b
    acutance models show quickstart-x4
    acutance models show models:/quickstart-x4@champion
    acutance models show models:/edges-x4/2 --code
    """
    from acutance.storage.outputs import storage_root

    if ":" in model or "/" in model or Path(model).is_file():
        _show_file(model_at(model, storage), code, as_json)
        return
    from acutance.registry.address import connect
    from acutance.registry.versions import version_records

    found = version_records(connect(storage_root(storage)), model)
    rows = [(v.version, ", ".join(v.aliases), v.created, v.decision, v.reason, v.who) for v in found]
    table = table_of("version", "aliases", "made", "decision", "reason", "by", rows=rows)
    show({"name": model, "versions": [vars(version) for version in found]}, as_json, table)


def _show_file(file: str, code: bool, as_json: bool) -> None:
    """Print the metadata of a model file; nothing in it is executed."""
    from acutance.models.model_file import describe_model

    about = describe_model(file)
    sources = about.get("code") or []
    if code and not as_json:
        for source in sources:
            sys.stdout.write(f"# {source['name']}, SHA-256 {source['sha256']}\n{source['text']}\n")
        if not sources:
            say("this model carries no code")
        return
    rows = [(key, str(about[key])) for key in ("title", "stage", "scale", "network", "fingerprint") if about.get(key)]
    rows += [(f"reads {column}", str(made)) for column, made in (about.get("derive") or {}).items()]
    rows += [("code of its author", f"{one['name']}, SHA-256 {one['sha256']}") for one in sources]
    rows += [("needs the package", package) for package in about.get("requires") or []]
    rows += [("note", note) for note in about.get("notes") or []]
    show(about, as_json, table_of("", "", rows=rows))


@app.command("export")
def models_export(
    model: ModelReference,
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="a file, or s3://bucket/key")],
    form: Annotated[
        str | None, typer.Option("--format", help="safetensors, pth or onnx; default: by OUTPUT's suffix")
    ] = None,
    storage: Storage = None,
    allow_code: AllowCode = False,
    as_json: Json = False,
) -> None:
    """Write a model for other software.

    \b
    acutance models export models:/quickstart-x4@champion sr.onnx
    acutance models export models:/NAME/2 s3://bucket/sr.safetensors
    acutance models export pipelines/NAME.yaml:STAGE sr.pth

    \b
    safetensors  the model file itself: weights, and how to build the
                 network in the header's metadata.
    pth          BasicSR's format, for spandrel, chaiNNer and other readers of
                 ESRGAN files; for other networks a plain state dict.
    onnx         any height, width and batch; compared with PyTorch under
                 onnxruntime before it is written (needs the extra `export`).
    """
    from acutance.registry.export import export_model

    exported = export_model(model_at(model, storage), output, form)
    show(asdict(exported), as_json, f"{exported.uri}: {exported.format}, {exported.bytes:,} bytes")
    if not as_json:
        for note in exported.notes:
            say(f"  {note}")


@app.command("history")
def models_history(name: ModelName, storage: Storage = None, as_json: Json = False) -> None:
    """Show every decision about a model in order: accepted, refused, forced, rolled back.

    \b
    acutance models history quickstart-x4
    acutance models history quickstart-x4 --json   # with the numbers
    """
    from acutance.registry.address import connect
    from acutance.registry.promotion import history
    from acutance.storage.outputs import storage_root

    found = history(connect(storage_root(storage)), name)
    rows = [
        (d.when, d.who, d.alias, f"version {d.version or 'none'}: {d.outcome}", _holders(d), d.reason) for d in found
    ]
    table = table_of("when", "by", "alias", "decision", "held by", "reason", rows=rows)
    show({"name": name, "decisions": [decision.to_json() for decision in found]}, as_json, table)


@app.command("promote")
def models_promote(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="models:/NAME@ALIAS or models:/NAME/VERSION; or NAME, its candidate")
    ],
    to: Annotated[str, typer.Option(metavar="ALIAS", help="the alias that the version gets")] = "champion",
    force: Annotated[bool, typer.Option("--force", help="promote whatever the gate decides; needs --reason")] = False,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="why it is forced; goes into the history")] = None,
    address: Address = None,
    storage: Storage = None,
    allow_code: AllowCode = False,
    as_json: Json = False,
) -> None:
    """Make the candidate the champion if it passes the gate of its pipeline; exit code 1 if it is refused.

    \b
    Both models are measured on the same held-out pictures, by the
    candidate's own protocol, and compared picture by picture. Numbers
    and reason are recorded either way: see `acutance models history`.

    \b
    acutance models promote quickstart-x4
    acutance models promote models:/quickstart-x4@candidate --to shadow
    acutance models promote models:/quickstart-x4/3 --force --reason "text must stay legible"
    """
    from acutance.commands.evaluate import promote_model
    from acutance.storage.outputs import storage_root

    if force != bool((reason or "").strip()):
        raise UserError(
            "a forced promotion needs a reason" if force else "a reason is for a forced promotion only",
            where="--force" if force else "--reason",
            fix="give both: --force --reason TEXT",
        )
    decision = promote_model(model, storage_root(storage), to=to, force=(reason or "").strip(), address=address)
    verdict = f"{to}, forced" if force else to if decision.accepted else "refused"
    show(decision.to_json(), as_json, f"version {decision.version}: {verdict}: {escape(decision.reason)}")
    if not decision.accepted:
        sys.exit(1)


@app.command("rollback")
def models_rollback(
    name: ModelName,
    alias: Annotated[str, typer.Option(help="the alias to give back")] = "champion",
    reason: Annotated[str, typer.Option(metavar="TEXT", help="why; goes into the history")] = "rolled back by hand",
    storage: Storage = None,
    as_json: Json = False,
) -> None:
    """Give an alias back to the version that had it before, at once and without measuring.

    \b
    The version that loses it is not promoted again without --force.

    \b
    acutance models rollback quickstart-x4
    acutance models rollback quickstart-x4 --reason "halos around text"
    """
    from acutance.registry.address import connect
    from acutance.registry.promotion import rollback
    from acutance.registry.tracking import user
    from acutance.storage.outputs import storage_root

    decision = rollback(connect(storage_root(storage)), name, who=user(), why=reason, of=alias)
    text = f"version {decision.after} is the {alias} again, in place of {decision.before or 'none'}"
    show(decision.to_json(), as_json, text)


@app.command("relocate")
def models_relocate(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="the folder to search, with its subfolders")],
    storage: Storage = None,
    as_json: Json = False,
) -> None:
    """Find moved files of model versions by the checksums of their weights, and record where they are now.

    \b
    Outputs that were moved or copied as a whole need no relocation.

    \b
    acutance models relocate /mnt/old-disk/outputs
    """
    from acutance.registry.address import connect
    from acutance.registry.relocate import relocate
    from acutance.storage.outputs import storage_root

    places = relocate(connect(storage_root(storage)).tracking_uri, folder)
    rows = [(place.name, place.version, place.folder or "not found") for place in places]
    text = table_of("model", "version", "files", rows=rows) if rows else "the files of every version are there"
    show({"versions": [place._asdict() for place in places]}, as_json, text)


def _holders(decision: Decision) -> str:
    """Tell which version had the alias before and after a decision."""
    before, after = decision.before or "none", decision.after or "none"
    if before == after:
        return before
    return f"{before} -> {after}{'' if decision.carried_out else ' with the next command'}"
