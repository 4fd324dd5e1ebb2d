"""The `ecmwf-aifs-single-forecast` dataset against ECMWF's own inventories and real fields."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridmill.datasets.ecmwf.aifs_single_forecast import (
    EcmwfAifsSingleForecast,
    EcmwfAifsSingleForecastJob,
    EcmwfAifsSingleForecastTemplate,
)
from gridmill.sources.grib.inventory.formats import parse_inventory
from gridmill.sources.grib.inventory.selection import select
from gridmill.testing import ArchiveServer
from made_archives import make_archive

# What the made archive calls variables, and by how much the archive's units differ.
MADE = {
    "2t": ("temperature_2m", 1),
    "tcc": ("total_cloud_cover_atmosphere", 100),
    "tp": ("precipitation_surface", 1000),
}


def make_job(**settings) -> EcmwfAifsSingleForecastJob:
    """Make a job of all variables."""
    options = {"data_vars": EcmwfAifsSingleForecastTemplate().data_vars, **settings}
    return EcmwfAifsSingleForecastJob(
        template_ds=xr.Dataset(), append_dim="init_time", region=slice(0, 1), **options
    )


@pytest.mark.parametrize(("hours", "n_variables"), [(0, 14), (6, 20)])
def test_every_variable_is_in_real_inventories(shared_data, hours, n_variables):
    """ECMWF's own inventories name each variable's message, instants alone at lead 0."""
    name = f"aifs_single_20250301_00z_{hours}h.index"
    inventory = parse_inventory(next((shared_data / "S2_inventories").rglob(name)).read_text())
    job = make_job()
    file = job.source_file(pd.Timestamp("2025-03-01"), pd.Timedelta(hours=hours))
    variables = [v for v in job.data_vars if hours or v.window is None]

    found = {select(inventory, s) for v in variables for s in job.inventory_selectors(file, v)}

    assert len(found) == n_variables


def test_fields_are_the_made_archives_in_the_archives_units(shared_data, tmp_path):
    """Messages equal the ground truth within packing; metres become kg m-2, fractions %."""
    root = make_archive(shared_data, tmp_path / "aifs", "make_aifs_archive.py", "--inits", "1")
    local = tmp_path / "local"
    local.mkdir()
    known = {v.parameter: v for v in EcmwfAifsSingleForecastTemplate().data_vars}
    data_vars = tuple(known[name] for name in MADE)
    lines = (root / "truth.jsonl").read_text().splitlines()
    truth = [t for t in map(json.loads, lines) if t["param"] in MADE]
    with ArchiveServer(root) as server:
        server.release_all()
        job = make_job(data_vars=data_vars, source_base=(server.url,), download_dir=local)
        for message in truth:
            lead = pd.Timedelta(hours=message["lead"])
            file = job.source_file(pd.Timestamp(message["init"]), lead)
            file = replace(file, downloaded_path=job.download_file(file).path)
            name, factor = MADE[message["param"]]
            assert known[message["param"]].name == name
            values = job.read_data(file, known[message["param"]])
            found = [values.min(), values.max(), values.mean(dtype="float64")]
            wanted = [factor * message[key] for key in ("min", "max", "mean")]
            atol = 1.01 * factor * message["tol"] + 1e-3
            np.testing.assert_allclose(found, wanted, rtol=0, atol=atol)
    assert len(truth) == 3 * 3


class TwoLeads(EcmwfAifsSingleForecastTemplate):
    """Forecasts of twelve hours."""

    append_dim_start = "2026-08-01"
    last_lead = pd.Timedelta(hours=12).to_pytimedelta()
    data_vars = tuple(
        replace(var, keep_mantissa_bits=None)
        for var in EcmwfAifsSingleForecastTemplate.data_vars
        if var.parameter in MADE
    )


class Short(EcmwfAifsSingleForecast):
    """What its archive holds."""

    template_config = TwoLeads


def test_backfill_and_update_hold_the_fields_of_a_made_archive(shared_data, tmp_path, client):
    """Instants are the ground truth's, totals become the mean rate of each step."""
    root = make_archive(shared_data, tmp_path / "aifs", "make_aifs_archive.py")
    truth = [json.loads(line) for line in (root / "truth.jsonl").read_text().splitlines()]
    with ArchiveServer(root) as server:
        server.release_all()
        dataset = Short(tmp_path / "a.zarr", source_base=server.url)
        dataset.backfill("2026-08-01T06", client=client, now="2026-08-01T06")
        report = dataset.reformat_operational_update(client=client, now="2026-08-01T11")
        assert (report.positions_after, report.stops_because, report.failures) == (2, None, [])
        assert dataset.validate(now="2026-08-01T11").findings == ()
        served = sum(r.nbytes for r in server.requests if r.path.endswith(".grib2"))
    wanted = [
        t for t in truth if t["param"] in MADE and not (t["param"] == "tp" and t["lead"] == 0)
    ]
    assert served == sum(t["length"] for t in wanted)

    with xr.open_zarr(tmp_path / "a.zarr", chunks=None, decode_timedelta=True) as stored:
        ds = stored.load()
    assert np.isnan(ds.precipitation_surface.isel(lead_time=0)).all()
    for message in wanted:
        name, factor = MADE[message["param"]]
        at = {"init_time": message["init"], "lead_time": pd.Timedelta(message["lead"], "h")}
        tolerance = 1.01 * factor * message["tol"] + 1e-3
        if message["param"] != "tp":
            values = ds[name].sel(at).values
            found = [values.min(), values.max(), values.mean(dtype="float64")]
            expected = [factor * message[key] for key in ("min", "max", "mean")]
            np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
        else:
            until = slice(pd.Timedelta(6, "h"), at["lead_time"])
            rates = ds[name].sel(init_time=at["init_time"], lead_time=until).values
            total = rates.sum(axis=0, dtype="float64") * 6 * 3600
            np.testing.assert_allclose(total.mean(), factor * message["mean"], atol=tolerance)
