"""An S3 endpoint in memory that keeps the conditions of puts as it is told to.

It checks no signature, takes any option, and knows what archives of small objects need: whole puts,
ranges, listings.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from gridmill.testing.loopback import LoopbackHandler, LoopbackServer

__all__ = [
    "Conditions",
    "QuirkyS3",
    "as_aws",
    "as_ceph",
    "ignores",
    "ignores_tags",
    "knows_no_tags",
    "knows_none",
    "never_matches",
    "never_matches_or_400",
    "never_new",
]

# What an object says of itself.
SAID = ("Cache-Control", "Content-Type")
# The status of a put, by its headers and the tag of the object that is there: 200 puts it.
Conditions = Callable[[Mapping[str, str], str | None], int]


def as_aws(headers: Mapping[str, str], tag: str | None) -> int:
    """Keep both conditions; a tag has its quotes."""
    if headers.get("If-None-Match") == "*":
        return 412 if tag else 200
    if "If-Match" not in headers:
        return 200
    return 404 if tag is None else 200 if headers["If-Match"] == tag else 412


def as_ceph(headers: Mapping[str, str], tag: str | None) -> int:
    """Compare a tag without quotes with what was sent."""
    return as_aws(headers, tag and tag.strip('"'))


def never_matches(headers: Mapping[str, str], tag: str | None) -> int:
    """Refuse every tag."""
    return 412 if "If-Match" in headers else as_aws(headers, tag)


def never_matches_or_400(headers: Mapping[str, str], tag: str | None) -> int:
    """Refuse every tag, and call one without quotes malformed."""
    malformed = not headers.get("If-Match", '"').startswith('"')
    return 400 if malformed else never_matches(headers, tag)


def ignores(headers: Mapping[str, str], tag: str | None) -> int:
    """Put whatever comes."""
    return 200


def ignores_tags(headers: Mapping[str, str], tag: str | None) -> int:
    """Put whatever tag comes."""
    return 200 if "If-Match" in headers else as_aws(headers, tag)


def knows_none(headers: Mapping[str, str], tag: str | None) -> int:
    """Say that no condition is implemented."""
    return 501 if {"If-Match", "If-None-Match"} & set(headers) else 200


def knows_no_tags(headers: Mapping[str, str], tag: str | None) -> int:
    """Say that tags are not implemented."""
    return 501 if "If-Match" in headers else as_aws(headers, tag)


def never_new(headers: Mapping[str, str], tag: str | None) -> int:
    """Refuse a put that must be the first one, even if it is."""
    return 412 if "If-None-Match" in headers else as_aws(headers, tag)


class _Handler(LoopbackHandler):
    @property
    def store(self) -> QuirkyS3:
        """The server that it answers for."""
        return cast(QuirkyS3, self.owner)

    def do_PUT(self) -> None:  # noqa: N802
        """Put an object if its condition holds."""
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if "PUT" in self.store.refused:
            self._answer(403, _error("AccessDenied", self.store.refused["PUT"]), {})
            return
        store, key = self.store, unquote(urlsplit(self.path).path)
        if "uploadId=" in self.path:
            # Parts are for those who look at requests: what they hold is not kept.
            self._answer(200, b"", {"ETag": '"part"'})
            return
        source = self.headers.get("x-amz-copy-source")
        with store._lock:
            number = len(store.puts)
            store.puts.append(key)
            status = store.conditions(self._condition(), store._tag(key))
            if status == 200:
                content = content if source is None else store.contents[f"/{unquote(source)}"]
                store.contents[key] = content
                store.said[key] = {n: self.headers[n] for n in SAID if n in self.headers}
            tag = store._tag(key)
        if number in store.lost_answers:
            self.reset_connection()
            return
        codes = {400: "InvalidArgument", 404: "NoSuchKey", 412: "PreconditionFailed"}
        body = b"" if status == 200 else _error(codes.get(status, "NotImplemented"))
        if source is not None and status == 200:
            body = f"<CopyObjectResult><ETag>{escape(tag or '')}</ETag></CopyObjectResult>".encode()
        self._answer(status, body, {"ETag": tag or ""})

    def do_GET(self) -> None:  # noqa: N802
        """Send an object, a part of it, or a listing."""
        if self.command in self.store.refused:
            self._answer(403, _error("AccessDenied", self.store.refused[self.command]), {})
            return
        url = urlsplit(self.path)
        query, key = parse_qs(url.query, keep_blank_values=True), unquote(url.path)
        self.store.asked.append((self.command, key))
        is_list = "list-type" in query or "uploads" in query
        is_absent = not is_list and key not in self.store.contents
        if not self.store.may_list and (is_list or is_absent):
            self._answer(403, _error("AccessDenied"), {})
            return
        if is_list:
            self._answer(200, self.store._listing(key.strip("/"), query), {})
            return
        with self.store._lock:
            content, tag = self.store.contents.get(key), self.store._tag(key)
        if content is None or tag is None:
            self._answer(404, _error("NoSuchKey"), {})
            return
        part = self._part(content)
        said = {"ETag": tag, **self.store.said.get(key, {})}
        self._answer(200 if part == content else 206, part, said)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:  # noqa: N802
        """Begin or end an upload in parts."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(200, b"<Upload><UploadId>one</UploadId></Upload>", {})

    def do_DELETE(self) -> None:  # noqa: N802
        """Delete an object, if it is there."""
        if "DELETE" in self.store.refused:
            self._answer(403, _error("AccessDenied", self.store.refused["DELETE"]), {})
            return
        with self.store._lock:
            self.store.contents.pop(unquote(urlsplit(self.path).path), None)
        self._answer(204, b"", {})

    def _condition(self) -> dict[str, str]:
        """Return the headers, with a copy's condition as that of a put."""
        headers = dict(self.headers.items())
        tag = headers.get("x-amz-copy-source-if-match")
        return headers if tag is None else {**headers, "If-Match": tag}

    def _part(self, content: bytes) -> bytes:
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "bytes=0-"))
        assert wanted is not None
        start, stop = wanted.groups()
        if not start:
            return content[-int(stop) :]
        return content[int(start) : int(stop) + 1 if stop else None]

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response_only(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class QuirkyS3(LoopbackServer):
    """An S3 endpoint on 127.0.0.1, for the time of a `with`; any bucket is there.

    Parameters
    ----------
    conditions
        What it makes of a put's conditions; may be changed while it runs.
    lost_answers
        The numbers of puts that are done, and whose answer is lost.

    Attributes
    ----------
    lists_in_order
        Whether keys are listed sorted; directory buckets of S3 Express promise no order.
    asked
        The method and the path of each GET and HEAD.
    puts
        The path of each PUT.
    """

    handler = _Handler

    def __init__(self, conditions: Conditions, lost_answers: Collection[int] = ()) -> None:
        super().__init__()
        self.conditions = conditions
        self.lost_answers = lost_answers
        self.contents: dict[str, bytes] = {}
        # Whether keys may be listed; who may not is refused what is absent, too.
        self.may_list = True
        # By method that is refused, what is said of it.
        self.refused: dict[str, str] = {}
        self.said: dict[str, dict[str, str]] = {}
        self.puts: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.lists_in_order = True

    @property
    def storage_options(self) -> dict[str, Any]:
        """Keyword arguments for `s3fs.S3FileSystem`."""
        region = {"region_name": "us-east-1"}
        return {"key": "k", "secret": "s", "endpoint_url": self.url, "client_kwargs": region}

    def _tag(self, key: str) -> str | None:
        content = self.contents.get(key)
        return None if content is None else f'"{hashlib.md5(content).hexdigest()}"'

    def _listing(self, bucket: str, query: Mapping[str, list[str]]) -> bytes:
        root, prefix = f"/{bucket}/", query.get("prefix", [""])[0]
        with self._lock:
            found = {} if "uploads" in query else dict(sorted(self.contents.items()))
        if not self.lists_in_order:
            found = dict(reversed(found.items()))
        listed = "".join(
            f"<Contents><Key>{escape(key.removeprefix(root))}</Key>"
            f"<Size>{len(content)}</Size></Contents>"
            for key, content in found.items()
            if key.startswith(f"{root}{prefix}")
        )
        return f"<ListBucketResult>{listed}</ListBucketResult>".encode()


def _error(code: str, message: str = "As it was told to.") -> bytes:
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
