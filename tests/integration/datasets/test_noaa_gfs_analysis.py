"""The `noaa-gfs-analysis` dataset against an archive made of real fields, with known values."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridmill import Encoding
from gridmill.authoring.grids import LatitudeLongitudeGrid
from gridmill.datasets.noaa.gfs_analysis import (
    NoaaGfsAnalysis,
    NoaaGfsAnalysisFile,
    NoaaGfsAnalysisJob,
    NoaaGfsAnalysisTemplate,
)
from gridmill.datasets.noaa.variables import variables
from gridmill.sources.grib.messages import decode_message_into
from gridmill.testing import ArchiveServer
from made_archives import make_archive

GRID_1DEG = LatitudeLongitudeGrid(step_degrees=1.0)
DIMS = NoaaGfsAnalysisTemplate.dims
TEMPERATURE, RAIN = "temperature_2m", "precipitation_surface"


class CoarseTemplate(NoaaGfsAnalysisTemplate):
    """1°, 3-hourly, regions of half a day."""

    append_dim_start = "2026-08-01"
    append_dim_frequency = "3h"
    coords = (NoaaGfsAnalysisTemplate.coords[0], *GRID_1DEG.coords)
    data_vars = variables("gfs", DIMS, Encoding(chunks=(4, 181, 360)))

    def dimension_coordinates(self):
        return dict(GRID_1DEG.labels())


@dataclass(frozen=True, kw_only=True)
class CoarseFile(NoaaGfsAnalysisFile):
    """The file of one lead, of 1°."""

    product: str = "1p00"


class CoarseJob(NoaaGfsAnalysisJob):
    """Reads the files of 1°."""

    file_type = CoarseFile
    grid = GRID_1DEG


class Coarse(NoaaGfsAnalysis):
    """The same dataset on a small grid."""

    template_config = CoarseTemplate
    region_job = CoarseJob


def test_each_hour_has_its_shortest_lead():
    """Instants come from leads 0 to 5, what describes a period from leads 1 to 6."""
    template = NoaaGfsAnalysisTemplate()
    ds = template.get_template("2021-06-20")
    instant, period = (
        tuple(v for v in template.data_vars if v.name == name) for name in (TEMPERATURE, RAIN)
    )
    job = NoaaGfsAnalysisJob(
        template_ds=ds, data_vars=(*instant, *period), append_dim="time", region=slice(504, 1008)
    )
    part = job.processing_region_ds()

    files = {v[0].name: job.generate_source_file_coords(part, v) for v in (instant, period)}

    for name, leads, first in ((TEMPERATURE, (0, 5), 504), (RAIN, (1, 6), 503)):
        assert [f.out_loc()["time"] for f in files[name]] == list(ds.time.to_index()[first:1008])
        hours = [f.lead_time // timedelta(hours=1) for f in files[name]]
        assert (min(hours), max(hours)) == leads
        assert {f.init_time.hour % 6 for f in files[name]} == {0}


@pytest.fixture(scope="module")
def made(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make four forecasts of three leads."""
    arguments = ["--inits", "4", "--leads", "0:6:3"]
    root = tmp_path_factory.mktemp("gfs")
    return make_archive(shared_data, root, "make_gfs_archive.py", *arguments)


def test_forecasts_become_one_series(tmp_path, made, client):
    """Instants are the messages' own within rounding, rain is each step's, across regions too."""
    truth = [json.loads(line) for line in (made / "truth.jsonl").read_text().splitlines()]
    fields = {}
    for message in truth:
        if message["var"] in ("TMP2m", "APCP"):
            values = np.empty((181, 360), np.float32)
            data = (made / message["file"]).read_bytes()
            start = message["offset"]
            decode_message_into(values, data[start : start + message["length"]])
            assert zlib.crc32(values.tobytes()) == message["crc32"]
            fields[message["var"], pd.Timestamp(message["init"]), message["lead"]] = values
    with ArchiveServer(made) as server:
        server.release_all()
        dataset = Coarse(tmp_path / "a.zarr", source_base=server.url)
        report = dataset.backfill(
            "2026-08-02",
            start="2026-08-01T03",
            variables=[TEMPERATURE, RAIN],
            client=client,
            now="2026-08-05",
        )
    assert (report.positions_after, report.stops_because, report.failures) == (7, None, [])
    assert dataset.validate(now="2026-08-02").findings == ()

    with xr.open_zarr(tmp_path / "a.zarr", chunks=None) as ds:
        stored = ds.load()
    for time in stored.time.to_index():
        init, at = time.floor("6h"), stored.sel(time=time)
        hours = (time - init) // pd.Timedelta(hours=1)
        expected = fields["TMP2m", init, hours]
        np.testing.assert_allclose(at[TEMPERATURE].values, expected, rtol=2**-11)
        before = time - pd.Timedelta(hours=6) if hours == 0 else init
        total = fields["APCP", before, 6 if hours == 0 else hours]
        if hours == 0:
            total = total - fields["APCP", before, 3]
        # Two totals of packed values may differ by less than nothing.
        wanted = np.maximum(total, 0)
        np.testing.assert_allclose(at[RAIN].values * 10800, wanted, rtol=2**-9, atol=1e-4)


def test_a_region_that_grows_is_not_fetched_again(tmp_path, made, client):
    """Update after update gives what one backfill gives; only a period's begin comes twice."""
    options: Mapping[str, Any] = {
        "start": "2026-08-01T03",
        "variables": [TEMPERATURE, RAIN],
        "client": client,
    }
    with ArchiveServer(made) as server:
        server.release_all()
        once = Coarse(tmp_path / "once.zarr", source_base=server.url)
        once.backfill("2026-08-02", **options, now="2026-08-05")
        before = len(server.requests)

        grown = Coarse(tmp_path / "grown.zarr", source_base=server.url)
        grown.backfill("2026-08-01T06", **options, now="2026-08-05")
        for hour in (9, 12, 15, 18, 21, 24):
            report = grown.reformat_operational_update(
                client=client, now=pd.Timestamp("2026-08-01") + pd.Timedelta(hour, "h")
            )
            assert (report.stops_because, report.failures) == (None, [])
        sent = [r for r in server.requests[before:] if r.status == 206 and r.nbytes > 1]

    made_once, made_in_steps = (
        xr.open_zarr(tmp_path / name, chunks=None).load() for name in ("once.zarr", "grown.zarr")
    )
    assert made_in_steps.sizes["time"] == 7
    xr.testing.assert_identical(made_in_steps, made_once)
    times = Counter((r.path[-40:], r.byte_range) for r in sent)
    again = [path[-4:] for (path, _), n in times.items() if n > 1]
    assert len(times) == 7 + 7
    # Where the periods of 06, 12 and 18 h go on, and the step before the second region.
    assert sorted(again) == ["f003", "f003", "f003", "f006"]
