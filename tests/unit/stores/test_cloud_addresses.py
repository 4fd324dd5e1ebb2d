"""What URLs and storage options mean to Google Cloud Storage and Azure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gridmill.stores.objects.clouds.addresses import UnknownOption, cloud_address
from gridmill.stores.objects.opening import open_objects


@pytest.fixture(autouse=True)
def _nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("options", "config"),
    [
        ({}, {}),
        ({"token": None, "project": "p"}, {}),
        ({"token": "google_default"}, {}),
        ({"token": "anon"}, {"skip_signature": True}),
        ({"endpoint_url": "http://here"}, {"base_url": "http://here"}),
        ({"bearer_token": "t"}, {"bearer_token": "t"}),
        ({"token": {"type": "x"}}, {"service_account_key": json.dumps({"type": "x"})}),
    ],
)
def test_options_of_gcsfs_are_understood(options: dict[str, Any], config: dict[str, Any]) -> None:
    """As users of gcsfs have them."""
    at = cloud_address("gs://bucket/a/b", options)
    assert (at.service, at.bucket, at.prefix, dict(at.config)) == ("gcs", "bucket", "a/b", config)


def test_a_file_of_credentials_is_told_by_what_it_holds(tmp_path) -> None:
    """A service account's from one that a user has."""
    path = tmp_path / "key.json"
    for kind, name in [
        ("service_account", "service_account"),
        ("authorized_user", "application_credentials"),
    ]:
        path.write_text(json.dumps({"type": kind}))
        assert dict(cloud_address("gs://b/a", {"token": str(path)}).config) == {name: str(path)}


def test_whoever_pays_is_named_with_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a project, by that of `project`, or by the environment's; without any it is refused."""
    wanted = {"x-goog-user-project": "p"}
    for options in ({"requester_pays": "p"}, {"requester_pays": True, "project": "p"}):
        assert cloud_address("gs://b/a", options).headers == wanted
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    assert cloud_address("gs://b/a", {"requester_pays": True}).headers == wanted
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT")
    with pytest.raises(UnknownOption, match="'requester_pays' needs the project that pays"):
        cloud_address("gs://b/a", {"requester_pays": True})
    assert cloud_address("gs://b/a", {"requester_pays": False}).headers == {}


CONNECTION = (
    "DefaultEndpointsProtocol=https;AccountName=me;AccountKey=a+b==;EndpointSuffix=core.net"
)
WHOLE = {"account_name": "me", "account_key": "a+b==", "endpoint": "https://me.blob.core.net"}


@pytest.mark.parametrize(
    ("url", "options", "config"),
    [
        ("abfs://box/a", {"account_name": "me", "anon": True},
         {"account_name": "me", "skip_signature": True}),
        ("abfss://box@me.dfs.core.windows.net/a", {"sas_token": "s"},
         {"account_name": "me", "sas_key": "s"}),
        ("az://box/a", {"connection_string": CONNECTION}, WHOLE),
        ("az://box/a", {"account_name": "me", "account_host": "h"},
         {"account_name": "me", "endpoint": "https://h"}),
    ],
)  # fmt: skip
def test_options_of_adlfs_are_understood(
    url: str, options: dict[str, Any], config: dict[str, Any]
) -> None:
    """As users of adlfs have them, and URLs that name the account."""
    at = cloud_address(url, options)
    assert (at.service, at.bucket, at.prefix) == ("azure", "box", "a")
    assert dict(at.config) == config


def test_the_environment_names_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection string, as adlfs takes it, and an account's name."""
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", CONNECTION)
    assert dict(cloud_address("az://box/a", {}).config) == WHOLE
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "me")
    assert dict(cloud_address("az://box/a", {}).config) == {"account_name": "me"}


@pytest.mark.parametrize(
    ("url", "options", "says"),
    [
        ("gs://", {}, "names no bucket"),
        ("az://box/a", {}, "no storage account is named"),
        ("gs://b/a", {"colour": 1}, "storage option 'colour' is not known for Google"),
        ("az://b/a", {"account_name": "x", "colour": 1}, "'colour' is not known for Azure"),
        ("gs://b/a", {"token": "browser"}, "none of gcsfs's names and no file"),
    ],
)
def test_what_is_not_understood_is_refused(url: str, options: dict[str, Any], says: str) -> None:
    """Before anything is asked of the service; the value of an option is not shown."""
    with pytest.raises(ValueError, match=says):
        cloud_address(url, options)


def test_credentials_are_not_shown() -> None:
    """Neither of the address nor of the objects."""
    objects = open_objects("gs://bucket/a", storage_options={"bearer_token": "hidden"})
    assert "hidden" not in repr(objects)
    assert "hidden" not in repr(cloud_address("gs://bucket/a", {"bearer_token": "hidden"}))


def test_an_option_that_obstore_has_no_word_for_names_itself(monkeypatch) -> None:
    """Where gcsfs is not installed either, it is an error; and so is a missing library."""
    from gridmill.stores.objects import opening

    monkeypatch.setattr(opening, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="'colour' is not known") as refused:
        open_objects("gs://bucket/a", storage_options={"colour": 1})
    assert not isinstance(refused.value, UnknownOption)
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    with pytest.raises(ValueError, match=r"pip install 'gridmill\[azure\]'"):
        open_objects("az://box/a", storage_options={"account_name": "me"})
