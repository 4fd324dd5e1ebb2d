"""Bodies of public objects of Google Cloud Storage, over its XML API, which is plain HTTP.

Does not cover: objects that need credentials.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from urllib.parse import quote

from gridmill.sources.fetch.http import open_http
from gridmill.sources.fetch.responses import Body, ByteRange, Deadline
from gridmill.sources.fetch.settings import DownloadSettings

__all__ = ["open_gcs", "over_http"]


def over_http(url: str) -> str:
    """Return where an object of a bucket is over HTTP.

    Examples
    --------
    >>> over_http("gs://gcp-public-data-goes-19/ABI L2/a.nc")
    'https://storage.googleapis.com/gcp-public-data-goes-19/ABI%20L2/a.nc'
    """
    return f"https://storage.googleapis.com/{quote(url.partition('://')[2])}"


def open_gcs(
    url: str, request: ByteRange | None, settings: DownloadSettings, deadline: Deadline
) -> AbstractContextManager[Body]:
    """Open an object as `open_http` does it."""
    return open_http(over_http(url), request, settings, deadline)
