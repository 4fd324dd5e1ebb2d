"""Asks providers for the identities of source files: several at once, and few for all regions."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Semaphore
from typing import Any

from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.source_file import SourceFileCoord, url_of
from gridmill.sources.fetch.credentials.access import using
from gridmill.sources.fetch.download import FileIdentity

__all__ = ["ASKED_AT_ONCE", "ask_files"]

# Latency, not work, is what asking for a file costs.
ASKED_AT_ONCE = 16
# Whatever regions they are of.
_asking = Semaphore(ASKED_AT_ONCE)


def ask_files(
    job: RegionJob[Any, Any], coords: Sequence[SourceFileCoord]
) -> dict[str, FileIdentity | None]:
    """Ask the provider for the identities of source files, several at once, by their URL."""

    def ask(coord: SourceFileCoord) -> FileIdentity | None:
        with _asking, using(job.access):
            return job.ask_file(coord)

    with ThreadPoolExecutor(ASKED_AT_ONCE, thread_name_prefix="ask") as pool:
        return dict(zip([url_of(c) for c in coords], pool.map(ask, coords), strict=True))
