"""What is said of what a run would do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from gridmill.display.facts.forms import Fact, Rows, told
from gridmill.model.region import Region
from gridmill.model.wording import (
    count_of,
    format_duration,
    format_nbytes,
    shorten_label,
)

__all__ = [
    "describe_plan",
    "listings_cost",
    "region_label",
    "regions_skipped",
    "regions_to_do",
    "why_skipped",
    "why_to_do",
]

REGION_COLUMNS = ("region", "positions", "variables", "source files", "values", "why")
SKIPPED_COLUMNS = ("region", "variables", "why")


def describe_plan(content: Mapping[str, Any]) -> list[Fact]:
    """Say what a run would do and need.

    Parameters
    ----------
    content
        `Plan.describe`.
    """
    to_do = content["region_jobs_to_do"]
    skipped = content["region_jobs"] - to_do
    over = content["passed_over"]
    aside = f"{count_of(over['regions'], 'region')}: {over['why']}" if over["regions"] else ""
    if not to_do:
        done = f"all of {count_of(skipped, 'region')} done" if skipped else "no region is due"
        listed = Fact("listings", listings_cost(content.get("listings")))
        return told(Fact("to do", f"nothing: {done}"), Fact("not checked", aside), listed)
    already = f", {skipped:,} already done" if skipped else ""
    chains = f"{count_of(content['chains'], 'chain')} (one per variable and region)"
    return told(
        Fact("covers", _covers(content)),
        Fact("to do", f"{count_of(to_do, 'region')}{already}; {chains}"),
        Fact("not checked", aside),
        Fact("listings", listings_cost(content.get("listings"))),
        *_needs(content),
    )


def listings_cost(cost: Mapping[str, int] | None) -> str:
    """Say what listing a provider's folders cost; empty if none was asked for.

    Examples
    --------
    >>> listings_cost({"folders": 3, "pages": 4, "files": 1200, "nbytes": 90000, "failed": 1})
    '3 folders of 1,200 files, 4 requests, 90 kB; 1 could not be listed'
    """
    if cost is None or not cost["folders"]:
        return ""
    failed = f"; {cost['failed']:,} could not be listed" if cost["failed"] else ""
    return (
        f"{count_of(cost['folders'], 'folder')} of {count_of(cost['files'], 'file')}, "
        f"{count_of(cost['pages'], 'request')}, {format_nbytes(cost['nbytes'])}{failed}"
    )


def _covers(content: Mapping[str, Any]) -> str:
    """Say which labels the regions have of which anything is to do."""
    dated = [r for r in content["regions"] if r["todo"] and r["first"] is not None]
    if not dated:
        return ""
    first, last = dated[0]["first"], max(dated, key=lambda region: region["stop"])["last"]
    positions = sum(region["stop"] - region["start"] for region in dated)
    return f"{region_label({'first': first, 'last': last})}  ({count_of(positions, 'position')})"


def _needs(content: Mapping[str, Any]) -> list[Fact]:
    source, stored, seconds = (content[k] for k in ("source_nbytes", "store_nbytes", "seconds"))
    basis = content["estimated_from"]
    memory, disk = (content[f"{k}_nbytes_per_worker"] for k in ("memory", "tmp_disk"))
    return [
        Fact(
            "source files",
            f"{content['source_files']:,}"
            + ("" if source is None else f", about {format_nbytes(source)}"),
        ),
        Fact(
            "values",
            f"{format_nbytes(content['raw_nbytes'])} uncompressed"
            + ("" if stored is None else f", about {format_nbytes(stored)} in the store"),
        ),
        Fact("memory", f"about {format_nbytes(memory)} per worker"),
        Fact(
            "tmp disk",
            f"at most {format_nbytes(disk)} per worker"
            + (f", beside up to {_files_at_once(content)}" if source is None else ""),
        ),
        Fact(
            "time",
            "unknown before the first run"
            if seconds is None
            else f"about {format_duration(seconds)} on {count_of(basis['workers'], 'worker')}, "
            f"as fast as {basis['run']}",
        ),
    ]


def _files_at_once(content: Mapping[str, Any]) -> str:
    return count_of(content["source_files_per_worker"], "source file")


def regions_to_do(content: Mapping[str, Any]) -> Rows:
    """List the regions that a plan has something to do of, and why."""
    rows = [
        (
            region_label(region),
            "–" if region["first"] is None else f"{region['stop'] - region['start']:,}",
            f"{len(region['todo'])} of {len(region['variables'])}",
            f"{region['source_files']:,}",
            format_nbytes(region["raw_nbytes"]),
            why_to_do(region),
        )
        for region in content["regions"]
        if region["todo"]
    ]
    return Rows(REGION_COLUMNS, rows)


def regions_skipped(content: Mapping[str, Any]) -> Rows:
    """List the regions of which a plan skips something, and why."""
    rows = [
        (region_label(region), f"{len(region['skipped'])} of {len(region['variables'])}", why)
        for region in content["regions"]
        if (why := why_skipped(region))
    ]
    return Rows(SKIPPED_COLUMNS, rows)


def region_label(region: Mapping[str, Any]) -> str:
    """Name a region by its first and last label.

    Examples
    --------
    >>> region_label({"first": "2020-01-01 00:00:00", "last": "2020-01-31 00:00:00"})
    '2020-01-01 … 2020-01-31'
    """
    if region["first"] is None:
        return Region.STATIC.name
    ends = (shorten_label(region["first"]), shorten_label(region["last"]))
    return " … ".join(dict.fromkeys(ends))


def why_to_do(region: Mapping[str, Any]) -> str:
    """Say why what is to do of a region is to do, each reason once."""
    return _reasons(region["todo"])


def why_skipped(region: Mapping[str, Any]) -> str:
    """Say why what is skipped of a region is skipped, each reason once."""
    return _reasons(region["skipped"])


def _reasons(by_variable: Mapping[str, str]) -> str:
    return "; ".join(
        reason if n == len(by_variable) else f"{reason} ({count_of(n, 'variable')})"
        for reason, n in Counter(by_variable.values()).items()
    )
