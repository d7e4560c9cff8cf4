"""Where a study lives, in words that give nothing away; settings as YAML."""

from __future__ import annotations

import io
import shlex
from typing import Any

from ruamel.yaml import YAML
from sqlalchemy.engine import URL, make_url

from acutance.tuning.study import ADDRESS_VARIABLE


def shown_address(address: str) -> str:
    """Return the address of an Optuna storage without user, password and options."""
    if address.endswith(".journal"):
        return address
    url = make_url(address)
    if url.drivername.startswith("sqlite"):
        return str(url.database)
    return URL.create(url.drivername, host=url.host, port=url.port, database=url.database).render_as_string()


def dashboard_command(address: str) -> str:
    """Return the command that opens a storage in Optuna Dashboard; one with secrets comes from the environment."""
    if address.endswith(".journal"):
        return f"optuna-dashboard {shlex.quote(address)}"
    url = make_url(address)
    if url.username or url.password or url.query:
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
