"""Whether everything that is due is there: the newest position, every expected source file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from gridmill.model.settled import SourceFileStatus
from gridmill.model.wording import count_of, format_duration, short_label
from gridmill.validation.checks.gaps import Gap, GapGroup, find_gaps, find_provisional, group_gaps
from gridmill.validation.context import Context
from gridmill.validation.findings import CheckResult, Finding

__all__ = ["Complete", "Current"]


@dataclass(frozen=True, kw_only=True)
class Current:
    """Readers see what is due, and what they were shown before.

    Parameters
    ----------
    grace
        How long an update may take: what is due for less is not late.
    max_age
        The most that the present may be ahead of the newest label; None leaves it to what the
        dataset says of when its source files are there.
    """

    grace: timedelta = timedelta(hours=1)
    max_age: timedelta | None = None
    name: str = "current"

    def check(self, context: Context) -> CheckResult:
        """Compare the newest position with the present, and with the last run's report."""
        status = context.dataset.status(now=context.now, grace=self.grace)
        update = context.command("update")
        messages = []
        if status.late:
            newest = "nothing" if status.last is None else f"up to {status.last}"
            late = count_of(status.late, "more position")
            messages.append(f"readers see {newest}; due: {late}, to {status.expected_last}")
        elif status.is_behind(self.max_age):
            assert self.max_age is not None
            oldest = format_duration(self.max_age.total_seconds())
            messages.append(f"the newest position is {status.last}, over {oldest} ago")
        shown = (status.last_run or {}).get("positions_after", 0)
        if shown > status.positions:
            messages.append(
                f"the last run showed {shown} positions, readers see {status.positions}"
            )
        newest = short_label(context.labels[context.published - 1]) if context.published else "none"
        return CheckResult(
            validator=self.name,
            findings=tuple(Finding(message=message, repair=update) for message in messages),
            examined=f"newest position {newest}",
        )


@dataclass(frozen=True, kw_only=True)
class Complete:
    """Every region was made from every source file that is expected of it.

    A file that is settled without data (the provider never had it, it cannot be read, somebody
    accepted it) is a warning, or nothing; a provisional file is none.

    Parameters
    ----------
    warn_of_settled
        Whether it is a warning.
    """

    warn_of_settled: bool = True
    name: str = "complete"

    def check(self, context: Context) -> CheckResult:
        """Compare the records with what the dataset expects."""
        groups = group_gaps(context, find_gaps(context))
        provisional = {gap.url for gap in find_provisional(context)}
        findings = [
            _finding(group) for group in groups if self.warn_of_settled or not _is_settled(group)
        ]
        n = sum(1 for _ in context.regions())
        examined = f"source files of {count_of(n, 'region')}"
        if provisional:
            examined += f", {len(provisional):,} of them provisional"
        return CheckResult(validator=self.name, findings=tuple(findings), examined=examined)


def _is_settled(group: GapGroup) -> bool:
    return group.gaps[0].settled


def _of_absent(gap: Gap) -> str:
    return "was there before, and is gone" if gap.was_there else "never came"


def _finding(group: GapGroup) -> Finding:
    gap, n = group.gaps[0], len(group.gaps)
    absent = gap.status == SourceFileStatus.NOT_YET_AVAILABLE and gap.settled
    status = _of_absent(gap) if absent else gap.status
    detail = f" ({gap.detail})" if gap.detail and not absent else ""
    what = f"source file {gap.url}" if n == 1 else f"{n} source files from {gap.url} on"
    return Finding(
        message=f"{what}: {status}{detail}",
        severity="warning" if gap.settled else "error",
        variables=gap.variables,
        first=group.first,
        last=group.last,
        repair=group.repair,
    )
