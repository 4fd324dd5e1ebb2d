"""What a URL and storage options mean to Google Cloud Storage and to Azure.

The options are those that gcsfs and adlfs take, which is what users of fsspec have, or obstore's
own names. What is not given is found by the service's usual chain: environment variables, the files
of its command line, the identity of the machine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from gridmill.model.urls import AZURE_SCHEMES

__all__ = ["CloudAddress", "UnknownOption", "cloud_address", "is_cloud"]

GCS_SCHEMES = ("gs", "gcs")

# What obstore calls what gcsfs and adlfs call otherwise, beside names that they share.
GCS_NAMES = {"base_url": "base_url", "endpoint_url": "base_url"}
GCS_OWN = ("service_account", "service_account_key", "application_credentials", "bearer_token")
AZURE_NAMES = {"account_name": "account_name", "account_key": "account_key", "sas_token": "sas_key"}
AZURE_OWN = (
    *("sas_key", "tenant_id", "client_id", "client_secret", "authority_host", "endpoint"),
    *("federated_token_file", "use_azure_cli", "msi_endpoint", "object_id", "encryption_key"),
)
# What these file systems do that is not asked of them here: caches, pools, listings.
IDLE = (
    *("project", "access", "consistency", "cache_timeout", "block_size", "version_aware"),
    *("asynchronous", "loop", "use_listings_cache", "skip_instance_cache", "blocksize"),
)
# Of a connection string, by its parts.
CONNECTION = {
    "AccountName": "account_name",
    "AccountKey": "account_key",
    "SharedAccessSignature": "sas_key",
    "BlobEndpoint": "endpoint",
}


class UnknownOption(ValueError):  # noqa: N818
    """A storage option that obstore has nothing for."""


@dataclass(frozen=True)
class CloudAddress:
    """Where objects are, for obstore; `repr` shows no credential.

    Parameters
    ----------
    service
        Which cloud.
    bucket, prefix
        The bucket, or container, and where in it.
    config
        By obstore's names.
    headers
        Sent with every request.
    """

    service: Literal["gcs", "azure"]
    bucket: str
    prefix: str
    config: Mapping[str, Any] = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def endpoint(self) -> str:
        """Where requests go, for people."""
        given = self.config.get("base_url") or self.config.get("endpoint")
        return str(given or {"gcs": "Google Cloud Storage", "azure": "Azure"}[self.service])

    @property
    def allows_http(self) -> bool:
        """Whether the endpoint is one without TLS."""
        return self.endpoint.startswith("http://")


def is_cloud(url: str) -> bool:
    """Whether a URL is one of Google Cloud Storage or Azure."""
    return url.partition("://")[0] in (*GCS_SCHEMES, *AZURE_SCHEMES)


def cloud_address(url: str, options: Mapping[str, Any]) -> CloudAddress:
    """Return what a URL and storage options mean.

    Raises
    ------
    UnknownOption
        An option is not known here.
    ValueError
        The URL names no bucket, or no account is known.

    Examples
    --------
    >>> cloud_address("gs://bucket/a/b", {})
    CloudAddress(service='gcs', bucket='bucket', prefix='a/b', headers={})
    >>> at = cloud_address("abfs://box@account.dfs.core.windows.net/a", {"account_key": "secret"})
    >>> at.bucket, at.config["account_name"]
    ('box', 'account')
    """
    parts = urlsplit(url.rstrip("/"))
    prefix = parts.path.strip("/")
    container, at_sign, host = parts.netloc.rpartition("@")
    bucket = container if at_sign else host
    if not bucket:
        raise ValueError(f"{url!r} names no bucket; give {parts.scheme}://bucket/prefix")
    if parts.scheme in GCS_SCHEMES:
        config, headers = _gcs_config(options)
        return CloudAddress("gcs", bucket, prefix, config, headers)
    config = _azure_config(options)
    if at_sign:
        config.setdefault("account_name", host.partition(".")[0])
    if not config.get("account_name"):
        raise ValueError(
            f"{url!r}: no storage account is named; give account_name as storage option, set "
            "AZURE_STORAGE_ACCOUNT_NAME, or write abfs://container@account.dfs.core.windows.net/…"
        )
    return CloudAddress("azure", bucket, prefix, config)


def _gcs_config(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    config: dict[str, Any] = {}
    headers: dict[str, str] = {}
    for name, value in options.items():
        if name == "token":
            config.update(_gcs_token(value))
        elif name == "requester_pays":
            headers.update(_payer(value, options) if value else {})
        elif name in GCS_NAMES:
            config[GCS_NAMES[name]] = value
        elif name in GCS_OWN:
            config[name] = value
        elif name not in IDLE:
            raise UnknownOption(f"storage option {name!r} is not known for Google Cloud Storage")
    return config, headers


def _payer(value: Any, options: Mapping[str, Any]) -> dict[str, str]:
    """Return the header that names who pays: the project that is given, or the environment's."""
    named = options.get("project") or os.environ.get("GOOGLE_CLOUD_PROJECT")
    payer = value if isinstance(value, str) else named
    if not payer:
        raise UnknownOption(
            "storage option 'requester_pays' needs the project that pays: give project as storage "
            "option, or set GOOGLE_CLOUD_PROJECT"
        )
    return {"x-goog-user-project": str(payer)}


def _gcs_token(token: Any) -> dict[str, Any]:
    """Return what a token of gcsfs means: a way to find credentials, a file, or its content."""
    if token in (None, "google_default", "cloud", "cache"):
        return {}
    if token == "anon":
        return {"skip_signature": True}
    if isinstance(token, Mapping):
        return {"service_account_key": json.dumps(dict(token))}
    path = Path(str(token)).expanduser()
    if not path.is_file():
        raise UnknownOption("storage option 'token' is none of gcsfs's names and no file")
    kind = json.loads(path.read_text()).get("type")
    name = "service_account" if kind == "service_account" else "application_credentials"
    return {name: str(path)}


def _azure_config(options: Mapping[str, Any]) -> dict[str, Any]:
    text = options.get("connection_string") or os.environ.get("AZURE_STORAGE_CONNECTION_STRING")
    config: dict[str, Any] = _connection(text) if text else {}
    for name, value in options.items():
        if name == "account_host":
            config["endpoint"] = f"https://{value}"
        elif name == "anon":
            config.update({"skip_signature": True} if value else {})
        elif name in AZURE_NAMES:
            config[AZURE_NAMES[name]] = value
        elif name in AZURE_OWN:
            config[name] = value
        elif name not in (*IDLE, "connection_string"):
            raise UnknownOption(f"storage option {name!r} is not known for Azure")
    found = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME")
    return {**({"account_name": found} if found else {}), **config}


def _connection(text: str) -> dict[str, Any]:
    pairs = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    config = {CONNECTION[name]: value for name, value in pairs.items() if name in CONNECTION}
    if "endpoint" not in config and "EndpointSuffix" in pairs and "account_name" in config:
        protocol = pairs.get("DefaultEndpointsProtocol", "https")
        suffix = pairs["EndpointSuffix"]
        config["endpoint"] = f"{protocol}://{config['account_name']}.blob.{suffix}"
    return config
