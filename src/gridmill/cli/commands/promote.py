"""`gridmill promote`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from gridmill.cli.errors import Failed
from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options, now_option, present
from gridmill.cli.options.confirmation import confirm, who_option, yes_option
from gridmill.cli.output.output import Output, output_options
from gridmill.cli.verdict import code_by_hand

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset
    from gridmill.operations.versions.candidate import Candidate
    from gridmill.operations.versions.promote import Beside
    from gridmill.validation import Validation

__all__ = ["promote"]


@dataclass(frozen=True)
class Looked:
    """What was found when somebody looked at a version that may be promoted."""

    candidate: Candidate
    validation: Validation | None


@click.command(
    short_help="Replace the archive with its next version.",
    epilog="""\b
Examples:
  gridmill backfill my-forecast --until 2025-07-01 --store a.icechunk --stage
  gridmill promote my-forecast --store a.icechunk --dry-run
  gridmill promote my-forecast --store a.icechunk
  gridmill promote my-forecast --store a.icechunk --back
  gridmill promote my-forecast --store a.icechunk --forget-previous

\b
On Icechunk, one write moves the branch main. Objects of plain Zarr cannot be
exchanged in one step: there, the next version has its own address. Check it
with --dry-run, and give that address to readers.
""",
)
@archive_options
@click.option("--dry-run", is_flag=True, help="Only check and compare.")
@click.option(
    "--blocks",
    metavar="N",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Compare the values of N blocks per variable, evenly spread.",
)
@click.option("--allow-less", is_flag=True, help="Allow it if readers lose labels or variables.")
@click.option("--allow-errors", is_flag=True, help="Allow it if validation finds errors.")
@click.option(
    "--allow-dropped", is_flag=True, help="Allow it if readers see again what retain dropped."
)
@click.option("--back", is_flag=True, help="Restore the previous version.")
@click.option("--discard", is_flag=True, help="Delete the next version instead.")
@click.option("--forget-previous", is_flag=True, help="Delete the previous version instead.")
@who_option
@yes_option
@now_option
@output_options
def promote(
    archive: ArchiveOptions,
    dry_run: bool,
    blocks: int,
    allow_less: bool,
    allow_errors: bool,
    allow_dropped: bool,
    back: bool,
    discard: bool,
    forget_previous: bool,
    who: str,
    yes: bool,
    now: str | None,
    output: Output,
) -> ExitCode:
    """Replace the archive that readers see with its next version, built with --stage.

    Checks that no run holds either version; that the next one is complete, valid, and of the
    declared version; and that it has all labels and variables that readers see. Shows the
    differences and asks for confirmation. Open readers keep the version that they opened. The
    previous version is kept; --back restores it. Icechunk replicas follow, each in one step, once
    the version is copied. If interrupted, or if a replica was unreachable, rerun to complete it.
    """
    _check_usage(archive, dry_run=dry_run, others=[back, discard, forget_previous])
    from gridmill.operations.versions import promote as steps
    from gridmill.operations.versions.candidate import check_may_replace

    allowed = (allow_less, allow_errors, allow_dropped)
    dataset = archive.open()
    if dataset.store.shows_uploads:
        looked = _look(archive, dataset, _version(archive, staged=True), blocks, now)
        _show(dataset, looked, None, output)
        check_may_replace(looked.candidate, _errors(looked), *allowed)
        return _say_address(looked.candidate, dry_run=dry_run)
    beside = steps.Beside(dataset, _version(archive, staged=True), _version(archive, "previous"))
    if discard or forget_previous:
        return _delete(beside, is_next=discard, yes=yes)
    done = None if dry_run else steps.complete(beside, who=who, is_back=back)
    if done is not None:
        _show(dataset, None, done, output)
        return code_by_hand(done)
    other = beside.way_back if back else beside.following
    looked = _look(archive, dataset, other, blocks, now, is_back=back)
    if dry_run or not output.as_json:
        _show(dataset, looked, None, output)
    check_may_replace(looked.candidate, _errors(looked), *allowed)
    if dry_run:
        return ExitCode.SUCCESS
    confirm(f"Readers of {dataset.where} will see B instead of A. Continue?", yes=yes)
    act = steps.go_back if back else steps.promote
    report = act(looked.candidate, beside, who=who)
    _show(dataset, looked if output.as_json else None, report, output)
    return code_by_hand(report)


def _check_usage(archive: ArchiveOptions, *, dry_run: bool, others: list[bool]) -> None:
    context = click.get_current_context()
    deleting = others[1:]
    if archive.staged:
        raise click.UsageError("leave --stage out: --store is what readers see", context)
    if sum(others) > 1 or (dry_run and any(deleting)):
        raise click.UsageError(
            "give one of --back, --discard and --forget-previous; --dry-run goes with --back alone",
            context,
        )


def _version(archive: ArchiveOptions, staged: bool | str) -> DynamicalDataset:
    return replace(archive, replicas=(), staged=staged).open()


def _look(
    archive: ArchiveOptions,
    dataset: DynamicalDataset,
    other: DynamicalDataset,
    blocks: int,
    now: str | None,
    *,
    is_back: bool = False,
) -> Looked:
    """Compare both, and validate the other one; what readers saw before was validated then."""
    from gridmill.operations.versions.candidate import examine
    from gridmill.validation import validate

    candidate = examine(dataset, other, blocks=blocks, is_declared=not is_back)
    if is_back:
        return Looked(candidate, None)
    invocation = replace(archive, replicas=(), staged=True).invocation()
    found = validate(other, other.validators(), now=present(now), invocation=invocation)
    return Looked(candidate, found)


def _errors(looked: Looked) -> list[str]:
    findings = () if looked.validation is None else looked.validation.findings
    return [str(finding) for finding in findings if finding.severity == "error"]


def _show(dataset: Any, looked: Looked | None, report: Any, output: Output) -> None:
    from gridmill.display.terminal.provenance.promotion import promotion_content, show_promotion

    candidate = None if looked is None else looked.candidate
    validation = None if looked is None else looked.validation
    output.show(promotion_content(dataset, candidate, validation, report), show_promotion)


def _say_address(candidate: Candidate, *, dry_run: bool) -> ExitCode:
    """Say how readers of plain Zarr come to another version."""
    if dry_run:
        return ExitCode.SUCCESS
    other = candidate.other.where
    try:
        _ = candidate.present.store.branches
    except ValueError as error:
        raise Failed(
            f"{error}. Nothing was changed. The next version is at {other}: give readers that "
            "address (gridmill catalog --stage describes it), and update both while both are read; "
            "or keep the archive in Icechunk, which promotes in one step",
            ExitCode.WRONG_INPUT,
        ) from error
    return ExitCode.SUCCESS


def _delete(beside: Beside, *, is_next: bool, yes: bool) -> ExitCode:
    from gridmill.operations.versions.promote import discard, forget_previous

    what = "next" if is_next else "previous"
    confirm(f"The {what} version of {beside.present.where} will be deleted. Continue?", yes=yes)
    (discard if is_next else forget_previous)(beside)
    click.echo(f"the {what} version of {beside.present.where} is deleted", err=True)
    return ExitCode.SUCCESS
