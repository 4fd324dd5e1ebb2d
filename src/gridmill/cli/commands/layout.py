"""`gridmill layout`."""

from __future__ import annotations

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options, present
from gridmill.cli.output.output import Output, output_options

__all__ = ["layout"]


@click.command(
    short_help="Propose chunks and shards, and say what is wrong with those declared.",
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
    help="Positions along the append dim that one write brings.  [default: a region]",
)
@output_options
def layout(archive: ArchiveOptions, positions: int | None, output: Output) -> ExitCode:
    """Propose chunks and shards for each variable, beside those that it declares.

    Warns about chunks that are too small to be fetched well, and about writes that split a shard.
    With --positions, give what an update brings. Nothing is changed: copy what you like into the
    variable's encoding before its archive is made.
    """
    from gridmill.display.terminal.structure import layout_content, show_layout

    config = archive.dataset_class().template_config()
    output.show(layout_content(config, present(None), positions), show_layout)
    return ExitCode.SUCCESS
