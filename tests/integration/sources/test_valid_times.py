"""A file of a forecast that says for when it is fills only the start and the lead of that time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cftime
import numpy as np
import pandas as pd
import pytest

from daily_netcdf import Held, field, write
from gridmill import Coordinate, DataVar, Encoding, RegionJob, SourceFileCoord, read_netcdf
from gridmill.sources.evidence.compare import NO_TIME, NotAsPromised, compare
from gridmill.sources.evidence.expected import ExpectedAxis, Promise
from gridmill.sources.evidence.observed import Axis, Evidence
from tiny import GridTemplate, dataset_of

STARTS = pd.date_range("2020-01-01", periods=2, freq="D")
LEADS = pd.to_timedelta([0, 3, 30], unit="h")
LATE = STARTS[-1] + pd.Timedelta(days=3)
LATS, LONS = np.array([60.0, 20.0, -40.0]), np.arange(0.0, 360.0, 90)
SINCE = "hours since 1900-01-01"


class Template(GridTemplate):
    """Temperature, daily, three leads."""

    dims = ("init_time", "lead_time", "latitude", "longitude")
    append_dim = "init_time"
    append_dim_frequency = "D"
    coords = (
        Coordinate(name="init_time", dtype="int64", units="hours since 2020-01-01"),
        Coordinate(name="lead_time", dtype="int64", units="seconds"),
        *GridTemplate.coords[1:],
    )
    data_vars = (
        DataVar(
            name="t2m",
            encoding=Encoding(chunks=(1, 3, 3, 4)),
            attrs={"long_name": "t", "units": "K"},
        ),
    )

    def dimension_coordinates(self) -> dict[str, Any]:
        """Give leads and grid."""
        return {"lead_time": LEADS, "latitude": LATS, "longitude": LONS}


@dataclass(frozen=True, kw_only=True)
class Step(SourceFileCoord):
    """The file of a lead."""

    start: pd.Timestamp
    lead: pd.Timedelta

    def get_url(self) -> str:
        """Give its name."""
        return f"{self.start:%Y%m%d}-{self.lead // pd.Timedelta('1h')}.nc"

    def out_loc(self) -> dict[str, Any]:
        """Give its place."""
        return {"init_time": self.start, "lead_time": self.lead}


class Job(RegionJob[DataVar, Step]):
    """Reads a file a lead."""

    publication_delay = pd.Timedelta(hours=1)

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Give a file a lead."""
        starts = processing_region_ds.get_index("init_time")
        return [Step(start=start, lead=lead) for start in starts for lead in LEADS]

    def read_data(self, coord, data_var):
        """Read a field."""
        return read_netcdf(coord.downloaded_path, data_var.name)


class Lenient(Job):
    """Knows that files say other times."""

    unchecked = ("lead_time",)


@pytest.fixture
def publish(tmp_path: Path) -> Callable[..., None]:
    """A function that writes the files, one of which is valid for another time."""
    folder = tmp_path / "provider"
    folder.mkdir()

    def publish(off: pd.Timedelta = LEADS[0]) -> None:
        for step in (Step(start=start, lead=lead) for start in STARTS for lead in LEADS):
            is_wrong = step.start == STARTS[1] and step.lead == LEADS[1]
            time = step.start + step.lead + (off if is_wrong else LEADS[0])
            held = Held(values=field(0)[:, :4], lats=LATS, lons=LONS, time=time)
            write(folder / step.get_url(), held, "NETCDF4")

    return publish


def missing(dataset: Any) -> list[tuple[int, int]]:
    """Return starts and leads of which readers see nothing."""
    with dataset.store.open_dataset() as ds:
        at = np.argwhere(ds["t2m"].isnull().all(("latitude", "longitude")).values)
    return [(int(start), int(lead)) for start, lead in at]


@pytest.mark.parametrize("off", [pd.Timedelta(hours=-24), pd.Timedelta(hours=3)])
def test_a_file_of_another_start_or_lead_is_refused(publish, tmp_path, off):
    """As that of another day is, though the file does not say when its forecast began."""
    publish(off)
    provider = str(tmp_path / "provider")
    dataset = dataset_of(template=Template, job=Job)(tmp_path / "a", source_base=provider)
    report = dataset.backfill("2020-01-03", client="none", now=LATE)
    assert missing(dataset) == [(1, 1)]
    (problem,) = report.problems
    valid, wanted = STARTS[1] + LEADS[1] + off, STARTS[1] + LEADS[1]
    told = f"its time is {valid:%Y-%m-%d %H:%M}, and its place is valid for {wanted:%Y-%m-%d %H:%M}"
    assert told in problem.detail
    assert report.notes == []  # none is without a time
    publish()
    dataset.backfill("2020-01-03", client="none", now=LATE + pd.Timedelta(days=2))
    assert missing(dataset) == []


def test_what_an_author_lifts_is_not_compared(publish, tmp_path):
    """By the name of the leads."""
    publish(pd.Timedelta(hours=3))
    provider = str(tmp_path / "provider")
    dataset = dataset_of(template=Template, job=Lenient)(tmp_path / "a", source_base=provider)
    dataset.backfill("2020-01-03", client="none", now=LATE)
    assert missing(dataset) == []


# -- what a file may say --------------------------------------------------------------------------


def promise(leads: Any) -> Promise:
    """Return what a file of the second start should hold of some leads."""
    label = STARTS.to_numpy()[1]
    start = ExpectedAxis(
        labels=np.asarray(label), starts=label, ends=label + np.timedelta64(1, "D")
    )
    lead = ExpectedAxis(labels=np.asarray(leads, "float64") * 3600, units="seconds")
    return Promise(axes={"init_time": start, "lead_time": lead}, append_dim="init_time", units="K")


def said(hours: Any, **more: Any) -> Evidence:
    """Return what a file says that is valid so long after the second start."""
    first = float(cftime.date2num(STARTS[1].to_pydatetime(), SINCE))
    times = {"name": "time", "units": SINCE, "standard_name": "time", **more}
    axis = Axis(values=np.asarray(hours, "float64") + first, **times)
    axes = (axis,) if axis.values.ndim else ()
    scalars = {} if axes else {axis.name: axis}
    values = 250 + np.arange(axis.values.size, dtype="float32").reshape(axis.values.shape)
    return Evidence(variable="t2m", values=values, axes=axes, scalars=scalars, units="K")


@pytest.mark.parametrize(
    ("hours", "leads", "fits"),
    [
        (3, 3, True),
        (6, 3, False),
        ([0, 3, 30], [0, 3, 30], True),
        ([3, 6, 33], [0, 3, 30], False),
        ([30, 3, 0], [0, 3, 30], False),
        ([0, 3, 30], 3, True),  # the author's code chooses
        ([6, 9], 3, False),
    ],
)
def test_valid_times_are_start_and_lead_together(hours, leads, fits):
    """Of one lead or of several, in their order."""
    seen = said(hours)
    if fits:
        assert compare([seen], seen.values.copy(), promise(leads)) == []
        return
    with pytest.raises(NotAsPromised, match=r"and its place is valid for .* by its start and lead"):
        compare([seen], seen.values.copy(), promise(leads))


def test_leads_that_lie_in_another_order_are_turned_with_their_times():
    """The file says both."""
    seen = said([30, 3, 0])
    lead = Axis(name="step", values=np.array([30.0, 3.0, 0.0]), units="hours")
    times = replace(seen.axes[0], name="valid_time")
    seen = replace(seen, axes=(lead,), scalars={"valid_time": times})
    (remark,) = compare([seen], seen.values.copy(), promise([0, 3, 30]))
    assert "lead_time in another order" in remark


def test_a_time_that_says_no_name_may_be_the_start():
    """Nothing says which of the two it is; what has a standard name is no start."""
    seen = said(0, standard_name=None)
    assert compare([seen], seen.values.copy(), promise(3)) == []
    with pytest.raises(NotAsPromised):
        compare([said(0)], seen.values.copy(), promise(3))


def test_without_any_time_it_is_counted():
    """As files of other archives are."""
    seen = replace(said(0), scalars={})
    assert compare([seen], seen.values.copy(), promise(3)) == [NO_TIME]
