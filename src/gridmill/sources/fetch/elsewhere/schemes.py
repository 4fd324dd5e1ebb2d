"""What opens an address, by its scheme."""

from __future__ import annotations

from gridmill.sources.fetch.elsewhere.filesystems import open_filesystem
from gridmill.sources.fetch.elsewhere.google import open_gcs
from gridmill.sources.fetch.failures import mask_url
from gridmill.sources.fetch.http import open_http
from gridmill.sources.fetch.local import open_local
from gridmill.sources.fetch.responses import OpenBody
from gridmill.sources.fetch.s3 import open_s3

__all__ = ["opener_of"]


def opener_of(url: str) -> OpenBody:
    """Return what opens an address.

    Raises
    ------
    ValueError
        Its scheme is unknown, or it names no object of its bucket.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return open_local
    openers: dict[str, OpenBody] = {
        "http": open_http,
        "https": open_http,
        "s3": open_s3,
        "gs": open_gcs,
        "ftp": open_filesystem,
        "sftp": open_filesystem,
        "file": open_local,
    }
    if scheme.lower() not in openers:
        raise ValueError(
            f"{mask_url(url)}: scheme {scheme!r} is not one of {', '.join(openers)}; "
            "give such a URL or a local path"
        )
    if scheme.lower() in ("s3", "gs") and not all(rest.partition("/")[::2]):
        bucket_url = f"{scheme.lower()}://bucket/key"
        raise ValueError(f"{mask_url(url)}: a URL of an object must be {bucket_url}")
    return openers[scheme.lower()]
