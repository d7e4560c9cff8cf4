"""Makes the shards that the stages of a pipeline read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from rich.markup import escape

from acutance.commands.context import PipelineContext
from acutance.console import Update, progress, say
from acutance.data.manifest import Manifest
from acutance.training.shards import make_shards, shard_sets
from acutance.training.stage_plan import ShardSpec


def prepare_data(context: PipelineContext, only: str | None = None) -> list[Manifest]:
    """Make the shards that the stages read; the caller has connected to Ray.

    What a stage has to be trained for first is left to `train_stages`.

    Args:
        only: one stage, with those it needs.
    """
    plans = context.plans(only)
    waiting = {plan.model for plan in plans if not plan.done()}
    return [
        _shards(context, shards)
        for shards in shard_sets(plans)
        if shards.enlarger is None or shards.enlarger.model not in waiting
    ]


def _shards(context: PipelineContext, shards: ShardSpec) -> Manifest:
    data = shards.settings
    with _shown_if_any("prepare") as on_progress:
        manifest = make_shards(
            shards,
            context.catalogue,
            context.root,
            inputs=context.inputs.get(data.source),
            gpus=context.pipeline.compute.gpus,
            on_progress=on_progress,
        )
    if data.source not in context.inputs and (record := context.read_record(data)):
        what = f"the pictures of {data.train} are not here (they were {record.place})"
        say(escape(f"{what}; its {len(manifest.shards)} shards, complete, are used"))
    if manifest.fresh:
        for skipped in manifest.skipped:
            say(f"  left out {skipped.name}: {skipped.reason}")
    return manifest


@contextmanager
def _shown_if_any(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """Show a progress bar once there is anything to do."""
    with ExitStack() as shown:
        bars: list[Update] = []

        def on_progress(done: int, total: int, note: str) -> None:
            bars[:] = bars or [shown.enter_context(progress(title, total))]
            bars[0](done, note)

        yield on_progress
