from __future__ import annotations

import pytest

from acutance.fingerprint import fingerprint


def test_order_of_keys_does_not_count_and_values_do() -> None:
    assert fingerprint({"a": 1, "b": [1.5, None]}) == fingerprint({"b": [1.5, None], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def test_it_is_the_same_on_every_machine() -> None:
    assert fingerprint({"a": [1, 2.5, "x", True, None]}) == "aeb1b42de5fe2a19"


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError):
        fingerprint({"a": object()})
