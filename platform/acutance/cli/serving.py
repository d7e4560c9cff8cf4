"""Serving a model over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from acutance.cli.models import model_at
from acutance.cli.options import Address, AllowCode, ModelReference, Storage
from acutance.console import say

app = typer.Typer()


@app.command()
def serve(
    model: ModelReference,
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port to listen on")] = 8000,
    host: Annotated[
        str, typer.Option(help="address to listen on; for other machines set a token: ACUTANCE_SERVE_TOKEN")
    ] = "127.0.0.1",
    megapixels: Annotated[float, typer.Option(min=0.01, help="the largest picture, in millions of pixels")] = 4.0,
    megabytes: Annotated[float, typer.Option(min=0.01, help="the largest file, in millions of bytes")] = 32.0,
    seconds: Annotated[float, typer.Option(min=0.1, help="the longest time that one picture may take")] = 600.0,
    address: Address = None,
    storage: Storage = None,
    allow_code: AllowCode = False,
) -> None:
    """Serve a model over HTTP until Ctrl-C: POST a picture, get the restored one.

    \b
    acutance serve models:/quickstart-x4@champion
    curl --data-binary @photo.jpg http://127.0.0.1:8000/ -o photo-x4.png
    curl http://127.0.0.1:8000/health

    \b
    For requests from other machines:
    export ACUTANCE_SERVE_TOKEN=$(openssl rand -hex 32)
    acutance serve models:/quickstart-x4@champion --host 0.0.0.0
    curl -H "Authorization: Bearer $ACUTANCE_SERVE_TOKEN" \\
         --data-binary @photo.jpg http://HOST:8000/ -o photo-x4.png
    """
    from acutance.commands.serve import serving, wait_for_the_end
    from acutance.serving.http import Limits

    file = model_at(model, storage)
    name = model if model.startswith("models:") else None
    limits = Limits(megapixels, megabytes, seconds)
    with serving(file, host=host, port=port, limits=limits, address=address, name=name) as url:
        say(f"serving {escape(model)} at {url}; Ctrl-C ends it")
        wait_for_the_end()
        say("ending after the open requests ...")
