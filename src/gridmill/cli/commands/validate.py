"""`gridmill validate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import (
    ArchiveOptions,
    archive_options,
    now_option,
    present,
    variables_option,
)
from gridmill.cli.options.clusters import Cluster, cluster_options, connected
from gridmill.cli.options.completion import complete_validators
from gridmill.cli.options.declaring import Command, parse_variables, setting, with_options
from gridmill.cli.options.durations import parse_duration
from gridmill.cli.output.output import Output, output_options
from gridmill.cli.output.pages import page_option, write_page

if TYPE_CHECKING:
    import xarray as xr

    from gridmill.dataset import DynamicalDataset
    from gridmill.runs.plan import Plan
    from gridmill.validation import Validation, Validator

__all__ = ["look_after", "selection_options", "validate", "validate_option"]

validate_option: Command = setting(
    "--validate",
    "look",
    is_flag=True,
    help="Validate the affected region afterwards, see `gridmill validate`.",
)


def look_after(
    archive: ArchiveOptions, dataset: DynamicalDataset, planned: Plan, now: Any
) -> Callable[[], Validation]:
    """Return what looks, after a run, at the positions from the first that it was to process."""
    from gridmill.validation import Context, look_at

    def look() -> Validation:
        regions = [job.region for job in planned.jobs if not job.is_static]
        first = min((region.start for region in regions), default=0)
        context = Context(dataset, now=now, invocation=archive.invocation())
        if 0 < first < context.published:
            start = context.label(first)
            context = Context(dataset, start=start, now=now, invocation=archive.invocation())
        return look_at(context, dataset.validators())

    return look


def selection_options(command: Command) -> Command:
    """Take what of an archive to look at; passes `start`, `end` and `variables`."""
    options = [
        click.option("--start", metavar="DATE", help="Only positions from this date on."),
        click.option("--end", metavar="DATE", help="Only positions before this date."),
        variables_option(),
    ]
    return with_options(command, options)


@click.command(
    short_help="Check an archive and suggest repairs.",
    epilog="""\b
Examples:
  gridmill validate my-forecast --store a.zarr
  gridmill validate my-forecast --store a.zarr --start 2026-11-01 --json
  gridmill validate my-forecast --store a.zarr --quick
  gridmill validate my-forecast --store a.zarr --sample 3 --cf --replica s3://b/a.zarr
  gridmill validate my-forecast --store a.zarr --html right.html --reference era5.nc

\b
Exits with 1 if a finding is an error. Warnings are what cannot be repaired now:
a source file that never came, or that was accepted as missing.
""",
)
@archive_options
@selection_options
@click.option("--quick", is_flag=True, help="Read no values, and check objects by size only.")
@click.option(
    "--only",
    metavar="NAME,…",
    multiple=True,
    callback=parse_variables,
    shell_complete=complete_validators,
    help="Run only these checks, by their names in --json.",
)
@click.option(
    "--sample",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    help="Reprocess N regions of each variable from their source files, and compare.",
)
@click.option(
    "--cf", is_flag=True, help="Check metadata against the CF conventions, and ACDD if kept."
)
@setting(
    "--grace",
    metavar="DURATION",
    help="Time that an update may take before something counts as late.  [default: 1h]",
)
@setting(
    "--max-age",
    metavar="DURATION",
    help="The archive is behind if its last label is older.",
)
@page_option
@click.option(
    "--reference",
    metavar="URL",
    help="With --html: a dataset (Zarr, netCDF) to compare with.",
)
@cluster_options
@now_option
@output_options
def validate(
    archive: ArchiveOptions,
    start: str | None,
    end: str | None,
    variables: Sequence[str] | None,
    quick: bool,
    only: Sequence[str] | None,
    sample: int,
    cf: bool,
    grace: str | None,
    max_age: str | None,
    page: Path | None,
    reference: str | None,
    cluster: Cluster,
    now: str | None,
    output: Output,
) -> ExitCode:
    """Check an archive and suggest repairs; changes nothing.

    Checks that the archive is current, complete and readable; that its objects are those that
    were uploaded; that metadata and coordinates match the template; and that values are
    plausible. Each finding is a line, with the command that repairs it.
    """
    from gridmill.display.terminal.validation import show_validation, validation_content
    from gridmill.display.validation_page import validation_page
    from gridmill.validation import CfConventions, Context, SourcesAgree, look_at

    dataset = archive.open()
    given = {"grace": grace, "max_age": max_age}
    bounds = {n: parse_duration(v, f"--{n.replace('_', '-')}") for n, v in given.items() if v}
    more: list[Validator] = [SourcesAgree(size=sample)] if sample else []
    more += [CfConventions()] if cf else []
    validators = [*_chosen(dataset, quick=quick, only=only, bounds=bounds), *more]

    context = Context(
        dataset,
        start=start,
        end=end,
        variables=variables,
        now=present(now),
        invocation=archive.invocation(),
    )
    if quick and page is None:
        validation = look_at(context, validators)
    else:
        with connected(cluster, output):
            validation = look_at(context, validators)
            if page is not None:
                write_page(page, validation_page(context, validation, _opened(reference)))
    output.show(validation_content(validation), show_validation)
    return ExitCode.SUCCESS if validation.succeeded else ExitCode.FAILED


def _opened(reference: str | None) -> xr.Dataset | None:
    if reference is None:
        return None
    import xarray as xr

    try:
        return xr.open_dataset(reference, chunks={})
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"the reference {reference} cannot be opened: {error}") from error


def _chosen(
    dataset: DynamicalDataset, *, quick: bool, only: Sequence[str] | None, bounds: dict[str, Any]
) -> list[Validator]:
    from gridmill.validation import Current, ObjectsIntact, ReplicasEqual
    from gridmill.validation.checks.values import ValueValidator

    validators = list(dataset.validators())
    known = {validator.name: validator for validator in validators}
    if only is not None:
        unknown = sorted(set(only) - set(known))
        if unknown:
            raise ValueError(f"no validator {', '.join(unknown)}; there are {', '.join(known)}")
        validators = [validator for validator in validators if validator.name in only]
    chosen: list[Validator] = []
    for validator in validators:
        if isinstance(validator, Current):
            validator = replace(validator, **bounds)
        if quick and isinstance(validator, ObjectsIntact | ReplicasEqual):
            validator = replace(validator, contents=False)
        if not (quick and isinstance(validator, ValueValidator)):
            chosen.append(validator)
    return chosen
