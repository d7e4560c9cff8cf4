"""Replaces passwords, keys and tokens in all that messages, logs, reports and job lists show.

Two ways together: the values of secret environment variables are replaced wherever they occur, and what looks like a
password in an address or a field is replaced wherever it comes from. In doubt, more is hidden.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from urllib.parse import unquote

HIDDEN = "***"

SECRETS = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "PGPASSWORD",
    "RAY_AUTH_TOKEN",
)
"""Variables that are a secret."""

ADDRESSES = (
    "ACUTANCE_STUDIES",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_TRACKING_URI",
    "RAY_ADDRESS",
    "RAY_API_SERVER_ADDRESS",
)
"""Variables that are an address, which may hold a password."""

SHORTEST = 6
"""Shorter parts of a secret are kept: they also occur in ordinary words, and reveal nothing."""

_FIELD = r"[\w.-]*(?:passw(?:or)?d|pwd|secret|token|signature|credential|(?:api|access|secret)_?key)(?:_?id)?"
_QUERY = re.compile(rf"\?[^\s'\"]*?\b{_FIELD}=[^\s'\"]*", re.IGNORECASE)
_SETTING = re.compile(rf"\b({_FIELD})(=\s*|['\"]\s*:\s*)('[^']*'|\"[^\"]*\"|[^\s,;&'\"]+)", re.IGNORECASE)
_SCHEME = re.compile(
    r"[\w+.-]+://|(?:postgres(?:ql)?|mysql|mariadb|mssql|oracle|redis|https?|s3|ray)(?:\+\w+)?(?::/?|/{1,2})",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\s'\"<>]+")
_MODEL = re.compile(r"\w+:/[^/]|.*@(?:best|last|step=\d+)\W*$")


def redacted(text: str) -> str:
    """Return a text without the passwords, keys and tokens in it; what holds none stays as it is."""
    for secret in sorted(set(_known()), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    text = _QUERY.sub(f"?{HIDDEN}", text)  # all of it: only the server knows where a value ends
    text = _SETTING.sub(rf"\1\2{HIDDEN}", text)
    return _WORD.sub(lambda word: _without_userinfo(word[0]), text)


def holds_secret(text: str) -> bool:
    """Return whether `redacted` would change a text."""
    return redacted(text) != text


def _without_userinfo(word: str) -> str:
    """Return an address without user and password, also one that has lost its colon, its slashes or its scheme."""
    before, at, host = word.rpartition("@")
    scheme = _SCHEME.search(before)
    if not at or (scheme is None and _MODEL.match(word)):
        return word
    key = re.match(r"[\w.*-]+=", before)
    start = scheme.end() if scheme else key.end() if key else 0
    return f"{before[:start]}{HIDDEN}@{host}" if _has_password(before[start:], scheme[0] if scheme else "") else word


def _has_password(userinfo: str, scheme: str) -> bool:
    """Return whether the text before an @ is a user with a password; of a web address a user alone may be a token.

    A password of a database may contain a slash. In a web address HOST:PORT/PATH@VERSION is more likely.
    """
    user, colon, password = userinfo.partition(":")
    if scheme.lower().startswith(("http", "s3", "ray")):
        return "/" not in user and (bool(colon) or bool(scheme)) and not re.match(r"\d+/", password)
    return bool(colon)


def _known() -> Iterator[str]:
    """Yield the secrets of the environment, as they are and as addresses write them; all parts of a password, too.

    A library that splits an address at the wrong character quotes a part of its password in its error.
    """
    found = [os.environ.get(name, "").strip() for name in SECRETS]
    for name in ADDRESSES:
        found += _passwords((os.environ.get(name) or os.environ.get(name.lower(), "")).strip())
    for secret in found:
        parts = {secret, unquote(secret), *re.split(r"[/:@?#&=%\[\]]", secret)}
        parts |= {repr(part)[1:-1] for part in parts}  # as errors quote it, with each backslash doubled
        yield from (part for part in parts if len(part) >= SHORTEST)


def _passwords(address: str) -> Iterator[str]:
    """Yield what stands where an address has its password: before its last @, or in its query."""
    shown = _without_userinfo(address)
    if shown != address:
        start = shown.index(HIDDEN)
        userinfo = address[start : address.rindex("@")]
        user, colon, password = userinfo.partition(":")
        yield password if colon else user
    for value in re.findall(rf"[?&;\s]{_FIELD}=(.*)", address, re.IGNORECASE):
        yield from (
            value[: end.start()] for end in re.finditer(r"[&;\s]|$", value)
        )  # the value may contain the separator
