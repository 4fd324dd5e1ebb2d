"""The `noaa-gefs-forecast` dataset against NOAA's own inventories and a real message."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from grib_messages import changed, raised
from gridmill import Encoding
from gridmill.authoring.grids import LatitudeLongitudeGrid
from gridmill.datasets.noaa.gefs_forecast import (
    NoaaGefsForecast,
    NoaaGefsForecastJob,
    NoaaGefsForecastTemplate,
)
from gridmill.sources.grib.inventory.noaa import parse_idx
from gridmill.sources.grib.inventory.selection import MessageNotFound, select
from gridmill.sources.grib.messages import decode_message_into
from gridmill.testing import ArchiveServer

HALF_DEGREE = LatitudeLongitudeGrid(step_degrees=0.5)
INIT = pd.Timestamp("2025-01-01")


def make_job(**settings) -> NoaaGefsForecastJob:
    """Make a job for one forecast of the first leads."""
    template = NoaaGefsForecastTemplate()
    ds = template.get_template("2020-10-02").isel(lead_time=slice(0, 3))
    options = {"data_vars": template.data_vars, "append_dim": "init_time", **settings}
    return NoaaGefsForecastJob(template_ds=ds, region=slice(1, 2), **options)


def test_every_member_has_its_files():
    """The control and 30 perturbed members, each lead, where NOAA's bucket has them."""
    job = make_job()
    instants, windowed = job.source_groups(job.data_vars)

    files = job.generate_source_file_coords(job.processing_region_ds(), instants)

    assert len(files) == 31 * 3
    assert len(job.generate_source_file_coords(job.processing_region_ds(), windowed)) == 31 * 2
    folder = "gefs.20201001/06/atmos/pgrb2sp25"
    assert files[0].get_url() == f"{folder}/gec00.t06z.pgrb2s.0p25.f000"
    assert files[-1].get_url() == f"{folder}/gep30.t06z.pgrb2s.0p25.f006"
    assert files[-1].out_loc() == {
        "init_time": pd.Timestamp("2020-10-01T06"),
        "lead_time": pd.Timedelta(hours=6),
        "ensemble_member": 30,
    }


def test_every_variable_is_in_a_real_inventory(shared_data):
    """A member's own inventory names each variable's message, and no other member's."""
    path = next((shared_data / "S2_inventories").rglob("gep01.t00z.pgrb2s.0p25.f015.idx"))
    inventory = parse_idx(path.read_text())
    file = make_job().source_file(pd.Timestamp("2025-08-01"), pd.Timedelta(hours=15))
    job, found = make_job(), set()
    for var in job.data_vars:
        (asked,) = job.inventory_selectors(replace(file, ensemble_member=1), var)
        found.add(select(inventory, asked).start)
        (asked,) = job.inventory_selectors(replace(file, ensemble_member=2), var)
        with pytest.raises(MessageNotFound):
            select(inventory, asked)
    assert len(found) == len(job.data_vars) > 20


def test_a_real_message_of_the_control_is_read_as_member_0(shared_data, tmp_path, monkeypatch):
    """NOAA's soil moisture of the control is that of member 0, and of no other."""
    monkeypatch.setattr(NoaaGefsForecastJob, "grid", HALF_DEGREE)
    (sample,) = (shared_data / "S1_gfs_kit").rglob("gec00_20250101_00_soilw.grib")
    data, expected = sample.read_bytes(), np.empty((361, 720), np.float32)
    decode_message_into(expected, data)
    var = next(
        v for v in NoaaGefsForecastTemplate().data_vars if v.name.startswith("volumetric_soil")
    )
    root, local = tmp_path / "source", tmp_path / "local"
    local.mkdir()
    with ArchiveServer(root) as server:
        server.release_all()
        job = make_job(data_vars=(var,), source_base=(server.url,), download_dir=local)
        file = job.source_file(INIT, pd.Timedelta(timedelta(hours=3)))
        for member in (0, 1):
            one = replace(file, ensemble_member=member)
            path = root / one.get_url()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            one = replace(one, downloaded_path=job.download_file(one).path)
            if member == 0:
                np.testing.assert_array_equal(job.read_data(one, var), expected)
            else:
                with pytest.raises(ValueError, match="no message that is"):
                    job.read_data(one, var)


def test_readers_get_members_as_a_dim():
    """A forecast's dims are start, member, lead and the grid's."""
    ds = NoaaGefsForecastTemplate().get_template("2020-10-02")
    assert isinstance(ds, xr.Dataset)
    assert ds.temperature_2m.shape == (4, 31, 81, 721, 1440)
    assert ds.ensemble_member.attrs["standard_name"] == "realization"


class HalfDegreeTemplate(NoaaGefsForecastTemplate):
    """Forecasts of six hours on the grid of the sample."""

    append_dim_start = "2025-01-01"
    grid = HALF_DEGREE
    last_lead = timedelta(hours=6)
    data_vars = tuple(
        replace(
            var,
            keep_mantissa_bits=None,
            encoding=Encoding(chunks=(1, 31, 3, 37, 36), shards=(1, 31, 3, 370, 720)),
        )
        for var in NoaaGefsForecastTemplate.data_vars
        if var.name.startswith("volumetric_soil")
    )


class HalfDegreeJob(NoaaGefsForecastJob):
    """Reads the files of 0.5°."""

    grid = HALF_DEGREE


class HalfDegreeForecast(NoaaGefsForecast):
    """The same dataset on the grid of the sample."""

    template_config = HalfDegreeTemplate
    region_job = HalfDegreeJob


def test_backfill_and_update_hold_every_member_of_a_mirror(shared_data, tmp_path, client):
    """A real field under 31 members, other dates and leads arrives at its places, masked at sea."""
    (sample,) = (shared_data / "S1_gfs_kit").rglob("gec00_20250101_00_soilw.grib")
    data, root = sample.read_bytes(), tmp_path / "m"
    inits = [pd.Timestamp("2025-01-01T00"), pd.Timestamp("2025-01-01T06")]
    made: dict[tuple[pd.Timestamp, int, int], bytes] = {}
    job = make_job()
    for init in inits:
        for lead in (0, 3, 6):
            file = job.source_file(init, pd.Timedelta(lead, "h"))
            for member in range(31):
                path = root / replace(file, ensemble_member=member).get_url()
                path.parent.mkdir(parents=True, exist_ok=True)
                keys = {"dataTime": init.hour * 100, "forecastTime": lead}
                keys |= {"perturbationNumber": member, "typeOfEnsembleForecast": 3 if member else 1}
                # All differ, and are still fractions of a volume.
                number = 100 * init.hour + 40 * lead + member
                message = raised(changed(data, keys), number / 1000)
                step = f"{lead} hour fcst" if lead else "anl"
                name = f"ENS=+{member}" if member else "ENS=low-res ctl"
                line = f"d={init:%Y%m%d%H}:SOILW:0-0.1 m below ground:{step}:{name}"
                path.write_bytes(message)
                path.with_name(f"{path.name}.idx").write_text(f"1:0:{line}\n")
                made[init, lead, member] = message
    with ArchiveServer(root) as server:
        server.release_all()
        dataset = HalfDegreeForecast(tmp_path / "a.zarr", source_base=server.url)
        dataset.backfill("2025-01-01T06", client=client, now="2025-01-01T06")
        report = dataset.reformat_operational_update(client=client, now="2025-01-01T11")
        assert (report.positions_after, report.stops_because, report.failures) == (2, None, [])
        assert dataset.validate(now="2025-01-01T11").findings == ()
        served = sum(r.nbytes for r in server.requests if not r.path.endswith(".idx"))
    assert served == sum(map(len, made.values()))

    with xr.open_zarr(tmp_path / "a.zarr", chunks=None, decode_timedelta=True) as stored:
        soil = stored.volumetric_soil_moisture_0_10cm.load()
    for (init, lead, member), message in made.items():
        expected = np.empty((361, 720), np.float32)
        decode_message_into(expected, message)
        at = {"init_time": init, "lead_time": pd.Timedelta(lead, "h"), "ensemble_member": member}
        np.testing.assert_array_equal(soil.sel(at).values, expected)
    assert len(np.unique(soil.max(("latitude", "longitude")))) == len(made)
