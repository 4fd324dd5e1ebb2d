"""An ensemble whose members share a file: one look at each inventory, whoever needs it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from grib_messages import encode
from gridmill import Coordinate, DownloadSettings, DynamicalDataset, Encoding, TemplateConfig
from gridmill.authoring.forecasts.job import ForecastFile, GribForecastJob
from gridmill.authoring.forecasts.variables import GribVar, Level, Window
from gridmill.sources.grib.inventory.message import Statistic
from gridmill.sources.grib.inventory.selection import Selector
from gridmill.testing import ArchiveServer

HOUR = timedelta(hours=1)
MEMBERS = 51
LEADS = (0, 6)
INIT = pd.Timestamp("2026-08-01")
DIMS = ("init_time", "lead_time", "ensemble_member", "latitude", "longitude")
SHAPE = (3, 4)
KEYS = {
    "Ni": SHAPE[1], "Nj": SHAPE[0], "productDefinitionTemplateNumber": 1,
    "typeOfEnsembleForecast": 3, "dataDate": 20260801, "dataTime": 0,
    "iDirectionIncrementInDegrees": 20, "jDirectionIncrementInDegrees": 30,
    "latitudeOfFirstGridPointInDegrees": 60, "latitudeOfLastGridPointInDegrees": 0,
    "longitudeOfFirstGridPointInDegrees": 0, "longitudeOfLastGridPointInDegrees": 60,
}  # fmt: skip


def variable(name: str, number: int, window: Window | None = None, levels: int = 1) -> GribVar:
    """Declare a variable; one on several levels has a dim of them."""
    dims = DIMS if levels == 1 else (*DIMS[:3], "level", *DIMS[3:])
    rest = SHAPE if levels == 1 else (levels, *SHAPE)
    return GribVar(
        name=name,
        dims=dims,
        encoding=Encoding(chunks=(1, len(LEADS), MEMBERS, *rest)),
        attrs={"units": "1", "long_name": name},
        parameter=name,
        levels=tuple(Level("sfc" if levels == 1 else f"{at} pl") for at in range(levels)),
        codes=((0, 0, number),),
        statistic=Statistic.INSTANT if window is None else Statistic.ACCUMULATION,
        window=window,
    )


INSTANTS = (variable("2t", 1), variable("10u", 2))
RAIN = variable("tp", 3, Window(kind="extreme"))
LAYERED = variable("t", 4, levels=2)
VARIABLES = (*INSTANTS, RAIN, LAYERED)


def value_of(var: GribVar, lead: int, member: int, level: int) -> float:
    """Give the value of a whole field."""
    return 1000.0 * var.codes[0][2] + 100.0 * lead + member + 0.25 * level


class Template(TemplateConfig):
    """A forecast a day."""

    dims = DIMS
    append_dim = "init_time"
    append_dim_start = "2026-08-01"
    append_dim_frequency = "D"
    append_dim_capacity = 1000
    dataset_attributes = {"dataset_id": "ensemble", "title": "Ensemble"}
    coords = (
        Coordinate(name="init_time", dtype="int64", units="seconds since 1970-01-01",
                   calendar="proleptic_gregorian"),
        Coordinate(name="lead_time", dtype="int64", units="seconds"),
        Coordinate(name="ensemble_member", dtype="int16"),
        Coordinate(name="level"),
        Coordinate(name="latitude"),
        Coordinate(name="longitude"),
    )  # fmt: skip
    data_vars = VARIABLES

    def dimension_coordinates(self) -> dict[str, Any]:
        return {
            "lead_time": pd.to_timedelta(LEADS, unit="h"),
            "ensemble_member": np.arange(MEMBERS),
            "level": np.arange(2.0),
            "latitude": np.array([60.0, 30.0, 0.0]),
            "longitude": np.array([0.0, 20.0, 40.0, 60.0]),
        }


@dataclass(frozen=True, kw_only=True)
class File(ForecastFile):
    """The file of one lead, of all members."""

    def get_url(self) -> str:
        return url_of(self.lead_time // HOUR)


def url_of(lead: int) -> str:
    return f"{INIT:%Y%m%d}-{lead}h-enfo-ef.grib2"


class Job(GribForecastJob[File]):
    """Reads them."""

    file_type = File
    download_settings = DownloadSettings(attempts=2, wait_initial_s=0.01, wait_max_s=0.01)

    def inventory_url(self, url: str) -> str:
        return f"{url.removesuffix('.grib2')}.index"

    def inventory_selectors(self, coord: File, data_var: GribVar) -> list[Selector]:
        asked = self.message_selectors(coord, data_var)
        return [replace(one, start_step=None, statistic=None) for one in asked]


class Ensemble(DynamicalDataset):
    """Members share files."""

    template_config = Template
    region_job = Job


def encoded(var: GribVar, lead: int, member: int, level: int) -> bytes:
    """Encode a constant field."""
    keys: dict[str, Any] = {**KEYS, "parameterNumber": var.codes[0][2]}
    if var.window is not None:
        keys |= {"productDefinitionTemplateNumber": 11, "typeOfStatisticalProcessing": 1}
    keys |= {"perturbationNumber": member, "typeOfEnsembleForecast": 3 if member else 1}
    if var.window is not None:
        keys |= {"stepRange": f"0-{lead}"}
    else:
        keys |= {"forecastTime": lead}
    field = np.full(SHAPE, value_of(var, lead, member, level))
    return encode(field, packing="grid_ieee", keys=keys)


def publish(root: Path) -> None:
    """Write the file of each lead and its index, member by member."""
    for lead in LEADS:
        lines, data = [], b""
        for member in range(MEMBERS):
            for var in VARIABLES:
                if var.window is not None and not lead:
                    continue
                for level in range(len(var.levels)):
                    one = encoded(var, lead, member, level)
                    line = {
                        "domain": "g", "date": f"{INIT:%Y%m%d}", "time": "0000", "expver": "0001",
                        "type": "pf" if member else "cf", "stream": "enfo", "step": str(lead),
                        "levtype": "sfc" if len(var.levels) == 1 else "pl", "param": var.parameter,
                        "_offset": len(data), "_length": len(one),
                    }  # fmt: skip
                    if member:
                        line["number"] = str(member)
                    if len(var.levels) > 1:
                        line["levelist"] = str(level)
                    lines.append(json.dumps(line) + "\n")
                    data += one
        (root / url_of(lead)).write_bytes(data)
        (root / url_of(lead).replace(".grib2", ".index")).write_text("".join(lines))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ArchiveServer]:
    """Serve a forecast."""
    root = tmp_path / "provider"
    root.mkdir()
    publish(root)
    with ArchiveServer(root) as server:
        server.release_all()
        yield server


def asked(server: ArchiveServer, suffix: str) -> Counter[str]:
    """Count requests by file."""
    return Counter(one.path for one in server.requests if one.path.endswith(suffix))


def check_values(dataset: DynamicalDataset, variables: Sequence[GribVar] = VARIABLES) -> None:
    """Compare every value of the archive with what was encoded."""
    with dataset.store.open_dataset() as ds:
        for var in variables:
            for at, lead in enumerate(LEADS):
                if var.window is not None and not lead:
                    continue
                found = ds[var.name].isel(init_time=0, lead_time=at).load()
                for level in range(len(var.levels)):
                    one = found if len(var.levels) == 1 else found.isel(level=level)
                    want = [value_of(var, lead, member, level) for member in range(MEMBERS)]
                    assert (one.values == np.array(want)[:, None, None]).all(), (var.name, lead)


def test_an_inventory_is_fetched_once_for_members_and_groups(tmp_path, client, server):
    """51 members and three groups of variables ask for one index a lead, on two workers."""
    dataset = Ensemble(tmp_path / "a.zarr", source_base=server.url)
    report = dataset.backfill("2026-08-02", client=client, now="2026-08-03")
    assert (report.succeeded, report.positions_after) == (True, 1), report.problems
    check_values(dataset)
    of_index = asked(server, ".index")
    assert of_index == {url_of(lead).replace(".grib2", ".index"): 1 for lead in LEADS}
    # One request a file, member and group that has something there; messages are neighbours.
    assert sum(asked(server, ".grib2").values()) <= MEMBERS * (2 + 3) * 2
    index_nbytes = sum(one.nbytes for one in server.requests if one.path.endswith(".index"))
    written = sum(path.stat().st_size for path in (tmp_path / "provider").glob("*.index"))
    assert index_nbytes == written


def test_another_run_looks_anew(tmp_path, client, server):
    """What was kept was kept for one run: the next one asks for the inventories again."""
    for number in (1, 2):
        dataset = Ensemble(tmp_path / f"{number}.zarr", source_base=server.url)
        report = dataset.backfill("2026-08-02", client=client, now="2026-08-03")
        assert report.succeeded, report.problems
        assert set(asked(server, ".index").values()) == {number}
