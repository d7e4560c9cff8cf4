from __future__ import annotations

import os

import pytest

from acutance.process import is_gone, this_process
from process_family import another_process


def test_this_process_is_there_and_a_later_one_of_its_number_is_another() -> None:
    process_key = this_process()
    machine, number, started = process_key.split()
    assert int(number) == os.getpid()
    assert not is_gone(process_key)
    assert is_gone(f"{machine} {number} {int(started) - 1}")
    assert not is_gone(f"elsewhere {number} 1"), "of another machine's processes nothing is known"
    assert not is_gone("")


def test_an_ended_process_is_gone_even_before_anybody_waited_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with another_process(monkeypatch) as (process_key, child):
        assert not is_gone(process_key)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie, still in the table of processes
        assert is_gone(process_key)
    assert is_gone(process_key)
