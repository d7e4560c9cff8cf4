"""Acutance trains, tunes and ships perceptual image restorers on Ray.

Rooms, each importing those below it: `cli` (arguments and tables), `commands` (what a command does from end to end),
`tuning` (Ray Tune with Optuna), `registry` (MLflow), `serving` (HTTP), `training` (the one step under Ray Train),
`evaluation` (metrics and tables), `inference` (whole pictures), `data` (pictures to shards to a stream of batches),
`models` (networks), `losses` (terms of an objective), `imaging` (pure functions on pictures), `cluster` (Ray clusters
and jobs), `config` (what files may say), `parts` (named parts), `storage` (folders and object stores).
"""

__version__ = "0.1.0"
