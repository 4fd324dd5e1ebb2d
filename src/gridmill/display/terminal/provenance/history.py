"""What a label of an archive was made of, and the feed of what was published."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from gridmill.display.terminal.layout import ends_of, heading, section, table_of
from gridmill.display.terminal.values import Content, plain
from gridmill.model.wording import count_of, format_nbytes

if TYPE_CHECKING:
    from gridmill.model.reports.publication import Publication
    from gridmill.operations.history.history import History

__all__ = ["feed_content", "history_content", "show_feed", "show_history"]

UNKNOWN = "not recorded"


def history_content(history: History) -> Content:
    """Say what a label was made of."""
    content: Content = plain(asdict(history))
    return content


def show_history(content: Content) -> RenderableType:
    """Show a row a source file, and what its places held before."""
    seen = "published" if content["is_published"] else "not published"
    about = f"{content['store']}, region {content['region']}, {seen}"
    places = content["places"]
    title = heading(f"{content['dataset_id']} at {content['label']}", about)
    if not places:
        return Group(title, Text("no source file fills it", "yellow"))
    table = table_of("variables", "source file", "version", "arrived", "visible", "last written")
    for place in ends_of(places):
        table.add_row(*([place] if isinstance(place, str) else _place_row(place)))
    parts: list[RenderableType] = [title, table]
    rows = [(place, was) for place in places for was in place["before"]]
    if rows:
        before = table_of("variables", "before", "arrived", "replaced")
        for row in ends_of(rows):
            before.add_row(*([row] if isinstance(row, str) else _before_row(*row)))
        parts.append(section("before", before))
    return Group(*parts)


def _place_row(place: Content) -> list[Text]:
    is_there = place["status"] == "succeeded"
    taken = f" from {place['fetched_from']}" if place["fetched_from"] else ""
    detail = f": {place['detail']}" if place["detail"] and not is_there else ""
    return [
        Text(", ".join(place["variables"]), "bold"),
        Text(f"{place['url']}{taken}"),
        Text(
            _version(place) if is_there else f"{place['status']}{detail}",
            "" if is_there else "yellow",
        ),
        Text(_made(place["arrived"])),
        Text(_visible(place["visible"])),
        Text(_made(place["written"])),
    ]


def _before_row(place: Content, was: Content) -> list[Text]:
    what = _version(was) if was["status"] == "succeeded" else was["status"]
    return [
        Text(", ".join(place["variables"]), "bold"),
        Text(what or "same source files, processed differently"),
        Text(_made(was["arrived"])),
        Text(f"{was['until']} by {was['by'] or UNKNOWN}"),
    ]


def _version(of: Content) -> str:
    """Say which version of a file it is: what it held, its size and when the provider wrote it."""
    size = None if of["nbytes"] is None else format_nbytes(of["nbytes"])
    parts = (of["checksum"], size, of["last_modified"])
    return ", ".join(part for part in parts if part) or UNKNOWN


def _made(made: Content) -> str:
    """Say when something was done, and by which run and gridmill."""
    if not (made["at"] or made["run"]):
        return UNKNOWN
    by = f" by {made['run']}" if made["run"] else ""
    version = f" (gridmill {made['gridmill']})" if made["gridmill"] else ""
    return f"{made['at'] or ''}{by}{version}".strip()


def _visible(visible: Content) -> str:
    if not visible["is_published"]:
        return "not yet"
    since, by = visible["since"], visible["by"]
    if by is None:
        return UNKNOWN
    if since == by or (since is None and visible["run"]):
        return str(by)
    return f"by {by}" if since is None else f"between {since} and {by}"


def feed_content(dataset_id: str, store: str, feed: Iterable[Publication]) -> Content:
    """Say what was published."""
    lines = [publication.to_dict() for publication in feed]
    return {"dataset_id": dataset_id, "store": store, "publications": lines}


def show_feed(content: Content) -> RenderableType:
    """Show a row a publication."""
    lines = content["publications"]
    title = heading(content["dataset_id"], content["store"])
    if not lines:
        return Group(title, Text("nothing was published since then"))
    table = table_of("at", "positions", "up to", "revised positions", "variables", "run")
    for line in ends_of(lines):
        table.add_row(*([line] if isinstance(line, str) else _feed_row(line)))
    return Group(title, table, Text(count_of(len(lines), "publication")))


def _feed_row(line: Content) -> list[Text]:
    before, after = line["positions"]
    since = f"{line['since']} … " if "since" in line else ""
    revised = ", ".join(f"{start}-{stop - 1}" for start, stop in line.get("changed", ()))

    def named(sign: str, which: str) -> list[str]:
        return [f"{sign}{name}" for name in line.get(which, ())]

    return [
        Text(f"{since}{line['at']}"),
        Text(f"{before:,} → {after:,}" if before != after else f"{after:,}"),
        Text(line.get("last", "")),
        Text(revised),
        Text(" ".join((*named("+", "added"), *named("-", "removed")))),
        Text(f"{line.get('kind', '')} {line['run']} (gridmill {line.get('gridmill', '?')})"),
    ]
