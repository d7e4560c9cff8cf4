"""What others published or computed comes out here as well, where their pictures are at hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from command_line import REPOSITORY, environment


def test_pictures_and_metrics_agree_with_the_world(data_root: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "benchmarks" / "agreement.py")],
        env=environment(ACUTANCE_DATA=str(data_root)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("| agrees |") == 41
    assert "differs |" not in done.stdout
