"""What the pages of a listing say: a bucket's XML, S3's own answers, and a web server's index.

Sources: ListObjectsV2 of the S3 API, whose answers Google's XML API gives, too; the index pages
of Apache (mod_autoindex), nginx (autoindex), lighttpd and Python's http.server.
"""

from __future__ import annotations

import email.utils
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit
from xml.etree import ElementTree

from gridmill.sources.listings.listing import Entry

__all__ = ["ListingMalformed", "Page", "page_of_bucket", "page_of_index", "page_of_s3"]

# What the index pages call themselves, and the link that only they have.
TITLES = ("index of", "directory listing")


class ListingMalformed(Exception):  # noqa: N818  as DownloadFailed, which it becomes
    """What came is no listing, or not all of a page."""


@dataclass(frozen=True)
class Page:
    """One page of a listing.

    Parameters
    ----------
    entries, folders
        What it shows.
    following
        What to ask for the next one with; None if this is the last.
    """

    entries: tuple[Entry, ...]
    folders: tuple[str, ...]
    following: str | None = None


def page_of_bucket(content: bytes, prefix: str) -> Page:
    """Read a page of a bucket's listing.

    Parameters
    ----------
    content
        XML.
    prefix
        What was asked for.

    Raises
    ------
    ListingMalformed
        It is no such page, or one without the next though it says that there is one.
    """
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise ListingMalformed(f"the bucket's answer is no XML: {error}") from None
    if _bare(root.tag) != "ListBucketResult":
        raise ListingMalformed(f"the bucket answers a {_bare(root.tag)}, no listing")
    told: dict[str, Any] = {_bare(part.tag): part.text for part in root}
    told["IsTruncated"] = (told.get("IsTruncated") or "").strip().lower() == "true"
    for name in ("Contents", "CommonPrefixes"):
        parts = (part for part in root if _bare(part.tag) == name)
        told[name] = [{_bare(item.tag): item.text for item in part} for part in parts]
    return page_of_s3(told, prefix, is_url=True)


def page_of_s3(told: Mapping[str, Any], prefix: str, *, is_url: bool = False) -> Page:
    """Read a page of a bucket's listing, as the answer of an S3 client.

    Parameters
    ----------
    told
        See ``ListObjectsV2``.
    prefix
        What was asked for.
    is_url
        Whether names are written as in a URL.

    Raises
    ------
    ListingMalformed
        It says that there is a next page, and not which.
    """
    following = told.get("NextContinuationToken")
    if told.get("IsTruncated") and not following:
        raise ListingMalformed("the listing is truncated, and does not say where it goes on")
    folder = prefix[: prefix.rfind("/") + 1]
    entries = (
        _entry(found, str(found["Key"])[len(prefix) :], is_url)
        for found in told.get("Contents") or ()
        # A bucket browser leaves an object of no bytes that is called as the folder.
        if found["Key"] != folder and not str(found["Key"]).endswith("/")
    )
    prefixes = (str(found["Prefix"]) for found in told.get("CommonPrefixes") or ())
    folders = tuple(name[len(folder) :].rstrip("/") for name in prefixes)
    return Page(tuple(entries), folders, following if told.get("IsTruncated") else None)


def page_of_index(content: bytes, url: str) -> Page:
    """Read a web server's index page: the links to what lies right in the folder.

    Parameters
    ----------
    content
        HTML.
    url
        Of the folder.

    Raises
    ------
    ListingMalformed
        The page is something else, like a form to log in: nothing is said of the folder.
    """
    page = _IndexPage()
    page.feed(content.decode("utf-8", "replace"))
    page.close()
    if not page.is_index:
        raise ListingMalformed("the page is no listing of a folder: nothing in it says Index of")
    folder = urlsplit(url)
    names = dict.fromkeys(_direct(page.links, folder.netloc, folder.path, url))
    files = tuple(Entry(unquote(name), name) for name in names if not name.endswith("/"))
    return Page(files, tuple(unquote(name).rstrip("/") for name in names if name.endswith("/")))


def _direct(links: Sequence[str], host: str, path: str, url: str) -> Iterator[str]:
    """Yield what of links lies right in the folder, as it is written in a URL."""
    for link in links:
        # A column is sorted by a link with a query.
        target = urlsplit(urljoin(url, link))
        is_inside = target.netloc == host and target.path.startswith(path)
        name = target.path[len(path) :]
        if is_inside and name and not target.query and "/" not in name[:-1]:
            yield name


class _IndexPage(HTMLParser):
    """The links of a page, and whether it is an index."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.is_index = False
        self._is_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href") if tag == "a" else None
        if href:
            self.links.append(href)
            self.is_index |= href in ("../", "..")
        self._is_title = tag in ("title", "h1")

    def handle_data(self, data: str) -> None:
        if self._is_title:
            self.is_index |= data.strip().lower().startswith(TITLES)
            self._is_title = not data.strip()


def _entry(found: Mapping[str, Any], name: str, is_url: bool) -> Entry:
    size = found.get("Size")
    return Entry(
        name=name,
        href=quote(name) if is_url else name,
        nbytes=None if size is None else int(size),
        etag=found.get("ETag"),
        last_modified=_http_date(found.get("LastModified")),
    )


def _http_date(moment: str | datetime | None) -> str | None:
    """Return a date as HTTP writes it, which is how downloads tell it."""
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment.replace("Z", "+00:00"))
        except ValueError:
            return None
    return None if moment is None else email.utils.format_datetime(moment.astimezone(UTC), True)


def _bare(tag: str) -> str:
    """Return an element's name without its namespace, of which stores have several."""
    return tag.rpartition("}")[2]
