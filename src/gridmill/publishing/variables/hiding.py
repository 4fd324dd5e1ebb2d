"""How variables leave what readers see, or get other names there.

Objects that nobody sees any more are deleted later, by who calls this.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from gridmill.model.records import ProgressRecord
from gridmill.publishing.variables.merging import without_variables
from gridmill.publishing.variables.showing import are_shown
from gridmill.publishing.view import Check, ReaderView
from gridmill.stores.final_store import CoordinateValues, FinalStore, Rename
from gridmill.stores.lookahead import each
from gridmill.stores.metadata import ROOT, array_metadata

__all__ = ["forget_hidden", "hide", "rename_shown"]


def hide(
    view: ReaderView, names: Collection[str], check: Check, declare: Callable[[], None], run: str
) -> None:
    """Let readers of a store no longer see variables, all at once.

    Parameters
    ----------
    view
        Of the store; its archive has them no more.
    names
        The variables.
    check
        Called before every step.
    declare
        Makes them no part of what is declared of the store.
    run
        Named in notices.

    Raises
    ------
    LeaseLost
        Nothing may be written any more.
    """
    if not any(are_shown(view.store, [name]) for name in names):
        declare()
        return
    message = f"Remove {', '.join(names)}"

    def change(folder: Path, check: Check, values: Sequence[CoordinateValues]) -> None:
        _leave_out_lacking(folder, view.store)
        view.store.remove_arrays(folder, names, message, check, values)

    _change(view, change, check, declare, run)


def _leave_out_lacking(folder: Path, store: FinalStore) -> None:
    """Leave out of a local store what a replica lacks: readers would see it without values."""
    root = json.loads((folder / ROOT).read_bytes())
    there = array_metadata(store.metadata() or {})
    for name in array_metadata(root).keys() - there.keys():
        del root["consolidated_metadata"]["metadata"][name]
        shutil.rmtree(folder / name)
    (folder / ROOT).write_text(json.dumps(root, indent=2))


def rename_shown(
    view: ReaderView,
    names: Mapping[str, str],
    rename: Rename,
    check: Check,
    declare: Callable[[], None],
    run: str,
) -> None:
    """Let readers of a store see variables by other names, all at once.

    Parameters
    ----------
    view
        Of the store; its archive and its records have the new names.
    names
        The new names by the old ones.
    rename
        The store's, see `FinalStore.renaming`.
    check, declare, run
        See `hide`.

    Raises
    ------
    LeaseLost
        Nothing may be written any more.
    """
    message = "Rename " + ", ".join(f"{old} to {new}" for old, new in names.items())

    def change(folder: Path, check: Check, values: Sequence[CoordinateValues]) -> None:
        rename(folder, names, message, check, values)

    _change(view, change, check, declare, run)


def _change(
    view: ReaderView,
    change: Callable[[Path, Check, Sequence[CoordinateValues]], None],
    check: Check,
    declare: Callable[[], None],
    run: str,
) -> None:
    archive = view.archive
    length = view.store.published_length(archive.append_dim) or 0
    values = list(_values(view, length, run))

    def check_and_declare() -> None:
        check()
        declare()

    with archive.written(archive.up_to(length)) as folder:
        change(folder, check_and_declare, values)
    view.completeness.remember_shown()
    view.completeness.settle()


def _values(view: ReaderView, length: int, run: str) -> Iterator[CoordinateValues]:
    """Yield the completeness of all regions: with one variable less, every share is another one."""
    if not view.completeness.declared:
        return
    for region in view.archive.visible_regions(length):
        record = view.store.tracker.read(region)
        if record is not None:
            view.completeness.announce(region, run)
            yield from view.completeness.take(record, length)


def forget_hidden(view: ReaderView, names: Collection[str]) -> None:
    """Let a store's records say nothing more of variables."""
    tracker = view.store.tracker

    def forget(record: ProgressRecord) -> None:
        rest = without_variables(record, names)
        if rest == record:
            return
        if rest.variables or rest.under_way:
            tracker.write(rest)
        else:
            tracker.delete(record.region)

    each(forget, list(tracker.all_records()), tracker.objects.at_once)
