"""The account of what is done: records of region jobs, and of variables in them. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import repeat
from typing import Any, Literal, Self

import google_crc32c

from gridmill.model.display_hook import card_of
from gridmill.model.files.arrivals import arrivals_from_inplace, arrivals_to_inplace
from gridmill.model.files.earlier import Earlier
from gridmill.model.files.recorded import SourceFileRecord
from gridmill.model.files.versions import contents_to, words_from, words_to
from gridmill.model.region import Region
from gridmill.model.settled import SourceFileStatus, SourceFill

__all__ = ["ObjectReceipt", "ProgressRecord", "Tries", "VariableRecord"]

SCHEMA_VERSION = 1
WORDS = ("released", "withdrawn")


@dataclass(frozen=True, slots=True)
class ObjectReceipt:
    """One object in the final store: its key, size in bytes, crc32c and digest.

    The crc32c tells a damaged object. It does not tell one whole object from another: each part of
    a stored object ends with its own crc32c, and that of both together is the same for every
    content of that length. The digest does: BLAKE2b, of 8 bytes, in hexadecimal. A record that was
    rebuilt has neither, that of an earlier gridmill no digest.
    """

    key: str
    nbytes: int
    crc32c: int | None
    digest: str | None = None

    @classmethod
    def of(cls, key: str, content: bytes) -> Self:
        """Return the receipt of an object."""
        return cls(key, len(content), google_crc32c.value(content), _digest(content))

    def is_of(self, content: bytes) -> bool:
        """Whether an object is the one that this was given for, as far as is known."""
        if self.crc32c is not None and google_crc32c.value(content) != self.crc32c:
            return False
        return self.digest is None or _digest(content) == self.digest


@dataclass(frozen=True, slots=True)
class Tries:
    """When a source file was tried that gave a variable nothing.

    Parameters
    ----------
    since
        The present of the first run that tried it in vain (ISO 8601, UTC, to the minute).
    due
        When it is tried again, likewise.
    times
        How often it was tried.
    code
        What read it, see `gridmill.planning.reading_code`; empty if it did not arrive.
    """

    since: str
    due: str
    times: int
    code: str = ""


@dataclass(frozen=True, kw_only=True)
class VariableRecord:
    """What is known of one variable of a region.

    Parameters
    ----------
    state
        ``"done"``: all objects are acknowledged; ``"absent"``: no source file has it, nothing
        was written; ``"failed"``: see `error`.
    group
        Which of the record's groups of source files fill it.
    fingerprint
        What it was made of, see `planning.fingerprint`; None in a record of gridmill 0.1.0.
    objects
        The objects in the final store that hold it.
    holes
        Keys of those that vanished from the store with published values, and whose source files
        are gone as well. What is left of them was stored again, and their receipts are still those
        of what was lost: only all of their source files, or somebody who accepts those, close one.
    unread
        By index of the group's files: those that arrived but could not be read for this
        variable, that a gate held, that were withdrawn, and those that are settled and for which it
        holds the extent nevertheless, as nothing says missing in it; with whether that no longer
        holds the extent, and the cause. See `SourceFileStatus.of_unread`.
    tries
        By index of the group's files: those that are settled and gave this variable nothing, or
        are provisional, with when they were tried; see `ProgressRecord.pending`.
    error
        Cause of a failure that no source file explains.
    run, finished
        The run that made it and when it ended (ISO 8601, UTC).
    token
        What publishing needs to make the objects visible, where writing alone does not.
    epochs
        Of the stages that made it, the lowest under which a value of it was made; None in a record
        of gridmill 0.1.0.
    version
        The dataset's declared version, likewise.
    libraries
        Versions of the libraries that made it: they are told, and decide nothing.
    unproven
        Whether values in it were taken over from an archive that gridmill did not make: which
        versions of the source files they are of, if of these at all, nobody has proven.
    spent
        Where readers see leads one by one: what each cell of shards cost so far, see
        `gridmill.planning.source_files.rhythm`; noted before anything is written.
    put_nbytes
        Likewise, bytes that were put into the store until now, for all that is stored of it.
    statistics
        See `gridmill.model.fields.statistics.noted`.
    extra
        Optional fields that another gridmill wrote: kept as long as the variable's record is.
    """

    state: Literal["done", "absent", "failed"]
    group: int
    fingerprint: Mapping[str, Any] | None = None
    objects: tuple[ObjectReceipt, ...] = ()
    holes: tuple[str, ...] = ()
    unread: Mapping[int, tuple[bool, str]] = field(default_factory=dict)
    tries: Mapping[int, Tries] = field(default_factory=dict)
    error: str | None = None
    run: str = ""
    finished: str = ""
    token: str | None = None
    epochs: Mapping[str, int] | None = None
    version: int | None = None
    libraries: Mapping[str, str] | None = None
    unproven: bool | None = None
    spent: tuple[int, ...] | None = None
    put_nbytes: int | None = None
    statistics: Sequence[Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ProgressRecord:
    """The durable account of one region job.

    Parameters
    ----------
    dataset_id
        The dataset that it belongs to.
    start, stop
        Positions along the append dim; both 0 for the static variables' job.
    groups
        Source files, each named once, by source group.
    variables
        Variables by name.
    under_way
        Variables that are being reprocessed, or failed to be, as they were known before: of values
        that the store lost meanwhile it says so, see `VariableRecord.holes`.
    runs
        The runs that made something of it, each with its version of gridmill, the oldest first.
        Source files and earlier versions name them by their index.
    history
        Earlier versions of its places, the oldest first.
    extra
        Optional fields that a later gridmill wrote: kept.
    """

    dataset_id: str
    start: int
    stop: int
    groups: tuple[tuple[SourceFileRecord, ...], ...] = ()
    variables: Mapping[str, VariableRecord] = field(default_factory=dict)
    under_way: Mapping[str, VariableRecord] = field(default_factory=dict)
    runs: tuple[tuple[str, str], ...] = ()
    history: tuple[Earlier, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def known_before(self, name: str) -> VariableRecord | None:
        """Return what the last run that made a variable recorded of it; None if none did."""
        known = self.variables.get(name)
        return self.under_way.get(name) if known is None or known.state == "failed" else known

    @property
    def region(self) -> Region:
        """The region's positions along the append dim."""
        return Region(self.start, self.stop)

    def fills(self, name: str) -> list[SourceFill] | None:
        """What the source files did for variable `name`; None if it is not done."""
        variable = self.variables.get(name)
        if variable is None or variable.state == "failed":
            return None
        return [
            SourceFill(file.start, file.stop, *_outcome(file, variable.unread.get(index)))
            for index, file in enumerate(self.groups[variable.group])
        ]

    def is_settled(self, names: Iterable[str]) -> bool:
        """Whether each of these variables is done and none of their files can improve."""
        every = [self.fills(name) for name in names]
        return all(fills is not None and all(f.settled for f in fills) for fills in every)

    def holds_nothing_back(self, names: Iterable[str]) -> bool:
        """Whether each of these variables is done, and waits for none of its files."""
        every = [self.fills(name) for name in names]
        ok = SourceFileStatus.SUCCEEDED
        return all(
            fills is not None and all(f.settled or f.status is ok for f in fills) for fills in every
        )

    def is_complete(self, names: Iterable[str]) -> bool:
        """Whether each of these variables is done and all their files succeeded."""
        every = [self.fills(name) for name in names]
        ok = SourceFileStatus.SUCCEEDED
        return all(fills is not None and all(f.status is ok for f in fills) for fills in every)

    def pending(self) -> Iterator[tuple[str, int]]:
        """Yield the places that are settled without a value, and that nobody accepted.

        Yields
        ------
        str, int
            Variable, and index of the source file in the variable's group.
        """
        absent = [
            [i for i, file in enumerate(files) if file.status is not SourceFileStatus.SUCCEEDED]
            for files in self.groups
        ]
        for name, variable in self.variables.items():
            if variable.state == "failed":
                continue
            files = self.groups[variable.group]
            for index in sorted({*absent[variable.group], *variable.unread}):
                status, settled = _outcome(files[index], variable.unread.get(index))
                is_closed = files[index].accepted or status is SourceFileStatus.WITHDRAWN
                if settled and not is_closed:
                    yield name, index

    def provisional(self) -> Iterator[tuple[str, int]]:
        """Yield the places whose values are of a provisional file, see `SourceFileRecord`.

        Yields
        ------
        str, int
            Variable, and index of the source file in the variable's group.
        """
        found = [[i for i, f in enumerate(files) if f.is_provisional] for files in self.groups]
        for name, variable in self.variables.items():
            if variable.state != "failed":
                yield from ((name, i) for i in found[variable.group] if i not in variable.unread)

    def held(self) -> Iterator[tuple[str, int]]:
        """Yield the places that a gate held, also those that somebody decided on since.

        Yields
        ------
        str, int
            Variable, and index of the source file in the variable's group.
        """
        return self.unread_as(SourceFileStatus.HELD)

    def unread_as(self, status: SourceFileStatus) -> Iterator[tuple[str, int]]:
        """Yield the places whose source file arrived and gave a variable nothing, by what became.

        Yields
        ------
        str, int
            Variable, and index of the source file in the variable's group.
        """
        for name, variable in self.variables.items():
            for index, (_, cause) in variable.unread.items():
                file = self.groups[variable.group][index]
                if file.status.of_unread(cause) is status:
                    yield name, index

    def held_open(self) -> Iterator[tuple[str, int]]:
        """Yield those of `held` that nobody rejected: they hold the extent, and runs name them."""
        for name, index in self.held():
            if self.groups[self.variables[name].group][index].accepted is None:
                yield name, index

    def open_files(self) -> list[tuple[str, str]]:
        """List the URLs of the source files that are not settled, or pending, and why each is."""
        found = dict(self.unsettled_files())
        for name, index in self.pending():
            file = self.groups[self.variables[name].group][index]
            unread = index in self.variables[name].unread
            why = f"{SourceFileStatus.READ_FAILED} for {name}" if unread else str(file.status)
            found.setdefault(file.url, why)
        return list(found.items())

    def unsettled_files(self) -> list[tuple[str, str]]:
        """List the URLs of the source files that are not settled, and what is wrong with each."""
        unread = self._unread_files()
        found = {}
        for file in (file for group in self.groups for file in group):
            if not file.settled:
                found[file.url] = file.status.while_unsettled
            elif file.url in unread and file.accepted is None:
                became = unread[file.url].items()
                found[file.url] = "; ".join(f"{was} for {', '.join(of)}" for was, of in became)
        return list(found.items())

    def _unread_files(self) -> dict[str, dict[SourceFileStatus, list[str]]]:
        """Return by URL what became of it for which variables, where that is not settled."""
        found: dict[str, dict[SourceFileStatus, list[str]]] = {}
        for name, variable in self.variables.items():
            for index, (settled, cause) in variable.unread.items():
                if not settled:
                    file = self.groups[variable.group][index]
                    of_file = found.setdefault(file.url, {})
                    of_file.setdefault(file.status.of_unread(cause), []).append(name)
        return found

    def _repr_html_(self) -> str:
        return card_of(self)

    def to_json(self) -> bytes:
        """Serialise, with the schema's version."""
        groups = [[_file_to(file) for file in group] for group in self.groups]
        arrivals = arrivals_to_inplace(groups)
        content = {
            **self.extra,
            "schema": SCHEMA_VERSION,
            "dataset_id": self.dataset_id,
            "start": self.start,
            "stop": self.stop,
            "groups": groups,
            "variables": {name: _variable_to(v) for name, v in self.variables.items()},
        }
        if self.under_way:
            content["under_way"] = {name: _variable_to(v) for name, v in self.under_way.items()}
        content |= {"arrivals": arrivals} if arrivals else {}
        content |= {"runs": self.runs} if self.runs else {}
        content |= {"history": [was.to_dict() for was in self.history]} if self.history else {}
        # Without an indent: Python's fast encoder knows none, and a run writes very many of these.
        return json.dumps(content).encode()

    @classmethod
    def from_json(cls, content: bytes) -> ProgressRecord:
        """Read what `to_json` wrote, also a later gridmill's of the same schema.

        Raises
        ------
        ValueError
            It is not JSON, lacks a field, or has a later schema.
        """
        try:
            raw = json.loads(content)
            version = raw.pop("schema")
            if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
                raise ValueError(f"schema {version}, this gridmill reads up to {SCHEMA_VERSION}")
            files = raw.pop("groups")
            arrivals_from_inplace(files, raw.pop("arrivals", ()))
            groups = tuple(tuple(map(_file_from, group)) for group in files)
            variables = {k: _variable_from(v) for k, v in raw.pop("variables").items()}
            under_way = {k: _variable_from(v) for k, v in raw.pop("under_way", {}).items()}
            # An earlier gridmill counts groups without them.
            whole = {k: v for k, v in under_way.items() if v.group < len(groups)}
            runs = tuple((str(run), str(version)) for run, version in raw.pop("runs", ()))
            history = tuple(map(Earlier.from_dict, raw.pop("history", ())))
            raw |= {"runs": runs, "history": history}
            return cls(groups=groups, variables=variables, under_way=whole, **_known(cls, raw))
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
            raise ValueError(f"not a progress record: {error}") from error


def _outcome(
    file: SourceFileRecord, unread: tuple[bool, str] | None
) -> tuple[SourceFileStatus, bool]:
    if unread is None:
        return file.status, file.settled
    return file.status.of_unread(unread[1]), unread[0] or file.accepted is not None


def _known(kind: type[Any], raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields of a dataclass, those that it does not have as its `extra`."""
    unknown = raw.keys() - kind.__dataclass_fields__.keys()
    if not unknown:
        return raw
    extra = {key: raw[key] for key in sorted(unknown)}
    return {**{key: value for key, value in raw.items() if key not in unknown}, "extra": extra}


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record's fields, with what another gridmill wrote and without what says nothing."""
    own = {key: value for key, value in fields.items() if value is not None and key != "extra"}
    return {**fields["extra"], **own}


def _file_to(file: SourceFileRecord) -> dict[str, Any]:
    words = {kind: words_to(getattr(file, kind)) for kind in WORDS}
    # Beside them: an earlier gridmill reads two fields of each word, and no more.
    contents = {kind: contents_to(getattr(file, kind)) for kind in WORDS}
    known = {kind: of for kind, of in contents.items() if of}
    return _plain({**vars(file), **words, "contents": known or None})


def _file_from(raw: dict[str, Any]) -> SourceFileRecord:
    status = SourceFileStatus(raw["status"])
    contents = raw.pop("contents", {})
    words = {k: words_from(raw.get(k, {}), contents.get(k, {})) for k in WORDS}
    index = None if raw.get("index") is None else tuple(raw["index"])
    fields = {**raw, "status": status, "index": index, **words}
    return SourceFileRecord(**_known(SourceFileRecord, fields))


def _variable_to(variable: VariableRecord) -> dict[str, Any]:
    objects = [(o.key, o.nbytes, o.crc32c) for o in variable.objects]
    # Beside them: an earlier gridmill reads three fields of each, and no more.
    digests = [o.digest for o in variable.objects if o.digest is not None]
    whole = digests if len(digests) == len(objects) else None
    tries = {at: (t.since, t.due, t.times, t.code) for at, t in variable.tries.items()}
    known = {"tries": tries or None, "digests": whole or None, "holes": variable.holes or None}
    return _plain({**vars(variable), "objects": objects, **known})


def _variable_from(raw: dict[str, Any]) -> VariableRecord:
    objects = tuple(_objects_from(raw.pop("objects"), raw.pop("digests", None)))
    unread = {int(index): (bool(s), str(d)) for index, (s, d) in raw.pop("unread").items()}
    tries = {int(index): Tries(*fields) for index, fields in raw.pop("tries", {}).items()}
    holes = tuple(raw.pop("holes", ()))
    raw.pop("plan", None)  # 0.1.0's fingerprint, which nobody can compute any more
    if raw.get("spent") is not None:
        raw["spent"] = tuple(raw["spent"])
    known = {**_known(VariableRecord, raw), "unread": unread, "tries": tries}
    return VariableRecord(**{**known, "objects": objects, "holes": holes})


def _objects_from(
    objects: Sequence[Sequence[Any]], digests: Sequence[str] | None
) -> Iterator[ObjectReceipt]:
    # An earlier gridmill that reprocessed a variable may have kept what it does not know.
    known = digests if digests is not None and len(digests) == len(objects) else repeat(None)
    for (key, nbytes, crc32c), digest in zip(objects, known, strict=False):
        yield ObjectReceipt(key, nbytes, crc32c, digest)


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=8).hexdigest()
