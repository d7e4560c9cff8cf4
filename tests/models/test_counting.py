"""Networks that no machine could hold are refused by their key, before anything is allocated."""

from __future__ import annotations

import time
from typing import Any

import pytest

from acutance import parts
from acutance.errors import ConfigError
from acutance.models.counting import parameter_count


@pytest.mark.parametrize(
    ("network", "arguments", "what"),
    [
        ("wdsr", {"blocks": 100_000_000}, "layers"),
        ("hfa", {"channels": 10**9}, "parameters"),
        ("rrdbnet", {"channels": 10**12}, "parameters"),
    ],
)
def test_a_network_of_absurd_size_is_refused(network: str, arguments: dict[str, Any], what: str) -> None:
    started = time.process_time()
    with pytest.raises(ConfigError, match=f"this network has more than .* {what}") as caught:
        parameter_count(parts.find("network", network), arguments, "stages.a.network")
    assert caught.value.where == "stages.a.network"
    assert next(iter(arguments)) in str(caught.value.fix)
    assert time.process_time() - started < 10


def test_counting_leaves_nothing_behind() -> None:
    with pytest.raises(ConfigError):
        parameter_count(parts.find("network", "wdsr"), {"channels": 10**9}, "stages.a.network")
    assert parameter_count(parts.find("network", "wdsr"), {}, "stages.a.network") == 597_716
