"""How a study is opened in Optuna Dashboard; settings as YAML."""

from __future__ import annotations

import io
import shlex
from typing import Any

from ruamel.yaml import YAML

from acutance.redact import holds_secret
from acutance.tuning.study import ADDRESS_VARIABLE


def dashboard_command(address: str) -> str:
    """Return the command that opens a storage in Optuna Dashboard; one with secrets comes from the environment."""
    if holds_secret(address):
        return f'optuna-dashboard "${ADDRESS_VARIABLE}"'
    return f"optuna-dashboard {shlex.quote(address)}"


def yaml_text(content: Any, *, inline: bool = False) -> str:
    """Return settings as YAML: over several lines, or on one as the command line takes them."""
    text = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = True if inline else None
    yaml.width = 10_000 if inline else 100
    yaml.dump(content, text)
    return text.getvalue().removesuffix("...\n").rstrip()
