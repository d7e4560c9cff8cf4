"""What is wrong with a pipeline file is said before a part is imported, and nothing is said of one that is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from acutance.config.pipeline import require_file
from acutance.errors import ConfigError
from command_line import REPOSITORY

FILES = sorted(path for path in (REPOSITORY / "pipelines").glob("*.yaml") if path.name != "datasets.yaml")
QUICKSTART = REPOSITORY / "pipelines" / "quickstart.yaml"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_nothing_is_said_of_a_file_that_is_right(file: Path) -> None:
    require_file(file)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("stages.gan.batchh=3", "stages.gan.batchh: unknown key; did you mean 'batch'?"),
        ("stages.gan.steps=many", "stages.gan.steps: 'many' is not a whole number"),
        ("stages.gan.network.type=dsrgam", "stages.gan.network: unknown type 'dsrgam'; did you mean 'dsrgan'?"),
        ("stages.gan.network=dsrgan", "stages.gan.network: this must be a mapping, such as {type: dsrgan}"),
        ("seed=9999999999", "seed: this number is out of range; whole numbers go to 2147483647"),
    ],
)
def test_a_mistake_is_named(change: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        require_file(QUICKSTART, [change])
    assert refused.value.what == said
