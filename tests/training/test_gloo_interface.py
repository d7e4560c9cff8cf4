"""Workers speak over the interface that their node has its address on."""

from __future__ import annotations

import os
import socket

import pytest

from acutance.training import gloo_interface
from acutance.training.gloo_interface import VARIABLE, choose_interface, interface_of


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")  # so that what the test leaves behind is taken away
    monkeypatch.delenv(VARIABLE)


def test_an_address_has_one_interface_or_none() -> None:
    assert interface_of("127.0.0.1") in {name for _, name in socket.if_nameindex()}
    assert interface_of("203.0.113.7") is None, "an address of the documentation's is nobody's"


def test_gloo_is_told_the_nodes_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gloo_interface, "get_node_ip_address", lambda: "127.0.0.1")
    choose_interface()
    assert os.environ[VARIABLE] == interface_of("127.0.0.1")


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gloo_interface, "get_node_ip_address", lambda: "127.0.0.1")
    monkeypatch.setenv(VARIABLE, "eth7")
    choose_interface()
    assert os.environ[VARIABLE] == "eth7"


def test_without_an_interface_gloo_chooses_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gloo_interface, "get_node_ip_address", lambda: "203.0.113.7")
    choose_interface()
    assert VARIABLE not in os.environ
