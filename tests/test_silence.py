"""Whose process it is: ours is silent, that of who imports the package stays as it was."""

from __future__ import annotations

import subprocess
import sys

LOOK = """
import os, sys, warnings

def state():
    return list(warnings.filters), dict(os.environ)

before = state()
import acutance, acutance.console, acutance.errors, acutance.silence
assert state() == before, "importing changes nothing"
acutance.silence.stay_silent()
assert state() == before, "nor does what follows where nobody asked for silence"
acutance.silence.silence_libraries()
filters, variables = state()
assert filters[0][0] == "ignore" and variables["RAY_USAGE_STATS_ENABLED"] == "0"
warnings.resetwarnings()
acutance.silence.stay_silent()
assert state()[0] == filters[:1]
"""


def test_importing_changes_nothing_in_the_users_process() -> None:
    subprocess.run([sys.executable, "-c", LOOK], check=True, env={})
