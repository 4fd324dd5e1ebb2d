"""How a repository is reached, by its URL, through Icechunk's own kinds of storage.

The options are those of the file systems that records beside it are reached by: s3fs, gcsfs and
adlfs. A store and its records thus need to be told once where they are.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import icechunk

from gridmill.model.urls import is_local, local_path, mask_url
from gridmill.stores.objects.clouds.addresses import CloudAddress, cloud_address, is_cloud

__all__ = ["check_place", "find_options_here", "storage_at", "storage_class_in"]

log = logging.getLogger(__name__)

S3_SCHEMES = ("s3", "s3a")
# Of a connection on which nothing comes: as for the records beside, see `S3Connection`.
STALLED_S = 60
# Hosts whose services differ from S3 in what Icechunk knows of them.
R2_HOST = "r2.cloudflarestorage.com"
TIGRIS_HOSTS = ("storage.dev", "tigris.dev")
# Of s3fs's options, by where they are, those that Icechunk is told; and what changes no request.
CARRIED = {
    "": {"key", "secret", "token", "profile", "anon", "endpoint_url", "requester_pays", "use_ssl"},
    "client_kwargs": {"endpoint_url", "region_name"},
    "config_kwargs": {"s3", "connect_timeout", "read_timeout", "retries", "max_pool_connections"},
    "s3_additional_kwargs": {"StorageClass"},
}
IDLE = {
    *("default_block_size", "default_fill_cache", "default_cache_type", "fixed_upload_size"),
    *("version_aware", "cache_regions", "asynchronous", "loop", "max_concurrency", "max_paths"),
    *("use_listings_cache", "listings_expiry_time", "skip_instance_cache"),
}
# Places of which it was told in this process that they get less than their options say.
_told: set[str] = set()
# Where what comes of an upload finds credentials, because it carries none.
_options_of: dict[str, Mapping[str, Any]] = {}


def check_place(url: str) -> None:
    """Raise ValueError unless there may be a repository at a URL."""
    scheme = url.partition("://")[0]
    if not is_local(url) and scheme not in S3_SCHEMES and not is_cloud(url):
        known = ", ".join(f"{scheme}://" for scheme in (*S3_SCHEMES, "gs", "abfs", "az"))
        raise ValueError(f"{url!r}: Icechunk stores are local paths, or URLs of {known}")


def find_options_here(url: str, options: Mapping[str, Any]) -> None:
    """Let what has no options find those of a store that this process knows."""
    _options_of[url] = options


def storage_at(url: str, options: Mapping[str, Any], *, travels: bool = False) -> icechunk.Storage:
    """Say how a repository is reached, for Icechunk; makes a local folder.

    Parameters
    ----------
    url
        Where it is.
    options
        See `IcechunkStore`.
    travels
        Whether what comes of it finds credentials wherever it is unpickled, by carrying the
        options.
    """
    if is_local(url):
        path = local_path(url)
        path.mkdir(parents=True, exist_ok=True)
        return icechunk.local_filesystem_storage(str(path))
    if is_cloud(url):
        address = cloud_address(url, options or _options_of.get(url, {}))
        _tell(url, [f"requester_pays ({name})" for name in address.headers])
        return _gcs_storage(address) if address.service == "gcs" else _azure_storage(address)
    _tell(url, _not_carried(options))
    return _s3_storage(url, options, _credentials(url, options, travels))


def storage_class_in(options: Mapping[str, Any]) -> str | None:
    """Return the storage class that options of s3fs give to new objects; None for the bucket's."""
    given = (options.get("s3_additional_kwargs") or {}).get("StorageClass")
    return None if given is None else str(given)


def _not_carried(options: Mapping[str, Any]) -> list[str]:
    """Name the options of s3fs that Icechunk cannot be told."""
    known = {*CARRIED, *CARRIED[""], *IDLE}
    found = [name for name in options if name not in known]
    for group, carried in CARRIED.items():
        given = options.get(group) or {} if group else {}
        found += [f"{group} {name}" for name in given if name not in carried]
    return found


def _tell(url: str, names: list[str]) -> None:
    """Say once a process which options hold for the records alone."""
    if names and url not in _told:
        _told.add(url)
        log.warning(
            "%s: Icechunk makes its own requests and cannot be told %s: they hold for the records "
            "beside it only; set them as defaults of the bucket",
            *(mask_url(url), ", ".join(names)),
        )


def _s3_storage(url: str, options: Mapping[str, Any], given: Mapping[str, Any]) -> icechunk.Storage:
    bucket, _, prefix = url.partition("://")[2].partition("/")
    client = options.get("client_kwargs", {})
    endpoint = options.get("endpoint_url") or client.get("endpoint_url") or _env_endpoint()
    region = client.get("region_name") or _env_region()
    at: dict[str, Any] = {
        "bucket": bucket,
        # Icechunk does not take the root of a bucket.
        "prefix": prefix or None,
        "endpoint_url": endpoint,
        "allow_http": bool(endpoint and endpoint.startswith("http://")),
        "network_stream_timeout_seconds": STALLED_S,
        **given,
    }
    host = urlsplit(endpoint).hostname or "" if endpoint else ""
    if host.endswith(R2_HOST):
        return icechunk.r2_storage(region=region or "auto", **at)
    if host.endswith(TIGRIS_HOSTS):
        if region is None:
            raise ValueError(
                f"{url}: Tigris answers from copies that may be old unless the bucket's region is "
                'named: give client_kwargs={"region_name": ...} as storage option'
            )
        return icechunk.tigris_storage(region=region, **at)
    return icechunk.s3_storage(
        region=region or ("us-east-1" if endpoint else None),
        force_path_style=_is_path_style(options, endpoint),
        requester_pays=bool(options.get("requester_pays")),
        **at,
    )


def _gcs_storage(address: CloudAddress) -> icechunk.Storage:
    config = dict(address.config)
    given = {
        "service_account_file": config.pop("service_account", None),
        "service_account_key": config.pop("service_account_key", None),
        "application_credentials": config.pop("application_credentials", None),
        "bearer_token": config.pop("bearer_token", None),
        "anonymous": config.pop("skip_signature", None),
    }
    return icechunk.gcs_storage(
        bucket=address.bucket,
        prefix=address.prefix or None,
        config=_as_text(address, config),
        **_those_given(given),
    )


def _azure_storage(address: CloudAddress) -> icechunk.Storage:
    config = dict(address.config)
    given = {
        "access_key": config.pop("account_key", None),
        "sas_token": config.pop("sas_key", None),
    }
    return icechunk.azure_storage(
        account=config.pop("account_name"),
        container=address.bucket,
        prefix=address.prefix,
        config=_as_text(address, config),
        **_those_given(given),
    )


def _those_given(credentials: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is not given; without any, Icechunk is to look for them."""
    given = {name: value for name, value in credentials.items() if value is not None}
    return given or {"from_env": True}


def _as_text(address: CloudAddress, config: Mapping[str, Any]) -> dict[str, str]:
    """Return the rest of a configuration, for Icechunk, which takes texts."""
    texts = {
        name: str(value).lower() if value is True else str(value) for name, value in config.items()
    }
    return {**texts, **({"allow_http": "true"} if address.allows_http else {})}


def _is_path_style(options: Mapping[str, Any], endpoint: str | None) -> bool:
    """Whether the bucket is named in the path, as botocore decides it for the records beside."""
    style = options.get("config_kwargs", {}).get("s3", {}).get("addressing_style", "auto")
    return bool(style == "path" or (endpoint and style != "virtual"))


def _credentials(url: str, options: Mapping[str, Any], travels: bool) -> dict[str, Any]:
    if options.get("anon"):
        return {"anonymous": True}
    return {"get_credentials": _Credentials(url, options if travels else None)}


@dataclass(frozen=True)
class _Credentials:
    """Finds credentials in the process where they are needed.

    Pickles as the store's URL, and with the store's options only if they are given.
    """

    url: str
    options: Mapping[str, Any] | None = field(default=None, repr=False)

    def __call__(self) -> icechunk.S3StaticCredentials:
        options = self.options or _options_of.get(self.url, {})
        if options.get("key"):
            return icechunk.S3StaticCredentials(
                access_key_id=options["key"],
                secret_access_key=options["secret"],
                session_token=options.get("token"),
            )
        # It takes a while, and Icechunk's S3 client waits seconds at most.
        import botocore.session  # type: ignore[import-untyped]

        session = botocore.session.Session(profile=options.get("profile"))
        found = session.get_credentials()
        if found is None:
            raise PermissionError(f"no credentials found for {self.url}")
        frozen = found.get_frozen_credentials()
        soon = datetime.now(UTC) + timedelta(minutes=10)
        return icechunk.S3StaticCredentials(
            access_key_id=frozen.access_key,
            secret_access_key=frozen.secret_key,
            session_token=frozen.token,
            expires_after=soon if frozen.token else None,
        )


def _env_endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def _env_region() -> str | None:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
