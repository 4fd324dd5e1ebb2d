"""`gridmill template`."""

from __future__ import annotations

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import UNTIL_HELP, ArchiveOptions, archive_options, present
from gridmill.cli.output.output import Output, output_options

__all__ = ["template"]


@click.command(
    short_help="Show the structure that a dataset declares.",
    epilog="""\b
Examples:
  gridmill template ostia-sst-monthly
  gridmill template my_package.forecast:MyForecast --until 2025-07-01 --json
""",
)
@archive_options
@click.option("--until", metavar="DATE", help=f"{UNTIL_HELP}  [default: now]")
@output_options
def template(archive: ArchiveOptions, until: str | None, output: Output) -> ExitCode:
    """Show the structure that a dataset declares: dims, variables, chunks, shards, codecs.

    With --store, as declared when that archive was created.
    """
    from gridmill.display.terminal.structure import show_template, template_content

    config = archive.dataset_class().template_config()
    if archive.store is not None:
        declaration = archive.open().store.tracker.read_declaration() or {}
        config = config.narrowed(
            start=declaration.get("start"),
            variables=declaration.get("variables"),
            max_lead=declaration.get("max_lead"),
        )
    output.show(template_content(config, until or present(None)), show_template)
    return ExitCode.SUCCESS
