"""`gridmill layout`."""

from __future__ import annotations

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options, present
from gridmill.cli.output.output import Output, output_options

__all__ = ["layout"]


@click.command(
    short_help="Propose chunks and shards, and check the declared ones.",
    epilog="""\b
Examples:
  gridmill layout noaa-gfs-forecast
  gridmill layout my_package.forecast:MyForecast --positions 24 --json
""",
)
@archive_options
@click.option(
    "--positions",
    type=click.IntRange(min=1),
    help="Positions along the append dim per update.  [default: a region]",
)
@output_options
def layout(archive: ArchiveOptions, positions: int | None, output: Output) -> ExitCode:
    """Propose chunks and shards for each variable, and compare them with the declared ones.

    Warns about chunks that are too small to fetch efficiently, and about updates that rewrite a
    shard; --positions sets how much an update brings. Changes nothing: copy a proposal into the
    variable's encoding before you create the archive.
    """
    from gridmill.display.terminal.structure import layout_content, show_layout

    config = archive.dataset_class().template_config()
    output.show(layout_content(config, present(None), positions), show_layout)
    return ExitCode.SUCCESS
