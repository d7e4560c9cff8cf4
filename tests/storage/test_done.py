"""The note that work is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from acutance import storage
from acutance.errors import DamagedError, UserError
from acutance.storage import done
from acutance.storage.done import Done


@pytest.mark.parametrize("kind", sorted(done.FILES))
def test_what_is_noted_is_read(kind: done.Kind, tmp_path: Path) -> None:
    folder, noted = str(tmp_path / "work"), Done(kind, "0123456789abcdef", 3, {"steps": 7})
    note = done.note_of(kind, folder)
    assert not done.is_done(kind, folder, "0123456789abcdef")
    assert done.read(note, kind) is None
    done.write(note, noted)
    assert done.is_done(kind, folder, "0123456789abcdef")
    with pytest.raises(UserError, match=r"other work .* lies where this work"):
        done.is_done(kind, folder, "01234567ffffffff")
    assert done.read(note, kind) == noted


def test_a_note_of_other_work_is_none_and_a_damaged_one_is_said(tmp_path: Path) -> None:
    note = str(tmp_path / "note.json")
    done.write(note, Done("stage", "f", 1, {"kind": "stage"}))
    assert done.read(note, "run") is None
    storage.write_json(note, {"stage": "as it was noted once"})
    assert done.read(note, "stage") is None
    (tmp_path / "note.json").write_text(Path(note).read_text().replace("once", "ones"))
    with pytest.raises(DamagedError):
        done.read(note, "stage")


@pytest.mark.parametrize("name", ["kind", "fingerprint", "version"])
def test_what_the_note_says_itself_cannot_be_said_otherwise(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"another '{name}'"):
        done.write(str(tmp_path / "note.json"), Done("run", "f", 5, {name: "7"}))
