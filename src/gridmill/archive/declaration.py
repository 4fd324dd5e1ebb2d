"""What an archive was declared to be when it was made: kept with its records, for good."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

from gridmill.archive.archive import ArchiveChanged
from gridmill.authoring.over_time.as_made import as_made
from gridmill.authoring.over_time.succession import declared_names, renames
from gridmill.authoring.template import TemplateConfig
from gridmill.model.state_files import UnreadableState
from gridmill.model.urls import mask_url
from gridmill.model.variables import DataVar
from gridmill.stores.final_store import FinalStore
from gridmill.stores.metadata import array_metadata
from gridmill.stores.objects.writable import StoreUnwritable, require_writable
from gridmill.stores.state.beside.exchange import PROMOTED, RETAINED, mark_of

__all__ = [
    "Declaration",
    "check_version",
    "keep_declaration",
    "narrowed",
    "read_declaration",
    "refuse_under_way",
    "stored_metadata",
    "with_new_variables",
    "with_what_it_has",
]

Declaration = dict[str, Any]


def read_declaration(
    store: FinalStore,
    coded: TemplateConfig,
    *,
    start: str | None = None,
    variables: Sequence[str] | None = None,
    max_lead: str | None = None,
    follows: FinalStore | None = None,
) -> Declaration:
    """Return what was declared when the archive was made; for a new one, what would be.

    Parameters
    ----------
    store
        The archive's.
    coded
        The template as the code declares it.
    start, variables, max_lead
        What a new archive is narrowed to.
    follows
        The present version, where this is a next one: a new one is narrowed to what that is, unless
        something else is given.

    Raises
    ------
    ValueError
        It is another dataset's archive, in another format, or with another longest lead.
    UnreadableState
        It cannot be read, or is gone while readers see an archive.
    StoreUnwritable
        Not even this can be read.
    """
    kept = _kept(store, coded)
    if kept is None:
        names = None if variables is None else list(variables)
        given = {"start": start, "variables": names, "max_lead": max_lead}
        return {
            **_of_present(follows, coded),
            "dataset_id": coded.dataset_id,
            **{name: value for name, value in given.items() if value is not None},
            **store.declared_format(),
        }
    _check_dataset(store, kept, coded)
    if kept["format"] != store.format:
        raise ValueError(
            f"{store.url} is in format {kept['format']}, not {store.format}: "
            "give that --format, or another --store"
        )
    if max_lead not in (None, kept.get("max_lead")):
        raise ValueError(
            f"{store.url} was made with max lead {kept.get('max_lead')}, not {max_lead}: "
            "leave it out, or give another --store"
        )
    return kept


def _check_dataset(store: FinalStore, kept: Declaration, coded: TemplateConfig) -> None:
    if kept["dataset_id"] != coded.dataset_id:
        raise ValueError(
            f"{store.url} holds {kept['dataset_id']}, not {coded.dataset_id}: give another --store"
        )


def _of_present(store: FinalStore | None, coded: TemplateConfig) -> Declaration:
    """Return what a next version has of the present one's declaration."""
    narrowed: Declaration = {"dataset_id": None, "start": None, "variables": None, "max_lead": None}
    kept = None if store is None else store.tracker.read_declaration()
    if store is None or kept is None:
        return narrowed
    _check_dataset(store, kept, coded)
    names = [*narrowed, RETAINED]
    return {**narrowed, **{name: kept[name] for name in names if name in kept}}


def _kept(store: FinalStore, coded: TemplateConfig) -> Declaration | None:
    """Read what was declared when the archive was made; None for a new one."""
    tracker = store.tracker
    try:
        kept = tracker.read_declaration()
        positions = None if kept else _published(store, coded)
        if not positions:
            refuse_under_way(store, kept)
            return kept
        kept = tracker.read_declaration()  # another run may have made the archive in between
        if kept is None:
            raise tracker.lost(store.url, positions)
    except OSError as error:
        raise StoreUnwritable(f"cannot read {store.url}: {error}") from error
    refuse_under_way(store, kept)
    return kept


def refuse_under_way(store: FinalStore, declaration: Declaration | None) -> None:
    """Raise where records and what readers see may be those of different versions.

    Raises
    ------
    ValueError
        A promotion is at work, or was interrupted.
    """
    if mark_of(declaration) is not None:
        raise ValueError(
            f"a version of {mask_url(store.url)} is being promoted or deleted, or that was "
            "interrupted: gridmill promote completes it; readers are not concerned"
        )


def check_version(store: FinalStore, opened: Declaration | None) -> None:
    """Raise where the archive became another version since it was opened, or began later.

    Parameters
    ----------
    store
        The archive's, with its lease in hand.
    opened
        What was declared when it was opened.

    Raises
    ------
    ArchiveChanged
        It did.
    ValueError
        Another version is about to take its place.
    """
    if store.shows_uploads:
        return
    declared, before = store.tracker.read_declaration() or {}, opened or {}
    refuse_under_way(store, declared)
    changes = {PROMOTED: "another version was promoted", RETAINED: "its first positions went"}
    found = [said for name, said in changes.items() if declared.get(name) != before.get(name)]
    if found:
        raise ArchiveChanged(store.url, found)


def _published(store: FinalStore, coded: TemplateConfig) -> int | None:
    try:
        return store.published_length(coded.append_dim)
    except UnreadableState:
        raise
    except (ValueError, KeyError, TypeError):  # a foreign store: later checks name it
        return None


def narrowed(coded: TemplateConfig, declaration: Declaration) -> TemplateConfig:
    """Return the code's template, narrowed to what an archive was declared to have."""
    coded = coded.with_former(declaration["variables"] or ())
    variables = declaration["variables"]
    return coded.narrowed(
        start=declaration["start"],
        variables=None if variables is None else declared_names(coded, variables),
        max_lead=declaration.get("max_lead"),
    )


def stored_metadata(store: FinalStore) -> dict[str, Any] | None:
    """Read the root metadata; None if nothing is published, or if it is damaged."""
    try:
        return store.metadata()
    except UnreadableState:  # no check could say more
        raise
    except ValueError:  # the structure check, or a validator, says what is wrong
        return None


def with_what_it_has(store: FinalStore, coded: TemplateConfig) -> TemplateConfig:
    """Return the code's template with those of its former variables that an archive has."""
    if not coded.former_vars:
        return coded
    with suppress(OSError):  # who reads the declaration next says so
        there = set(array_metadata(stored_metadata(store) or {}))
        names = [var.name for var in coded.former_vars]
        # Damaged root metadata do not make an archive forget what it has.
        there |= {n for n in names if not there and store.read_object(f"{n}/zarr.json")}
        return coded.with_former(there)
    return coded


def keep_declaration(store: FinalStore, declaration: Declaration) -> None:
    """Keep what a new archive is declared to be, now that all is checked.

    Raises
    ------
    ValueError
        Another run made the archive in between, differently.
    StoreUnwritable
        The store cannot be written.
    """
    require_writable(store)
    there = store.tracker.read_declaration()
    if there is None:
        if store.tracker.write_declaration(declaration):
            return
        there = store.tracker.read_declaration()
    if there != declaration:
        raise ValueError(
            f"another run made {store.url} at this moment, and declared it differently: "
            "rerun to follow it, or give another --store"
        )


def with_new_variables(
    store: FinalStore,
    coded: TemplateConfig,
    declaration: Declaration,
    variables: Sequence[str] | None,
) -> Declaration | None:
    """Return the declaration with those of the variables that an archive does not have yet.

    None if there are none.

    Raises
    ------
    ValueError
        This archive cannot be added to, or not in this way.
    """
    if not variables:
        return None
    stored = store.metadata()
    arrays = array_metadata(stored or {})
    there = [v.name for v in coded.data_vars if v.name in arrays]
    new = [v for v in _selected(coded, variables, arrays) if v.name not in there]
    if not there or not new:
        return None
    length = as_made(narrowed(coded, declaration), stored).config.region_length
    why = _why_not_added(coded, new, variables, arrays.keys(), length)
    if why is not None:
        names = ", ".join(v.name for v in new)
        raise ValueError(f"{store.url} does not have {names}: {why}")
    every = [v.name for v in coded.data_vars if v in new or v.name in there]
    # Who declared all variables goes on to be told of those that the archive lacks.
    return {**declaration, "variables": declaration["variables"] and every}


def _selected(
    coded: TemplateConfig, variables: Sequence[str], arrays: Collection[str]
) -> list[DataVar]:
    """Return the declared variables of these names, but for those that an archive calls so.

    Raises
    ------
    ValueError
        The archive has one by its former name.
    """
    former = renames(coded, arrays)
    for old, new in former.items():
        if new in variables:
            raise ValueError(
                f"the archive calls {new} {old}: gridmill migrate-metadata renames it, nothing is "
                "to be added"
            )
    kept = {v.previously for v in coded.data_vars}.intersection(arrays)
    return list(coded.select([name for name in variables if name not in kept]))


def _why_not_added(
    coded: TemplateConfig,
    new: Sequence[DataVar],
    variables: Sequence[str],
    there: Any,
    region_length: int,
) -> str | None:
    """Say why variables cannot be added to an archive with these arrays; None if they can."""
    dim = coded.append_dim
    if len(new) < len(set(variables)):
        return "name no other variables with them"
    if dims := {d for v in new for d in v.dims} - there:
        return f"it has no {', '.join(sorted(dims))} either, which takes a new archive"
    if any(region_length % v.object_length(dim) for v in new if dim in v.dims):
        held = f"regions of {region_length} positions, as the archive has"
        return f"{held}, must hold whole shards of it"
    return None
