"""Whether a command may make an archive where there is none."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gridmill.model.urls import is_local, local_path, mask_url
from gridmill.model.wording import count_of

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset
    from gridmill.runs.plan import Plan

__all__ = ["announce", "check_may_create", "create_option", "is_new"]

# Names that one slip of a finger tells apart.
ALIKE = 0.85

create_option: Callable[..., Any] = click.option(
    "--create/--no-create",
    "creates",
    default=None,
    help="Whether to create a missing archive.  [default: yes, unless the address looks misspelt, "
    "or records of a lost archive are beside it]",
)


def is_new(dataset: DynamicalDataset) -> bool:
    """Whether there is no archive yet.

    Raises
    ------
    StoreUnwritable
        The store does not say so.
    """
    from gridmill.stores.objects.writable import StoreUnwritable

    store = dataset.store
    try:
        try:
            return store.metadata() is None
        except Exception:
            # What keeps records says better what is wrong with credentials than Icechunk does.
            store.tracker.read_declaration()
            raise
    except OSError as error:
        raise StoreUnwritable(f"cannot read {store.url}: {error}") from error


def check_may_create(
    dataset: DynamicalDataset,
    creates: bool | None,
    *,
    is_staged: bool = False,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Raise unless an archive may be made.

    Parameters
    ----------
    dataset
        Its store holds nothing.
    creates
        What its operator says; None if nothing.
    is_staged
        Whether it is a next version: its address is meant to be like that of the present one.
    options
        Of the store's file system, by which what is beside it is listed.

    Raises
    ------
    ValueError
        It may not, or it is doubtful that it is meant.
    """
    url = mask_url(dataset.store.url)
    if creates is False:
        raise ValueError(f"there is no archive at {url}, and --no-create forbids creating one")
    if creates:
        return
    lost = _positions_before(dataset)
    if lost:
        raise ValueError(
            f"there is no archive at {url}, but its records say that readers saw "
            f"{count_of(lost, 'position')}: is it elsewhere? Give --create to build it again"
        )
    near = None if is_staged else _near(dataset.store.url, options)
    if near:
        raise ValueError(
            f"there is no archive at {url}, but at {near}: is that the one? Give --create if a new "
            "one is meant"
        )


def announce(dataset: DynamicalDataset, planned: Plan) -> None:
    """Say that an archive is made, and how large it will be."""
    regions = count_of(planned.regions, "region")
    url = mask_url(dataset.store.url)
    click.echo(f"there is no archive at {url} yet: creating it, {regions}", err=True)


def _positions_before(dataset: DynamicalDataset) -> int:
    """Return how many positions the last run showed readers, by its report."""
    report = dataset.store.tracker.reports.last() or {}
    return int(report.get("positions_after", 0))


def _near(url: str, options: Mapping[str, Any] | None) -> str | None:
    """Return an archive beside an address whose name is nearly the same."""
    if is_local(url):
        path = local_path(url)
        parent, name, names = f"{path.parent}", path.name, _archives_in(path.parent)
    else:
        parent, _, name = url.rstrip("/").rpartition("/")
        names = _archives_below(parent, options)
    # What only numbers tell apart is one of several by intent.
    names = [one for one in names if _without_digits(one) != _without_digits(name)]
    found = difflib.get_close_matches(name, names, n=1, cutoff=ALIKE)
    return mask_url(f"{parent}/{found[0]}") if found else None


def _archives_in(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return [p.name for p in folder.iterdir() if (p / "zarr.json").exists() or _is_icechunk(p)]


def _archives_below(parent: str, options: Mapping[str, Any] | None) -> list[str]:
    """Name what looks like an archive in a bucket or on a server: one request, if it may be made.

    An archive has its records beside it, or a name that ends as those do.
    """
    from gridmill.stores.objects.opening import open_objects

    try:
        names = {*open_objects(parent, storage_options=options).impatient.folders()}
    except (OSError, ValueError):  # a bucket itself, or who may not list it
        return []
    return [n for n in names if f"{n}.gridmill" in names or n.endswith((".zarr", ".icechunk"))]


def _without_digits(name: str) -> str:
    return re.sub(r"\d", "", name)


def _is_icechunk(path: Path) -> bool:
    return path.suffix == ".icechunk" and path.is_dir()
