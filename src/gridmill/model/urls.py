"""Addresses: what they name, and how they may be shown, which is without credentials. Pure."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path, PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit

__all__ = [
    "AZURE_SCHEMES",
    "SECRET_NAME",
    "canonical",
    "check_address",
    "is_local",
    "is_same_kind",
    "local_path",
    "malformed",
    "mask_text",
    "mask_url",
    "safe_name",
    "split_url",
]

SECRET_NAME = re.compile(
    r"sig|token|key|secret|passw|pwd|auth|credential|session|x-amz-|x-goog-", re.IGNORECASE
)

AZURE_SCHEMES = ("az", "abfs", "abfss", "azure")
# What stands before a host: a login, but for the name of a container at an account of Azure.
_CONTAINER = re.compile(rf"\b(?:{'|'.join(AZURE_SCHEMES)})://[a-z0-9-]+@$")


def safe_name(path: str) -> str:
    """Return a path's last part as the name of a local file: its end, where that is long.

    Examples
    --------
    >>> safe_name("a/b c:1.nc"), safe_name("..")
    ('b_c_1.nc', '')
    """
    return re.sub(r"[^A-Za-z0-9._-]", "_", PurePosixPath(path).name)[-80:].lstrip(".")


def mask_url(url: str, *, every_value: bool = False) -> str:
    """Replace what may be a credential by `***`; everything else stays as it is.

    Masked are `user:password@` and the values of query and fragment parameters whose name looks
    secret (`signature`, `token`, `key`, `X-Amz-*` and the like, percent-encoded or not). A secret
    in the path is not recognised. Records know source files by their masked address.

    Parameters
    ----------
    url
        Where something is.
    every_value
        Whether all values are masked, whatever their names: of an address that nobody declared but
        a server made, as those with the code of a login.

    Examples
    --------
    >>> mask_url("https://me:pw@example.org/a.nc?X-Amz-Signature=abc&var=t2m")
    'https://***@example.org/a.nc?X-Amz-Signature=***&var=t2m'
    >>> mask_url("https://example.org/session?code=abc&state=/a.nc", every_value=True)
    'https://example.org/session?code=***&state=***'
    >>> mask_url("abfs://box@account.dfs.core.windows.net/a.zarr")
    'abfs://box@account.dfs.core.windows.net/a.zarr'
    """
    mask = _mask_value if every_value else _mask_parameter
    login = re.search(r"(?<=//)[^/?#]*@", url)
    if login is not None and not _CONTAINER.search(url[: login.end()]):
        url = f"{url[: login.start()]}***@{url[login.end() :]}"
    path, query_mark, query = url.partition("?")
    if not query_mark:
        path, query_mark, query = url.partition("#")
    return path + query_mark + re.sub(r"[^&#]+", mask, query)


def _mask_parameter(match: re.Match[str]) -> str:
    # What precedes the last "=" decides, so that a URL inside a value, or ";" between parameters,
    # hides nothing: "next=https://host/?token=x", "a=1;token=x".
    parameter = match[0]
    names, equals, _ = parameter.rpartition("=")
    if equals and SECRET_NAME.search(unquote(names)):
        return parameter.partition("=")[0] + "=***"
    return parameter


def _mask_value(match: re.Match[str]) -> str:
    name, equals, _ = match[0].partition("=")
    return f"{name}=***" if equals else "***"


def mask_text(text: str, *, every_value: bool = False) -> str:
    """Mask every URL in a text, see `mask_url`; white space stays."""
    return re.sub(r"\S+", lambda word: mask_url(word[0], every_value=every_value), text)


def split_url(url: str) -> SplitResult:
    """Return the parts of a URL, as `urllib.parse.urlsplit` does, whose errors repeat a login.

    Raises
    ------
    ValueError
        It is malformed; with no error in its chain, and nothing of a login.

    Examples
    --------
    >>> split_url("https://example.org/a.nc").netloc
    'example.org'
    >>> split_url("https://me:p/w@example.org/a.nc")
    Traceback (most recent call last):
    ...
    ValueError: https://***@example.org/a.nc is not a valid URL; correct it, and write what is \
special in a login percent-encoded
    """
    with suppress(ValueError):
        parts = urlsplit(url)
        # Others may have colons, as the ARN of a bucket's access point.
        _ = parts.port if parts.scheme in _WITH_PORT else None
        return parts
    raise malformed(url)


def malformed(url: str) -> ValueError:
    """Return the error of a malformed URL; raise it where no other error is handled."""
    # Up to the last "@": a password with a slash ends the host too early.
    shown = mask_url(re.sub(r"(?<=//).*@", "***@", url, count=1))
    return ValueError(
        f"{shown} is not a valid URL; correct it, and write what is special in a login "
        "percent-encoded"
    )


def check_address(address: str) -> str:
    """Return an address as it is, unless it is a URL that is written wrong.

    Such a one would be taken for a local path.

    Raises
    ------
    ValueError
        Its scheme is not followed by a colon and two slashes, or has upper-case letters.

    Examples
    --------
    >>> check_address("s3://bucket/a.zarr"), check_address("./s3:/b"), check_address("C:/data")
    ('s3://bucket/a.zarr', './s3:/b', 'C:/data')
    >>> check_address("s3:/bucket/a.zarr")
    Traceback (most recent call last):
    ...
    ValueError: 's3:/bucket/a.zarr' is no URL: two slashes follow its scheme; write \
s3://bucket/a.zarr, or ./s3:/bucket/a.zarr for a local path of that name
    """
    without_colon = re.match(r"(?:s3a?|gc?s|az|abfss?|https?|s?ftp|ssh)(?=//)", address, re.I)
    if without_colon is not None:
        right = f"{without_colon[0].lower()}:{address[without_colon.end() :]}"
        raise ValueError(
            f"{address!r} is no URL: a colon follows its scheme; write {right}, or ./{address} for "
            "a local path of that name"
        )
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):(/*)", address)  # one letter is a Windows drive
    if found is None or (found[2].startswith("//") and found[1] == found[1].lower()):
        return address
    right = f"{found[1].lower()}://{address[found.end() :]}"
    rule = "two slashes follow its scheme" if len(found[2]) < 2 else "its scheme is lower case"
    raise ValueError(
        f"{address!r} is no URL: {rule}; write {right}, or ./{address} for a local path of that "
        "name"
    )


def is_local(url: str) -> bool:
    """Whether a URL names a local path."""
    scheme, separator, _ = url.partition("://")
    return not separator or scheme == "file"


def local_path(url: str) -> Path:
    """Return the local path that a URL names.

    Raises
    ------
    ValueError
        It names none.
    """
    _, separator, rest = url.partition("://")
    if not is_local(url):
        raise ValueError(f"{url!r} is not a local path")
    return Path(rest if separator else url).expanduser().absolute()


# Schemes that mean the same.
_SAME = {"s3a": "s3", "gcs": "gs", "abfss": "abfs", "az": "abfs", "ssh": "sftp"}
_WITH_PORT = {"ftp", "http", "https", "sftp"}
# Those whose address names a server, which alone is to get what its options say.
_WITH_SERVER = {"ftp", "hdfs", "sftp", "smb", "webhdfs"}


def canonical(url: str) -> str:
    """Return an address with the scheme that fsspec's S3 knows by both of its names.

    Examples
    --------
    >>> canonical("s3a://bucket/a.zarr"), canonical("gs://bucket/a.zarr")
    ('s3://bucket/a.zarr', 'gs://bucket/a.zarr')
    """
    return f"s3://{url.removeprefix('s3a://')}" if url.startswith("s3a://") else url


def is_same_kind(url: str, other: str) -> bool:
    """Whether two stores take the same storage options.

    Examples
    --------
    >>> is_same_kind("s3a://a/b", "s3://c/d"), is_same_kind("sftp://a/b", "sftp://c/b")
    (True, False)
    """
    return _kind(url) == _kind(other)


def _kind(url: str) -> tuple[str, str]:
    scheme, _, rest = url.partition("://")
    scheme = _SAME.get(scheme, scheme)
    return scheme, rest.partition("/")[0] if scheme in _WITH_SERVER else ""
