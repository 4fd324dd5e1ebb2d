"""`gridmill list`."""

from __future__ import annotations

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.output.output import Output, output_options

__all__ = ["list_datasets"]


@click.command("list")
@click.option("--details", is_flag=True, help="Import each dataset and describe it.")
@output_options
def list_datasets(details: bool, output: Output) -> ExitCode:
    """List the datasets that installed packages register."""
    from gridmill.display.terminal.datasets import entry_content, show_entries
    from gridmill.registry import dataset_entries

    entries = [entry_content(entry, details=details) for entry in dataset_entries()]
    output.show(entries, show_entries)
    return ExitCode.SUCCESS
