"""More labels beside what else an archive can have: adopted, kept, provisional, lead by lead.

A reader looks before and after, and readers that opened the archive before read on.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from test_grow import (
    FORMATS,
    LATER,
    LEADS,
    MEMBERS,
    NOW,
    SINCE,
    After,
    Before,
    GrownJob,
    N,
    Template,
    assert_true,
    offered,
)

import leads as lead_by_lead
from arrivals import (
    ForecastFile,
    ForecastJob,
    ForecastProvider,
    Forecasts,
    ForecastTemplate,
    inits,
    value_of,
)
from elsewhere import write
from gridmill import Address, Finality, Offering
from gridmill.operations.axis.grow import grow, growth_of
from gridmill.operations.elsewhere.adopt import adopt
from gridmill.operations.variables.removing import remove_variables
from gridmill.stores.structure import StructureMismatch
from preliminary import WHY


@pytest.fixture(params=FORMATS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each format of a final store."""
    return str(request.param)


def dataset_of(of: type[Forecasts], **parts: Any) -> type[Forecasts]:
    """Return a dataset whose template declares something else."""
    template = type("OtherTemplate", (of.template_config,), parts)
    return type("Other", (of,), {"template_config": template})


def at(folder: Path, of: type[Any], kind: str) -> Any:
    """Return the archive in a folder."""
    return of(folder / f"a.{kind}", source_base=str(folder / "source"), format=kind)


def opened(dataset: Any) -> xr.Dataset:
    """Return what a reader opens."""
    return dataset.store.open_dataset(chunks=None)


def nothing_is_made_again(dataset: Any, until: Any = SINCE) -> None:
    """Assert that a backfill finds all done."""
    again = dataset.backfill(until, client="none", now=NOW)
    assert (again.regions_done, again.variables_done, again.succeeded) == (0, 0, True)


def updated(dataset: Any) -> Any:
    """Publish five more forecasts with all labels, and update."""
    report = dataset.reformat_operational_update(client="none", now=LATER - (LATER - NOW) / 5)
    assert report.succeeded, report.problems
    return report


# -- variables that the code no longer declares ------------------------------------------------

A, B, RAIN = ForecastTemplate.data_vars


COUNTED = replace(B, encoding=replace(B.encoding, dtype="int16"))


class CountJob(ForecastJob):
    """Gives whole numbers of a variable in which nothing says missing."""

    def read_data(self, coord: ForecastFile, data_var: Any) -> np.ndarray:
        """Read the file's only values, in hundredths."""
        values = super().read_data(coord, data_var)
        return (100 * values).round() if data_var.encoding.dtype == "int16" else values


CountBefore = type("CountBefore", (Before,), {"region_job": CountJob})


def test_a_kept_variable_has_nothing_at_new_labels(tmp_path, kind):
    """Its values stay where they are, and are not made again once it is declared again."""
    ForecastProvider(tmp_path / "source").publish(offered(N))
    at(tmp_path, Before, kind).backfill(SINCE, client="none", now=NOW)
    before = opened(at(tmp_path, Before, kind))
    dropped = at(tmp_path, dataset_of(After, data_vars=(A, RAIN)), kind)
    grow(dropped, who="me", now=NOW)
    assert_true(opened(dropped), N, LEADS, MEMBERS)
    assert_true(before, N, LEADS[:3], MEMBERS[:2])
    now = opened(dropped).b
    np.testing.assert_array_equal(now[:, :3, :2], before.b)
    assert np.isnan(now[:, 3:]).all()
    assert np.isnan(now[:, :, 2:]).all()
    nothing_is_made_again(dropped)
    ForecastProvider(tmp_path / "source").publish(offered(N + 5))
    updated(dropped)
    np.testing.assert_array_equal(opened(dropped).b[:N, :3, :2], before.b)
    assert np.isnan(opened(dropped).b[N:]).all()
    again = at(tmp_path, After, kind)
    report = again.backfill(SINCE, client="none", now=NOW)
    assert report.succeeded
    assert (report.regions_done, report.variables_done) == (1, 1)


@pytest.mark.parametrize("is_kept", [True, False])
def test_where_nothing_says_missing_no_label_is_added(tmp_path, kind, is_kept):
    """Readers would see 0: refused with the way, and nothing is written."""
    ForecastProvider(tmp_path / "source").publish(offered(N))
    of = {"data_vars": (A, COUNTED, RAIN)}
    at(tmp_path, dataset_of(CountBefore, **of), kind).backfill(SINCE, client="none", now=NOW)
    code = {"data_vars": (A, RAIN)} if is_kept else of
    dataset = at(tmp_path, dataset_of(After, **code), kind)
    before = opened(dataset).load()
    assert before.sizes["init_time"] == N
    way = "remove-variable b" if is_kept else "a new archive"
    for attempt in (lambda: growth_of(dataset, now=NOW), lambda: grow(dataset, who="me", now=NOW)):
        with pytest.raises(
            ValueError, match=rf"nothing says missing in b \(int16\) .* 0 at .*{way}"
        ):
            attempt()
    xr.testing.assert_identical(opened(dataset).load(), before)
    if is_kept:
        with pytest.raises(StructureMismatch, match="gridmill grow"):
            remove_variables(dataset, ["b"], grace_s=0, now=NOW)
        xr.testing.assert_identical(opened(dataset).load(), before)
        still = at(tmp_path, dataset_of(Before, **code), kind)
        remove_variables(still, ["b"], grace_s=0, now=NOW)
        grow(dataset, who="me", now=NOW)
        assert_true(opened(dataset), N, LEADS, MEMBERS)


# -- provisional files --------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class PrelimFile(ForecastFile):
    """The file of a forecast, final or preliminary."""

    def get_url(self) -> Any:
        """Give where the final one comes, and where the preliminary one is."""
        url = super().get_url()
        return [url, Address(f"prelim/{url}", provisional=WHY)]


class PrelimJob(ForecastJob):
    """Updates do not look back."""

    lookback = pd.Timedelta(0).to_pytimedelta()

    def generate_source_file_coords(self, processing_region_ds: Any, data_var_group: Any) -> Any:
        """Give the files."""
        given = super().generate_source_file_coords(processing_region_ds, data_var_group)
        return [PrelimFile(**vars_of(file)) for file in given]


def vars_of(file: ForecastFile) -> dict[str, Any]:
    """Return what identifies a file."""
    return {"init": file.init, "lead": file.lead, "member": file.member}


DIMS = ("init_time", "lead_time", "member")
TOLD = {"coords": (*Template.coords, Finality(dims=DIMS))}
PrelimBefore = type("PrelimBefore", (dataset_of(Before, **TOLD),), {"region_job": PrelimJob})
GrownPrelimJob = type("GrownPrelimJob", (PrelimJob,), {"offerings": GrownJob.offerings})
PrelimAfter = type("PrelimAfter", (dataset_of(After, **TOLD),), {"region_job": GrownPrelimJob})


def assert_final(ds: xr.Dataset, final: Any) -> None:
    """Assert that readers are told what is final, and nothing else."""
    shares = ds.finality.load()
    for init in pd.DatetimeIndex(ds.init_time.values):
        for lead in pd.TimedeltaIndex(ds.lead_time.values):
            for member in map(int, ds.member.values):
                place = (init, lead, member)
                at_place = dict(zip(DIMS, place, strict=True))
                assert shares.sel(at_place) == (place in final), place


def test_what_is_provisional_stays_so_in_a_grown_archive(tmp_path, kind):
    """Readers are told as before, of new labels nothing; what becomes final is taken in."""
    final, prelim = (
        ForecastProvider(tmp_path / "source"),
        ForecastProvider(tmp_path / "source/prelim"),
    )
    there = offered(N)
    early = [place for place in there if place[0] < inits(N)[2]]
    final.publish(early)
    prelim.publish(place for place in there if place not in early)
    built = at(tmp_path, PrelimBefore, kind)
    built.backfill(SINCE, client="none", now=NOW)
    before = opened(built)
    assert_final(before, early)
    dataset = at(tmp_path, PrelimAfter, kind)
    grow(dataset, who="me", now=NOW)
    assert_true(opened(dataset), N, LEADS, MEMBERS)
    assert_final(opened(dataset), early)
    assert_final(before, early)
    nothing_is_made_again(dataset)
    final.publish(there)
    prelim.publish(offered(N + 5))
    updated(dataset)
    assert_true(opened(dataset), N + 5, LEADS, MEMBERS)
    assert_final(opened(dataset), there)
    assert dataset.validate(now=LATER).found_by == {}


# -- lead by lead -------------------------------------------------------------------------------


class LeadJob(lead_by_lead.LeadJob):
    """Lists the leads that the archive has."""

    def generate_source_file_coords(self, processing_region_ds: Any, data_var_group: Any) -> Any:
        """Give the files."""
        return [
            lead_by_lead.LeadFile(init=init, lead=lead, name=data_var_group[0].name)
            for init in processing_region_ds.get_index("init_time")
            for lead in processing_region_ds.get_index("lead_time")
        ]


MORE_LEADS = pd.to_timedelta(range(18), unit="h")
THIRD = lead_by_lead.START + 2 * lead_by_lead.STEP


class GrownLeadJob(LeadJob):
    """More leads from the third forecast on."""

    offerings = (Offering(dim="lead_time", labels=slice("12h", "17h"), since=str(THIRD)),)


class GrownLeadTemplate(lead_by_lead.LeadTemplate):
    """Eighteen leads."""

    def dimension_coordinates(self) -> dict[str, Any]:
        """Give them."""
        return {**super().dimension_coordinates(), "lead_time": MORE_LEADS}


LeadsBefore = type("LeadsBefore", (lead_by_lead.Leads,), {"region_job": LeadJob})
LeadsAfter = type(
    "LeadsAfter",
    (lead_by_lead.Leads,),
    {"region_job": GrownLeadJob, "template_config": GrownLeadTemplate},
)


def look(dataset: Any, released: Any) -> None:
    """Assert that readers see what was released, and are told so; the rest is missing."""
    ds = opened(dataset)
    promised = ds.completeness.load()
    for init in pd.DatetimeIndex(ds.init_time.values):
        for lead in pd.TimedeltaIndex(ds.lead_time.values):
            for name in "ab":
                found = ds[name].sel(init_time=init, lead_time=lead).values
                if (init, lead) in released:
                    wanted = lead_by_lead.values_of(init, lead, name)
                    np.testing.assert_array_equal(found, wanted, err_msg=f"{init} {lead}")
                else:
                    assert np.isnan(found).all(), (init, lead)
            is_there = (init, lead) in released
            assert promised.sel(init_time=init, lead_time=lead) == is_there, (init, lead)


def test_an_archive_that_shows_lead_by_lead_grows(tmp_path, kind):
    """Between two forecasts; also while one of them is under way, whose leads come on."""
    source = tmp_path / "source"
    first, second = (lead_by_lead.START + i * lead_by_lead.STEP for i in range(2))
    released = {(first, lead) for lead in lead_by_lead.LEADS}
    released |= {(second, lead) for lead in lead_by_lead.LEADS[:8]}
    for init, lead in released:
        lead_by_lead.release(source, init, lead)
    now = second + pd.Timedelta("3h")
    built = at(tmp_path, LeadsBefore, kind)
    built.reformat_operational_update(client="none", now=now)
    shown = {place for place in released if place[0] == first}
    shown |= {place for place in released if place[1] in lead_by_lead.LEADS[:4]}
    before, seen = opened(built), opened(built).load()
    dataset = at(tmp_path, LeadsAfter, kind)
    grow(dataset, who="me", now=now)
    grown = opened(dataset)
    xr.testing.assert_equal(grown.isel(lead_time=slice(0, 12)).load(), seen)
    assert np.isnan(grown.a[:, 12:]).all()
    assert (grown.completeness[:, 12:] == 0).all()
    assert not dataset.reformat_operational_update(client="none", now=now).did_anything
    for lead in lead_by_lead.LEADS[8:]:
        released.add((second, lead))
        lead_by_lead.release(source, second, lead)
    dataset.reformat_operational_update(client="none", now=now)
    look(dataset, released)
    xr.testing.assert_equal(before.isel(init_time=[0]).load(), seen.isel(init_time=[0]))
    for lead in MORE_LEADS:
        released.add((THIRD, lead))
        lead_by_lead.release(source, THIRD, lead)
        dataset.reformat_operational_update(client="none", now=THIRD + pd.Timedelta("3h"))
    look(dataset, released)
    late = THIRD + pd.Timedelta("30h")
    assert (
        dataset.reformat_operational_update(
            client="none", now=late, until=str(THIRD + lead_by_lead.STEP)
        ).new_gaps
        == 0
    )
    assert dataset.validate(now=THIRD + pd.Timedelta("3h")).found_by == {}


# -- adopted ------------------------------------------------------------------------------------


def elsewhere(chunks: tuple[int, ...], fill: float) -> tuple[xr.Dataset, dict[str, Any]]:
    """Return what xarray has in memory of the archive as it was, and how it writes it."""
    shape = (N, 3, 2, 2)
    values = np.full(shape, np.nan, "float32")
    for i, init in enumerate(inits(N)):
        for j, lead in enumerate(LEADS[:3]):
            for k in range(2):
                values[i, j, k] = value_of((init, lead, k))
    dims = ("init_time", "lead_time", "member", "x")
    data = {n: (dims, values, {"long_name": n, "units": "1"}) for n in "ab"}
    coords = {
        "init_time": inits(N),
        "lead_time": LEADS[:3],
        "member": np.arange(2, dtype="int32"),
        "x": ("x", [0.0, 1.0], {"axis": "X"}),
    }
    encoding: dict[str, Any] = {n: {"chunks": chunks, "fill_value": fill} for n in "ab"}
    encoding |= {"init_time": {"units": "hours since 2020-01-01", "dtype": "int64"}}
    encoding |= {"lead_time": {"units": "seconds", "dtype": "int64"}}
    return xr.Dataset(data, coords, {"title": "Arrivals"}), encoding


ADOPTED = {"data_vars": (A, B)}


@pytest.mark.parametrize("chunks", [(2, 3, 2, 2), (2, 2, 3, 2)])
@pytest.mark.parametrize("fill", [np.nan, 0.0])
def test_an_adopted_archive_grows(tmp_path, kind, chunks, fill):
    """No padding of objects that another program wrote is taken for a value."""
    before_code, after_code = (
        dataset_of(
            of, **ADOPTED, dataset_attributes={"dataset_id": "arrivals", "title": "Arrivals"}
        )
        for of in (Before, After)
    )
    ForecastProvider(tmp_path / "source").publish(offered(N))
    ds, encoding = elsewhere(chunks, fill)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write(str(tmp_path / f"a.{kind}"), ds, steps=(), encoding=encoding)
    built = at(tmp_path, before_code, kind)
    adopt(built, who="me", now=NOW)
    before = opened(built)
    dataset = at(tmp_path, after_code, kind)
    if fill == 0 and chunks[2] == 3:
        with pytest.raises(ValueError, match=r"objects of a .* beyond the 3 labels of lead_time"):
            grow(dataset, who="me", now=NOW)
        xr.testing.assert_identical(opened(dataset).load(), before.load())
        built.backfill(SINCE, redo=True, client="none", now=NOW)
    grow(dataset, who="me", now=NOW)
    grown = opened(dataset)
    np.testing.assert_array_equal(grown.a[:, :3, :2], ds.a)
    np.testing.assert_array_equal(before.a, ds.a)
    assert np.isnan(grown.a[:, 3:]).all()
    assert np.isnan(grown.a[:, :, 2:]).all()
    nothing_is_made_again(dataset)
    ForecastProvider(tmp_path / "source").publish(offered(N + 5))
    updated(dataset)
    made = set(offered(N + 5))
    found = opened(dataset).a.load()
    for init in inits(N + 5):
        for lead in LEADS:
            for member in MEMBERS:
                place = (init, lead, member)
                wanted = value_of(place) if place in made else [np.nan] * 2
                sel = {"init_time": init, "lead_time": lead, "member": member}
                np.testing.assert_array_equal(found.sel(sel), wanted, err_msg=str(place))
