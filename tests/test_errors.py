from __future__ import annotations

import copy
import os

from acutance.errors import ConfigError, TrainingError


def test_what_where_and_what_to_do_are_told() -> None:
    error = ConfigError("it broke", where="file:3", fix="mend it")
    assert str(error) == "it broke\n  where: file:3\n  to do: mend it"
    assert (error.exit_code, TrainingError("x").exit_code) == (2, 1)


def test_an_error_survives_the_trip_between_processes() -> None:
    error = copy.copy(ConfigError("it broke", where="file:3", fix="mend it"))
    assert (type(error), error.where, error.fix) == (ConfigError, "file:3", "mend it")


def test_names_of_files_that_are_no_utf_8_are_written_out() -> None:
    error = ConfigError(os.fsdecode(b"caf\xe9 \xe6\x97\xa5"), where="\ud800")
    assert str(error) == "caf\\xe9 日\n  where: \\ud800"
