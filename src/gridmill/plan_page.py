"""A plan as a page that stands alone, and as what a notebook shows of it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from gridmill.charts import Stretch, stretches_chart
from gridmill.html import badge, card, details, facts, lines, page, section, table
from gridmill.wording import count_of, format_duration, format_nbytes, shorten_label

__all__ = ["plan_card", "plan_facts", "plan_page", "region_label", "why_skipped", "why_to_do"]

# What is told at once; all of it is behind a click.
MOST_ROWS = 20


def plan_page(content: Mapping[str, Any]) -> str:
    """Give the page of a plan: what a run will do and need, and what it will skip.

    Parameters
    ----------
    content
        What `Plan.describe` gives.
    """
    return page(
        _title(content), _about(content), *_head(content), _to_do(content), _skipped(content)
    )


def plan_card(content: Mapping[str, Any]) -> str:
    """Give what a notebook shows of a plan, see `plan_page`."""
    regions = _rows_to_do(content)
    listed = details("the regions to do", _regions_table(regions[:MOST_ROWS])) if regions else ""
    return card(_title(content), _about(content), *_head(content), listed)


def plan_facts(content: Mapping[str, Any]) -> dict[str, str]:
    """Say in a few words what a run will do and need; by name, the same everywhere."""
    to_do, skipped = (
        content["region_jobs_to_do"],
        content["region_jobs"] - content["region_jobs_to_do"],
    )
    over = content["passed_over"]
    aside = f"{count_of(over['regions'], 'region')}: {over['why']}" if over["regions"] else ""
    if not to_do:
        done = f"all of {count_of(skipped, 'region')} done" if skipped else "no region is due"
        return {"to do": f"nothing: {done}", "not looked at": aside}
    source, stored, seconds = (content[k] for k in ("source_nbytes", "store_nbytes", "seconds"))
    basis = content["estimated_from"]
    return {
        "to do": count_of(to_do, "region")
        + (f", {skipped:,} already done" if skipped else "")
        + f"; {count_of(content['chains'], 'chain')} (one a variable and region)",
        "not looked at": aside,
        "source files": f"{content['source_files']:,}"
        + ("" if source is None else f", about {format_nbytes(source)}"),
        "values": f"{format_nbytes(content['raw_nbytes'])} uncompressed"
        + ("" if stored is None else f", about {format_nbytes(stored)} in the store"),
        "memory": f"about {format_nbytes(content['memory_nbytes_per_worker'])} a worker",
        "tmp disk": f"at most {format_nbytes(content['tmp_disk_nbytes_per_worker'])} a worker"
        + (", beside the source files" if source is None else ""),
        "time": "not known before a first run"
        if seconds is None
        else f"about {format_duration(seconds)} on {count_of(basis['workers'], 'worker')}, "
        f"as fast as {basis['run']}",
    }


def region_label(region: Mapping[str, Any]) -> str:
    """Name a region by its first and last label.

    Examples
    --------
    >>> region_label({"first": "2020-01-01 00:00:00", "last": "2020-01-31 00:00:00"})
    '2020-01-01 … 2020-01-31'
    """
    if region["first"] is None:
        return "static"
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


# -- parts ------------------------------------------------------------------------------------


def _title(content: Mapping[str, Any]) -> str:
    return f"plan: {content['kind']} of {content['dataset_id']}"


def _about(content: Mapping[str, Any]) -> Markup:
    to_do = content["region_jobs_to_do"]
    what = badge(f"{count_of(to_do, 'region')} to do" if to_do else "nothing to do", "quiet")
    return Markup("{} &ensp;{}").format(what, content["store"])


def _head(content: Mapping[str, Any]) -> tuple[Markup, ...]:
    return facts(plan_facts(content)), lines(content["warnings"], "warning"), _chart(content)


def _chart(content: Mapping[str, Any]) -> Markup:
    """Draw along the append dim what is done, and what is to do."""
    varying = [region for region in content["regions"] if region["first"] is not None]
    if not varying:
        return Markup()
    stretches = [
        Stretch(region["start"], region["stop"], _state(region), _tooltip(region))
        for region in varying
    ]
    return stretches_chart(stretches, content["positions"], content["published"])


def _state(region: Mapping[str, Any]) -> str:
    if not region["todo"]:
        return "done"
    return "partly done" if region["skipped"] else "to do"


def _tooltip(region: Mapping[str, Any]) -> str:
    return f"{region_label(region)}: {why_to_do(region) or why_skipped(region)}"


def _to_do(content: Mapping[str, Any]) -> Markup:
    rows = _rows_to_do(content)
    if not rows:
        return Markup()
    more = len(rows) > MOST_ROWS
    every = details(f"all {len(rows):,} regions", _regions_table(rows)) if more else Markup()
    return section("What is to do", _regions_table(rows[:MOST_ROWS]), every)


def _rows_to_do(content: Mapping[str, Any]) -> list[tuple[object, ...]]:
    return [
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


def _regions_table(rows: Sequence[tuple[object, ...]]) -> Markup:
    columns = ("region", "positions", "variables", "source files", "values", "why")
    return table(columns, rows, numbers=columns[1:5], unbroken=columns[:1])


def _skipped(content: Mapping[str, Any]) -> Markup:
    rows = [
        (region_label(region), f"{len(region['skipped'])} of {len(region['variables'])}", why)
        for region in content["regions"]
        if (why := why_skipped(region))
    ]
    if not rows:
        return Markup()
    columns = ("region", "variables", "why")
    shown = table(columns, rows[:MOST_ROWS], numbers=columns[1:2], unbroken=columns[:1])
    more = len(rows) > MOST_ROWS
    every = table(columns, rows, numbers=columns[1:2], unbroken=columns[:1]) if more else ""
    return section(
        "What will be skipped",
        shown,
        details(f"all {len(rows):,} regions", every) if more else Markup(),
    )
