"""Acutance trains, tunes and ships perceptual image restorers on Ray.

Rooms, each knowing only those above it in this list: `imaging` (pure functions on pictures), `data` (pictures to
shards to a stream of batches), `models` (networks), `losses` (terms of an objective), `evaluation` (metrics and
tables), `pipeline` (what a pipeline file may say), `training` (the one step under Ray Train), `campaign` (what a
search space may say), `tuning` (Ray Tune with Optuna), `registry` (MLflow), `cluster` (Ray clusters and jobs). On them
stand `work` (a pipeline opened), `examine` (models on held-out pictures), `run` and `tune` (a pipeline, a campaign from
end to end), `upscale`, `doctor`, and `cli` (the front door).
"""

from acutance.quiet import hush

__version__ = "0.1.0"

hush()
