"""Tokens of uploads to Icechunk: what a fork wrote, in a form that outlives this code.

A fork pickles as MessagePack of Icechunk's own: settings, how the repository is reached, the
snapshot that it began from and the changes. How the repository is reached holds an address and, on
S3, a pickled callable that finds credentials: by the name of a module. So a token has everything
but that, and its opener fills in how the repository is reached from there. It names nothing
of gridmill, holds no address, and opens no pickle of others.

Whether a fork can be read is Icechunk's to say, and it promises that within a major version only.
The token says which version wrote it, and a checksum tells a damaged one from one of another
version. Tokens without a schema number are pickled forks; they are read as data, too, and the
callable in them is never loaded.
"""

from __future__ import annotations

import base64
import io
import json
import pickle
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import google_crc32c
import icechunk
import msgpack  # type: ignore[import-untyped]
from icechunk.session import ForkSession
from zarr.abc.store import Store

from gridmill.stores.icechunk.patience import is_transient
from gridmill.stores.icechunk.repository import RepositoryAt
from gridmill.stores.icechunk.settings.formats import newest_format

__all__ = ["Forks", "Token", "TokenUnreadable", "UploadLost", "fork_of", "storage_of"]

SCHEMA = 1
# Where sessions and repositories say how they are reached: an element, or the first of one.
DEPTH = 2
# The first key of a map that says it, and how its value ends.
TYPE, STORAGE = b"\xa4type", "Storage"
# What would be loaded by its name; outside of what is filled in there is none.
CALLABLE = b"pickled_function"


class TokenUnreadable(ValueError):  # noqa: N818
    """A token is damaged, or of a newer schema: what was uploaded is not known."""


class UploadLost(RuntimeError):  # noqa: N818
    """A token is whole, and this process cannot publish what it says."""


@dataclass(frozen=True)
class Token:
    """What an upload made durable, and when and how.

    Parameters
    ----------
    begun
        When the upload began; whatever it wrote is younger.
    place
        Where it was made, for people.
    seed
        Tells apart the seeds that uploads began from; None for a snapshot of the branch.
    version
        The Icechunk that wrote it; None where it does not say.
    pieces
        The session's bytes, cut where they say how the repository is reached.
    """

    begun: datetime
    place: str
    seed: str | None
    version: str | None
    pieces: tuple[bytes, ...]

    @classmethod
    def of(cls, fork: Any, begun: datetime, place: str, seed: str | None = None) -> Token:
        """Take what a fork holds.

        Raises
        ------
        TokenUnreadable
            This Icechunk pickles forks in a form that is not known.
        """
        try:
            pieces = _pieces(fork.__getstate__()["_session"])
        except Exception as error:
            raise TokenUnreadable(
                f"Icechunk {icechunk.__version__} pickles sessions in a form that this gridmill "
                f"does not know ({error}): install an earlier Icechunk, or a newer gridmill"
            ) from error
        return cls(begun, place, seed, icechunk.__version__, pieces)

    def to_text(self) -> str:
        """Write it, for a record."""
        return json.dumps(
            {
                "schema": SCHEMA,
                "icechunk": self.version,
                "begun": self.begun.astimezone(UTC).isoformat(timespec="seconds"),
                "place": self.place,
                "seed": self.seed,
                "crc32c": google_crc32c.value(b"".join(self.pieces)),
                "session": [base64.b64encode(piece).decode() for piece in self.pieces],
            }
        )

    @classmethod
    def from_text(cls, text: str, of: str) -> Token:
        """Read a token, of any schema up to this one.

        Parameters
        ----------
        text
            The token.
        of
            What was uploaded and where its record is, for the message.

        Raises
        ------
        TokenUnreadable
            It is damaged, or newer than this code.
        """
        try:
            content = dict(json.loads(text))
            schema = int(content.get("schema", 0))
            if schema <= SCHEMA:
                return cls._from_content(content, _READ_PIECES[schema](content))
        # What a damaged pickle raises is any of a dozen classes.
        except Exception as error:
            raise TokenUnreadable(
                f"the receipt of {of} is damaged ({error or type(error).__name__}): put the object "
                "that holds it back from a copy, or delete that object to upload again"
            ) from None
        raise TokenUnreadable(
            f"the receipt of {of} has schema {schema}, and this gridmill reads up to {SCHEMA}: "
            "use the gridmill that wrote it, or a newer one"
        )

    @classmethod
    def _from_content(cls, content: dict[str, Any], pieces: tuple[bytes, ...]) -> Token:
        if any(CALLABLE in piece for piece in pieces):
            raise ValueError("it holds a callable where none belongs")
        begun = datetime.fromisoformat(content["begun"])
        return cls(begun, content["place"], content["seed"], content.get("icechunk"), pieces)

    def fork(self, storage: bytes) -> ForkSession:
        """Open what was uploaded.

        Parameters
        ----------
        storage
            How the repository is reached from here; see `storage_of`.

        Raises
        ------
        UploadLost
            This Icechunk does not read what another one wrote.
        """
        here = icechunk.__version__
        if self.version is not None and _major(self.version) != _major(here):
            raise UploadLost(self._lost_to(here))
        fork = ForkSession.__new__(ForkSession)
        try:
            fork.__setstate__({"_session": storage.join(self.pieces)})
        except icechunk.IcechunkError:
            raise UploadLost(self._lost_to(here)) from None
        return fork

    def _lost_to(self, here: str) -> str:
        if self.version is None:
            return f"it was made with another version of Icechunk, which {here} does not read"
        return f"it was made with Icechunk {self.version}, which {here} does not read"


def fork_of(session: icechunk.Session) -> ForkSession:
    """Return a session that nobody else has as a fork: what is written to it can be a token.

    `Session.fork` of Icechunk 1 makes a copy that brings a client of its own.
    """
    if newest_format() > 1:
        return session.fork()
    return ForkSession(session._session)


def storage_of(repository: icechunk.Repository) -> bytes:
    """Return how an open repository is reached, for `Token.fork`; asks nothing of it."""
    state: Any = repository.__getstate__()
    content = bytes(state["_repository"])
    start, stop = next(_storages(content))
    return content[start:stop]


def _major(version: str) -> str:
    return version.partition(".")[0]


# -- what a token holds -----------------------------------------------------------------------


def _written_pieces(content: dict[str, Any]) -> tuple[bytes, ...]:
    pieces = tuple(base64.b64decode(piece, validate=True) for piece in content["session"])
    if google_crc32c.value(b"".join(pieces)) != content["crc32c"]:
        raise ValueError("its checksum is another one")
    return pieces


def _pickled_pieces(content: dict[str, Any]) -> tuple[bytes, ...]:
    state = _ForkUnpickler(io.BytesIO(base64.b85decode(content["fork"]))).load()
    return _pieces(state.session)


_READ_PIECES = {0: _pickled_pieces, 1: _written_pieces}


class _ForkState:
    """Stands for a pickled fork, and opens nothing."""

    session: bytes

    def __setstate__(self, state: dict[str, bytes]) -> None:
        self.session = state["_session"]


class _ForkUnpickler(pickle.Unpickler):
    """Reads a pickled fork and nothing else: records are data."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) != ("icechunk.session", "ForkSession"):
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _ForkState


# -- sessions as Icechunk writes them ---------------------------------------------------------


def _pieces(session: bytes) -> tuple[bytes, ...]:
    """Cut out how the repository is reached.

    Raises
    ------
    ValueError
        It is nowhere said.
    """
    pieces, at = [], 0
    for start, stop in _storages(session):
        pieces.append(session[at:start])
        at = stop
    if not pieces:
        raise ValueError("it does not say how its repository is reached")
    return (*pieces, session[at:])


def _storages(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield from where to where each map is that says how a repository is reached.

    MessagePack counts elements and not bytes: what stands in such a map's place may be longer.

    Raises
    ------
    ValueError
        This is not one whole value.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=0)
    unpacker.feed(content)
    try:
        yield from _storages_in(unpacker, content, 0)
    except msgpack.UnpackException as error:
        raise ValueError(f"it is no MessagePack: {type(error).__name__}") from None
    if unpacker.tell() != len(content):
        raise ValueError(f"it goes on after byte {unpacker.tell()}")


def _storages_in(unpacker: Any, content: bytes, depth: int) -> Iterator[tuple[int, int]]:
    start = unpacker.tell()
    if depth < DEPTH and _is_array(content[start]):
        for _ in range(unpacker.read_array_header()):
            yield from _storages_in(unpacker, content, depth + 1)
        return
    unpacker.skip()
    if _is_storage(content[start : unpacker.tell()]):
        yield start, unpacker.tell()


def _is_array(marker: int) -> bool:
    return 0x90 <= marker <= 0x9F or marker in (0xDC, 0xDD)


def _is_storage(value: bytes) -> bool:
    if not value[1:].startswith(TYPE):
        return False
    # The rest may be maps whose keys are maps, which Python has not.
    unpacker = msgpack.Unpacker(max_buffer_size=0)
    unpacker.feed(value)
    unpacker.read_map_header()
    unpacker.skip()
    return str(unpacker.unpack()).endswith(STORAGE)


class Forks:
    """Opens what uploads of one archive wrote, by their tokens.

    Parameters
    ----------
    repository
        What they were made in.
    kept_in
        Address of the records that hold the tokens, for errors.
    """

    def __init__(self, repository: RepositoryAt, kept_in: str) -> None:
        self._repository = repository
        self.kept_in = kept_in

    def holding(self, token: str | None, of: str) -> Store | None:
        """Return what has the objects that a token made durable."""
        if token is not None:
            with suppress(UploadLost):
                return self.held(token, of)
        return self._repository.published()

    def held(self, token: str, of: str) -> Store:
        """Return what an upload wrote, and the snapshot that it began from.

        Also where the archive was moved or copied since, with its records.

        Raises
        ------
        UploadLost
            This Icechunk does not read it, or the snapshot is gone.
        """
        try:
            fork = self.fork(token, of)
            repository = self._repository.open()
            repository.lookup_snapshot(fork.snapshot_id)
        except FileNotFoundError as error:
            raise UploadLost(str(error)) from None
        except icechunk.IcechunkError as error:
            if is_transient(error):
                raise
            raise UploadLost("the snapshot that it began from has expired") from None
        # Each fork would bring a client of its own, which asks for credentials and connects again.
        session = repository.writable_session(self._repository.branch)
        session.merge(fork)
        store: Store = session.store
        return store

    def is_held(self, token: str, of: str) -> bool:
        """Whether what an upload wrote can be read."""
        try:
            self.held(token, of)
        except UploadLost:
            return False
        return True

    def is_readable(self, token: str, of: str) -> bool:
        try:
            self.fork(token, of)
        except UploadLost:
            return False
        except FileNotFoundError:
            return True  # there is no repository: nothing is wrong with the token
        return True

    def fork(self, token: str, of: str) -> Any:
        """Open what an upload wrote; see `Token.fork`."""
        return Token.from_text(token, of).fork(storage_of(self._repository.open()))

    def to_merge(self, token: str, variable: str, region: str) -> Any:
        """Open what an upload wrote, to be published.

        Raises
        ------
        UploadLost
            It cannot be.
        """
        try:
            return self.fork(token, self.name_of(variable, region))
        except UploadLost as lost:
            raise UploadLost(
                f"the upload of {variable} in the region from position {region} cannot be "
                f"published: {lost}: nothing was published; run a backfill of that region"
            ) from None

    def token(self, token: str, variable: str, region: str) -> Token:
        """Read a token."""
        return Token.from_text(token, self.name_of(variable, region))

    def name_of(self, what: str, region: str | None = None) -> str:
        """Name an upload and where its record is, for an error."""
        where = "" if region is None else f" in the region from position {region}"
        return f"{what}{where}, kept in {self.kept_in}"
