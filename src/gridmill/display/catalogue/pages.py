"""Pages of a catalogue for people: one per archive, and one that lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gridmill.display.facts.forms import Fact, Rows, told
from gridmill.display.html import render
from gridmill.model.wording import count_of, shorten_label
from gridmill.operations.catalogue.catalogue import ROOT
from gridmill.operations.catalogue.collection import PAGE, PREVIEW
from gridmill.operations.catalogue.opening import Way

__all__ = ["archive_page", "catalogue_page"]

VARIABLE_COLUMNS = ("variable", "what it is", "units", "dimensions")
DIMENSION_COLUMNS = ("dimension", "from", "to", "step", "units")


def archive_page(collection: Mapping[str, Any], ways: Sequence[Way]) -> str:
    """Return the page of an archive.

    Parameters
    ----------
    collection
        Its STAC collection.
    ways
        How it is opened.
    """
    content = {
        "title": collection["title"],
        "verdict": None,
        "about": collection["id"],
        "facts": _facts(collection),
        "description": [part for part in collection["description"].split("\n\n") if part],
        "preview": PREVIEW if "preview" in collection["assets"] else None,
        "ways": ways,
        "dimensions": Rows(DIMENSION_COLUMNS, _dimensions(collection)),
        "variables": Rows(VARIABLE_COLUMNS, _variables(collection)),
    }
    return render("catalogue_archive.html", content)


def catalogue_page(root: Mapping[str, Any]) -> str:
    """Return the page that lists a catalogue's archives, from its root."""
    children = [link for link in root["links"] if link["rel"] == "child"]
    content = {
        "title": root.get("title") or root["id"],
        "verdict": None,
        "about": count_of(len(children), "archive"),
        "description": root["description"],
        "root": ROOT,
        "archives": [
            (link.get("title", link["href"]), f"{link['href'].rpartition('/')[0]}/{PAGE}")
            for link in children
        ],
    }
    return render("catalogue.html", content)


def _facts(collection: Mapping[str, Any]) -> list[Fact]:
    first, last = collection["extent"]["temporal"]["interval"][0]
    west, south, east, north = collection["extent"]["spatial"]["bbox"][0]
    share = collection.get("gridmill:completeness_of_newest")
    providers = (f"{p['name']} ({', '.join(p['roles'])})" for p in collection.get("providers", ()))
    return told(
        Fact("published", f"{_date(first)} … {_date(last)} UTC"),
        Fact("positions", f"{collection['gridmill:positions']:,}"),
        Fact("newest position", "" if share is None else f"{share:.0%} complete"),
        Fact("area", f"{_around(west, 'W', 'E')} … {_around(east, 'W', 'E')}, "
             f"{_around(south, 'S', 'N')} … {_around(north, 'S', 'N')}"),
        Fact("providers", "\n".join(providers)),
        Fact("licence", _licence(collection)),
        Fact("version", collection["version"]),
        Fact("updated", collection.get("updated", "")),
    )  # fmt: skip


def _licence(collection: Mapping[str, Any]) -> str:
    if collection["license"] != "other":
        return str(collection["license"])
    return "in words, below" if "Licence: " in collection["description"] else "not declared"


def _date(moment: str) -> str:
    return shorten_label(moment.removesuffix("Z").replace("T", " "))


def _around(degrees: float, below: str, above: str) -> str:
    return f"{abs(round(degrees, 2)):g}°{'' if not degrees else above if degrees > 0 else below}"


def _dimensions(collection: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, found in collection["cube:dimensions"].items():
        ends = found.get("extent") or (found["values"][0], found["values"][-1])
        low, high = (_date(e) if found["type"] == "temporal" else _number(e) for e in ends)
        step = found.get("step")
        words = "–" if step is None else _number(step)
        rows.append((name, low, high, words, found.get("unit", "–")))
    return rows


def _number(value: Any) -> str:
    return f"{value:.7g}" if isinstance(value, (int, float)) else str(value)


def _variables(collection: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            name,
            found.get("description", "–"),
            found.get("unit", "–"),
            ", ".join(found["dimensions"]),
        )
        for name, found in collection["cube:variables"].items()
        if found["type"] == "data"
    ]
