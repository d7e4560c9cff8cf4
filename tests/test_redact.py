"""Passwords, keys and tokens are taken out of whatever is shown."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from acutance.errors import UserError
from acutance.redact import ADDRESSES, SECRETS, redacted

MARK = "Zq9xV"
"""Stands in every made-up password and nowhere else."""

text = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="'\"<>"), max_size=6)
passwords = st.builds(lambda before, after: f"{before}{MARK}{after}", text, text)
passwords |= passwords.map(lambda word: quote(word, safe=""))
users = st.from_regex(r"[a-z]{1,6}", fullmatch=True)
databases = st.sampled_from(
    [
        "postgresql+psycopg2://{user}:{password}@db.example:5432/studies",
        "postgresql//{user}:{password}@db.example/studies",
        "postgresql:{user}:{password}@db.example/studies",
        "mysql:/{user}:{password}@db.example/studies",
        "postgresql://db.example/studies?user={user}&password={password}",
        "postgresql://db.example/studies?sslpassword={password}&user={user}",
        "{user}:{password}@db.example:5432/studies",
    ]
)


@settings(deadline=None)
@given(databases, users, passwords)
@example("postgresql://{user}:{password}@db/studies", "me", f"a/b@{MARK}@c/d")
@example("postgresql://{user}:{password}@db/studies", "me", f"%40{MARK}%2F")
@example("postgresql://db/studies?user={user}&password={password}", "me", f"@/{MARK}%40&=")
def test_no_part_of_an_address_gives_its_password_away(address: str, user: str, password: str) -> None:
    shown = redacted(f"no answer from {address.format(user=user, password=password)} yet")
    assert MARK not in shown
    assert shown.startswith("no answer from ")
    assert shown.endswith(" yet")


@settings(deadline=None)
@given(st.sampled_from(ADDRESSES), databases, users, passwords)
@example(ADDRESSES[0], "postgresql://{user}:{password}@db/studies", "me", f"a\\{MARK}/b")
def test_what_takes_an_address_of_the_environment_apart_at_the_wrong_place(
    variable: str, address: str, user: str, password: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(variable, address.format(user=user, password=password))
        for part in (password, password.partition("/")[2], password.partition(":")[2], password.rpartition("@")[2]):
            assert MARK not in redacted(f"invalid port: {part!r}") or len(part) < 6


@pytest.mark.parametrize("variable", SECRETS)
def test_a_secret_of_the_environment_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "wJalrXUtnFEMI/K7MDENG")
    error = UserError("refused: wJalrXUtnFEMI/K7MDENG", where="x?s=wJalrXUtnFEMI/K7MDENG", fix="wJalrXUtnFEMI/K7MDENG")
    assert "wJalrXUtnFEMI" not in str(error) + json.dumps(error.args)


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("http://me:secret@host:5000/x", "http://***@host:5000/x"),
        ("request to https://me:p@ss@host/api failed", "request to https://***@host/api failed"),
        ("https://token@git.example/x", "https://***@git.example/x"),
        ("data.train=postgresql://me:pw@db/x", "data.train=postgresql://***@db/x"),
        ("MLFLOW_TRACKING_PASSWORD=abc", "MLFLOW_TRACKING_PASSWORD=***"),
        ('{"password": "abc", "user": "me"}', '{"password": ***, "user": "me"}'),
        ("https://b.example/key?X-Amz-Signature=abc", "https://b.example/key?***"),
    ],
)
def test_what_is_left_of_an_address(given_text: str, shown: str) -> None:
    assert redacted(given_text) == shown


@pytest.mark.parametrize(
    "harmless",
    [
        "http://host:5000/@me",
        "http://127.0.0.1:8265 and models:/sr@champion",
        "s3://bucket/enlarged@2x/a.png",
        "postgresql+psycopg2://me@db:5432/studies?passfile=/home/me/.pgpass",
        "quickstart:gan@best, quickstart:gan@step=200000",
        "sqlite:////data/me@home/mlflow.db",
        "an override must read key=value; for example stages.gan.steps=1000",
        "set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's token (on its head node: ~/.ray/auth_token)",
        "at 12:30 me@example.com wrote",
    ],
)
def test_what_holds_no_password_is_shown_as_it_is(harmless: str) -> None:
    assert redacted(harmless) == harmless
