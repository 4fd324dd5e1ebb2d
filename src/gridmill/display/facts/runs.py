"""What is said of a run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gridmill.display.facts.forms import Fact, Verdict, told
from gridmill.model.wording import (
    count_of,
    format_duration,
    format_nbytes,
    format_speed,
    moment,
    shorten_label,
)

__all__ = [
    "describe_failure",
    "describe_publication",
    "describe_replicas",
    "describe_run",
    "verdict_on_run",
]


# A plan takes this long, and nobody wonders.
WORTH_SAYING_S = 5.0


def verdict_on_run(content: Mapping[str, Any], *, is_by_hand: bool) -> Verdict:
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
        return Verdict("maintenance done", "good")
    if content.get("new_gaps"):
        return Verdict(count_of(content["new_gaps"], "new gap"), "warning")
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
        Fact("waited", _waited(content["waited_s"])),
        Fact("published", describe_publication(content)),
        Fact("revised", _revised(content)),
        Fact("stopped at", content["stops_because"] or ""),
        Fact(
            "regions",
            f"{content['regions_done']:,} done · {content['regions_skipped']:,} skipped · "
            f"{content['regions_failed']:,} failed",
        ),
        Fact(
            "variables",
            _joined(
                (content["variables_done"], "processed"),
                (content["variables_skipped"], "already done"),
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


def _waited(seconds: float | None) -> str:
    """Say how long nothing could be seen to happen, where that was long."""
    if seconds is None or seconds < WORTH_SAYING_S:
        return ""
    return f"{format_duration(seconds)} until the first stage: planning, and waiting for workers"


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


def _revised(content: Mapping[str, Any]) -> str:
    """Say where readers see other values than before."""
    revisions = content["revised"]
    if not revisions:
        return ""
    dated = [one for one in revisions if one["first"] != "static"]
    first, last = (
        pick((one[end] for one in dated), default="static")
        for pick, end in ((min, "first"), (max, "last"))
    )
    names = ", ".join(sorted({name for one in revisions for name in one["variables"]}))
    span = (
        shorten_label(first) if first == last else f"{shorten_label(first)} … {shorten_label(last)}"
    )
    return f"{span} ({count_of(content['regions_revised'], 'region')}: {names})"


def _retries(content: Mapping[str, Any]) -> str:
    counts = {"source files retried": "retries", "chains restarted": "chains_retried"}
    said = [f"{what} {count_of(n, 'time')}" for what, k in counts.items() if (n := content[k])]
    if healed := content["nbytes_healed"]:
        said.append(f"{format_nbytes(healed)} fetched again for a lost worker")
    return " · ".join(said)
