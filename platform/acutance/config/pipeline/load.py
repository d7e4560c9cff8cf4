"""Reads a pipeline file, applies a profile and overrides, and validates everything before anything starts."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from acutance.config.mistakes import require_keys, validate
from acutance.config.overrides import load_yaml, override, parse_override
from acutance.config.pipeline.settings import Pipeline
from acutance.errors import ConfigError, nearest


def load(
    path: str | Path,
    overrides: Iterable[str] = (),
    *,
    profile: str | None = None,
    values: Mapping[str, Any] | None = None,
) -> Pipeline:
    """Read a pipeline file.

    Args:
        path: the YAML file.
        overrides: `key=value` texts, applied last.
        profile: a named set of overrides from the file's `profiles`, applied first; where it does not name the
            registered model, its own name is appended to that one's.
        values: dotted path -> value, applied after the profile (a trial of a search).

    Raises:
        ConfigError: naming the file, the dotted path and the nearest valid name of each mistake.
    """
    return validate(Pipeline, _content(path, overrides, profile, values), str(path))


def require_file(path: str | Path, overrides: Iterable[str] = (), *, profile: str | None = None) -> None:
    """Say what is wrong with a pipeline file, as far as that can be said before a part is imported.

    Raises:
        ConfigError: as `load`.
    """
    require_keys(Pipeline, _content(path, overrides, profile, {}), str(path))


def _content(
    path: str | Path, overrides: Iterable[str], profile: str | None, values: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what a file says with a profile, values and overrides."""
    content = load_yaml(path)
    profiles = _profiles(content, str(path))
    changes: list[tuple[str, Any]] = []
    if profile is not None:
        if profile not in profiles:
            raise ConfigError(f"there is no profile {profile!r}{nearest(profile, profiles)}", where=str(path))
        changes += list(profiles[profile].items())
        changes += _own_name(content, profile, profiles[profile])
    changes += list((values or {}).items())
    changes += [parse_override(text) for text in overrides]
    return _changed(content, changes)


def _own_name(content: Mapping[str, Any], profile: str, changes: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Give a profile its own registered name: its model is no version of the file's model."""
    registered = content.get("register")
    if not isinstance(registered, dict) or changes.keys() & {"register", "register.name"}:
        return []
    return [("register.name", f"{registered.get('name')}-{profile}")]


def _profiles(content: Mapping[str, Any], where: str) -> dict[str, dict[str, Any]]:
    profiles = content.get("profiles") or {}
    named = profiles if isinstance(profiles, dict) else {"": profiles}
    for name, changes in named.items():
        if not isinstance(changes, dict):
            what = f"{f'profiles.{name}'.rstrip('.')}: this is no mapping"
            raise ConfigError(what, where=where, fix="write `name: {path: value}` below profiles")
    return named


def resolve(content: Mapping[str, Any], values: Mapping[str, Any], where: str) -> Pipeline:
    """Return a pipeline from settings in memory and values by dotted path; errors as for `load`."""
    return validate(Pipeline, _changed(content, list(values.items())), where)


def with_values(content: Mapping[str, Any], stage: str, values: Mapping[str, Any], seed: int, where: str) -> Pipeline:
    """Return a pipeline with some values, and the n-th seed in a stage and all that it comes from; at full length."""
    pipeline = resolve(content, values, where)
    further = pipeline.seeds(pipeline.order(stage), seed) if seed else {}
    return resolve(content, {**values, **further}, where) if further else pipeline


def _changed(content: Mapping[str, Any], changes: list[tuple[str, Any]]) -> dict[str, Any]:
    settings = copy.deepcopy(dict(content))
    for dotted, value in changes:
        override(settings, dotted, value)
    return settings
