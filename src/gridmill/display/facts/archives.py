"""What is said of an archive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gridmill.display.facts.forms import Fact, Rows, Tone, Verdict, told
from gridmill.display.facts.plans import listings_cost
from gridmill.model.wording import (
    count_of,
    format_duration,
    made_under,
    moment,
    shorten_label,
)

__all__ = ["describe_archive", "describe_proofs", "unsettled_regions", "verdict_on_archive"]

# Of one region; ``--json`` has more.
MOST_FILES_NAMED = 3
UNSETTLED_COLUMNS = ("region", "not final because", "waiting for")


def verdict_on_archive(status: Mapping[str, Any]) -> Verdict:
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
    accepted = status["gaps"] - status["pending"]
    missing = f", {count_of(accepted, 'source file')} accepted as missing" if accepted else ""
    provisional = _provisional(status)
    held = f"{count_of(status['held'], 'source file')}: gridmill release, or gridmill reject"
    return told(
        _extent(status),
        _expectation(status),
        Fact(
            "regions",
            f"{count_of(status['regions'], 'region')} recorded, {settled:,} settled{missing}",
        ),
        Fact("readers lack", _lacking(status), "warning"),
        Fact("provisional", provisional),
        Fact("held by gates", held if status["held"] else "", "warning"),
        Fact(
            "made earlier",
            "\n".join(made_under(*item) for item in status["made_earlier"].items()),
            "warning",
        ),
        Fact("unproven", _unproven(status), "quiet"),
        describe_proofs(status.get("proofs")),
        Fact("remarks", "\n".join(status["remarks"]), "warning"),
        Fact("listings", listings_cost(status.get("listings"))),
        Fact("held by", "\n".join(map(_claim, status["running"]))),
        _last_run(status["last_run"]),
    )


def unsettled_regions(status: Mapping[str, Any]) -> Rows:
    """List the regions that may still change, why, and the source files that they wait for."""
    rows = [
        (shorten_label(item["region"]), item["why"], _files(item)) for item in status["incomplete"]
    ]
    return Rows(UNSETTLED_COLUMNS, rows)


def _lacking(status: Mapping[str, Any]) -> str:
    """Say how many source files readers lack, since when, and when an update retries one."""
    if not status["pending"]:
        return ""
    since, due = status.get("pending_since"), status.get("pending_due")
    told = [count_of(status["pending"], "source file")]
    told += [f"since {since}"] * bool(since) + [f"next retry {due}"] * bool(due)
    return f"{', '.join(told)}: gridmill gaps says which"


def _provisional(status: Mapping[str, Any]) -> str:
    """Say how many source files are not final yet, and since when the oldest is read."""
    if not status.get("provisional"):
        return ""
    since = min((file["since"] for file in status["provisional_files"]), default="")
    files = count_of(status["provisional"], "source file")
    return f"{files}{f', oldest since {since}' if since else ''}: gridmill gaps says which"


def _extent(status: Mapping[str, Any]) -> Fact:
    if not status["positions"]:
        return Fact("published", "nothing yet", "warning")
    ends = f"{shorten_label(status['first'])} … {shorten_label(status['last'])}"
    return Fact("published", f"{ends} ({count_of(status['positions'], 'position')})", "good")


def _expectation(status: Mapping[str, Any]) -> Fact:
    text, tone = verdict_on_archive(status)
    if status["late"]:
        text += f", up to {shorten_label(status['expected_last'])} is due"
    if status["age_s"] is not None:
        text += f"; the last position is {format_duration(status['age_s'])} old"
    return Fact("expected", text, tone)


def _unproven(status: Mapping[str, Any]) -> str:
    regions = status.get("unproven", 0)
    return f"{count_of(regions, 'region')} created by another program" if regions else ""


def describe_proofs(proofs: Mapping[str, Any] | None) -> Fact:
    """Say how many regions were found to be what their source files give, if anybody looked."""
    if proofs is None:
        return Fact("proofs", "")
    counts = ("proven", "unprovable", "failed", "unproven", "overdue")
    text = ", ".join(f"{proofs[name]:,} {name}" for name in counts if proofs[name])
    if proofs["failures"]:
        text += f": failed at {', '.join(map(shorten_label, proofs['failures']))}"
    tone: Tone = "bad" if proofs["failed"] else "warning" if proofs["overdue"] else "good"
    return Fact("proofs", text or "no complete region yet", tone)


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
