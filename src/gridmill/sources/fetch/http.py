"""Bodies over HTTP, from a pool of connections per process."""

from __future__ import annotations

import functools
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import urllib3

from gridmill.sources.fetch.failures import (
    SECRET_NAME,
    PermanentError,
    TransientError,
    mask_text,
    mask_url,
)
from gridmill.sources.fetch.responses import (
    CHUNK_NBYTES,
    Body,
    ByteRange,
    Deadline,
    body_of,
    check_status,
    range_header,
)
from gridmill.sources.fetch.settings import DownloadSettings

__all__ = ["open_http"]

# They are on this machine, where no proxy leads.
LOOPBACK = ("127.0.0.1", "[::1]", "localhost")


@contextmanager
def open_http(
    url: str,
    request: ByteRange | None,
    settings: DownloadSettings,
    deadline: Deadline,
    *,
    posted: bytes | None = None,
) -> Iterator[Body]:
    response = _get_http(url, request, settings, deadline, posted)
    if posted is not None and response.status in (201, 202):
        response.status = 200
    try:
        if response.status not in (200, 206):
            _drain(response, deadline)
        check_status(url, response.status, response.headers, settings)
        yield body_of(response.status, response.headers, request, _http_chunks(response))
    finally:
        # A connection whose body was read to its end is back in the pool already.
        response.close()


def _get_http(
    url: str,
    request: ByteRange | None,
    settings: DownloadSettings,
    deadline: Deadline,
    posted: bytes | None = None,
) -> urllib3.BaseHTTPResponse:
    bare_url, headers = _http_request(url, request, settings)
    remaining_s = max(deadline.remaining_s, 0.001)
    try:
        return _http_pool(os.getpid(), _proxy_for(bare_url)).request(
            "GET" if posted is None else "POST",
            bare_url,
            body=posted,
            headers=headers,
            preload_content=False,
            decode_content=False,
            timeout=urllib3.Timeout(
                connect=min(settings.connect_timeout_s, remaining_s),
                read=min(settings.read_timeout_s, remaining_s),
            ),
            retries=_redirects_only(headers),
        )
    except urllib3.exceptions.HTTPError as e:
        raise _http_failure(e) from None


@functools.cache
def _http_pool(pid: int, proxy: str) -> urllib3.PoolManager:
    # By process id, because a forked child must not write into its parent's connections.
    # maxsize: more threads than a worker downloads with; beyond it connections are not kept.
    if not proxy:
        return urllib3.PoolManager(maxsize=16)
    parsed = urllib3.util.parse_url(proxy if "://" in proxy else f"http://{proxy}")
    headers = urllib3.make_headers(proxy_basic_auth=unquote(parsed.auth)) if parsed.auth else None
    bare_proxy = parsed._replace(auth=None).url
    return urllib3.ProxyManager(bare_proxy, maxsize=16, proxy_headers=headers)


def _proxy_for(url: str) -> str:
    """Give the proxy for an address, as the environment names it for curl, too; or nothing."""
    parsed = urllib3.util.parse_url(url)
    proxies = getproxies()
    host = parsed.host or ""
    if not proxies or host in LOOPBACK or proxy_bypass(host):
        return ""
    return proxies.get(parsed.scheme or "http") or proxies.get("all", "")


def _http_request(
    url: str, request: ByteRange | None, settings: DownloadSettings
) -> tuple[str, dict[str, str]]:
    try:
        parsed = urllib3.util.parse_url(url)
    except urllib3.exceptions.LocationParseError:
        raise ValueError(f"{mask_url(url)} is not a valid URL; correct the source file's") from None
    # With a content encoding, Content-Length and byte offsets would not be the file's.
    headers = {"Accept-Encoding": "identity", **settings.headers}
    if parsed.auth:
        basic = urllib3.make_headers(basic_auth=unquote(parsed.auth))
        headers["Authorization"] = basic["authorization"]
    if request is not None:
        start, stop = request
        headers["Range"] = range_header(start, stop)
    return parsed._replace(auth=None).url, headers


def _redirects_only(headers: Mapping[str, str]) -> urllib3.Retry:
    secret = {name for name in headers if SECRET_NAME.search(name)}
    return urllib3.Retry(
        total=None,
        connect=0,
        read=0,
        status=0,
        other=0,
        redirect=5,
        respect_retry_after_header=False,
        remove_headers_on_redirect=urllib3.Retry.DEFAULT_REMOVE_HEADERS_ON_REDIRECT | secret,
    )


def _http_chunks(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    try:
        # read1 returns what has arrived, so that the deadline is seen in a trickling body.
        while chunk := response.read1(CHUNK_NBYTES):
            yield chunk
    except urllib3.exceptions.HTTPError as e:
        raise _http_failure(e) from None


# Larger than any error page worth reading; a new TLS connection costs about as much.
_DRAINED_NBYTES = 64 * 1024


def _drain(response: urllib3.BaseHTTPResponse, deadline: Deadline) -> None:
    """Read a refusal's body, so that polling for absent files keeps its connection."""
    nbytes = response.length_remaining
    if nbytes is not None and nbytes <= _DRAINED_NBYTES:
        with suppress(TransientError):
            for _ in _http_chunks(response):
                deadline.check()


def _http_failure(error: urllib3.exceptions.HTTPError) -> Exception:
    # MaxRetryError only wraps, and its message holds the URL's query.
    reason: BaseException = error
    if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason is not None:
        reason = error.reason
    cause = mask_text(f"{type(reason).__name__}: {reason}")
    if reason.args and isinstance(reason.args[0], ssl.SSLCertVerificationError):
        return PermanentError(cause)
    return TransientError(cause)
