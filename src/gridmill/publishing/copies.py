"""Copies of a variable of a region from one store to another, on whichever machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gridmill.model.records import ObjectReceipt
from gridmill.stores.copied import ObjectReplaced
from gridmill.stores.final_store import FinalStore, Uploaded
from gridmill.stores.objects.leftovers import temporary_folder
from gridmill.stores.state.leases import LeaseProof

__all__ = ["Copy", "copy_here", "copy_objects"]


@dataclass(frozen=True)
class Copy:
    """A variable of a region that is to be copied from one store to another.

    Parameters
    ----------
    source, target
        The stores.
    objects, token
        What the upload to `source` returned.
    metadata
        The template's consolidated root metadata.
    proof
        Says whether the run may still write.
    name
        Says what it is, in keys of tasks.
    """

    source: FinalStore
    target: FinalStore
    objects: tuple[ObjectReceipt, ...]
    token: str | None
    metadata: bytes
    proof: LeaseProof
    name: str


def copy_objects(copy: Copy, folder: Path) -> Uploaded | str:
    """Copy objects, byte by byte; or say why the source does not hold them as recorded.

    Parameters
    ----------
    copy
        What is copied, and where to.
    folder
        An empty one for the objects on their way; the caller deletes it.

    Raises
    ------
    LeaseLost
        The run may not write any more.
    OSError
        The target refuses.
    """
    (folder / "zarr.json").write_bytes(copy.metadata)
    try:
        copy.source.download(folder, copy.objects, copy.token)
    except ObjectReplaced as error:
        return str(error)
    keys = [receipt.key for receipt in copy.objects]
    return copy.target.upload(folder, keys, copy.proof, replaces=True)


def copy_here(copies: Sequence[Copy]) -> list[Uploaded | str]:
    """Make copies in this process, one by one; see `copy_objects`."""
    made: list[Uploaded | str] = []
    for copy in copies:
        with temporary_folder() as folder:
            made.append(copy_objects(copy, folder))
    return made
