"""What is said of runs, plans, archives and validations, in the terminal and on pages. Pure.

Each thing is worded once: as facts (a label, a text), tables and a verdict. The terminal shows them
through `gridmill.display.terminal`, notebooks and pages through templates.

See Also
--------
gridmill.display.html : renders the templates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from gridmill.model.wording import (
    count_of,
    format_duration,
    format_nbytes,
    format_speed,
    made_under,
    moment,
    shorten_label,
)

__all__ = [
    "MARKS",
    "Fact",
    "Rows",
    "Tone",
    "Verdict",
    "describe_archive",
    "describe_failure",
    "describe_findings",
    "describe_plan",
    "describe_publication",
    "describe_replicas",
    "describe_run",
    "judge_archive",
    "judge_run",
    "region_label",
    "regions_skipped",
    "regions_to_do",
    "select",
    "told",
    "unsettled_regions",
    "why_skipped",
    "why_to_do",
]

Tone = Literal["good", "warning", "bad", "quiet"]
MARKS: Mapping[Tone, str] = {"good": "✓", "warning": "!", "bad": "✗", "quiet": "–"}
# Of one region; ``--json`` has more.
MOST_FILES_NAMED = 3


class Fact(NamedTuple):
    """Something that is said, under a label."""

    label: str
    text: str
    tone: Tone | None = None


class Verdict(NamedTuple):
    """A judgement in a word or two."""

    text: str
    tone: Tone


class Rows(NamedTuple):
    """A table: its headings, and a cell for each in every row."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


def told(*facts: Fact) -> list[Fact]:
    """Return the facts that have a text.

    Examples
    --------
    >>> told(Fact("a", "1"), Fact("b", ""))
    [Fact(label='a', text='1', tone=None)]
    """
    return [fact for fact in facts if fact.text]


def select(facts: Iterable[Fact], labels: Iterable[str]) -> list[Fact]:
    """Return the facts with these labels, in their own order.

    Examples
    --------
    >>> select([Fact("a", "1"), Fact("b", "2")], ["b"])
    [Fact(label='b', text='2', tone=None)]
    """
    wanted = set(labels)
    return [fact for fact in facts if fact.label in wanted]


# -- runs -------------------------------------------------------------------------------------


def judge_run(content: Mapping[str, Any], *, is_by_hand: bool) -> Verdict:
    """Say how a run ended.

    Parameters
    ----------
    content
        A `RunReport` as plain values.
    is_by_hand
        Whether an operator did this, not a run.
    """
    if content["interrupted"]:
        return Verdict("interrupted", "bad")
    if not content["succeeded"]:
        return Verdict("something failed", "bad")
    if not content["ended"]:
        return Verdict("running", "quiet")
    if is_by_hand:
        return Verdict("done by hand", "good")
    if not content["regions_done"]:
        return Verdict("nothing to do", "quiet")
    return Verdict("succeeded", "good")


def describe_run(content: Mapping[str, Any]) -> list[Fact]:
    """Say what a run did.

    Parameters
    ----------
    content
        `RunReport.summary`.
    """
    files = sorted(content["files"].items(), key=lambda item: -item[1])
    return told(
        Fact("run", content["run"]),
        Fact("took", _duration(content["started"], content["ended"])),
        Fact("published", describe_publication(content)),
        Fact("stopped at", content["stops_because"] or ""),
        Fact(
            "regions",
            f"{content['regions_done']:,} done · {content['regions_skipped']:,} skipped · "
            f"{content['regions_failed']:,} failed",
        ),
        Fact(
            "variables",
            _joined(
                (content["variables_done"], "made"), (content["variables_skipped"], "already done")
            ),
        ),
        Fact("source files", _joined(*((n, status) for status, n in files))),
        Fact("bytes", _bytes(content)),
        Fact("stages", _throughput(content)),
        Fact("overlap", _overlap(content)),
        Fact("retries", _retries(content)),
        Fact("replicas", describe_replicas(content)),
        Fact("ended by", content["interrupted"] or ""),
    )


def describe_publication(content: Mapping[str, Any]) -> str:
    """Say how far readers saw before, and see now.

    Examples
    --------
    >>> counts = {"positions_before": 4, "positions_after": 6}
    >>> labels = {"published_before": "2020-01-04", "published_after": "2020-01-06"}
    >>> describe_publication({**counts, **labels})
    '2020-01-04 → 2020-01-06 (6 positions, 2 of them new)'
    """
    before, after = content["published_before"], content["published_after"]
    if after is None:
        return "nothing yet"
    total = count_of(content["positions_after"], "position")
    more = content["positions_after"] - content["positions_before"]
    if not more:
        return f"up to {shorten_label(after)}, as before ({total})"
    since = "nothing" if before is None else shorten_label(before)
    is_all_new = more < 0 or not content["positions_before"]
    new = "" if is_all_new else f", {more:,} of them new"
    return f"{since} → {shorten_label(after)} ({total}{new})"


def describe_replicas(content: Mapping[str, Any]) -> str:
    """Say how far readers of replicas see."""
    return " · ".join(
        f"{replica['url']} {count_of(replica['positions'], 'position')}"
        for replica in content["replicas"]
        if replica["positions"] is not None
    )


def describe_failure(failure: Mapping[str, str]) -> str:
    """Say which variable of which region could not be made, and why."""
    where = f"region {shorten_label(failure['region'])}, {failure['variable']}"
    return f"{where}: {' '.join(failure['cause'].split())}"


def _duration(started: str, ended: str) -> str:
    if not ended:
        return ""
    seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()
    return f"{format_duration(seconds)}, {moment(started)} to {moment(ended)}"


def _joined(*counts: tuple[int, str]) -> str:
    return " · ".join(f"{n:,} {what}" for n, what in counts if n)


def _bytes(content: Mapping[str, Any]) -> str:
    downloaded, uploaded = content["nbytes_downloaded"], content["nbytes_uploaded"]
    if not downloaded and not uploaded:
        return ""
    return f"{format_nbytes(downloaded)} downloaded · {format_nbytes(uploaded)} uploaded"


def _throughput(content: Mapping[str, Any]) -> str:
    speeds = content["throughput"].items()
    return " · ".join(f"{stage} {format_speed(speed)}" for stage, speed in speeds)


def _overlap(content: Mapping[str, Any]) -> str:
    overlap = content["overlap"]
    if not overlap["busy_s"]:
        return ""
    return (
        f"of {format_duration(overlap['busy_s'])} busy, at least two stages at once "
        f"{overlap['two']:.0%}, all three {overlap['three']:.0%}"
    )


def _retries(content: Mapping[str, Any]) -> str:
    counts = {"source files retried": "retries", "chains restarted": "chains_retried"}
    said = [f"{what} {count_of(n, 'time')}" for what, k in counts.items() if (n := content[k])]
    if healed := content["nbytes_healed"]:
        said.append(f"{format_nbytes(healed)} fetched again for a lost worker")
    return " · ".join(said)


# -- plans ------------------------------------------------------------------------------------

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
        return told(Fact("to do", f"nothing: {done}"), Fact("not looked at", aside))
    already = f", {skipped:,} already done" if skipped else ""
    chains = f"{count_of(content['chains'], 'chain')} (one a variable and region)"
    return told(
        Fact("to do", f"{count_of(to_do, 'region')}{already}; {chains}"),
        Fact("not looked at", aside),
        *_needs(content),
    )


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
        Fact("memory", f"about {format_nbytes(memory)} a worker"),
        Fact(
            "tmp disk",
            f"at most {format_nbytes(disk)} a worker"
            + (", beside the source files" if source is None else ""),
        ),
        Fact(
            "time",
            "not known before a first run"
            if seconds is None
            else f"about {format_duration(seconds)} on {count_of(basis['workers'], 'worker')}, "
            f"as fast as {basis['run']}",
        ),
    ]


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


# -- archives ---------------------------------------------------------------------------------

UNSETTLED_COLUMNS = ("region", "not final because", "waiting for")


def judge_archive(status: Mapping[str, Any]) -> Verdict:
    """Say whether an archive is as far as it should be.

    Parameters
    ----------
    status
        An `ArchiveStatus` as plain values.
    """
    late = status["late"]
    if late is None:
        return Verdict("no expected time declared", "quiet")
    if late:
        return Verdict(f"{count_of(late, 'position')} late", "bad")
    return Verdict("up to date", "good")


def describe_archive(status: Mapping[str, Any]) -> list[Fact]:
    """Say what an archive holds, what it should hold, and who works on it.

    Parameters
    ----------
    status
        An `ArchiveStatus` as plain values.
    """
    settled = status["regions"] - len(status["incomplete"])
    accepted = count_of(status["gaps"], "source file")
    return told(
        _extent(status),
        _expectation(status),
        Fact(
            "regions",
            f"{count_of(status['regions'], 'region')} recorded, {settled:,} settled"
            + (f", {accepted} accepted as missing" if status["gaps"] else ""),
        ),
        Fact(
            "made earlier",
            "\n".join(made_under(*item) for item in status["made_earlier"].items()),
            "warning",
        ),
        Fact("differs", "\n".join(status["remarks"]), "warning"),
        Fact("held by", "\n".join(map(_claim, status["running"]))),
        _last_run(status["last_run"]),
    )


def unsettled_regions(status: Mapping[str, Any]) -> Rows:
    """List the regions that may still change, why, and the source files that they wait for."""
    rows = [
        (shorten_label(item["region"]), item["why"], _files(item)) for item in status["incomplete"]
    ]
    return Rows(UNSETTLED_COLUMNS, rows)


def _extent(status: Mapping[str, Any]) -> Fact:
    if not status["positions"]:
        return Fact("published", "nothing yet", "warning")
    ends = f"{shorten_label(status['first'])} … {shorten_label(status['last'])}"
    return Fact("published", f"{ends} ({count_of(status['positions'], 'position')})", "good")


def _expectation(status: Mapping[str, Any]) -> Fact:
    text, tone = judge_archive(status)
    if status["late"]:
        text += f", up to {shorten_label(status['expected_last'])} is due"
    if status["age_s"] is not None:
        text += f"; the last position is {format_duration(status['age_s'])} old"
    return Fact("expected", text, tone)


def _claim(claim: Mapping[str, Any]) -> str:
    place = f"host {claim['host']}, pid {claim['pid']}"
    return f"{claim['kind']} {claim['run']} ({place}) since {moment(claim['since'])}"


def _last_run(run: Mapping[str, Any] | None) -> Fact:
    if run is None:
        return Fact("last run", "none is recorded", "quiet")
    has_succeeded = bool(run.get("succeeded"))
    outcome = "succeeded" if has_succeeded else "failed"
    text = f"{run['kind']} {outcome}, ended {moment(run['ended'])} ({run['run']})"
    return Fact("last run", text, "good" if has_succeeded else "bad")


def _files(item: Mapping[str, Any]) -> str:
    named = item["files"][:MOST_FILES_NAMED]
    hidden = item["missing"] - len(named)
    said = [f"{file['url']} ({file['why']})" for file in named]
    return "\n".join([*said, *([f"… {hidden:,} more"] if hidden else [])])


# -- validations ------------------------------------------------------------------------------


def describe_findings(severities: Sequence[str]) -> Verdict:
    """Count what a validation found.

    Parameters
    ----------
    severities
        ``error`` or ``warning`` of each finding.

    Examples
    --------
    >>> describe_findings(["warning", "error", "error"]).text, describe_findings([]).text
    ('2 errors, 1 warning', 'nothing found')
    """
    counts = {kind: list(severities).count(kind) for kind in ("error", "warning")}
    said = ", ".join(count_of(n, kind) for kind, n in counts.items() if n)
    tone: Tone = "bad" if counts["error"] else "warning" if counts["warning"] else "good"
    return Verdict(said or "nothing found", tone)
