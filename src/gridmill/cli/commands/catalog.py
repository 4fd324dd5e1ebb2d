"""`gridmill catalog`."""

from __future__ import annotations

from dataclasses import replace

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options
from gridmill.cli.output.cataloguing import CatalogueOptions, catalogue_options, write_catalogue
from gridmill.cli.output.output import Output, output_options

__all__ = ["catalog"]


@click.command(
    short_help="List an archive in a static STAC catalogue.",
    epilog="""\b
Examples:
  gridmill catalog my-forecast --store s3://bucket/a.zarr --output s3://bucket/catalog
  gridmill catalog ostia-sst-monthly --store sst.zarr --output catalog

\b
Archives that the catalogue already lists stay in it: run this once for each.
backfill and update keep the entry current with --catalog. Pictures need
gridmill[validate]. Exits with 3 if the catalogue is up to date.
""",
)
@archive_options
@click.option(
    "--output",
    "destination",
    metavar="URL",
    help="Folder of the catalogue, for this call; --catalog is the setting.",
)
@catalogue_options
@output_options
def catalog(
    archive: ArchiveOptions,
    destination: str | None,
    catalogue: CatalogueOptions,
    output: Output,
) -> ExitCode:
    """List an archive, as readers see it, in a static STAC catalogue.

    The catalogue is a folder of small objects in any kind of store: catalog.json, and for each
    archive a collection.json, a page and a picture.
    """
    from gridmill.display.terminal.archive import show_catalogued
    from gridmill.model.urls import mask_url

    catalogue = replace(catalogue, url=destination or catalogue.url)
    if catalogue.url is None:
        raise click.UsageError(
            "give --output, the URL or path of the catalogue, or set GRIDMILL_CATALOG",
            click.get_current_context(),
        )
    dataset = archive.open()
    changed = write_catalogue(dataset, catalogue)
    content = {
        "dataset_id": dataset.dataset_id,
        "store": mask_url(dataset.store.url),
        "catalog": mask_url(catalogue.url),
        "changed": changed,
    }
    output.show(content, show_catalogued)
    return ExitCode.SUCCESS if changed else ExitCode.NOTHING_NEW
