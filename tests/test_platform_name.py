"""`platform/` is a source root: the standard library's module of that name must still be found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import REPOSITORY, Here


def test_the_source_root_is_no_package() -> None:
    assert not (REPOSITORY / "platform" / "__init__.py").exists()


def test_the_standard_library_is_found_from_the_repository() -> None:
    code = "import platform; print(platform.__file__); platform.python_version()"
    found = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert not Path(found.stdout.strip()).is_relative_to(REPOSITORY / "platform")


@pytest.mark.e2e
def test_the_doctor_finds_it_in_a_ray_worker_and_says_what_works(here: Here, cluster: None, tmp_path: Path) -> None:
    done = here("doctor", "--storage", str(tmp_path), "--json")
    assert done.returncode == 0, done.stderr
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert f"a task ran on Python {sys.version.split()[0]}" in findings["Ray"]["note"]
    assert {findings[name]["state"] for name in ("storage", "MLflow", "Ray", "data photographs_train")} == {"ok"}
    assert findings["data Set5"]["state"] == "missing"
