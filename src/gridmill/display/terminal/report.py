"""What a run did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from gridmill.display.facts.forms import Fact, told
from gridmill.display.facts.runs import describe_failure, describe_publication, describe_run
from gridmill.display.terminal.layout import facts_grid, table_of
from gridmill.display.terminal.values import Content, masked
from gridmill.model.wording import count_of, format_duration, format_nbytes, moment, shorten_label

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset
    from gridmill.model.reports.run_report import RunReport

__all__ = ["outcome_of", "replica_lines", "report_content", "show_report", "show_runs"]

MOST_PROBLEMS_SHOWN = 10
# The verdict says it.
NOT_SHOWN = ("run", "took", "ended by")


def report_content(report: RunReport, dataset: DynamicalDataset, exit_code: int) -> Content:
    """Say what a run did, without what is bulky, which is in the report beside the records."""
    beside = f"{masked(dataset.store.state.url)}/runs"
    return {
        **report.summary(),
        "report": f"{beside}/{report.run}.json",
        "page": f"{beside}/{report.run}.html" if report.did_anything else None,
        "exit_code": int(exit_code),
    }


def show_runs(runs: Sequence[Content]) -> RenderableType:
    """List runs, a row each; see `RunReport.brief`."""
    table = table_of("run", "what", "started", "took", "regions", "uploaded", "published")
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
    return Group(verdict, facts_grid(_facts(content)), *lines)


def _facts(content: Content) -> list[Fact]:
    facts = [fact for fact in describe_run(content) if fact.label not in NOT_SHOWN]
    notes = "\n".join(content["notes"])
    return told(*facts, Fact("notes", notes), Fact("report", content["page"] or content["report"]))


def _failure_line(failure: Mapping[str, str]) -> Text:
    return Text.assemble(("✗ ", "red"), describe_failure(failure))


def replica_lines(content: Content) -> list[Text]:
    """Say what is wrong with replicas, a line each."""
    return [
        Text.assemble(("✗ ", "red"), f"replica {replica['url']}: {replica['failure']}")
        for replica in content["replicas"]
        if replica["failure"]
    ]


def _problem_lines(content: Content) -> list[Text]:
    """List source files that failed, each once; those not available yet are no failure."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for problem in content["problems"]:
        if not problem["status"].startswith("not yet"):
            found.setdefault((problem["region"], problem["url"]), []).append(problem)
    alike = _by_cause(list(found.values()))
    lines = [_problem_line(files[0], len(files) - 1) for files in alike[:MOST_PROBLEMS_SHOWN]]
    return [*lines, *_more(len(alike), "source file")]


def _by_cause(
    files: Sequence[Sequence[Mapping[str, Any]]],
) -> list[list[Sequence[Mapping[str, Any]]]]:
    """Put files together that were not fetched for the same reason, like a refused token."""
    found: dict[tuple[str, str], list[Sequence[Mapping[str, Any]]]] = {}
    for problems in files:
        first = problems[0]
        # What comes before names the file.
        cause = first["detail"].partition(" was not fetched in ")[2]
        found.setdefault((cause, "" if cause else f"{first['region']} {first['url']}"), []).append(
            problems
        )
    return list(found.values())


def _problem_line(problems: Sequence[Mapping[str, Any]], others: int) -> Text:
    first = problems[0]
    what = first["status"] + "".join(
        f", {problem['status'].removeprefix('read failed for ')}" for problem in problems[1:]
    )
    if all(problem["is_pending"] for problem in problems):
        what += ", pending"
    where = f"region {shorten_label(first['region'])}, {first['url']}: "
    why = " ".join(first["detail"].split())
    more = f"; so did {count_of(others, 'other file')}" if others else ""
    return Text.assemble(("✗ ", "red"), where, what, f" ({why})" if why else "", more)


def _more(number: int, noun: str) -> list[Text]:
    hidden = number - MOST_PROBLEMS_SHOWN
    return [Text(f"✗ {count_of(hidden, noun)} more in the report", "red")] if hidden > 0 else []
