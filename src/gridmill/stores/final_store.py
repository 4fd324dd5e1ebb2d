"""What the pipeline needs of a final store, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from gridmill.model.records import ObjectReceipt, ProgressRecord
from gridmill.stores.objects.protocol import Objects
from gridmill.stores.state.leases import LeaseProof
from gridmill.stores.state.records import UpdateProgressTracker
from gridmill.stores.versions import Branches, Versions

if TYPE_CHECKING:
    import xarray as xr

    from gridmill.stores.contents.axis import Moves

__all__ = [
    "CoordinateValues",
    "FinalStore",
    "IntendedWork",
    "Rename",
    "StagedRegion",
    "Uploaded",
    "readable_length",
]


@dataclass(frozen=True)
class Uploaded:
    """What an upload returns.

    Parameters
    ----------
    objects
        The objects that it wrote.
    token
        What `FinalStore.publish` needs to make them visible, where writing alone does not; it
        holds no credential, and outlives the process.
    """

    objects: tuple[ObjectReceipt, ...]
    token: str | None = None


@dataclass(frozen=True)
class StagedRegion:
    """A region whose uploads are durable, and are to be visible with the next publication.

    Parameters
    ----------
    name
        The region's key.
    stop
        The end of its positions that are to be visible, along the append dim.
    tokens
        By variable, what its upload returned.
    dim
        The append dim.
    visible
        How many positions readers see before.
    message
        Says what it brings: positions, variables and source files.
    unseen
        Variables of `tokens` that readers do not see yet, and are to see of all given regions at
        once; the others are visible.
    """

    name: str
    stop: int
    tokens: Mapping[str, str]
    dim: str = ""
    visible: int = 0
    message: str = ""
    unseen: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class CoordinateValues:
    """Values of a coordinate that speaks of data along the append dim.

    Parameters
    ----------
    name
        The coordinate; its first dim is the append dim.
    start
        The first position, that of a region.
    values
        In the stored dtype; the first axis is the append dim's, the others are whole.
    """

    name: str
    start: int
    values: np.ndarray[Any, Any]


@dataclass(frozen=True)
class IntendedWork:
    """What a run is about to do, as far as a store may warn of it.

    Parameters
    ----------
    regions
        How many regions along the append dim have something to do.
    replaced
        In how many of them readers see values already.
    is_partial
        Whether some of the archive's variables are left out.
    """

    regions: int
    replaced: int
    is_partial: bool


class Rename(Protocol):
    """Renames arrays where they are, see `FinalStore.renaming`."""

    def __call__(
        self,
        folder: Path,
        names: Mapping[str, str],
        message: str,
        check: Callable[[], None],
        values: Sequence[CoordinateValues],
    ) -> None:
        """Show arrays by other names, all at once; no object is read or written.

        Parameters
        ----------
        folder
            A local Zarr store with the new names and without the old ones, as far as readers see.
        names
            The new names by the old ones.
        message
            Says what this is for.
        check, values
            See `FinalStore.publish`.
        """


class FinalStore(Protocol):
    """A store that readers read, with the records beside it.

    Attributes
    ----------
    url
        Where readers read.
    format
        ``"zarr"`` or ``"icechunk"``; kept in the archive's declaration.
    shows_uploads
        Whether an upload over published objects is what readers see at once. Otherwise it becomes
        visible with the publication that is given its token, and `prepare` comes before the first.
    state, tracker
        The records.
    versions
        Names versions; raises ValueError with the reason where the format keeps none.
    branches
        Exchanges versions; raises ValueError with the reason where the format cannot.

    Notes
    -----
    Pickles small; workers get one each. `upload` and `publish` are idempotent. `repr` and what a
    token or an error says hold no credential.
    """

    url: str
    format: ClassVar[str]
    shows_uploads: ClassVar[bool]
    state: Objects
    tracker: UpdateProgressTracker

    def adding(self) -> FinalStore:
        """Return the same store with the records of variables that are being added to it."""

    @property
    def branch(self) -> str:
        """Which version of the archive this is: `PRESENT`, which readers see, or one beside it."""

    @property
    def versions(self) -> Versions:
        """Names versions of the archive.

        Raises
        ------
        ValueError
            The format keeps none.
        """

    @property
    def branches(self) -> Branches:
        """The versions of the archive that are beside each other.

        Raises
        ------
        ValueError
            Readers of this format cannot be moved to another version at the same address.
        """

    def declared_format(self) -> dict[str, Any]:
        """Return what a declaration says of the format: its name, and its version if it has any.

        Of an archive that is there, what it is in; else what it would be made in.
        """

    # -- what readers see ---------------------------------------------------------------------

    def metadata(self) -> dict[str, Any] | None:
        """Read the published root metadata, everything consolidated; None if there is none."""

    def published_length(self, append_dim: str) -> int | None:
        """How many positions of the append dim readers see; None if there is no store yet."""

    def published_nbytes(self, keys: Sequence[str]) -> dict[str, int]:
        """Return the sizes of those published objects that are there, by key."""

    def open_dataset(self, chunks: Any = "auto") -> xr.Dataset:
        """Open what readers see.

        Parameters
        ----------
        chunks
            As for `xarray.open_zarr`: by default Dask's arrays; with None Dask is not imported.
        """

    def progress(self) -> list[ProgressRecord]:
        """Read the records of all regions, in order."""

    def read_object(self, key: str) -> bytes | None:
        """Read a published object whole, as it is stored; None if there is none.

        Raises
        ------
        OSError
            The store has it, or should, and cannot give it.
        """

    # -- what a worker does -------------------------------------------------------------------

    def read(self, variable: str, selection: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        """Read published values of a variable, in the stored dtype."""

    def withdrawals(self) -> list[str]:
        """Return what the store itself says of values that were withdrawn, a line each."""

    def read_as_of(
        self, variable: str, selection: tuple[slice, ...], moment: datetime
    ) -> np.ndarray[Any, Any]:
        """Read what readers saw of a variable at a moment, in the stored dtype.

        Fewer positions where the archive was shorter then.

        Raises
        ------
        ValueError
            The store keeps nothing of then.
        """

    def read_uploaded(
        self,
        variable: str,
        selection: tuple[slice, ...],
        metadata: Mapping[str, Any],
        token: str | None = None,
    ) -> np.ndarray[Any, Any]:
        """Read values that an upload made durable, whether readers see them or not.

        `metadata` is the array's, reaching to the upload's end; `token` what the upload returned.
        The objects may be those of an attempt since, which was cut short: it holds these values,
        too.
        """

    def nbytes_in_use(self, keys: Sequence[str]) -> Mapping[str, int]:
        """Return the sizes of objects that readers may be reading while they are replaced.

        A reader asks for a shard's index, then for a chunk of it. If the shard is replaced in
        between by one that ends before that chunk begins, zarr takes the chunk for one that was
        never written and gives fill values, with no error. A shard that replaces one of these
        is therefore never shorter; it is the only way in which history shows in the bytes.
        Empty where readers stay with what they opened.
        """

    def upload(
        self, folder: Path, keys: Iterable[str], proof: LeaseProof, *, replaces: bool = False
    ) -> Uploaded:
        """Make the objects of these keys from a local Zarr store durable, several at once.

        All belong to one variable; ``zarr.json`` in the folder has its metadata, consolidated.
        No put of a process that stood still undoes a later one, where the store can tell.
        `replaces` says that readers may see such objects already, which saves a futile attempt.

        Raises
        ------
        LeaseLost
            The run may not write any more.
        """

    def download(
        self, folder: Path, receipts: Sequence[ObjectReceipt], token: str | None = None
    ) -> None:
        """Write objects that were uploaded, published or not, into a local folder, by their keys.

        Raises
        ------
        ObjectReplaced
            One is gone, or is not any more what its receipt says.
        """

    # -- what the driver does -----------------------------------------------------------------

    def check_writable(self) -> None:
        """Raise OSError unless objects can be put into the store and beside it."""

    def prepare(self, folder: Path) -> None:
        """Make what uploads need, from a local store whose append dim has no position yet.

        Where readers see an archive, they still see what they do, though it lacks arrays.
        """

    def publish(
        self,
        folder: Path,
        staged: Sequence[StagedRegion] = (),
        message: str = "",
        check: Callable[[], None] = lambda: None,
        values: Sequence[CoordinateValues] = (),
        *,
        together: Collection[str] = (),
    ) -> bool:
        """Make uploads, and a local store's metadata and coordinates, what readers see.

        Parameters
        ----------
        folder
            A local Zarr store with its metadata consolidated; its chunk objects are those of
            coordinates.
        staged
            Regions in order; those that are visible already change nothing.
        message
            Says what this publication brings.
        check
            Called before every step; what it raises ends the publication, see
            `Lease.publishing`.
        values
            Of coordinates that speak of data, by region. Readers see what is raised after all
            else or with it, what is lowered before or with it; other positions stay.
        together
            Variables of which readers are to see all regions at once, where the format can; they
            see what others of these regions brought already.

        Returns
        -------
        bool
            Whether anything changed.
        """

    def truncate(self, folder: Path, append_dim: str, message: str = "") -> int:
        """Shorten what readers see: the one exception to what is published staying published.

        Parameters
        ----------
        folder
            A local Zarr store whose append dim ends where the archive is to end.
        append_dim
            Objects that lie wholly beyond that end are deleted, once no reader needs them; where
            the store keeps versions, they stay with the earlier ones.
        message
            Says what this is for.

        Returns
        -------
        int
            How many objects were deleted.
        """

    def rearrange(
        self,
        folder: Path,
        moves: Moves,
        message: str,
        prepared: Callable[[Mapping[str, tuple[ObjectReceipt, ...]]], None],
    ) -> None:
        """Let values move along the append dim, in one step together with their labels.

        Where others come in between, or where the first ones go; see `Moves`.

        A local Zarr store gives metadata and coordinates; `prepared` is called before anybody sees
        them, with the objects by array that were written for it.

        Raises
        ------
        ValueError
            The format cannot show both at once.
        """

    def remove_arrays(
        self,
        folder: Path,
        names: Collection[str],
        message: str,
        check: Callable[[], None],
        values: Sequence[CoordinateValues] = (),
    ) -> bool:
        """Let readers no longer see some arrays; whether that changed anything.

        Parameters
        ----------
        folder
            A local Zarr store without them, as far as readers see.
        names
            The arrays.
        message
            Says what this is for.
        check, values
            See `publish`.
        """

    def delete_removed(self, names: Collection[str], check: Callable[[], None]) -> int:
        """Delete what is left of arrays that readers no longer see; how many objects.

        `check` is called now and then. Where the store keeps versions, none is deleted.
        """

    def copy_array(
        self, name: str, receipts: Sequence[ObjectReceipt], check: Callable[[], None]
    ) -> tuple[ObjectReceipt, ...] | None:
        """Copy objects of one array to another within the store; None where it takes an upload.

        Raises
        ------
        ObjectReplaced
            One is gone, or is not any more what its receipt says.
        """

    def renaming(self, names: Collection[str], append_dim: str) -> Rename | None:
        """Return what gives arrays other names where they are; None where they must be copied.

        Also None where readers do not see all that is recorded of the regions that they see, as
        while a run is at work.
        """

    def missing(self, receipts: Sequence[ObjectReceipt], token: str | None = None) -> list[str]:
        """Return the keys whose object is gone or has another size."""

    def lost(self, region: StagedRegion) -> frozenset[str]:
        """Name the variables of a region whose uploads can no longer be made visible.

        They count as not uploaded.
        """

    # -- what it warns of, and its upkeep -------------------------------------------------------

    def warn_of(self, work: IntendedWork) -> list[str]:
        """Say what readers or the operator may not expect of this work in this format.

        A line each; of no work there is nothing to say.
        """

    def relabel(
        self,
        coordinates: Collection[str],
        check: Callable[[], None] = lambda: None,
        *,
        dry_run: bool = False,
    ) -> dict[str, int]:
        """Set on objects the headers that new ones get (Cache-Control, Content-Type).

        Interrupted, the next call does the rest. What the objects hold stays as it is.

        Parameters
        ----------
        coordinates
            Names of the arrays that hold coordinates.
        check
            Called before each change; raises what prevents it.
        dry_run
            Only count.

        Returns
        -------
        dict
            How many were changed, or would be, as ``"metadata"``, ``"coordinates"`` and ``"data"``;
            and ``"right"``, how many were right.

        Raises
        ------
        ValueError
            Headers of existing objects cannot be changed there, or are not gridmill's.
        """

    def forget_versions(self, older_than: datetime, *, dry_run: bool = False) -> dict[str, int]:
        """Forget earlier versions of the archive, and delete what only they held.

        Parameters
        ----------
        older_than
            Versions from before this time; what readers see now always stays.
        dry_run
            Only count.

        Returns
        -------
        dict
            Counts by kind: ``snapshots_expired``, and what was deleted.

        Raises
        ------
        ValueError
            The format keeps no earlier versions, or there is no archive.
        """

    def split_manifests(self, append_dim: str, message: str, check: Callable[[], None]) -> None:
        """Let what a publication costs not grow with the archive, from now on.

        `check` is called before it is shown; readers see the same as before.

        Raises
        ------
        ValueError
            The format has no manifests, or there is no archive.
        """


def readable_length(store: FinalStore, append_dim: str) -> int | None:
    """Return how many positions readers see; None if they see nothing, or nothing that parses."""
    try:
        return store.published_length(append_dim) or None
    except (ValueError, KeyError, TypeError, OSError):
        return None
