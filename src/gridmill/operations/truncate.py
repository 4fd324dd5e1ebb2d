"""Shorten an archive: the one exception to what is published staying published."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from gridmill.archive.archive import Archive
from gridmill.authoring.over_time.succession import kept_along
from gridmill.model.reports.run_report import RunReport
from gridmill.model.variables import DataVar
from gridmill.model.wording import short_label
from gridmill.operations.maintenance import by_hand, check_exists
from gridmill.publishing.replicas import Replicas
from gridmill.publishing.view import ReaderView
from gridmill.stores.final_store import readable_length

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["check_truncation", "truncate"]


def truncate(dataset: DynamicalDataset, end: str, *, why: str = "", now: Any = None) -> RunReport:
    """Let an archive and its replicas end before a label; forget and delete what lies beyond.

    Parameters
    ----------
    dataset
        With its archive.
    end
        The first label that readers are no more to see.
    why
        Kept in the report.
    now
        The present; None asks the clock.

    Raises
    ------
    ValueError
        Readers do not see as far, or `end` is no label; nothing was written.
    LeaseHeld
        A run works on the archive.

    Notes
    -----
    Records first, then what readers see, objects last: interrupted at any moment, the archive
    opens and holds all that it shows; call it again to complete. The stored objects that hold
    both sides of the end stay as they are until the next run makes that region again; no run does
    that of a variable that the code no longer declares, so that none of its objects is cut.
    Replicas follow the archive: in between, they show more than it.
    """
    with by_hand(dataset, "truncate", now=now) as hand:
        archive = hand.archive
        length = check_truncation(dataset, archive, end)
        archive.check_structure()
        dim = archive.config.append_dim
        note = f"truncated to before {end}" + (f": {why}" if why else "")
        with hand.lease.publishing() as check:

            def cut(view: ReaderView) -> int:
                tracker = view.store.tracker
                for record in list(tracker.records()):
                    if record.stop > length:
                        tracker.delete(record.region)
                if (view.store.published_length(dim) or 0) <= length:
                    return 0
                return view.shorten(length, note.capitalize(), check)

            shown = archive.look() or 0
            deleted = cut(hand.publisher.view)
            if shown > length:
                hand.publisher.note_extent(hand.lease, shown, length)
            hand.publisher.replicas.each(cut)
        hand.report.notes.append(f"{note}; {deleted} objects deleted")
    return hand.report


def check_truncation(dataset: DynamicalDataset, archive: Archive, end: str) -> int:
    """Return how many positions a truncated archive keeps.

    Raises
    ------
    ValueError
        Readers do not see as far, of replicas neither, or `end` is no label; or it cuts an object
        of a variable that the code no longer declares.
    """
    check_exists(dataset)
    config, index = archive.config, archive.index
    replicas = Replicas(archive, dataset.replicas)
    length = config.position(end, index)
    shown = readable_length(dataset.store, config.append_dim) or 0
    if length >= max([shown, *replicas.lengths()]):
        seen = f"up to {index[shown - 1]}" if shown else "nothing"
        raise ValueError(f"readers see {seen}: before {end} there is nothing to cut off")
    for var in kept_along(config):
        _check_cuts_no_object(archive, var, length, shown)
    return length


def _check_cuts_no_object(archive: Archive, var: DataVar, length: int, shown: int) -> None:
    """Raise where an object of a variable that no job makes holds both sides of an end."""
    size, index = var.object_length(archive.append_dim), archive.index
    row = length // size
    if length % size == 0 or not archive.store.published_nbytes(_keys_of(archive, var, row)):
        return
    ends = [short_label(index[n]) for n in (row * size, (row + 1) * size) if 0 < n < shown]
    way = f"give --end {' or '.join(ends)}, where its objects end; or " if ends else ""
    raise ValueError(
        f"the code no longer declares {var.name}, of which an object holds both sides of "
        f"{short_label(index[length])}: no run makes it again, so that its values from there on "
        f"would come back under the labels that follow then. Instead, {way}declare it again, or "
        f"take it away by gridmill remove-variable {var.name}; nothing was written"
    )


def _keys_of(archive: Archive, var: DataVar, row: int) -> list[str]:
    """Return the keys of the objects of a variable that hold the same positions."""
    sizes, lengths = var.encoding.object_shape, archive.template_ds.sizes
    along = [range(-(-lengths[dim] // size)) for dim, size in zip(var.dims, sizes, strict=True)]
    along[var.dims.index(archive.append_dim)] = range(row, row + 1)
    return ["/".join([var.name, "c", *map(str, at)]) for at in product(*along)]
