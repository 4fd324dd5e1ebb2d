"""A source file and the place in the archive that it fills: the author's part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridmill.model.settled import SourceFileStatus

__all__ = ["ProcessResults", "SourceFileCoord"]


@dataclass(frozen=True, kw_only=True)
class SourceFileCoord:
    """Identifies one source file and the place in the archive that it fills; subclass it.

    Subclasses are frozen, keyword-only dataclasses that add the fields which identify the file,
    for instance its time or its init_time, lead_time and member. The fields here say what
    became of it; authors leave them alone.

    Attributes
    ----------
    status : SourceFileStatus
        What became of it.
    settled : bool
        Whether trying again later is pointless.
    downloaded_path : Path or None
        Where it lies on the worker's disk, for `RegionJob.read_data`.
    nbytes, etag, last_modified
        Identity, taken from the download's own response.
    checksum : str or None
        Of what was fetched, see `gridmill.model.files.versions`.
    index : tuple or None
        Which version of its index said where its parts are, see
        `gridmill.model.records.identity_of`.
    detail : str or None
        Why it did not succeed, or what is worth knowing of how it did.
    """

    status: SourceFileStatus = SourceFileStatus.PROCESSING
    settled: bool = False
    downloaded_path: Path | None = None
    nbytes: int | None = None
    etag: str | None = None
    last_modified: str | None = None
    checksum: str | None = None
    index: tuple[int | None, str | None, str | None] | None = None
    detail: str | None = None

    def get_url(self) -> str:
        """Give its address: a URL, or a path below the dataset's `source_base`."""
        raise NotImplementedError(f"{type(self).__name__} must define get_url()")

    def out_loc(self) -> Mapping[str, Any]:
        """Give the labels that it fills: by dim a label, or a slice of labels, both included.

        Dims that are not named are filled whole.
        """
        raise NotImplementedError(f"{type(self).__name__} must define out_loc()")


ProcessResults = Mapping[str, Sequence[SourceFileCoord]]
