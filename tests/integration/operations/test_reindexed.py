"""Late labels taken in beside what else an archive can have: derived, renamed, provisional, told.

Each is an Icechunk archive of which a reader looks all the while.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from elsewhere import write
from gridmill import Address, Completeness, DynamicalDataset, Finality
from gridmill.authoring.derived import wind_speed
from gridmill.operations.axis.reindex import reindex
from gridmill.operations.elsewhere.adopt import adopt
from gridmill.operations.history.history import read_history
from gridmill.operations.proving.prove import prove
from gridmill.operations.variables.renaming import rename_variables
from gridmill.validation import Context
from gridmill.validation.checks.gaps import find_gaps, find_provisional
from preliminary import WHY
from scenes import Frozen, Provider, SceneCoord, SceneJob, name_of, scene, scenes_of
from tiny import time_coordinate, tiny_var, values_at

FIRST = [scene(minutes) for minutes in (0, 10, 20, 40, 50, 60)]
LATE = [scene(minutes) for minutes in (15, 30)]
ALL = sorted([*FIRST, *LATE])
NOW = scene(200)
SPEED = {"attrs": {"long_name": "speed", "units": "m s-1"}}
U, V = (tiny_var(name, number, **SPEED) for number, name in enumerate("uv"))
A, B = Frozen.data_vars
FORMER = (A, tiny_var("new", 1, previously="b", attrs=B.attrs))
Values = Callable[[Any], np.ndarray]


def number(of: int) -> Values:
    """Return what gives one of the arrays of a label's file."""
    return lambda label: values_at(label)[of]


def speed(label: Any) -> np.ndarray:
    """Return wind speed by plain NumPy."""
    return np.hypot(*values_at(label)[:2].astype("float64"))


class Apart(SceneJob):
    """Every variable has source files of its own, all of the same name."""

    def source_groups(self, data_vars: Any) -> Any:
        """Give each apart."""
        return [[var] for var in data_vars]


def dataset(variables: Any, job: Any = SceneJob, more: tuple[Any, ...] = ()) -> Any:
    """Return a dataset class with these variables and coordinates."""
    template = {"data_vars": variables, "coords": (*Frozen.coords, *more)}
    config = type("Template", (Frozen,), template)
    return type("Dataset", (DynamicalDataset,), {"template_config": config, "region_job": job})


def rename(ds: DynamicalDataset) -> None:
    """Give the variable its new name."""
    assert rename_variables(ds, grace_s=0, now=NOW).succeeded


def rename_and_keep(ds: DynamicalDataset) -> None:
    """Give it also its new name."""
    assert rename_variables(ds, keep_until="2030-01-01", now=NOW).succeeded


@dataclass(frozen=True)
class Kind:
    """What an archive has: as it was made, as the code declares it now, and what readers see."""

    before: Any
    after: Any
    values: dict[str, Values]
    work: Callable[[DynamicalDataset], None] = lambda ds: None


WIND = (U, tiny_var("speed", derived=wind_speed(U, V), **SPEED))
SHARES = (Completeness(dims=("time",)), Finality(dims=("time",)))
PLAIN = {"a": number(0), "b": number(1)}
RENAMED = {"a": number(0), "new": number(1)}
ALIASED = (A, tiny_var("b", 1, aliases=("former", "other")))
KINDS = {
    "told": Kind(dataset((A, B), more=SHARES), dataset((A, B), more=SHARES), PLAIN),
    "derived": Kind(dataset(WIND), dataset(WIND), {"u": number(0), "speed": speed}),
    "derived, apart": Kind(
        dataset(WIND, Apart), dataset(WIND, Apart), {"u": number(0), "speed": speed}
    ),
    "aliased": Kind(dataset((A, B)), dataset(ALIASED), PLAIN),
    "to be renamed": Kind(dataset((A, B)), dataset(FORMER), PLAIN),
    "renamed": Kind(dataset((A, B)), dataset(FORMER), RENAMED, rename),
    "by both names": Kind(dataset((A, B)), dataset(FORMER), PLAIN | RENAMED, rename_and_keep),
}


def wrong_with(ds: xr.Dataset, values: dict[str, Values], late_may_lack: bool = True) -> list[str]:
    """Say what readers see that is neither right nor missing where something came late."""
    labels = list(ds.get_index("time"))
    if labels not in (FIRST, ALL):
        return [f"labels {labels}"]
    shares = {name: ds[name].load() for name in ("completeness", "finality") if name in ds.coords}
    found = [f"variables {list(ds.data_vars)}"] if set(ds.data_vars) != values.keys() else []
    for name, of in values.items():
        read = ds[name].values
        for at, label in enumerate(labels):
            is_missing = np.isnan(read[at]).all() and label in LATE and late_may_lack
            if not is_missing and not np.allclose(read[at], of(label), rtol=1e-6):
                found.append(f"{name} at {label}")
            if is_missing:
                found += [f"{share} promises {label}" for share in shares if shares[share][at]]
            elif label in FIRST:
                found += [f"{share} lacks {label}" for share in shares if shares[share][at] != 1]
    return found


@contextmanager
def reading(ds: DynamicalDataset, values: dict[str, Values]) -> Iterator[list[str]]:
    """Read in a loop; what is wrong is noted."""
    violations: list[str] = []
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            violations.extend(wrong_with(ds.store.open_dataset(chunks=None), values))

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(read)
        try:
            yield violations
        finally:
            ended.set()
            future.result()


def backfill(ds: DynamicalDataset) -> None:
    """Build up to now, in this process."""
    assert ds.backfill(NOW.isoformat(), client="none", now=NOW).succeeded


def update(ds: DynamicalDataset, now: Any = NOW) -> Any:
    """Update up to now, in this process."""
    report = ds.reformat_operational_update(client="none", now=now)
    assert report.succeeded, list(report.problems)
    return report


@pytest.mark.parametrize("of", KINDS)
def test_values_move_with_their_labels(tmp_path: Path, of: str) -> None:
    """Readers see each under its own, before, meanwhile and after; nothing else is made again."""
    kind, provider = KINDS[of], Provider(tmp_path / "source")
    provider.publish(*FIRST)
    backfill(scenes_of(tmp_path, "icechunk", kind.before))
    ds = scenes_of(tmp_path, "icechunk", kind.after)
    kind.work(ds)
    before = ds.store.open_dataset(chunks=None)
    provider.withdraw(*FIRST)
    provider.publish(*LATE)
    with reading(ds, kind.values) as violations:
        reindex(ds, who="me", now=NOW)
        seen = ds.store.open_dataset(chunks=None)
        assert list(seen.get_index("time")) == ALL
        assert wrong_with(seen, kind.values) == []
        gaps = list(find_gaps(Context(ds, now=NOW, beyond=True)))
        assert {gap.url[-17:] for gap in gaps} == {name_of(label) for label in LATE}
        provider.publish(*FIRST)
        report = update(ds)
        assert wrong_with(ds.store.open_dataset(chunks=None), kind.values, False) == []
    assert violations == []
    assert wrong_with(before, kind.values) == []
    assert list(before.get_index("time")) == FIRST
    assert report.new_gaps == 0
    again = ds.backfill(NOW.isoformat(), client="none", now=NOW)
    assert (again.variables_done, again.succeeded) == (0, True)
    assert ds.validate(now=NOW).found_by == {}
    assert {proof.verdict for proof in prove(ds, regions=9, now=NOW).proofs} == {"proven"}


# -- what is recorded ---------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class PrelimScene(SceneCoord):
    """The file of one scene, final or preliminary."""

    def get_url(self) -> Any:
        """Give where the final one comes, and where the preliminary one is."""
        name = name_of(self.label)
        return [name, Address(f"prelim/{name}", provisional=WHY)]


class PrelimJob(SceneJob):
    """Updates do not look back, and read again what is new alone."""

    lookback = timedelta(0)
    publication_delay = timedelta(0)

    def generate_source_file_coords(self, processing_region_ds: Any, data_var_group: Any) -> Any:
        """Give a file a scene."""
        return [PrelimScene(label=label) for label in processing_region_ds.get_index("time")]


class PrelimTemplate(Frozen):
    """Scenes that are listed in both folders; how much of each is there and final."""

    coords = (*Frozen.coords, *SHARES)

    def append_dim_coordinates(self, end: Any, *, source: Any = ()) -> Any:
        """Give the times of the scenes that the provider lists, final or not."""
        names = {path.stem for base in source for path in Path(base).rglob("*.npy")}
        labels = pd.DatetimeIndex(sorted(pd.Timestamp(name) for name in names))
        return labels[labels < self.label(end)]


class Preliminary(DynamicalDataset):
    """Scenes that are preliminary at first."""

    template_config = PrelimTemplate
    region_job = PrelimJob


def told(ds: DynamicalDataset) -> dict[Any, tuple[float, float]]:
    """Return by label what readers are told of it."""
    opened = ds.store.open_dataset(chunks=None)
    pairs = zip(opened.completeness.values, opened.finality.values, strict=True)
    return dict(zip(opened.get_index("time"), pairs, strict=True))


def test_what_is_provisional_stays_so_until_it_is_final(tmp_path: Path) -> None:
    """In whatever region it lies by then; the next update takes the final file in."""
    final, prelim = (Provider(tmp_path / "source" / folder) for folder in ("", "prelim"))
    final.publish(*FIRST[:3])
    prelim.publish(*FIRST[3:])
    ds = scenes_of(tmp_path, "icechunk", Preliminary)
    backfill(ds)
    final.publish(LATE[0])
    prelim.publish(LATE[1])
    reindex(ds, who="me", now=NOW)
    assert told(ds) == {x: (x not in LATE, x in FIRST[:3]) for x in ALL}
    listed = {file.url for file in find_provisional(Context(ds, now=NOW, beyond=True))}
    assert listed == {name_of(label) for label in FIRST[3:]}
    update(ds)
    assert told(ds) == {x: (1, x in (*FIRST[:3], LATE[0])) for x in ALL}
    final.publish(*ALL[3:])
    update(ds, scene(60 * 24 * 40))
    assert told(ds) == dict.fromkeys(ALL, (1, 1))
    assert wrong_with(ds.store.open_dataset(chunks=None), PLAIN, False) == []
    assert list(find_provisional(Context(ds, now=NOW, beyond=True))) == []


def test_the_history_of_a_place_moves_with_it(tmp_path: Path) -> None:
    """Which runs made and replaced its values, and its earlier versions, are told as before."""
    provider = Provider(tmp_path / "source")
    provider.publish(*FIRST)
    ds = scenes_of(tmp_path, "icechunk")
    backfill(ds)
    for label in FIRST[2:5]:
        np.save(provider.folder / name_of(label), values_at(label, 1))
        assert update(ds).revised
    np.save(provider.folder / name_of(FIRST[5]), values_at(FIRST[5], 1))
    update(ds)
    before = {label: of_place(ds, label) for label in FIRST}
    assert [len(place.before) for place in before.values()] == [0, 0, 1, 1, 1, 1]
    provider.publish(*LATE)
    reindex(ds, who="me", now=NOW)
    for label, was in before.items():
        is_ = of_place(ds, label)
        assert (is_.url, is_.arrived, is_.before) == (was.url, was.arrived, was.before), label
    update(ds)
    for label, was in before.items():
        is_ = of_place(ds, label)
        assert (is_.url, is_.arrived, is_.before) == (was.url, was.arrived, was.before), label


def of_place(ds: DynamicalDataset, label: Any) -> Any:
    """Return the history of a label's only source file."""
    (place,) = read_history(ds, label.isoformat(), now=NOW).places
    return place


class AdoptableTemplate(Frozen):
    """Times as xarray writes them; what the provider lists is given."""

    coords = (time_coordinate(units="minutes since 2020-01-01"), *Frozen.coords[1:])
    listed: ClassVar = list(FIRST)

    def append_dim_coordinates(self, end: Any) -> Any:
        """Give them."""
        labels = pd.DatetimeIndex(sorted(self.listed))
        return labels[labels < self.label(end)]


class Adoptable(DynamicalDataset):
    """Scenes of an archive that xarray wrote."""

    template_config = AdoptableTemplate
    region_job = SceneJob


def test_what_nobody_has_proven_stays_unproven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values of an adopted archive, in whatever region they lie by then."""
    data = {
        name: (
            ("time", "y", "x"),
            np.stack([of(label) for label in FIRST]),
            {"long_name": name, "units": "1"},
        )
        for name, of in PLAIN.items()
    }
    coords = {"time": FIRST, "y": np.arange(2.0), "x": np.arange(3.0)}
    provider = Provider(tmp_path / "source")
    provider.publish(*FIRST)
    url = str(tmp_path / "a.icechunk")
    minutes = {"time": {"units": "minutes since 2020-01-01", "dtype": "int64"}}
    whole = {name: {"chunks": (4, 2, 3)} for name in PLAIN}
    write(url, xr.Dataset(data, coords, {"title": "Tiny"}), steps=(), encoding=minutes | whole)
    ds = Adoptable(url, source_base=str(provider.folder))
    adopt(ds, who="me", now=NOW)
    assert ds.status(now=NOW).unproven == 2
    provider.withdraw(*FIRST)
    provider.publish(*LATE)
    monkeypatch.setattr(AdoptableTemplate, "listed", ALL)
    with reading(ds, PLAIN) as violations:
        reindex(ds, who="me", now=NOW)
        assert ds.status(now=NOW).unproven == 2
        provider.publish(*FIRST)
        update(ds)
    assert violations == []
    assert wrong_with(ds.store.open_dataset(chunks=None), PLAIN, False) == []
