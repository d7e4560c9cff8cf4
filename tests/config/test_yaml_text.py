"""YAML that is broken, or that stands for more than it says, is refused in no time."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

import pytest

from acutance.config.overrides import parse_override
from acutance.config.yaml_text import MAX_BYTES, parse_yaml, read_yaml
from acutance.errors import ConfigError

BOMB = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (BOMB, "more than 20,000 values"),
        ("a: &a [*a]", "something that it is in"),
        ("a: &a {b: {c: *a}}", "something that it is in"),
        ("[" * 1000 + "]" * 1000, "more than 50 deep"),
        ("{a: " * 1000 + "}" * 1000, "more than 50 deep"),
        ("- " * 1000 + "a", "more than 50 deep"),
        ("\n".join(" " * depth + "a:" for depth in range(60)), "more than 50 deep"),
        ("a: 2020-13-45", "'timestamp' is no setting"),
        ("a: 2020-01-01", "'timestamp' is no setting"),
        ("a: !!int abc", "'abc' is no int"),
        ("a: !!float abc", "'abc' is no float"),
        ("a: !!bool maybe", "'maybe' is no bool"),
        ("a: !!python/object:os.system x", "is no setting"),
        ("a: " + "1" * 5000, "more than 400 digits"),
        ('a: "\\ud800"', "lone surrogate"),
        ("? [1, 2]\n: 3", "is no key"),
        ("a: 1\na: 2", "duplicate key"),
        ("a: *b", "undefined alias"),
        ("%YAML 1.1\n---\na: on", "not valid YAML"),
        ("a: \x00", "not valid YAML"),
    ],
)
def test_what_is_refused_within_a_second_and_200_mb(text: str, what: str) -> None:
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(ConfigError, match=what) as caught:
        parse_yaml(text, "a.yaml")
    assert caught.value.where.startswith("a.yaml")
    with pytest.raises(ConfigError, match=what):
        parse_override(f"stages={text}")
    assert time.process_time() - started < 2, "a second each"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


def test_the_line_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml("a: 1\nb: {c: 2020-01-01}", "a.yaml")
    assert caught.value.where == "a.yaml:2"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: [0x1F, 0o17, 1_000, 1e-4, .inf, -3]", {"a": [31, 15, 1000, 1e-4, float("inf"), -3]}),
        ("on: yes", {"on": "yes"}),
        ("a: &x {b: 1}\nc: {<<: *x, d: 2}", {"a": {"b": 1}, "c": {"b": 1, "d": 2}}),
        ("{200000: 0.2}", {200000: 0.2}),
        ("a: !!str 2020-01-01", {"a": "2020-01-01"}),
        ("-\n" * 300, [None] * 300),
        ("", None),
    ],
)
def test_plain_values(text: str, value: Any) -> None:
    assert parse_yaml(text, "a.yaml") == value


def test_aliases_make_copies() -> None:
    content = parse_yaml("a: &x {b: 1}\nc: *x", "a.yaml")
    content["a"]["b"] = 2
    assert content["c"] == {"b": 1}


def test_files_that_are_no_settings(tmp_path: Path) -> None:
    (tmp_path / "large.yaml").write_text("a: 1\n" * MAX_BYTES)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    for name, what in (("large.yaml", "more than 64 kB"), ("bytes.yaml", "not a YAML file"), (".", "cannot be read")):
        with pytest.raises(ConfigError, match=what):
            read_yaml(tmp_path / name)
