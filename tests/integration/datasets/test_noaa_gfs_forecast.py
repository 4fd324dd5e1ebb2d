"""The `noaa-gfs-forecast` datasets against archives made of real fields, with known values."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from distributed import get_worker

from gridmill.authoring.forecasts.variables import GribVar
from gridmill.datasets.noaa.gfs_forecast import (
    NoaaGfsForecast,
    NoaaGfsForecast1Deg,
    NoaaGfsForecast1DegJob,
    NoaaGfsForecast1DegTemplate,
    NoaaGfsForecastFile,
    NoaaGfsForecastJob,
    NoaaGfsForecastTemplate,
)
from gridmill.model.settled import SourceFileStatus
from gridmill.sources.grib.inventory.noaa import parse_idx
from gridmill.sources.grib.inventory.selection import select
from gridmill.testing import ArchiveServer
from made_archives import make_archive

HOUR = timedelta(hours=1)
START = "2026-08-01"
# What the made archives call the variables.
MADE = {
    "PRMSL": "pressure_reduced_to_mean_sea_level",
    "HGT500": "geopotential_height_500hpa",
    "SOILW": "volumetric_soil_moisture_0_10cm",
    "TMP2m": "temperature_2m",
    "UGRD10m": "wind_u_10m",
    "VGRD10m": "wind_v_10m",
    "APCP": "precipitation_surface",
    "TCDC": "total_cloud_cover_atmosphere",
    "DSWRF": "downward_short_wave_radiation_flux_surface",
}


def as_decoded(var: GribVar) -> GribVar:
    """Give a variable that is stored as its messages have it: neither transformed nor rounded."""
    window = None if var.window is None else replace(var.window, kind="extreme")
    return replace(var, keep_mantissa_bits=None, window=window)


class ShortTemplate(NoaaGfsForecast1DegTemplate):
    """A day of leads."""

    append_dim_start = START
    last_lead = timedelta(hours=24)


class DecodedTemplate(ShortTemplate):
    """The messages' own values."""

    data_vars = tuple(map(as_decoded, NoaaGfsForecast1DegTemplate.data_vars))


class Decoded025Template(NoaaGfsForecastTemplate):
    """The messages' own values, three hours of them."""

    append_dim_start = START
    last_lead = timedelta(hours=3)
    data_vars = tuple(map(as_decoded, NoaaGfsForecastTemplate.data_vars))


class Short025Template(NoaaGfsForecastTemplate):
    """Three hours."""

    append_dim_start = START
    last_lead = timedelta(hours=3)


class Short025(NoaaGfsForecast):
    """What a user of a short archive of 0.25° declares."""

    template_config = Short025Template


class Short(NoaaGfsForecast1Deg):
    """What a user of a short archive declares."""

    template_config = ShortTemplate


class Decoded(NoaaGfsForecast1Deg):
    """The messages' own values."""

    template_config = DecodedTemplate


class Decoded025(NoaaGfsForecast):
    """The messages' own values."""

    template_config = Decoded025Template


DECODED = "decoded"


class CountingJob(NoaaGfsForecast1DegJob):
    """Says of each message that it is decoded."""

    def read_data(self, coord, data_var):
        get_worker().log_event(DECODED, f"{coord.get_url()} {data_var.name}")
        return super().read_data(coord, data_var)


class Counted(Decoded):
    """The messages' own values, and how often they are decoded."""

    region_job = CountingJob


class Archive:
    """A made archive, its ground truth, and its server."""

    def __init__(self, root: Path, server: ArchiveServer) -> None:
        self.root, self.server = root, server
        lines = (root / "truth.jsonl").read_text().splitlines()
        self.truth = [t for t in map(json.loads, lines) if t["var"] in MADE]
        self.variables = sorted({MADE[t["var"]] for t in self.truth})

    def of(self, init: int) -> list[dict[str, Any]]:
        """Give the ground truth of one forecast."""
        inits = sorted({t["init"] for t in self.truth})
        return [t for t in self.truth if t["init"] == inits[init]]


@pytest.fixture(scope="module")
def made(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make 8 forecasts of 9 leads at 1°."""
    return make_archive(shared_data, tmp_path_factory.mktemp("gfs"), "make_gfs_archive.py")


@pytest.fixture
def archive(made: Path) -> Iterator[Archive]:
    """Serve them, all released."""
    with ArchiveServer(made) as server:
        server.release_all()
        yield Archive(made, server)


def check(store: Path | xr.Dataset, truth: list[dict[str, Any]]) -> int:
    """Compare stored values with the checksums of the ground truth; count the messages."""
    opened = store if isinstance(store, xr.Dataset) else xr.open_zarr(store, chunks=None)
    with xr.decode_cf(opened, decode_timedelta=True) as stored:
        ds = stored[sorted({MADE[message["var"]] for message in truth})].load()
        for message in truth:
            at = {"init_time": message["init"], "lead_time": pd.Timedelta(message["lead"], "h")}
            values = ds[MADE[message["var"]]].sel(at).values.astype("<f4")
            assert zlib.crc32(values.tobytes()) == message["crc32"], message
    return len(truth)


def messages_sent(server: ArchiveServer) -> list[Any]:
    """Give the answers with messages: no inventories, and no first bytes that tell versions."""
    answers = [r for r in server.requests if r.status == 206 and r.nbytes > 1]
    return [r for r in answers if not r.path.endswith(".idx")]


def check_bytes(archive: Archive) -> None:
    """Check that the server sent the needed messages, once, and inventories; 5 % are granted."""
    needed = sum(message["length"] for message in archive.truth)
    inventories = sum(path.stat().st_size for path in archive.root.rglob("*.idx"))
    served = archive.server.requests
    assert needed < sum(r.nbytes for r in served) <= 1.05 * (needed + inventories)
    ranges = [(r.path, r.byte_range) for r in served if not r.path.endswith(".idx")]
    assert len(ranges) == len(set(ranges))


# -- declarations ---------------------------------------------------------------------------------


def test_it_is_registered():
    """The command line finds both products by name."""
    points = entry_points(group="gridmill.datasets")

    assert points["noaa-gfs-forecast"].load() is NoaaGfsForecast
    assert points["noaa-gfs-forecast-1deg"].load() is NoaaGfsForecast1Deg


@pytest.mark.parametrize(
    ("template", "n_leads", "shape"),
    [(NoaaGfsForecastTemplate, 209, (721, 1440)), (NoaaGfsForecast1DegTemplate, 129, (181, 360))],
)
def test_leads_and_grid_are_the_products(template, n_leads, shape):
    """0.25° is hourly to 120 h and then 3-hourly to 384 h, 1° is 3-hourly, from the north pole."""
    ds = template().get_template("2021-05-02")

    assert ds.sizes["init_time"] == 4
    assert ds.sizes["lead_time"] == n_leads
    assert ds.lead_time.values[-1] == np.timedelta64(384, "h")
    assert (ds.sizes["latitude"], ds.sizes["longitude"]) == shape
    assert (ds.latitude.values[0], ds.longitude.values[0]) == (90, 0)
    assert ds.valid_time.values[3, -1] == np.datetime64("2021-05-17T18")


def test_every_variable_is_described():
    """There are more than 20 surface variables, each with its own message and CF attributes."""
    variables = NoaaGfsForecastTemplate().data_vars

    assert len(variables) > 20
    assert len({(v.codes, v.levels, v.statistic) for v in variables}) == len(variables)
    for var in variables:
        assert {"units", "long_name", "cell_methods", "grid_mapping"} <= set(var.attrs)


def test_files_are_found_where_noaa_has_them():
    """The address is the one of NOAA's open data bucket."""
    file = NoaaGfsForecastFile(
        init_time=pd.Timestamp("2026-08-01T06"), lead_time=pd.Timedelta(hours=9), product="0p25"
    )
    assert file.get_url() == "gfs.20260801/06/atmos/gfs.t06z.pgrb2.0p25.f009"
    assert NoaaGfsForecast.source_base == "https://noaa-gfs-bdp-pds.s3.amazonaws.com"


def test_every_variable_is_in_real_inventories(shared_data):
    """NOAA's own inventories name each variable's message, instants alone at lead 0."""
    found = set()
    for path in sorted((shared_data / "S2_inventories").rglob("gfs.t*.pgrb2.0p25.f*.idx")):
        inventory = parse_idx(path.read_text())
        lead = pd.Timedelta(hours=int(path.name.split(".f")[1][:3]))
        init = pd.Timestamp(inventory[0].reference_time)
        job = NoaaGfsForecastJob(
            template_ds=xr.Dataset(), data_vars=(), append_dim="init_time", region=slice(0, 1)
        )
        coord = job.source_file(init, lead)
        for var in NoaaGfsForecastTemplate().data_vars:
            if lead or var.window is None:
                for selector in job.inventory_selectors(coord, var):
                    message = select(inventory, selector)
                    found.add((lead // HOUR, var.name, message.parameter))
    assert {lead for lead, _, _ in found} == {0, 7, 21}


# -- archives -------------------------------------------------------------------------------------


def test_backfill_and_updates_hold_every_message_and_fetch_nothing_else(tmp_path, archive, client):
    """Eight forecasts equal the ground truth, checksum for checksum; each message comes once."""
    dataset = Counted(tmp_path / "a.zarr", source_base=archive.server.url)
    client.log_event(DECODED, "begin")

    reports = [
        dataset.backfill(
            "2026-08-02", variables=archive.variables, client=client, now="2026-08-02"
        ),
        dataset.reformat_operational_update(client=client, now="2026-08-02T18"),
        dataset.reformat_operational_update(client=client, now="2026-08-02T22"),
    ]

    assert [report.positions_after for report in reports] == [4, 7, 8]
    assert all((r.stops_because, r.failures) == (None, []) for r in reports)
    assert check(tmp_path / "a.zarr", archive.truth) == 8 * (5 + 8 * 7)
    check_bytes(archive)
    events = [said for _, said in client.get_events(DECODED)]
    decoded = events[len(events) - events[::-1].index("begin") :]
    assert sorted(set(decoded)) == sorted(decoded)
    assert len(decoded) == len(archive.truth)


def test_the_hourly_product_of_a_quarter_degree(tmp_path, shared_data, client):
    """0.25° equals the ground truth, too, costs the bytes of its messages, and is found right."""
    arguments = ["--grid", "0p25", "--inits", "1", "--leads", "0:3:1"]
    root = make_archive(shared_data, tmp_path / "gfs", "make_gfs_archive.py", *arguments)
    with ArchiveServer(root) as server:
        server.release_all()
        archive = Archive(root, server)
        dataset = Decoded025(tmp_path / "a.zarr", source_base=server.url)

        report = dataset.backfill(
            "2026-08-01T06", variables=archive.variables, client=client, now="2026-08-04"
        )

        assert (report.positions_after, report.stops_because) == (1, None)
        assert check(tmp_path / "a.zarr", archive.truth) == 4 * 5 + 3
        check_bytes(archive)

        readers = Short025(tmp_path / "b.zarr", source_base=server.url)
        options = {"variables": archive.variables, "now": "2026-08-04"}
        assert readers.backfill("2026-08-01T06", **options, client=client).succeeded
        assert readers.validate(now="2026-08-01T06").findings == ()


def test_accumulations_and_averages_become_means_of_each_step(tmp_path, archive, client):
    """Rates times seconds add up to the totals and averages of the messages, within rounding."""
    windowed = [MADE["APCP"], MADE["DSWRF"], MADE["TMP2m"]]
    options: Mapping[str, Any] = {"variables": windowed, "client": client, "now": "2026-08-04"}
    for kind, name in ((Decoded, "decoded"), (Short, "short")):
        dataset = kind(tmp_path / f"{name}.zarr", source_base=archive.server.url)
        assert dataset.backfill("2026-08-01T06", **options).positions_after == 1

    decoded, short = (
        xr.open_zarr(tmp_path / f"{name}.zarr", chunks=None, decode_timedelta=True)
        .isel(init_time=0)
        .load()
        for name in ("decoded", "short")
    )
    seconds = 3 * 3600
    rain, flux = short[MADE["APCP"]].values, short[MADE["DSWRF"]].values
    assert np.isnan(rain[0]).all()
    for lead in range(1, 9):
        total, mean = decoded[MADE["APCP"]].values[lead], decoded[MADE["DSWRF"]].values[lead]
        if lead % 2 == 0:  # the window reaches back to the lead before the previous one
            total = total - decoded[MADE["APCP"]].values[lead - 1]
            mean = 2 * mean - decoded[MADE["DSWRF"]].values[lead - 1]
        np.testing.assert_allclose(rain[lead] * seconds, total, rtol=2**-9, atol=1e-4)
        # Packing may leave less than nothing of the sun.
        np.testing.assert_allclose(flux[lead], np.maximum(mean, 0), rtol=2**-9, atol=1e-3)
    temperature = decoded[MADE["TMP2m"]].values
    np.testing.assert_allclose(short[MADE["TMP2m"]].values, temperature, rtol=2**-11)


def test_faults_of_the_archive_end_as_statuses(tmp_path, shared_data, client):
    """A gap and a cut file cost their own values; a stale inventory or none costs nothing."""
    root = make_archive(shared_data, tmp_path / "gfs", "make_gfs_archive.py", "--faults")
    faults = json.loads((root / "faults.json").read_text())
    with ArchiveServer(root) as server:
        server.release_all()
        archive = Archive(root, server)
        dataset = Decoded(tmp_path / "a.zarr", source_base=server.url)
        options: Mapping[str, Any] = {
            "variables": archive.variables,
            "client": client,
            "now": "2026-08-04",
        }

        # What cannot be read stops the extent until it is overdue.
        early = {**options, "now": "2026-08-01T12:00"}
        first = dataset.backfill("2026-08-03", **early)
        assert (first.positions_after, first.failures) == (1, [])
        assert faults["truncated_grib"] in (first.stops_because or "")
        report = dataset.backfill("2026-08-03", **options)
        assert (report.positions_after, report.stops_because) == (8, None)
        gaps = {(gap.url, name) for gap in (*first.gaps, *report.gaps) for name in gap.variables}

    outcomes = {}
    for record in dataset.store.progress():
        for name, variable in record.variables.items():
            for index, file in enumerate(record.groups[variable.group]):
                detail = variable.unread.get(index, (None, file.detail))[1]
                outcomes[file.url, name] = (file.status, index in variable.unread, detail)
    lost = {key for key, (status, unread, _) in outcomes.items() if unread or status != "succeeded"}
    cut, stale = faults["truncated_grib"], faults["stale_idx"]
    whole = {r.path.lstrip("/") for r in server.requests if r.status == 200}
    assert stale in whole
    assert cut not in whole  # it would be no help
    size = (root / cut).stat().st_size
    expected = {(faults["missing_file"], name) for name in archive.variables}
    expected |= {
        (cut, MADE[t["var"]])
        for t in archive.truth
        if t["file"] == cut and t["offset"] + t["length"] > size
    }
    assert lost == gaps == expected
    assert outcomes[faults["missing_file"], MADE["TMP2m"]][0] is SourceFileStatus.NOT_YET_AVAILABLE
    assert f"the file has {size} bytes" in str(outcomes[cut, MADE["VGRD10m"]][2])
    assert "the inventory contradicts the file" in str(outcomes[stale, MADE["DSWRF"]][2])
    remaining = [t for t in archive.truth if (t["file"], MADE[t["var"]]) not in lost]
    assert check(tmp_path / "a.zarr", remaining) == len(archive.truth) - len(expected)


@pytest.mark.parametrize("store", ["a.zarr", "a.icechunk"])
def test_an_update_takes_what_is_published_so_far_and_completes_later(
    tmp_path, archive, client, store
):
    """A forecast that is still appearing is recorded, not shown; the rest follows, each once."""
    first, second = "gfs.20260801/00/*", "gfs.20260801/06/*"
    archive.server.hold("*")
    archive.server.release(first)
    dataset = Decoded(tmp_path / store, source_base=archive.server.url)
    names = [MADE["TMP2m"], MADE["APCP"]]
    dataset.backfill("2026-08-01T06", variables=names, client=client, now="2026-08-01T06")

    for lead in ("f000", "f003", "f006", "f009"):
        archive.server.release(f"{second}{lead}*")
    report = dataset.reformat_operational_update(client=client, now="2026-08-01T10")
    assert (report.positions_after, report.failures) == (1, [])
    assert "f012 not yet available" in (report.stops_because or "")
    (record,) = [r for r in dataset.store.progress() if r.start == 1]
    assert sum(file.status == "succeeded" for group in record.groups for file in group) == 4 + 3

    archive.server.release(second)
    report = dataset.reformat_operational_update(client=client, now="2026-08-01T11")
    assert (report.positions_after, report.stops_because) == (2, None)
    wanted = [t for n in (0, 1) for t in archive.of(n) if MADE[t["var"]] in names]
    with dataset.store.open_dataset() as ds:
        assert check(ds, wanted) == 2 * (9 + 8)
    sent = messages_sent(archive.server)
    assert len({(r.path, r.byte_range) for r in sent}) == len(sent)
    assert sum(r.nbytes for r in sent) == sum(t["length"] for t in wanted)


def test_what_completes_a_forecast_is_made_as_if_all_had_come_at_once(tmp_path, archive, client):
    """Means of steps that rest on files from before are right; two leads are fetched again."""
    late = Short(tmp_path / "late.zarr", source_base=archive.server.url)
    options: Mapping[str, Any] = {
        "variables": [MADE["APCP"], MADE["DSWRF"], MADE["TMP2m"]],
        "client": client,
    }
    archive.server.hold("*")
    for lead in ("000", "003", "006", "009", "018"):
        archive.server.release(f"*/00/*f{lead}*")
    late.backfill("2026-08-01T06", **options, now="2026-08-01T03")
    seen = len(messages_sent(archive.server))
    archive.server.release_all()
    report = late.reformat_operational_update(client=client, now="2026-08-01T05")
    assert (report.positions_after, report.stops_because, report.failures) == (1, None, [])
    leads = Counter(int(r.path[-3:]) for r in messages_sent(archive.server)[seen:])

    once = Short(tmp_path / "once.zarr", source_base=archive.server.url)
    once.backfill("2026-08-01T06", **options, now="2026-08-04")
    for path in sorted((tmp_path / "once.zarr").rglob("c/*")):
        if path.is_file():
            same = tmp_path / "late.zarr" / path.relative_to(tmp_path / "once.zarr")
            assert same.read_bytes() == path.read_bytes(), path
    # 12, 15, 21 and 24 h are new: one range for the instant, two for the periods. The periods of
    # 12 and 21 h begin where those of 9 and 18 h end.
    assert leads == {9: 2, 12: 3, 15: 3, 18: 2, 21: 3, 24: 3}


def test_an_archive_keeps_the_longest_lead_that_it_was_made_with(tmp_path, archive, client):
    """A backfill declares it, updates follow it, and another one is refused."""
    dataset = NoaaGfsForecast1Deg(tmp_path / "a.zarr", source_base=archive.server.url)
    options: Mapping[str, Any] = {"start": START, "variables": [MADE["TMP2m"]], "max_lead": "6h"}
    report = dataset.backfill("2026-08-01T06", **options, client=client, now="2026-08-01T06")
    assert (report.positions_after, report.failures) == (1, [])

    report = dataset.reformat_operational_update(client=client, now="2026-08-01T10")

    assert (report.positions_after, report.stops_because) == (2, None)
    with xr.open_zarr(tmp_path / "a.zarr", decode_timedelta=True) as ds:
        assert (ds.lead_time.values / np.timedelta64(1, "h")).tolist() == [0, 3, 6]
        assert not ds.temperature_2m.isnull().any()
    fetched = {r.path.split(".f")[1][:3] for r in archive.server.requests}
    assert fetched == {"000", "003", "006"}
    with pytest.raises(ValueError, match="made with max lead 6h, not 9h"):
        dataset.plan("2026-08-02", max_lead="9h")
    for wrong, why in (("7h", "nearest is 6h"), ("soon", "is no duration")):
        with pytest.raises(ValueError, match=why):
            NoaaGfsForecast1Deg(tmp_path / "b.zarr").plan("2026-08-02", max_lead=wrong)


def test_readers_get_cf_metadata_and_valid_times(tmp_path, archive, client):
    """Standard names, the grid mapping and the times of validity are where CF puts them."""
    dataset = Short(tmp_path / "a.zarr", source_base=archive.server.url)
    dataset.backfill("2026-08-01T12", variables=[MADE["APCP"]], client=client, now="2026-08-04")

    with xr.open_zarr(tmp_path / "a.zarr", decode_coords="all", decode_timedelta=True) as ds:
        rain = ds.precipitation_surface
        assert rain.attrs["standard_name"] == "precipitation_flux"
        assert rain.attrs["cell_methods"] == "lead_time: mean"
        assert rain.encoding["grid_mapping"] == "spatial_ref"
        assert ds.lead_time.dtype.kind == "m"
        assert ds.valid_time.values[1, -1] == np.datetime64("2026-08-02T06")
        assert {"valid_time", "spatial_ref"} <= set(ds.coords)
