"""What a notebook shows of a dataset, a region job, a record, a status and a run that goes on.

Pure: each takes plain values, so that whatever layer an object belongs to can show itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gridmill.charts import COLOURS
from gridmill.html import Tone, badge, card, details, facts, lines, link, meter, table
from gridmill.wording import (
    count_of,
    format_clock,
    format_duration,
    format_nbytes,
    format_speed,
    moment,
    shorten_label,
)

if TYPE_CHECKING:
    from gridmill.progress import ProgressRecord
    from gridmill.variables import DataVar

__all__ = ["dataset_card", "job_card", "progress_card", "record_card", "status_card"]

# What is told; whoever wants all of it has the object.
MOST_ROWS = 12


def dataset_card(
    title: str, dataset_id: str, about: Mapping[str, object], data_vars: Sequence[DataVar]
) -> str:
    """Show what a dataset declares.

    Parameters
    ----------
    title, dataset_id
        Of the dataset.
    about
        By name, what else there is to say: the store, the append dim, its coordinates.
    data_vars
        Its variables.
    """
    return card(
        title or dataset_id,
        dataset_id if title else "",
        facts(about),
        details(count_of(len(data_vars), "variable"), _variables(data_vars), is_open=True),
    )


def _variables(data_vars: Sequence[DataVar]) -> object:
    columns = ("variable", "what", "units", "chunk", "shard")
    usual = Counter(var.dims for var in data_vars).most_common(1)[0][0]
    rows = [
        (
            var.name,
            var.attrs["long_name"]
            + ("" if var.dims == usual else f" ({', '.join(var.dims) or 'a single value'})"),
            var.attrs["units"],
            " × ".join(map(str, var.encoding.chunks)),
            "–" if var.encoding.shards is None else " × ".join(map(str, var.encoding.shards)),
        )
        for var in data_vars[:MOST_ROWS]
    ]
    hidden = len(data_vars) - MOST_ROWS
    if hidden > 0:
        rows.append((f"… {hidden} more", "", "", "", ""))
    return table(columns, rows, unbroken=("variable", "units", "chunk", "shard"))


def job_card(
    kind: str,
    labels: Sequence[str],
    region: slice,
    groups: Sequence[tuple[Sequence[str], list[str]]],
) -> str:
    """Show a region job.

    Parameters
    ----------
    kind
        The name of its class.
    labels
        Its first and its last label; empty for the job of the static variables.
    region
        Its positions along the append dim.
    groups
        Names of the variables that share source files, and those files' URLs.
    """
    where = " … ".join(dict.fromkeys(map(shorten_label, labels))) or "static variables"
    about = {
        "positions": f"{region.start:,} to {region.stop - 1:,}" if labels else "",
        "variables": ", ".join(name for names, _ in groups for name in names),
        "source files": f"{sum(len(urls) for _, urls in groups):,}",
    }
    listed = [
        details(f"{count_of(len(urls), 'source file')} of {_few(names)}", _some(urls))
        for names, urls in groups
    ]
    return card(where, kind, facts(about), *listed)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _some(urls: Sequence[str]) -> object:
    hidden = len(urls) - MOST_ROWS
    return lines([*urls[:MOST_ROWS], *([f"{hidden:,} more"] if hidden > 0 else [])], "quiet")


def record_card(record: ProgressRecord) -> str:
    """Show what is recorded of a region: its variables, and what became of its source files."""
    is_static = record.stop == record.start
    where = (
        "static variables" if is_static else f"positions {record.start:,} to {record.stop - 1:,}"
    )
    is_settled = record.is_settled(record.variables)
    verdict = badge("settled", "good") if is_settled else badge("may still change", "warning")
    files = Counter(str(file.status) for group in record.groups for file in group)
    rows = [
        (
            name,
            variable.error or variable.state,
            format_nbytes(sum(receipt.nbytes for receipt in variable.objects)),
            len(variable.unread),
            moment(variable.finished) if variable.finished else "–",
        )
        for name, variable in record.variables.items()
    ]
    columns = ("variable", "state", "in the store", "unread files", "finished")
    waiting = [f"{url}: {why}" for url, why in record.unsettled_files()[:MOST_ROWS]]
    return card(
        f"{record.dataset_id}, {where}",
        verdict,
        facts({"source files": " · ".join(f"{n:,} {status}" for status, n in files.items())}),
        table(columns, rows, numbers=columns[2:4], unbroken=columns),
        lines(waiting, "warning"),
    )


def status_card(status: Mapping[str, Any]) -> str:
    """Show what an archive holds, what is due, and what may still change.

    Parameters
    ----------
    status
        An `ArchiveStatus` as plain values.
    """
    late, age = status["late"], status["age_s"]
    incomplete = status["incomplete"]
    run = status["last_run"]
    about = {
        "store": status["store"],
        "readers see": f"{shorten_label(status['first'])} … {shorten_label(status['last'])} "
        f"({count_of(status['positions'], 'position')})"
        if status["positions"]
        else "nothing yet",
        "the last is": "" if age is None else f"{format_duration(age)} old",
        "regions": f"{count_of(status['regions'], 'region')} recorded, "
        f"{status['regions'] - len(incomplete):,} settled",
        "given up for": count_of(status["gaps"], "source file") if status["gaps"] else "",
        "held by": "; ".join(f"{c['kind']} {c['run']} on {c['host']}" for c in status["running"]),
        "last run": "" if run is None else f"{run['kind']}, ended {moment(run['ended'])}",
        "notes": "\n".join(status["remarks"]),
    }
    columns = ("region", "may still change because", "waits for")
    rows = [
        (
            shorten_label(item["region"]),
            item["why"],
            "\n".join([f["url"] for f in item["files"][:3]])
            + (f"\n… {item['missing'] - 3:,} more" if item["missing"] > 3 else ""),
        )
        for item in incomplete[:MOST_ROWS]
    ]
    if late is None:
        verdict = badge("does not say when it is due", "quiet")
    elif late:
        verdict = badge(f"{count_of(late, 'position')} late", "bad")
    else:
        verdict = badge("all that is due", "good")
    return card(status["dataset_id"], verdict, facts(about), table(columns, rows) if rows else "")


def progress_card(
    title: str,
    state: str,
    *,
    counts: Mapping[str, int],
    times: tuple[float, float | None],
    stages: Mapping[str, tuple[int, int, float]],
    published: str | None,
    dashboard: str | None,
    failures: Iterable[str] = (),
) -> str:
    """Show a run that goes on.

    Parameters
    ----------
    title
        What runs.
    state
        ``running``, ``done`` or ``stopped``.
    counts
        Region jobs: ``total``, ``done``, ``skipped`` and ``failed``.
    times
        Seconds so far, and to go, as far as they are known.
    stages
        By stage, how many ended, their bytes, and bytes a second of late.
    published
        The last label that readers see, since it changed.
    dashboard
        The Dask dashboard's link.
    failures
        The first ones.
    """
    finished = counts["done"] + counts["skipped"] + counts["failed"]
    elapsed, remaining = times
    badges = {
        "running": badge("running", "quiet"),
        "done": badge(
            "failed" if counts["failed"] else "done", "bad" if counts["failed"] else "good"
        ),
        "stopped": badge("stopped: run again to go on", "warning"),
    }
    words = [f"{finished:,} of {count_of(counts['total'], 'region')}"]
    words += [f"{counts['skipped']:,} already done"] * bool(counts["skipped"])
    words += [f"{counts['failed']:,} failed"] * bool(counts["failed"])
    words += [format_clock(elapsed)]
    if remaining and state == "running":
        words.append(f"about {format_clock(remaining)} to go")
    tone: Tone = "bad" if counts["failed"] else "good" if state == "done" else "quiet"
    rows = [
        (stage, f"{n:,}", format_nbytes(nbytes), format_speed(speed))
        for stage, (n, nbytes, speed) in stages.items()
    ]
    columns = ("stage", "done", "bytes", "now")
    about = {
        "readers see": "" if published is None else f"up to {shorten_label(published)}",
        "dashboard": "" if dashboard is None else link(dashboard),
    }
    return card(
        title,
        badges[state],
        meter(finished / max(counts["total"], 1), " · ".join(words), tone),
        table(columns, rows, numbers=columns[1:], marks=COLOURS),
        facts(about),
        lines(failures, "bad"),
    )
