"""A Google Cloud Storage in memory that keeps what its XML API documents: generations, conditions.

No emulator that can be installed plays preconditions. This one does, as documented for the XML API:
``x-goog-if-generation-match`` (0: only where no object is), a new and larger generation with each
put, the MD5 as the ETag, ranges from either end, listings page by page, uploads in parts.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import google_crc32c

from gridmill.testing.loopback import LoopbackHandler, LoopbackServer

__all__ = ["GcsServer", "Kept"]

# What Azure says of a batch with one object that may not be deleted.
REFUSED_BATCH = (
    b"--batch\r\nContent-Type: application/http\r\nContent-ID: 0\r\n\r\n"
    b"HTTP/1.1 403 This request is not authorized.\r\nContent-Length: 0\r\n\r\n\r\n--batch--\r\n"
)


@dataclass(frozen=True)
class Kept:
    """One version of an object."""

    content: bytes
    generation: int
    headers: Mapping[str, str] = field(default_factory=dict)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def tag(self) -> str:
        """Its ETag, which is its MD5."""
        return f'"{hashlib.md5(self.content).hexdigest()}"'


class _Handler(LoopbackHandler):
    @property
    def store(self) -> GcsServer:
        """The server that it answers for."""
        return cast(GcsServer, self.owner)

    def _handle(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        query = parse_qs(url.query, keep_blank_values=True)
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        with self.store._lock:
            self.store.requests.append((self.command, key, dict(self.headers.items())))
        is_list = "list-type" in query or query.get("comp") == ["list"]
        if query.get("comp") == ["batch"]:
            self._send(202, REFUSED_BATCH, {"Content-Type": "multipart/mixed; boundary=batch"})
        elif ("list" if is_list else self.command) in self.store.refused:
            self._fail(403, "AccessDenied")
        elif self.headers.get("Authorization") != f"Bearer {self.store.token}":
            self._fail(401, "AuthenticationRequired")
        elif bucket != self.store.bucket:
            self._fail(404, "NoSuchBucket")
        elif self.command in ("GET", "HEAD") and not key:
            self._send(200, self.store._listing(query), {})
        elif self.command in ("GET", "HEAD"):
            self._give(key)
        elif self.command == "DELETE":
            self._delete(key, query)
        elif self.command == "POST":
            self._post(key, query, content)
        elif "uploadId" in query:
            part = int(query["partNumber"][0])
            self.store.uploads[query["uploadId"][0]][part] = content
            self._send(200, b"", {"ETag": f'"{hashlib.md5(content).hexdigest()}"'})
        else:
            self._put(key, content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815

    def _give(self, key: str) -> None:
        kept = self.store.objects.get(key)
        if kept is None:
            self._fail(404, "NoSuchKey")
            return
        if self.headers.get("If-Match") not in (None, kept.tag):
            self._fail(412, "PreconditionFailed")
            return
        span = self._span(len(kept.content))
        if span is not None and span.start >= len(kept.content):
            self._fail(416, "InvalidRange")
            return
        told = {**kept.headers, **self._about(kept)}
        if span is None:
            self._send(200, kept.content, told)
            return
        told["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{len(kept.content)}"
        self._send(206, kept.content[span.start : span.stop], told)

    def _span(self, nbytes: int) -> slice | None:
        found = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if found is None:
            return None
        start, stop = found.groups()
        if not start:
            return slice(max(0, nbytes - int(stop)), nbytes)
        return slice(int(start), min(nbytes, int(stop) + 1) if stop else nbytes)

    def _put(self, key: str, content: bytes) -> None:
        with self.store._lock:
            there = self.store.objects.get(key)
            wanted = self.headers.get("x-goog-if-generation-match")
            holds = wanted is None or int(wanted) == (0 if there is None else there.generation)
            kept = self.store._keep(key, content, self.headers) if holds else None
        if kept is None:
            self._fail(412, "PreconditionFailed")
            return
        if self.store.lost_answers > 0:
            self.store.lost_answers -= 1
            self.reset_connection()
            return
        self._send(200, b"", self._about(kept))

    def _delete(self, key: str, query: Mapping[str, Any]) -> None:
        if "uploadId" in query:
            self.store.uploads.pop(query["uploadId"][0], None)
            self._send(204, b"", {})
            return
        with self.store._lock:
            gone = self.store.objects.pop(key, None)
        self._send(204, b"", {}) if gone else self._fail(404, "NoSuchKey")

    def _post(self, key: str, query: Mapping[str, Any], content: bytes) -> None:
        if "uploads" in query:
            name = f"upload-{next(self.store.numbers)}"
            self.store.uploads[name] = {}
            body = f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId>"
            self._send(200, f"{body}</InitiateMultipartUploadResult>".encode(), {})
            return
        parts = self.store.uploads.pop(query["uploadId"][0])
        whole = b"".join(parts[number] for number in sorted(parts))
        with self.store._lock:
            kept = self.store._keep(key, whole, self.headers)
        body = f"<CompleteMultipartUploadResult><ETag>{escape(kept.tag)}-{len(parts)}</ETag>"
        about = {**self._about(kept), "ETag": f'"{kept.tag.strip(chr(34))}-{len(parts)}"'}
        self._send(200, f"{body}</CompleteMultipartUploadResult>".encode(), about)

    def _about(self, kept: Kept) -> dict[str, str]:
        crc32c = base64.b64encode(google_crc32c.value(kept.content).to_bytes(4, "big")).decode()
        tag = self.store.other_tag or kept.tag
        return {
            "ETag": tag,
            "x-goog-generation": str(kept.generation),
            "x-goog-hash": f"crc32c={crc32c}",
            "Last-Modified": format_datetime(kept.at, usegmt=True),
        }

    def _fail(self, status: int, code: str) -> None:
        body = f"<Error><Code>{code}</Code><Message>As documented.</Message></Error>"
        self._send(status, body.encode(), {})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response_only(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class GcsServer(LoopbackServer):
    """Google Cloud Storage on 127.0.0.1, for the time of a `with`, with one bucket.

    Attributes
    ----------
    objects
        What is in it.
    requests
        Method, key and headers of each.
    lost_answers
        How many of the next puts are done without an answer.
    other_tag
        The ETag of everything, as with a customer's key, where it is no checksum.
    damages
        How many of the next puts store other bytes than were sent.
    refused
        What these credentials may not do: methods, and ``list``; also asked as Azure is.
    """

    handler = _Handler
    bucket = "bucket"
    token = "a-secret-token"
    page = 3

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, Kept] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.numbers = itertools.count(1_700_000_000_000_000)
        self.lost_answers = 0
        self.damages = 0
        self.other_tag: str | None = None
        self.refused: set[str] = set()

    @property
    def storage_options(self) -> dict[str, Any]:
        """Options by which it is reached."""
        return {"bearer_token": self.token, "base_url": self.url}

    def _keep(self, key: str, content: bytes, headers: Mapping[str, str]) -> Kept:
        if self.damages > 0:
            self.damages -= 1
            content = b"damaged" + content
        kinds = ("Content-Type", "Cache-Control")
        said = {name: headers[name] for name in kinds if headers.get(name)}
        self.objects[key] = Kept(content, next(self.numbers), said)
        return self.objects[key]

    def _listing(self, query: Mapping[str, list[str]]) -> bytes:
        prefix = query.get("prefix", [""])[0]
        after = query.get("continuation-token", [""])[0]
        with self._lock:
            found = sorted(self.objects.items())
        left = [(key, kept) for key, kept in found if key.startswith(prefix) and key > after]
        folders: set[str] = set()
        if delimiter := query.get("delimiter", [""])[0]:
            inside = {key: key[len(prefix) :].partition(delimiter) for key, _ in left}
            folders = {prefix + name + cut for name, cut, _ in inside.values() if cut}
            left = [(key, kept) for key, kept in left if not inside[key][1]]
        listed = "".join(
            f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
            for name in (sorted(folders) if not after else ())
        )
        listed += "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{kept.at:%Y-%m-%dT%H:%M:%S.000Z}"
            f"</LastModified><ETag>{escape(kept.tag)}</ETag><Size>{len(kept.content)}</Size>"
            "</Contents>"
            for key, kept in left[: self.page]
        )
        more = ""
        if len(left) > self.page:
            token = escape(left[self.page - 1][0])
            more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}"
            more += "</NextContinuationToken>"
        return f"<ListBucketResult>{listed}{more}</ListBucketResult>".encode()
