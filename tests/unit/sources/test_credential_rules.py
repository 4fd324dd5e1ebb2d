"""What may be declared of a credential, and that no error repeats what could be one."""

from __future__ import annotations

import doctest
import pickle
import re
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridmill import ApiKey, BearerToken, Login, S3Access
from gridmill.sources.fetch.credentials import hidden, rules
from gridmill.sources.fetch.credentials.rules import credential_of, origin_of, rule_for
from gridmill.sources.fetch.http import _Asked
from repository import ROOT


@pytest.mark.parametrize("module", [rules, hidden])
def test_the_examples_of_docstrings_hold(module):
    """They are run."""
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("host", "table", "told"),
    [
        ("a.org", {"kind": "bearer", "env": "eyJhbGciOi.secret"}, "env names an environment"),
        ("a.org", {"kind": "bearer", "token": "eyJhbGciOi-secret"}, "token is no setting of kind"),
        ("a.org", {"kind": "bearer"}, "give either env or command"),
        ("a.org", {"kind": "bearer", "env": "A", "command": "b"}, "give either env or command"),
        ("a.org", {"kind": "oauth", "env": "A"}, "one of bearer, login, api-key, s3"),
        ("a.org", {"kind": "api-key", "env": "A"}, "either a header or a query"),
        ("a.org", {"kind": "api-key", "env": "A", "query": "a=b"}, "letters, digits"),
        ("a.org", {"kind": "s3", "env": ["A", "B"]}, "S3Access is for s3://bucket"),
        ("s3://b", {"kind": "s3", "env": ["A"]}, "two or three variables"),
        ("s3://b", {"kind": "s3"}, "give env, command or profile"),
        ("s3://b", {"kind": "s3", "requester-pays": "secret"}, "requester-pays is of a wrong type"),
        ("s3://b", {"kind": "bearer", "env": "A"}, "BearerToken is for a host"),
        ("a.org/path", {"kind": "login"}, "Login is for a host"),
        ("a.org", {"kind": "login", "netrc": "n", "env": "A"}, "give one of env and netrc"),
    ],
)
def test_a_mistake_is_named_and_no_value_repeated(host, table, told):
    """Whoever writes the credential itself where its name belongs does not see it again."""
    with pytest.raises(ValueError, match=re.escape(told)) as caught:
        credential_of(host, table)
    assert "secret" not in str(caught.value).replace("secret key", "")


def test_rules_are_values():
    """They compare, hash and pickle: they go to workers with the jobs."""
    declared = (
        BearerToken("a.org", command="print-token --now"),
        Login("b.org"),
        ApiKey("*.c.org", query="appid", env="KEY"),
        S3Access("s3://d", env=("A", "B"), requester_pays=True),
    )
    assert pickle.loads(pickle.dumps(declared)) == declared
    assert len(set(declared)) == 4
    assert declared[0].command == ("print-token", "--now")


def blocks(language: str) -> list[str]:
    """Return the guide's examples in a language."""
    page = (ROOT / "docs" / "guides" / "credentials.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def test_what_the_guide_declares_can_be_declared():
    """Its settings and its class."""
    (settings,), (code,) = blocks("toml"), blocks("python")
    tables = tomllib.loads(settings)["credential"]
    assert [credential_of(host, table).kind for host, table in tables.items()] == [
        "bearer",
        "api-key",
        "login",
        "s3",
    ]
    names: dict[str, Any] = {}
    exec(code, names)
    declared = names["SatelliteJob"].credentials
    assert {one.host for one in declared} == set(tables)


@given(
    st.sampled_from(["data.a.org", "x.data.a.org", "a.org", "data.a.org.evil.net", "dataXa.org"])
)
def test_a_pattern_fits_hosts_below_it_alone(host):
    """Not the host itself, and none that only looks like it."""
    fits = rule_for([Login("*.a.org")], f"https://{host}/f") is not None
    assert fits == host.endswith(".a.org")


def test_a_port_and_a_scheme_belong_to_the_host():
    """Another port is another server."""
    declared = [Login("http://a.org:8080"), Login("a.org:8443")]
    assert rule_for(declared, "http://A.org:8080/f") == 0
    assert rule_for(declared, "https://a.org:8443/f") == 1
    assert rule_for(declared, "https://a.org/f") is None
    assert origin_of("http://[::1]:80/") == ("http", "::1", 80)


@pytest.mark.parametrize(
    "elsewhere",
    ["http://a.org/f", "https://a.org:8443/f", "https://b.org/f", "https://a.org.b.org/"],
)
def test_another_scheme_port_or_host_is_told_nothing_secret(elsewhere):
    """A redirect from https to http is one to another server."""
    headers = {"Authorization": "x", "Cookie": "x", "X-My-Key": "x", "X-Purpose": "archive"}
    asked = _Asked(origin_of("https://a.org/f"), headers)
    assert asked.headers_for("https://a.org:443/other") == headers
    assert asked.headers_for(elsewhere) == {"X-Purpose": "archive"}
    assert rule_for([BearerToken("a.org", env="T"), Login("b.org:1")], elsewhere) is None
