"""Checksums of notes and of safetensors files: what was written is what is read, or it is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acutance import storage
from acutance.errors import DamagedError
from acutance.storage.checksum import (
    checksum,
    file_checksum,
    metadata_with_checksum,
    verified_metadata,
    verified_note,
    with_checksum,
    with_file_checksum,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
CONTENTS = st.dictionaries(st.text(max_size=5).filter(lambda key: key != "checksum"), VALUES, max_size=4)
UNREADABLE = (DamagedError, ValueError, KeyError, TypeError, AttributeError)
"""What a reader is told of bytes that hold no description, or another one than was written."""


def flipped(content: bytes, bit: int) -> bytes:
    place, altered = bit % (8 * len(content)), bytearray(content)
    altered[place // 8] ^= 1 << place % 8
    return bytes(altered)


@given(content=CONTENTS, bit=st.integers(0, 2**20))
@settings(max_examples=300, deadline=None)
def test_a_note_says_what_was_written_or_that_it_is_damaged(content: dict[str, Any], bit: int) -> None:
    text = json.dumps(with_checksum(content), indent=2, sort_keys=True).encode() + b"\n"
    assert verified_note(text, "a note") == content
    altered = flipped(text, bit)
    try:
        means_the_same = json.loads(altered) == json.loads(text)  # a bit of white space, say
    except (ValueError, RecursionError):
        means_the_same = False
    if means_the_same:
        assert verified_note(altered, "a note") == content
    else:
        with pytest.raises(DamagedError, match="a note"):
            verified_note(altered, "a note")


def test_a_note_is_plain_json_and_one_without_check_sum_is_not_believed(tmp_path: Path) -> None:
    uri = str(tmp_path / "note.json")
    storage.write_json(uri, {"steps": {10: 0.1, 2: None}})
    assert storage.read_json(uri) == {"steps": {"10": 0.1, "2": None}}
    assert json.loads((tmp_path / "note.json").read_text())["steps"] == {"10": 0.1, "2": None}
    for text in ("", "{}", "[]", '{"steps": 3}', '{"checksum": "0"}', "[" * 100_000):
        (tmp_path / "note.json").write_text(text)
        with pytest.raises(DamagedError, match=r"note\.json"):
            storage.read_json(uri)


@pytest.fixture(scope="module")
def tensors() -> bytes:
    """A safetensors file with its checksum: 8 bytes, some 200 of header, 24 of values."""
    values = {"title": 'says "checksum": "00000000000000000000000000000000"', "steps": 7}
    made = {"a": torch.tensor([1.0, 2.0, 3.0]), "b": torch.arange(3, dtype=torch.int32)}
    return bytes(with_file_checksum(safetensors.torch.save(made, metadata=metadata_with_checksum(values))))


def test_every_flipped_bit_of_a_safetensors_file_is_found(tensors: bytes) -> None:
    assert verified_metadata(tensors, "a file")["steps"] == 7
    for bit in range(8 * len(tensors)):
        with pytest.raises(UNREADABLE):
            verified_metadata(flipped(tensors, bit), "a file")
    for changed in (tensors[:-1], tensors + b"\0", tensors[:-8] + tensors[-4:] + tensors[-8:-4]):
        with pytest.raises(DamagedError, match="a file"):
            verified_metadata(changed, "a file")


def test_others_read_it_and_the_same_content_is_the_same_file(tensors: bytes) -> None:
    found = safetensors.torch.load(tensors)
    assert found["a"].tolist() == [1, 2, 3]
    again = safetensors.torch.save(found, metadata=metadata_with_checksum(verified_metadata(tensors, "a file")))
    assert bytes(with_file_checksum(again)) == tensors


def test_a_check_sum_is_that_of_the_parts_together_and_of_the_file(tmp_path: Path) -> None:
    """XXH3 of 128 bits; the value of the empty text is the published one."""
    assert checksum(b"") == "99aa06d3014798d86001c324468d497f"
    (tmp_path / "file").write_bytes(b"abc" * 2_000_000)
    assert checksum(b"abc" * 999_999, b"abc" * 1_000_001) == file_checksum(tmp_path / "file")
