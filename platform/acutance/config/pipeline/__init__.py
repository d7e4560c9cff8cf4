"""What a pipeline file may say: `stage` one training, `settings` the whole file and what must fit together.

`load` reads a file, applies a profile and `key=value` overrides, and validates everything before anything starts.
Each number of a pipeline is reachable by a dotted path; a term of an objective is addressed by its name.
"""

from acutance.config.pipeline.load import load, require_file, resolve, with_values
from acutance.config.pipeline.sections import Compute, Length
from acutance.config.pipeline.settings import Pipeline
from acutance.config.pipeline.stage import OptimiserChoice, Stage, columns_read

__all__ = [
    "Compute",
    "Length",
    "OptimiserChoice",
    "Pipeline",
    "Stage",
    "columns_read",
    "load",
    "require_file",
    "resolve",
    "with_values",
]
