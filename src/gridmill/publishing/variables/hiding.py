"""How variables leave what readers see; their objects are deleted later, by who calls this."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from gridmill.model.records import ProgressRecord
from gridmill.publishing.variables.merging import without_variables
from gridmill.publishing.variables.showing import are_shown
from gridmill.publishing.view import Check, ReaderView
from gridmill.stores.final_store import CoordinateValues
from gridmill.stores.lookahead import each

__all__ = ["forget_hidden", "hide"]


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
    archive, store = view.archive, view.store
    if not any(are_shown(store, [name]) for name in names):
        declare()
        return
    length = store.published_length(archive.append_dim) or 0
    values = list(_values(view, length, run))

    def check_and_declare() -> None:
        check()
        declare()

    message = f"Remove {', '.join(names)}"
    with archive.written(archive.up_to(length)) as folder:
        store.remove_arrays(folder, names, message, check_and_declare, values)
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
