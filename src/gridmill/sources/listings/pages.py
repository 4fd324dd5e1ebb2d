"""What the pages of a listing say: a bucket's XML, S3's own answers, and a web server's index.

Sources: ListObjectsV2 of the S3 API, whose answers Google's XML API gives, too; the index pages
of Apache (mod_autoindex), nginx (autoindex), lighttpd and Python's http.server.
"""

from __future__ import annotations

import email.utils
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit
from xml.etree import ElementTree

from gridmill.sources.listings.listing import Entry

__all__ = ["ListingMalformed", "Page", "page_of_bucket", "page_of_index", "page_of_s3"]

# What the index pages call themselves.
TITLES = ("index of", "directory listing")
# Links to the folder above: an index without such a title has one, but other pages may, too.
PARENT = ("../", "..")
# Servers cut long names.
LEAST_SHOWN = 8


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
    try:
        return page_of_s3(told, prefix, is_url=True)
    except (KeyError, ValueError) as error:
        raise ListingMalformed(f"the bucket's listing is malformed: {error!r}") from None


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
    folder = urlsplit(url)
    shown: dict[str, list[str]] = {}
    for link, texts in page.links:
        if name := _direct(link, folder.netloc, folder.path, url):
            shown.setdefault(name, []).extend(texts)
    named = sum(any(_names(name, text) for text in texts) for name, texts in shown.items())
    if not page.is_index(are_named=2 * named > len(shown)):
        raise ListingMalformed(
            "the page is no listing of a folder: it is not called Index of, and below a link to "
            "../ it links no files by their names; or it asks for a password"
        )
    files = tuple(Entry(unquote(name), name) for name in shown if not name.endswith("/"))
    return Page(files, tuple(unquote(name).rstrip("/") for name in shown if name.endswith("/")))


def _direct(link: str, host: str, path: str, url: str) -> str | None:
    """Return what a link leads to right in the folder, as it is written in a URL; None if not."""
    # A column is sorted by a link with a query.
    try:
        target = urlsplit(urljoin(url, link))
    except ValueError:  # a link to what is no address
        return None
    is_inside = target.netloc == host and target.path.startswith(path)
    name = target.path[len(path) :]
    is_direct = is_inside and name and not target.query and "/" not in name[:-1]
    return name if is_direct else None


def _names(name: str, text: str) -> bool:
    """Whether the text of a link is the name of what it leads to, or the beginning of a long one.

    Examples
    --------
    >>> _names("a%20b.nc", "a b.nc"), _names("lv1/", "lv1"), _names("gfs_2020.nc", "gfs_2020..>")
    (True, True, True)
    >>> _names("help.html", "Help"), _names("help.html", "help")
    (False, False)
    """
    whole, shown = unquote(name).rstrip("/"), text.rstrip("/")
    cut = shown.rstrip(".>…")
    return shown == whole or (len(cut) >= LEAST_SHOWN and cut != shown and whole.startswith(cut))


class _IndexPage(HTMLParser):
    """The links of a page with their texts, and what tells whether it is an index."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[tuple[str, list[str]]] = []
        self.is_titled = self.has_parent = self.asks_for_password = False
        self._is_title = self._is_link = False

    def is_index(self, *, are_named: bool) -> bool:
        """Whether it lists a folder, by whether most links into the folder show a file's name.

        An empty folder shows nothing: of that only the title is evidence.
        """
        if self.asks_for_password:
            return self.is_titled and are_named
        return self.is_titled or (self.has_parent and are_named)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        if tag == "a" and (href := told.get("href")):
            self.links.append((href, []))
            self._is_link = True
            self.has_parent |= href in PARENT
        self.asks_for_password |= tag == "input" and told.get("type", "").lower() == "password"
        self._is_title = tag in ("title", "h1")

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._is_link = False

    def handle_data(self, data: str) -> None:
        if self._is_link:
            self.links[-1][1].append(data.strip())
        if self._is_title:
            self.is_titled |= data.strip().lower().startswith(TITLES)
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
