"""What is undone of means and totals that are packed coarsely: no hole that the provider has not.

The messages are made here, in the steps in which NCEP's post-processor packs them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from grib_messages import changed, encode, packed_in_steps
from gridmill import Encoding
from gridmill.authoring.forecasts.variables import GribVar
from gridmill.authoring.grids import LatitudeLongitudeGrid
from gridmill.datasets.ecmwf.aifs_single_forecast import EcmwfAifsSingleForecastTemplate
from gridmill.datasets.noaa.gefs_forecast import (
    NoaaGefsForecast,
    NoaaGefsForecastJob,
    NoaaGefsForecastTemplate,
)
from gridmill.datasets.noaa.gfs_forecast import NoaaGfsForecastTemplate
from gridmill.datasets.noaa.hrrr_forecast import NoaaHrrrForecastTemplate
from gridmill.model.epochs import DEACCUMULATION
from gridmill.testing import ArchiveServer

GRID = LatitudeLongitudeGrid(step_degrees=5.0)
SHAPE = (37, 72)
RADIATION, RAIN = "downward_short_wave_radiation_flux_surface", "precipitation_surface"
SNOW = "mean_categorical_snow_surface"
VARIABLES = {var.name: var for var in NoaaGefsForecastTemplate.data_vars}
# GRIB2 template 4.11, for a member of an ensemble over a period.
KEYS = {
    "productDefinitionTemplateNumber": 11,
    "Ni": SHAPE[1],
    "Nj": SHAPE[0],
    "latitudeOfFirstGridPointInDegrees": 90,
    "latitudeOfLastGridPointInDegrees": -90,
    "longitudeOfFirstGridPointInDegrees": 0,
    "longitudeOfLastGridPointInDegrees": 355,
    "iDirectionIncrementInDegrees": 5,
    "jDirectionIncrementInDegrees": 5,
    "typeOfFirstFixedSurface": 1,
    "dataDate": 20250101,
    "dataTime": 0,
    "typeOfEnsembleForecast": 1,
    "perturbationNumber": 0,
}
STATISTICS = {"average": 0, "accumulation": 1}


def scale_of(field: np.ndarray, digits: float) -> int:
    """Give the decimal scale that UPP chooses (grib2_module.f, g2getbits)."""
    extent = float(np.nanmax(field) - np.nanmin(field))
    order = int(math.log10(extent)) - (extent < 1)
    return -int(order - digits + 1)


def message(var: GribVar, lead: int, field: np.ndarray, decimal: int) -> bytes:
    """Make the message of a variable over the time since the last reset, in steps."""
    discipline, category, number = var.codes[0]
    start = (lead - 1) // 6 * 6
    blank = encode(np.zeros(SHAPE), keys=KEYS)
    keys: Mapping[str, object] = {
        "discipline": discipline,
        "parameterCategory": category,
        "parameterNumber": number,
        "typeOfStatisticalProcessing": STATISTICS[var.window.kind],
        "stepRange": f"{start}-{lead}",
    }
    return packed_in_steps(changed(blank, keys), field, decimal)


def line(var: GribVar, lead: int) -> str:
    """Give the message's line of the inventory, without its number."""
    how = "ave" if var.window.kind == "average" else "acc"
    period = f"{(lead - 1) // 6 * 6}-{lead} hour {how} fcst"
    return f"0:d=2025010100:{var.parameter}:surface:{period}:ENS=low-res ctl"


class SmallTemplate(NoaaGefsForecastTemplate):
    """The control forecast of 12 hours on 5°."""

    append_dim_start = "2025-01-01"
    grid = GRID
    last_lead = timedelta(hours=12)
    more_labels = {"ensemble_member": np.arange(1, dtype="int32")}
    data_vars = tuple(
        replace(var, keep_mantissa_bits=None, encoding=Encoding(chunks=(1, 1, 5, *SHAPE)))
        for var in VARIABLES.values()
    )

    former_vars = tuple(
        replace(var, keep_mantissa_bits=None, encoding=Encoding(chunks=(1, 1, 5, *SHAPE)))
        for var in NoaaGefsForecastTemplate.former_vars
    )


class EarlierTemplate(SmallTemplate):
    """As it was declared before averages were stored as given."""

    data_vars = tuple(
        replace(var, superseded=None) for var in SmallTemplate.former_vars if "_snow_" in var.name
    )
    former_vars = ()


class SmallJob(NoaaGefsForecastJob):
    """Reads its files."""

    grid = GRID


class SmallForecast(NoaaGefsForecast):
    """The same dataset on 5°."""

    template_config = SmallTemplate
    region_job = SmallJob


def put(root: Path, var: GribVar, fields: Mapping[int, tuple[np.ndarray, int]]) -> None:
    """Write the provider's files of one variable out of fields by lead, and their inventories."""
    job = SmallJob(
        template_ds=SmallTemplate().get_template("2025-01-01T06"),
        data_vars=(var,),
        append_dim="init_time",
        region=slice(0, 1),
    )
    for coord in job.generate_source_file_coords(job.template_ds, (var,)):
        lead = coord.lead_time // timedelta(hours=1)
        path = root / coord.get_url()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(message(var, lead, *fields[lead]))
        path.with_name(f"{path.name}.idx").write_text(f"1:{line(var, lead)}\n")


class EarlierForecast(SmallForecast):
    """The dataset as it was declared then."""

    template_config = EarlierTemplate


@pytest.fixture
def archive(tmp_path, client):
    """Make an archive of one variable out of fields by lead; the report, and what is stored."""

    def make(var: GribVar, fields: Mapping[int, tuple[np.ndarray, int]]):
        root = tmp_path / "mirror"
        put(root, var, fields)
        with ArchiveServer(root) as server:
            server.release_all()
            dataset = SmallForecast(tmp_path / "a.zarr", source_base=server.url)
            report = dataset.backfill(
                "2025-01-01T06", variables=[var.name], client=client, now="2025-01-02"
            )
        assert report.failures == []
        with xr.open_zarr(tmp_path / "a.zarr", chunks=None, decode_timedelta=True) as stored:
            return report, stored[var.name].load()[0, 0].values

    return make


def sunlight(start: int, stop: int) -> np.ndarray:
    """Average a clear sky's radiation at the equinox over hours, W m-2."""
    hours = np.linspace(start, stop, 37)[:-1] + (stop - start) / 72
    latitudes = np.radians(GRID.labels()["latitude"])[:, None]
    angles = np.radians(15 * (hours[:, None, None] - 12) + GRID.labels()["longitude"])
    return (1120 * np.clip(np.cos(latitudes) * np.cos(angles), 0, None) ** 1.2).mean(axis=0)


def test_radiation_in_steps_of_ten_has_no_holes(archive):
    """Undoing means of 6 h gives values all over the Earth, no further off than the steps."""
    means = {lead: sunlight((lead - 1) // 6 * 6, lead) for lead in (3, 6, 9, 12)}
    fields = {lead: (mean, scale_of(mean, 3.0)) for lead, mean in means.items()}
    assert {decimal for _, decimal in fields.values()} & {-1}

    report, stored = archive(VARIABLES[RADIATION], fields)

    assert np.isnan(stored[0]).all()
    assert not np.isnan(stored[1:]).any()
    assert (stored[1:] >= 0).all()
    undone = 2 * np.rint(means[6] / 10) * 10 - np.rint(means[3] / 10) * 10
    assert (undone < -0.5).mean() > 0.005  # what a constant tolerance made holes of
    np.testing.assert_allclose(stored[2], sunlight(3, 6), atol=15.01)
    assert not [note for note in report.notes if "missing" in note]


def test_a_decrease_beyond_the_packing_is_missing_and_reported(archive):
    """What no step explains is no rate: it is missing, and the report counts it."""
    means = {lead: sunlight((lead - 1) // 6 * 6, lead) for lead in (3, 6, 9, 12)}
    means[3][10, :3] = 1000
    means[6][10, :3] = 400
    report, stored = archive(VARIABLES[RADIATION], {n: (m, -1) for n, m in means.items()})

    assert np.isnan(stored[2]).sum() == 3
    assert any(note.startswith(f"{RADIATION}: 3 values are missing, as") for note in report.notes)


def test_rain_of_two_packings_has_no_holes_and_no_negative_rate(archive):
    """A bucket of 0.01 mm, then of 0.1 mm: what decreases by rounding is no rain."""
    rng = np.random.default_rng(7)
    early = rng.gamma(0.3, 1.0, SHAPE)
    totals = {3: early, 6: early + rng.gamma(0.05, 0.2, SHAPE)}
    totals |= {9: totals[3], 12: totals[6]}
    fields = {lead: (total, 2 if lead % 6 else 1) for lead, total in totals.items()}

    _, stored = archive(VARIABLES[RAIN], fields)

    assert (stored[1:] >= 0).all()
    np.testing.assert_allclose(stored[2] * 10800, totals[6] - totals[3], atol=0.0551)


def test_what_cannot_be_negative_is_declared_so():
    """Rain, snow, runoff and sunlight of every product are within their packing, or missing."""
    products = (
        NoaaGefsForecastTemplate,
        NoaaGfsForecastTemplate,
        NoaaHrrrForecastTemplate,
        EcmwfAifsSingleForecastTemplate,
    )
    for product in products:
        undone = [var for var in product.data_vars if var.window and var.window.undone]
        named = {v.name for v in undone if v.window.non_negative_within == 0.0}
        signed = {v.name for v in undone} - named
        assert not [n for n in signed if "heat_flux" not in n and "long_wave" not in n]
        assert named


def test_averages_of_yes_and_no_are_stored_as_given(archive):
    """They come as 0 or 1 and say so; to undo them would give -1 and 2."""
    rng = np.random.default_rng(3)
    given = {lead: rng.integers(0, 2, SHAPE) for lead in (3, 6, 9, 12)}

    _, stored = archive(VARIABLES[SNOW], {lead: (field, 0) for lead, field in given.items()})

    for position, lead in enumerate((3, 6, 9, 12), 1):
        np.testing.assert_array_equal(stored[position], given[lead])


def test_an_archive_goes_on_with_undone_averages_and_says_so(tmp_path, client):
    """Its status and its validation name them and what takes their place, and how to add that."""
    root, url = tmp_path / "mirror", tmp_path / "a.zarr"
    fields = {lead: (np.eye(*SHAPE) if lead % 6 else np.zeros(SHAPE), 0) for lead in (3, 6, 9, 12)}
    put(root, VARIABLES[SNOW], fields)
    with ArchiveServer(root) as server:
        server.release_all()
        made = EarlierForecast(url, source_base=server.url)
        assert made.backfill("2025-01-01T06", client=client, now="2025-01-01T20").succeeded
        dataset = SmallForecast(url, source_base=server.url)
        remarks = dataset.status(now="2025-01-02").remarks
        report = dataset.backfill("2025-01-01T06", client=client, now="2025-01-02")
        assert report.succeeded, report.failures
        assert report.nbytes_uploaded == 0
        findings = dataset.validate(now="2025-01-01T20").found_by["metadata"]
        added = dataset.backfill("2025-01-01T06", variables=[SNOW], client=client, now="2025-01-02")
        assert added.succeeded
        after = dataset.status(now="2025-01-02").remarks
        named = dataset.validate(now="2025-01-01T20").found_by["metadata"]

    old = SNOW.removeprefix("mean_")
    (remark,) = (remark for remark in remarks if "continues with" in remark)
    assert remark == (
        f"the archive continues with {old}, though averages that are rounded to 0 or 1 say nothing "
        f"once they are undone; instead: {SNOW}"
    )
    assert remark in after
    (finding,) = (finding for finding in findings if finding.variables == (old,))
    assert finding.severity == "warning"
    assert finding.repair.endswith(f"--variables {SNOW}")
    assert [one.repair for one in named if one.variables == (old,)] == [""]
    with xr.open_zarr(url, chunks=None, decode_timedelta=True) as stored:
        assert set(stored.data_vars) == {old, SNOW}
        np.testing.assert_array_equal(stored[SNOW][0, 0, 1], fields[3][0])


def test_a_new_archive_does_not_get_what_is_superseded(tmp_path):
    """Nor can it be asked for by its name."""
    names = {var.name for var in NoaaGefsForecastTemplate.data_vars}
    assert not names & {var.name for var in NoaaGefsForecastTemplate.former_vars}
    with pytest.raises(ValueError, match="unknown variables"):
        SmallForecast(tmp_path / "a.zarr").plan(
            "2025-01-01T06", variables=["categorical_rain_surface"]
        )


def test_what_was_made_before_a_fault_was_mended_is_named(archive, tmp_path):
    """Records say under which epoch; the command makes it again, and then nothing is named."""
    fields = {lead: (sunlight((lead - 1) // 6 * 6, lead), -1) for lead in (3, 6, 9, 12)}
    archive(VARIABLES[RADIATION], fields)
    dataset = SmallForecast(tmp_path / "a.zarr")
    (record,) = dataset.store.progress()
    made = record.variables[RADIATION]
    made = replace(made, epochs={**made.epochs, DEACCUMULATION: 1})
    dataset.store.tracker.write(replace(record, variables={RADIATION: made}))

    (finding,) = dataset.validate(now="2025-01-01T20").found_by["epochs"]

    assert finding.severity == "warning"
    assert "lack values where they are low" in finding.message
    assert finding.variables == (RADIATION,)
    assert finding.repair.endswith("--redo")
    assert dataset.status(now="2025-01-02").made_earlier == {"epoch 1 of deaccumulation, now 2": 1}
    with ArchiveServer(tmp_path / "mirror") as server:
        server.release_all()
        again = SmallForecast(tmp_path / "a.zarr", source_base=server.url)
        assert again.backfill("2025-01-01T06", redo=True, now="2025-01-02").succeeded
        assert "epochs" not in again.validate(now="2025-01-01T20").found_by
