"""The version of Icechunk's format that a repository is in, and what the library here can do."""

from __future__ import annotations

from typing import Any

import icechunk

from gridmill.model.state_files import UnreadableState
from gridmill.stores.objects.protocol import Objects

__all__ = [
    "DEFAULT",
    "RepositoryTooNew",
    "check_writable_format",
    "format_in",
    "format_of",
    "newest_format",
]

# Every Icechunk opens it. 2 needs Icechunk 2, and so Python 3.12, of every reader and worker.
DEFAULT = 1
# Source: Icechunk's specification. From format 2 on there is an object that begins so: what it is,
# the library that wrote it, and the version in one byte. Before, there was none.
REPO = "repo"
MAGIC = "ICE🧊CHUNK".encode()
VERSION_AT = len(MAGIC) + 24


class RepositoryTooNew(UnreadableState):
    """A repository is in a format that the Icechunk here does not read; pickles.

    Parameters
    ----------
    address
        The repository's; credentials are masked.
    found, readable
        Its format, and the newest that this Icechunk reads.
    """

    def __init__(self, address: str, found: int, readable: int) -> None:
        super().__init__(
            address,
            f"is an Icechunk repository in format {found}, and Icechunk {icechunk.__version__} "
            f"reads up to format {readable}",
            f"install a newer Icechunk here and on every worker (pip install 'icechunk>={found}', "
            "on Python 3.12 or newer)",
        )
        self.found, self.readable = found, readable
        # What it is made of again when it is unpickled.
        self.args = (self.address, found, readable)


def newest_format() -> int:
    """Return the newest format that the Icechunk here reads and writes."""
    versions: Any = getattr(icechunk, "supported_spec_versions", None)
    return 1 if versions is None else max(int(version) for version in versions())


def check_writable_format(wanted: int) -> None:
    """Raise ValueError unless the Icechunk here makes repositories in a format."""
    newest = newest_format()
    if not 1 <= wanted <= newest:
        raise ValueError(
            f"format version {wanted}: Icechunk {icechunk.__version__} makes repositories in "
            f"format 1 to {newest}; give one of these, or install a newer Icechunk"
        )


def format_of(repository: icechunk.Repository) -> int:
    """Return the format that an open repository is in."""
    return int(getattr(repository, "spec_version", 1))


def format_in(objects: Objects) -> int | None:
    """Read which format a repository is in, whatever the Icechunk here knows; None if before 2."""
    header = objects.get_range(REPO, 0, VERSION_AT + 1)
    if header is None or len(header) <= VERSION_AT or not header.startswith(MAGIC):
        return None
    return header[VERSION_AT]
