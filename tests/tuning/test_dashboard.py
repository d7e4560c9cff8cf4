from __future__ import annotations

import importlib.metadata
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from made_for_tuning import campaign_of
from made_up_campaigns import ASHA, LPIPS, PSNR, TWO, played

from acutance.tuning.report.study_link import dashboard_command
from acutance.tuning.study import open_storage, trial_records

STATES = {"Complete": "complete", "Pruned": "stopped", "Fail": "failed"}


@contextmanager
def dashboard(address: str, log: Path) -> Iterator[str]:
    """Run the command that a report gives, on a free port of this machine; yields the server's address."""
    found = importlib.metadata.entry_points(group="console_scripts", name="optuna-dashboard")
    if not found:
        pytest.skip("optuna-dashboard is not installed: pip install optuna-dashboard")
    module, _, function = next(iter(found)).value.partition(":")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    _, *arguments = shlex.split(dashboard_command(address))
    start = f"import sys; from {module} import {function}; sys.exit({function}())"
    command = [sys.executable, "-c", start, *arguments, "--host", "127.0.0.1", "--port", str(port)]
    with log.open("w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        try:
            _wait(f"http://127.0.0.1:{port}/api/studies", server, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    """End it with its workers. Gunicorn waits half a minute after a SIGTERM, and ends at once at an interrupt."""
    server.send_signal(signal.SIGINT)
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(10)


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until and server.poll() is None:
        try:
            requests.get(url, timeout=5).raise_for_status()
            return
        except requests.RequestException:
            time.sleep(0.2)
    pytest.fail(f"the dashboard does not answer: {log.read_text()[-2000:]}")


@pytest.mark.e2e
def test_optuna_dashboard_shows_a_campaign(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/studies.db"
    campaign = campaign_of(parameters=TWO, objectives=[PSNR, LPIPS], scheduler=ASHA, budget={"trials": 8})
    study, _ = played(campaign, storage=open_storage(address), failing=lambda number: number == 5)
    known = trial_records(study)
    assert {record.state for record in known} == {"complete", "stopped", "failed"}
    with dashboard(address, tmp_path / "log") as server:
        (summary,) = requests.get(f"{server}/api/studies", timeout=20).json()["study_summaries"]
        detail = requests.get(f"{server}/api/studies/{summary['study_id']}", params={"after": 0}, timeout=20).json()
        page = requests.get(f"{server}/dashboard/studies/{summary['study_id']}", timeout=20)
    assert (summary["study_name"], summary["directions"]) == (study.study_name, ["maximize", "minimize"])
    assert "<html" in page.text.lower()
    shown = {trial["number"]: trial for trial in detail["trials"]}
    assert {number: STATES[trial["state"]] for number, trial in shown.items()} == {a.number: a.state for a in known}
    for record in known:
        trial, scores = (
            shown[record.number],
            [record.scores.get(goal.name) for goal in campaign.objectives],
        )
        assert trial.get("values") == (scores if record.state == "complete" else None)
        noted = {attribute["key"]: attribute["value"] for attribute in trial["user_attrs"]}
        assert json.loads(noted["values"]) == record.values
        assert _parameters(trial) == list(study.trials[record.number].params.values())
        assert noted.get("reason", "") == record.reason


def _parameters(trial: dict[str, Any]) -> list[float]:
    return [float(parameter["param_external_value"]) for parameter in trial["params"]]
