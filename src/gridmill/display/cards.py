"""What a notebook shows of a dataset, a region job, a record, a status and a run that goes on.

Pure: each takes plain values, so that whatever layer an object belongs to can show itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gridmill.display.facts.archives import describe_archive, unsettled_regions, verdict_on_archive
from gridmill.display.facts.forms import Fact, Rows, Tone, Verdict, told
from gridmill.display.facts.validations import describe_findings
from gridmill.display.html import render
from gridmill.model.region import Region
from gridmill.model.urls import mask_url
from gridmill.model.wording import (
    count_of,
    every,
    format_clock,
    format_duration,
    format_nbytes,
    format_speed,
    moment,
    shorten_label,
)

if TYPE_CHECKING:
    from gridmill.authoring.template import TemplateConfig
    from gridmill.model.records import ProgressRecord
    from gridmill.model.variables import DataVar
    from gridmill.stores.final_store import FinalStore

__all__ = [
    "dataset_card",
    "job_card",
    "progress_card",
    "record_card",
    "status_card",
    "validation_card",
]

# What is shown; the object itself has all of it.
MOST_ROWS = 12


def dataset_card(config: TemplateConfig, store: FinalStore, sources: Sequence[str]) -> str:
    """Show what a dataset declares; asks neither the store nor the provider.

    Parameters
    ----------
    config
        The template as the code declares it.
    store
        Where the archive is, or is to be.
    sources
        What the relative URLs of source files are relative to.
    """
    frequency = config.append_dim_frequency
    step = every(frequency) if frequency else "irregular"
    about = {
        "store": f"{mask_url(store.url)} ({store.format})",
        "records": mask_url(store.state.url),
        "append dim": f"{config.append_dim}, {step}, from {config.append_dim_start}",
        "dims": ", ".join(config.dims),
        "region": count_of(config.region_length, "position"),
        "coordinates": ", ".join(coord.name for coord in config.coords),
        "source files": ", ".join(map(mask_url, sources)),
    }
    title = str(config.dataset_attributes.get("title", ""))
    content = {
        "title": title or config.dataset_id,
        "verdict": None,
        "about": config.dataset_id if title else "",
        "facts": told(*(Fact(label, str(text)) for label, text in about.items())),
        "count": len(config.data_vars),
        "variables": _variables(config.data_vars),
    }
    return render("dataset_card.html", content)


VARIABLE_COLUMNS = ("variable", "what", "units", "chunk", "shard")


def _variables(data_vars: Sequence[DataVar]) -> Rows:
    usual = Counter(var.dims for var in data_vars).most_common(1)[0][0]
    rows = [
        (
            var.name,
            var.attrs["long_name"]
            + ("" if var.dims == usual else f" ({', '.join(var.dims) or 'a single value'})"),
            var.attrs["units"],
            _lengths(var.encoding.chunks),
            "–" if var.encoding.shards is None else _lengths(var.encoding.shards),
        )
        for var in data_vars[:MOST_ROWS]
    ]
    hidden = len(data_vars) - MOST_ROWS
    if hidden > 0:
        rows.append((f"… {hidden} more", "", "", "", ""))
    return Rows(VARIABLE_COLUMNS, rows)


def _lengths(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))


def job_card(
    kind: str,
    labels: Sequence[str],
    region: Region,
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
    names = ", ".join(name for names, _ in groups for name in names)
    content = {
        "title": " … ".join(dict.fromkeys(map(shorten_label, labels))) or "static variables",
        "verdict": None,
        "about": kind,
        "facts": told(
            Fact("positions", f"{region.start:,} to {region.stop - 1:,}" if labels else ""),
            Fact("variables", names),
            Fact("source files", f"{sum(len(urls) for _, urls in groups):,}"),
        ),
        "groups": [{"names": names, "urls": urls} for names, urls in groups],
        "most": MOST_ROWS,
    }
    return render("job_card.html", content)


RECORD_COLUMNS = ("variable", "state", "in the store", "unread files", "finished")


def record_card(record: ProgressRecord) -> str:
    """Show what is recorded of a region: its variables, and what became of its source files."""
    where = (
        "static variables"
        if record.region.is_static
        else f"positions {record.start:,} to {record.stop - 1:,}"
    )
    is_settled = record.is_settled(record.variables)
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
    said = " · ".join(f"{n:,} {status}" for status, n in files.items())
    content = {
        "title": f"{record.dataset_id}, {where}",
        "verdict": Verdict("settled", "good")
        if is_settled
        else Verdict("may still change", "warning"),
        "about": "",
        "facts": told(Fact("source files", said)),
        "variables": Rows(RECORD_COLUMNS, rows),
        "unsettled": [f"{url}: {why}" for url, why in record.unsettled_files()[:MOST_ROWS]],
    }
    return render("record_card.html", content)


def status_card(status: Mapping[str, Any]) -> str:
    """Show what an archive holds, what is due, and what may still change.

    Parameters
    ----------
    status
        An `ArchiveStatus` as plain values.
    """
    unsettled = unsettled_regions(status)
    content = {
        "title": status["dataset_id"],
        "verdict": verdict_on_archive(status),
        "about": "",
        "facts": [Fact("store", status["store"]), *describe_archive(status)],
        "unsettled": unsettled._replace(rows=unsettled.rows[:MOST_ROWS]),
    }
    return render("status_card.html", content)


FINDING_COLUMNS = ("", "where", "what", "repaired by")
CHECK_COLUMNS = ("validator", "found", "in", "took")


def validation_card(validation: Mapping[str, Any]) -> str:
    """Show what a validation found.

    Parameters
    ----------
    validation
        A `Validation` as plain values.
    """
    results = validation["results"]
    findings = [finding for result in results for finding in result["findings"]]
    hidden = len(findings) - MOST_ROWS
    content = {
        "title": validation["dataset_id"],
        "verdict": describe_findings([finding["severity"] for finding in findings]),
        "about": "",
        "facts": told(
            Fact("store", validation["store"]),
            Fact("checked", moment(validation["at"])),
            Fact("only", validation["selection"]),
            Fact("not shown", count_of(hidden, "finding") if hidden > 0 else ""),
        ),
        "findings": Rows(FINDING_COLUMNS, [_finding(one) for one in findings[:MOST_ROWS]]),
        "checks": Rows(CHECK_COLUMNS, [_check(one) for one in results]),
    }
    return render("validation_card.html", content)


def _finding(finding: Mapping[str, Any]) -> tuple[Any, ...]:
    tone: Tone = "bad" if finding["severity"] == "error" else "warning"
    where = finding["place"] or "the archive"
    severity = Verdict(finding["severity"], tone)
    return severity, where, finding["message"], finding["repair"] or "–"


def _check(result: Mapping[str, Any]) -> tuple[Any, ...]:
    severities = [finding["severity"] for finding in result["findings"]]
    took = format_duration(result["seconds"])
    return result["validator"], describe_findings(severities), result["examined"], took


STAGE_COLUMNS = ("stage", "done", "bytes", "now")


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
    tone: Tone = "bad" if counts["failed"] else "good" if state == "done" else "quiet"
    rows = [
        (stage, f"{n:,}", format_nbytes(nbytes), format_speed(speed))
        for stage, (n, nbytes, speed) in stages.items()
    ]
    content = {
        "title": title,
        "verdict": _verdict_on_progress(state, counts["failed"]),
        "about": "",
        "share": finished / max(counts["total"], 1),
        "words": _progress_in_words(state, finished, counts, times),
        "tone": tone,
        "stages": Rows(STAGE_COLUMNS, rows),
        "published": published,
        "dashboard": dashboard,
        "failures": list(failures),
    }
    return render("progress_card.html", content)


def _verdict_on_progress(state: str, failed: int) -> Verdict:
    if state == "running":
        return Verdict("running", "quiet")
    if state == "stopped":
        return Verdict("interrupted: rerun to resume", "warning")
    return Verdict("failed", "bad") if failed else Verdict("done", "good")


def _progress_in_words(
    state: str, finished: int, counts: Mapping[str, int], times: tuple[float, float | None]
) -> str:
    elapsed, remaining = times
    words = [f"{finished:,} of {count_of(counts['total'], 'region')}"]
    words += [f"{counts['skipped']:,} already done"] * bool(counts["skipped"])
    words += [f"{counts['failed']:,} failed"] * bool(counts["failed"])
    words += [format_clock(elapsed)]
    if remaining and state == "running":
        words.append(f"about {format_clock(remaining)} to go")
    return " · ".join(words)
