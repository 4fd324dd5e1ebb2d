"""Bodies over HTTP, from a pool of connections per process."""

from __future__ import annotations

import functools
import http.client
import os
import ssl
import zlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from urllib.parse import unquote, urljoin
from urllib.request import getproxies, proxy_bypass

import urllib3

from gridmill.model.urls import malformed
from gridmill.sources.fetch.credentials.access import Refused, cookies, use_for
from gridmill.sources.fetch.credentials.cookies import keep_cookies, with_cookies
from gridmill.sources.fetch.credentials.hidden import hide
from gridmill.sources.fetch.credentials.reading import CredentialMissing
from gridmill.sources.fetch.credentials.rules import origin_of
from gridmill.sources.fetch.failures import (
    SECRET_NAME,
    PermanentError,
    TransientError,
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
from gridmill.sources.racing import stop_of_this

__all__ = ["open_http"]

# They are on this machine, where no proxy leads.
LOOPBACK = ("127.0.0.1", "[::1]", "localhost")
# A login leads to another host, through two or three of its pages, and back.
MOST_REDIRECTS = 10
# What a body may be compressed as without being asked for; all the same to zlib.
DECODED = ("gzip", "x-gzip", "deflate")
COMPRESSED = (".gz", ".tgz")
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
# Other redirects are followed by a GET (RFC 9110, 15.4).
KEEP_METHOD = (307, 308)


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
        with _ended_by_stop(response):
            yield _body_of(url, response, request, settings.most_unpacked_nbytes)
    finally:
        # A connection whose body was read to its end is back in the pool already.
        response.close()


def _ended_by_stop(response: urllib3.BaseHTTPResponse) -> AbstractContextManager[None]:
    """Let a body that does not come end where another mirror has the file."""
    stop, shutdown = stop_of_this(), getattr(response, "shutdown", None)  # urllib3 2.3
    return nullcontext() if stop is None or shutdown is None else stop.closing(shutdown)


def _get_http(
    url: str,
    request: ByteRange | None,
    settings: DownloadSettings,
    deadline: Deadline,
    posted: bytes | None = None,
) -> urllib3.BaseHTTPResponse:
    """Follow redirects to the answer; each host gets its own credential, and no other's."""
    bare_url, headers = _http_request(url, request, settings)
    asked = _Asked(origin_of(bare_url), headers, posted)
    for _ in range(MOST_REDIRECTS + 1):
        response = _get_one(bare_url, asked, settings, deadline)
        target = response.get_redirect_location()
        if not target:
            return response
        _drain(response, deadline)
        response.close()
        if response.status not in KEEP_METHOD:
            asked = replace(asked, posted=None)
        bare_url = _target(bare_url, target)
    last = mask_url(bare_url, every_value=True)
    raise PermanentError(f"more than {MOST_REDIRECTS} redirects, the last to {last}")


@dataclass(frozen=True)
class _Asked:
    """What a request says, and to whom its own secrets may be told."""

    origin: tuple[str, str, int]
    headers: Mapping[str, str]
    posted: bytes | None = None

    def headers_for(self, url: str) -> dict[str, str]:
        """Return what a hop is told; another host, port or scheme learns nothing secret."""
        if origin_of(url) == self.origin:
            return dict(self.headers)
        return {name: value for name, value in self.headers.items() if not _is_secret(name)}


def _is_secret(header: str) -> bool:
    always = urllib3.Retry.DEFAULT_REMOVE_HEADERS_ON_REDIRECT
    return header.lower() in {name.lower() for name in always} or bool(SECRET_NAME.search(header))


def _target(url: str, location: str) -> str:
    """Return where a redirect leads, without secrets of the host that names it."""
    try:
        target = urllib3.util.parse_url(urljoin(url, location))
    except (urllib3.exceptions.LocationParseError, ValueError):
        raise TransientError("a redirect to an invalid address") from None
    if target.scheme not in ("http", "https") or not target.host:
        where = mask_url(target.url, every_value=True)
        raise PermanentError(f"a redirect to {where}, which is no HTTP address")
    query = target.query
    if query and origin_of(target.url) != origin_of(url):
        query = "&".join(part for part in query.split("&") if hide(part) == part)
    return target._replace(auth=None, fragment=None, query=query or None).url


def _get_one(
    url: str, asked: _Asked, settings: DownloadSettings, deadline: Deadline
) -> urllib3.BaseHTTPResponse:
    """Send one request, with the credential that is declared for its host."""
    headers = asked.headers_for(url)
    use = use_for(url)
    if use is None:
        return _sent(url, headers, settings, deadline, asked.posted)
    attach = use.rule.attached

    def ask(secret: str) -> urllib3.BaseHTTPResponse:
        own = dict(headers)
        response = _sent(attach(secret, url, own), own, settings, deadline, asked.posted)
        is_absent = response.status == 403 and settings.forbidden_means_absent
        if response.status not in (401, 403) or is_absent:
            return response
        _drain(response, deadline)
        response.close()
        cause = f"HTTP {response.status} {http.client.responses[response.status]}"
        raise Refused(cause, is_certain=response.status == 401)

    try:
        return use.send(ask)
    except CredentialMissing as error:
        raise PermanentError(str(error)) from None


def _sent(
    url: str,
    headers: dict[str, str],
    settings: DownloadSettings,
    deadline: Deadline,
    posted: bytes | None,
) -> urllib3.BaseHTTPResponse:
    deadline.check()
    remaining_s = max(deadline.remaining_s, 0.001)
    jar = cookies()
    told = headers if jar is None else with_cookies(jar, url, headers)
    try:
        response = _http_pool(os.getpid(), _proxy_for(url)).request(
            "GET" if posted is None else "POST",
            url,
            body=posted,
            headers=told,
            preload_content=False,
            decode_content=False,
            redirect=False,
            timeout=urllib3.Timeout(
                connect=min(settings.connect_timeout_s, remaining_s),
                read=min(settings.read_timeout_s, remaining_s),
            ),
            retries=_no_retries(),
        )
    except urllib3.exceptions.HTTPError as e:
        raise _http_failure(e) from None
    except ValueError as e:  # whose words hold the header
        raise PermanentError(
            f"HTTP cannot carry a header of the request, or the proxy's login, as it is "
            f"({type(e).__name__}): correct DownloadSettings.headers, or the proxy's variable"
        ) from None
    if jar is not None:
        keep_cookies(jar, url, response.headers)
    return response


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
    """Return the proxy for an address, as the environment names it for curl, too; or nothing."""
    parsed = urllib3.util.parse_url(url)
    proxies = getproxies()
    host = parsed.host or ""
    if not proxies or host in LOOPBACK or proxy_bypass(host):
        return ""
    return proxies.get(parsed.scheme or "http") or proxies.get("all", "")


def _http_request(
    url: str, request: ByteRange | None, settings: DownloadSettings
) -> tuple[str, dict[str, str]]:
    parsed, basic = None, {}
    with suppress(urllib3.exceptions.LocationParseError, UnicodeEncodeError):
        parsed = urllib3.util.parse_url(url)
        basic = urllib3.make_headers(basic_auth=unquote(parsed.auth)) if parsed.auth else {}
    if parsed is None or bool(parsed.auth) != bool(basic):
        raise malformed(url)
    # With a content encoding, Content-Length and byte offsets would not be the file's.
    headers = {"Accept-Encoding": "identity", **settings.headers}
    if basic:
        headers["Authorization"] = basic["authorization"]
    if request is not None:
        start, stop = request
        headers["Range"] = range_header(start, stop)
    return parsed._replace(auth=None).url, headers


def _no_retries() -> urllib3.Retry:
    return urllib3.Retry(
        total=None,
        connect=0,
        read=0,
        status=0,
        other=0,
        redirect=0,
        raise_on_redirect=False,
        respect_retry_after_header=False,
    )


def _body_of(
    url: str, response: urllib3.BaseHTTPResponse, request: ByteRange | None, most_nbytes: int
) -> Body:
    """Return the body as a file; caches and some servers compress it though nobody asked for it.

    Some servers call the form of a file itself that ends with .gz an encoding. That is left.
    """
    chunks, headers = _http_chunks(response), response.headers
    encoding = headers.get("content-encoding", "identity").strip().lower()
    is_own = (urllib3.util.parse_url(url).path or "").lower().endswith(COMPRESSED)
    # What a part of a compressed body is, is told by the format.
    if encoding == "identity" or is_own or response.status == 206:
        return body_of(response.status, headers, request, chunks)
    if encoding not in DECODED:
        raise PermanentError(
            f"the server compressed the body, which was not asked for, as {encoding!r}, and only "
            f"{', '.join(DECODED)} are read: ask for a URL that is not compressed on its way"
        )
    body = body_of(response.status, headers, request, _decoded(chunks, most_nbytes))
    return replace(body, stop=None, file=replace(body.file, nbytes=None))


def _decoded(chunks: Iterator[bytes], most_nbytes: int) -> Iterator[bytes]:
    """Yield what streams of gzip or zlib hold (RFC 9110, 8.4.1), one after the other."""
    nbytes, decoder, is_begun = 0, zlib.decompressobj(_GZIP_OR_ZLIB), False
    try:
        for chunk in chunks:
            rest, is_more = chunk, False
            while rest or is_more:
                if decoder.eof:
                    decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
                is_begun = True
                decoded = decoder.decompress(rest, CHUNK_NBYTES)
                rest = decoder.unconsumed_tail or decoder.unused_data
                # It may have taken all that came, and hold more than was asked for.
                is_more = len(decoded) == CHUNK_NBYTES and not decoder.eof
                nbytes += len(decoded)
                if nbytes > most_nbytes:
                    raise PermanentError(
                        f"the body has more than {most_nbytes} bytes unpacked: raise "
                        "most_unpacked_nbytes if it should"
                    )
                yield decoded
    except zlib.error as error:
        raise TransientError(f"the body is not compressed as it says ({error})") from None
    if is_begun and not decoder.eof:
        raise TransientError("the compressed body ends early")


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
    cause = f"{type(reason).__name__}: {reason}"
    if reason.args and isinstance(reason.args[0], ssl.SSLCertVerificationError):
        return PermanentError(cause)
    return TransientError(cause)
