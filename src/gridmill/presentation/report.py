"""What a run did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from gridmill.presentation.layout import facts_grid, table_of
from gridmill.presentation.values import Content, masked
from gridmill.run_report import BULKY, RunReport
from gridmill.wording import count_of, format_duration, format_nbytes, moment, shorten_label

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["describe_publication", "outcome_of", "report_content", "show_report", "show_runs"]

MOST_PROBLEMS_SHOWN = 10


def report_content(report: RunReport, dataset: DynamicalDataset, exit_code: int) -> Content:
    """Say what a run did, without what is bulky, which is in the report beside the records."""
    content = {key: value for key, value in report.to_dict().items() if key not in BULKY}
    return {
        **content,
        "throughput": report.throughput(),
        "report": f"{masked(dataset.store.state.url)}/runs/{report.run}.json",
        "page": f"{masked(dataset.store.state.url)}/runs/{report.run}.html",
        "exit_code": int(exit_code),
    }


def show_runs(runs: Sequence[Content]) -> RenderableType:
    """List runs, a row each; see `RunReport.brief`."""
    table = table_of("run", "what", "started", "took", "regions", "uploaded", "readers see")
    for run in runs:
        table.add_row(
            run["run"],
            outcome_of(run),
            moment(run["started"]),
            "–" if run["seconds"] is None else format_duration(run["seconds"]),
            f"{run['regions_done']:,}"
            + (f", {run['regions_failed']:,} failed" if run["regions_failed"] else ""),
            format_nbytes(run["nbytes_uploaded"]) if run["nbytes_uploaded"] else "–",
            describe_publication(run),
        )
    return table


def outcome_of(run: Mapping[str, Any]) -> Text:
    """Say in two words what a run was, and how it ended."""
    if run["interrupted"]:
        return Text.assemble(f"{run['kind']} ", ("interrupted", "red"))
    if not run["succeeded"]:
        return Text.assemble(f"{run['kind']} ", ("failed", "red"))
    return Text.assemble(f"{run['kind']} ", ("succeeded", "green"))


def show_report(content: Content, verdict: Text) -> RenderableType:
    """Show what a run did.

    Parameters
    ----------
    content
        See `report_content`.
    verdict
        One line that says how it ended.
    """
    failures = [_failure_line(failure) for failure in content["failures"][:MOST_PROBLEMS_SHOWN]]
    lines = [*failures, *_more(len(content["failures"]), "failure"), *_problem_lines(content)]
    lines += replica_lines(content)
    return Group(verdict, facts_grid(_report_facts(content)), *lines)


def _report_facts(content: Content) -> dict[str, Any]:
    files = sorted(content["files"].items(), key=lambda item: -item[1])
    facts = {
        "regions": f"{content['regions_done']:,} done · {content['regions_skipped']:,} skipped · "
        f"{content['regions_failed']:,} failed",
        "files": " · ".join(f"{n:,} {status}" for status, n in files),
        "bytes": _describe_bytes(content),
        "stages": _describe_throughput(content),
        "overlap": _describe_overlap(content),
        "published": describe_publication(content),
        "replicas": describe_replicas(content),
        "stops at": content["stops_because"],
        "notes": "\n".join(content["notes"]),
        "report": content["page"],
    }
    return {name: fact for name, fact in facts.items() if fact}


def _describe_bytes(content: Content) -> str:
    downloaded, uploaded, healed = (
        content[f"nbytes_{name}"] for name in ("downloaded", "uploaded", "healed")
    )
    if not downloaded and not uploaded:
        return ""
    again = f" · {format_nbytes(healed)} fetched again" if healed else ""
    return f"{format_nbytes(downloaded)} downloaded · {format_nbytes(uploaded)} uploaded{again}"


def _describe_throughput(content: Content) -> str:
    return " · ".join(
        f"{stage} {format_nbytes(speed)}/s" for stage, speed in content["throughput"].items()
    )


def _describe_overlap(content: Content) -> str:
    overlap = content["overlap"]
    if not overlap["busy_s"]:
        return ""
    busy = format_duration(overlap["busy_s"])
    return f"of {busy} busy, two stages at once {overlap['two']:.0%}, three {overlap['three']:.0%}"


def describe_replicas(content: Content) -> str:
    """Say how far readers of replicas see."""
    return " · ".join(
        f"{replica['url']} {count_of(replica['positions'], 'position')}"
        for replica in content["replicas"]
        if replica["positions"] is not None
    )


def describe_publication(content: Content) -> str:
    """Say how far readers saw before, and see now."""
    before, after = content["published_before"], content["published_after"]
    total = count_of(content["positions_after"], "position")
    if after is None:
        return "nothing yet"
    if content["positions_after"] == content["positions_before"]:
        return f"up to {shorten_label(after)}, as before ({total})"
    since = "nothing" if before is None else shorten_label(before)
    return f"{since} → {shorten_label(after)} ({total})"


def _failure_line(failure: Mapping[str, str]) -> Text:
    where = f"region {shorten_label(failure['region'])}, {failure['variable']}"
    return Text.assemble(("✗ ", "red"), where, ": ", " ".join(failure["cause"].split()))


def replica_lines(content: Content) -> list[Text]:
    """Say what is wrong with replicas, a line each."""
    return [
        Text.assemble(("✗ ", "red"), f"replica {replica['url']}: {replica['failure']}")
        for replica in content["replicas"]
        if replica["failure"]
    ]


def _problem_lines(content: Content) -> list[Text]:
    """List source files that failed, each once; those not available yet are no failure."""
    found: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for problem in content["problems"]:
        if not problem["status"].startswith("not yet"):
            found.setdefault((problem["region"], problem["url"]), []).append(problem)
    lines = [_problem_line(problems) for problems in list(found.values())[:MOST_PROBLEMS_SHOWN]]
    return [*lines, *_more(len(found), "source file")]


def _problem_line(problems: Sequence[Mapping[str, str]]) -> Text:
    first = problems[0]
    what = first["status"] + "".join(
        f", {problem['status'].removeprefix('read failed for ')}" for problem in problems[1:]
    )
    where = f"region {shorten_label(first['region'])}, {first['url']}: "
    why = " ".join(first["detail"].split())
    return Text.assemble(("✗ ", "red"), where, what, f" ({why})" if why else "")


def _more(number: int, noun: str) -> list[Text]:
    hidden = number - MOST_PROBLEMS_SHOWN
    return [Text(f"✗ {count_of(hidden, noun)} more in the report", "red")] if hidden > 0 else []
