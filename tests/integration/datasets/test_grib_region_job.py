"""Forecasts out of GRIB files by byte ranges, on messages that the tests make themselves."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from grib_messages import assemble, encode, sections
from gridmill import (
    Coordinate,
    DownloadFailed,
    DownloadSettings,
    DynamicalDataset,
    Encoding,
    NotAvailable,
    TemplateConfig,
)
from gridmill.authoring.forecasts import inventories
from gridmill.authoring.forecasts.job import ForecastFile, GribForecastJob
from gridmill.authoring.forecasts.variables import GribVar, Level, Window
from gridmill.authoring.grids import LatitudeLongitudeGrid
from gridmill.sources import kept
from gridmill.sources.fetch.download import FileIdentity
from gridmill.sources.grib.identity import Surface
from gridmill.sources.grib.inventory.message import Statistic
from gridmill.sources.grib.inventory.selection import Selector
from gridmill.testing import ArchiveServer, Status

HOUR = timedelta(hours=1)
INIT = pd.Timestamp("2026-08-01T06")
ACCUMULATION = Window(kind="accumulation", reset_every=6 * HOUR)


def variable(
    name: str,
    parameter: str,
    code: tuple[int, int, int],
    surface: Surface,
    level: str,
    window: Window | None = None,
) -> GribVar:
    """Declare a variable."""
    statistic = Statistic.INSTANT if window is None else Statistic.ACCUMULATION
    return GribVar(
        name=name,
        dims=("init_time", "lead_time", "latitude", "longitude"),
        encoding=Encoding(chunks=(1, 1, 31, 16)),
        attrs={"units": "1", "long_name": name},
        parameter=parameter,
        levels=(Level(level, surface),),
        statistic=statistic,
        codes=(code,),
        window=window,
    )


TEMPERATURE = variable("t2m", "TMP", (0, 0, 0), Surface(103, 2.0), "2 m above ground")
WIND = variable("u10", "UGRD", (0, 2, 2), Surface(103, 10.0), "10 m above ground")
RAIN = variable("rain", "APCP", (0, 1, 8), Surface(1, None), "surface", ACCUMULATION)
VARIABLES = (TEMPERATURE, WIND, RAIN)
# Not asked for by anyone, and large: what is between the others.
FILLING = "PRMSL:mean sea level:6 hour fcst"


def values(seed: int) -> np.ndarray:
    """Make a field of exact float32 values on the sample's grid."""
    return np.random.default_rng(seed).normal(size=(31, 16)).astype("float32")


def message(
    var: GribVar | None, seed: int, *, lead: int = 6, init: pd.Timestamp = INIT, start: int = 0
) -> bytes:
    """Encode a field as the variable's message; None gives one of another parameter."""
    code, surface = (
        ((0, 3, 1), Surface(101, None)) if var is None else (var.codes[0], var.levels[0].surface)
    )
    keys: dict[str, object] = {}
    if var is not None and var.window is not None:
        keys["productDefinitionTemplateNumber"] = 8
    keys |= {
        "discipline": code[0],
        "parameterCategory": code[1],
        "parameterNumber": code[2],
        "typeOfFirstFixedSurface": surface.type,
        "scaleFactorOfFirstFixedSurface": 0,
        "scaledValueOfFirstFixedSurface": int(surface.value or 0),
        "dataDate": int(f"{init:%Y%m%d}"),
        "dataTime": init.hour * 100,
    }
    if var is not None and var.window is not None:
        keys |= {"typeOfStatisticalProcessing": 1, "stepRange": f"{start}-{lead}"}
    else:
        keys["forecastTime"] = lead
    return encode(values(seed), packing="grid_ieee", keys=keys)


def description(var: GribVar | None, lead: int = 6) -> str:
    """Give the variable's text in an inventory."""
    if var is None:
        return FILLING
    step = f"{lead} hour fcst" if var.window is None else f"0-{lead} hour acc fcst"
    return f"{var.parameter}:{var.levels[0].name}:{step}"


@dataclass(frozen=True, kw_only=True)
class File(ForecastFile):
    """A file of the tests' provider."""

    def get_url(self) -> str:
        return f"{self.init_time:%Y%m%d%H}.f{self.lead_time // HOUR:03d}"


class Job(GribForecastJob[File]):
    """Reads them."""

    file_type = File
    max_gap_nbytes = 64
    download_settings = DownloadSettings(attempts=2, wait_initial_s=0.01, wait_max_s=0.01)


@dataclass
class Provider:
    """Serves one file, and reads it as a worker would."""

    root: Path
    server: ArchiveServer
    coord: File
    job: Job

    def put(self, fields: Sequence[tuple[str, bytes]], *, inventory: bool = True) -> None:
        """Write the file out of messages, and its inventory out of their descriptions."""
        path = self.root / self.coord.get_url()
        path.write_bytes(b"".join(data for _, data in fields))
        lines, offset = [], 0
        for number, (text, data) in enumerate(fields, 1):
            lines.append(f"{number}:{offset}:d={INIT:%Y%m%d%H}:{text}:\n")
            offset += len(data)
        if inventory:
            self.inventory.write_text("".join(lines))

    @property
    def inventory(self) -> Path:
        return self.root / f"{self.coord.get_url()}.idx"

    def download(self) -> File:
        """Download as a worker does, and give the file with its local path."""
        done = self.job.download_file(self.coord)
        return File(
            init_time=INIT,
            lead_time=self.coord.lead_time,
            downloaded_path=done.path,
            etag=done.etag,
            nbytes=done.nbytes,
        )

    @property
    def served(self) -> int:
        return sum(request.nbytes for request in self.server.requests)


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    """Serve what a test puts."""
    root, local = tmp_path / "provider", tmp_path / "local"
    root.mkdir()
    local.mkdir()
    with ArchiveServer(root) as server:
        server.release_all()
        coord = File(init_time=INIT, lead_time=pd.Timedelta(hours=6))
        job = Job(
            template_ds=xr.Dataset(),
            data_vars=VARIABLES,
            append_dim="init_time",
            region=slice(0, 1),
            source_base=(server.url,),
            download_dir=local,
        )
        yield Provider(root, server, coord, job)


ALL = [(None, 0), (TEMPERATURE, 1), (None, 2), (WIND, 3), (RAIN, 4), (None, 5)]


def fields() -> list[tuple[str, bytes]]:
    """Give a file's messages in order, with their descriptions."""
    return [(description(var), message(var, seed)) for var, seed in ALL]


def check_all(provider: Provider, file: File) -> None:
    """Compare every variable with what was encoded."""
    for var, seed in ((TEMPERATURE, 1), (WIND, 3), (RAIN, 4)):
        found = provider.job.read_data(file, var)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, values(seed))
        out = np.full((3, *found.shape), 7, np.float32)
        provider.job.read_data_into(file, var, out[1])
        np.testing.assert_array_equal(out[1], found)
        assert (out[::2] == 7).all()


def test_only_the_needed_messages_are_fetched(provider):
    """The server sends the inventory and the bytes of three messages, and the values are theirs."""
    provider.put(fields())

    file = provider.download()

    check_all(provider, file)
    needed = sum(len(data) for text, data in fields() if text != FILLING)
    assert provider.served == needed + provider.inventory.stat().st_size
    assert file.nbytes == needed
    assert file.etag == provider.server.requests[-1].etag
    # The inventory, and two runs of messages.
    assert len(provider.server.requests) == 3


def test_a_job_for_one_variable_fetches_one_message(provider):
    """What is repaired costs its own bytes, not those of its group."""
    provider.put(fields())
    vars(provider.job)["data_vars"] = (WIND,)

    file = provider.download()

    np.testing.assert_array_equal(provider.job.read_data(file, WIND), values(3))
    assert file.nbytes == len(message(WIND, 3))


@pytest.mark.parametrize("text", [None, "<no inventory>\n", "1:0:d=2026"])
def test_without_an_inventory_the_whole_file_is_fetched(provider, caplog, text):
    """No inventory, or none that can be read, costs bytes, says so, and gives the same values."""
    provider.put(fields(), inventory=False)
    if text is not None:
        provider.inventory.write_text(text)

    with caplog.at_level(logging.DEBUG, "gridmill.authoring.forecasts"):
        file = provider.download()

    check_all(provider, file)
    assert "fetching the whole file" in caplog.text
    assert file.nbytes == (provider.root / provider.coord.get_url()).stat().st_size


def test_a_kept_inventory_that_contradicts_its_file_is_fetched_anew(provider):
    """The first who finds it stale replaces it; another upload in the same run is read by it."""
    vars(provider.job)["attempt"] = f"run-{id(provider)}"
    provider.put(fields())
    check_all(provider, provider.download())
    provider.put([(FILLING, message(None, 7)), *fields()])

    check_all(provider, provider.download())
    check_all(provider, provider.download())

    asked = [one for one in provider.server.requests if one.path.endswith(".idx")]
    assert len(asked) == 2


def test_an_inventory_that_stays_wrong_is_fetched_twice_in_all(provider):
    """Where what is there anew contradicts the file as well, nobody after the first asks again."""
    vars(provider.job)["attempt"] = f"run-{id(provider)}"
    provider.put(fields())
    text = provider.inventory.read_text()
    provider.put([(FILLING, message(None, 7)), *fields()])
    provider.inventory.write_text(text)

    for _ in range(3):
        check_all(provider, provider.download())

    asked = [one for one in provider.server.requests if one.path.endswith(".idx")]
    assert len(asked) == 2


@pytest.mark.parametrize("most", [kept.MOST_NBYTES_ON_DISK, 0])
def test_what_processes_share_is_bounded(provider, tmp_path, monkeypatch, most):
    """Who has not read an inventory takes it from the folder; the oldest make room."""
    monkeypatch.setattr(kept, "MOST_NBYTES_ON_DISK", most)
    folder = tmp_path / "shared"
    kept.keep_files(folder)
    try:
        vars(provider.job)["attempt"] = f"run-{id(provider)}"
        provider.put(fields())
        for _ in range(3):
            check_all(provider, provider.download())
            inventories._known.clear()  # as another process
            (folder / "old").write_bytes(b"x")
    finally:
        kept.keep_files(None)

    asked = [one for one in provider.server.requests if one.path.endswith(".idx")]
    assert len(asked) == 1 if most else len(asked) >= 1
    assert (folder / "old").exists()
    if not most:
        assert sum(path.stat().st_size for path in folder.iterdir()) < 1000


def test_where_there_is_no_room_to_share_each_fetches_for_itself(provider, tmp_path):
    """A folder that cannot be made costs requests, and nothing else."""
    (tmp_path / "file").touch()
    kept.keep_files(tmp_path / "file" / "below")
    try:
        vars(provider.job)["attempt"] = f"run-{id(provider)}"
        provider.put(fields())
        check_all(provider, provider.download())
    finally:
        kept.keep_files(None)


def test_a_line_that_cannot_be_read_sends_for_the_whole_file(provider):
    """An index whose line of a variable says nonsense is no use, though others could be read."""
    provider.put(fields(), inventory=False)
    provider.inventory.write_text('{"param": "TMP", "_offset": 0, "_length": 0}\n')

    check_all(provider, provider.download())


def test_one_odd_message_hides_nothing_of_a_file_without_inventory(provider):
    """A month 0, a grid that contradicts itself and a bulletin's letters cost what they are of."""
    month_0 = bytearray(message(None, 9))
    month_0[30] = 0  # octet 15 of section 1
    cut = bytearray(message(None, 9))
    cut[40] = 99  # the length of section 3
    odd = [
        ("odd", b"YAXX90 KWBC GRIB BULLETIN"),
        ("month", bytes(month_0)),
        ("cut", bytes(cut)),
    ]
    provider.put([*odd, *fields()], inventory=False)

    check_all(provider, provider.download())


def test_what_is_not_found_names_the_message_that_could_not_be_read(provider):
    """Whoever looks for a variable learns of the message that may have been it."""
    month_0 = bytearray(message(WIND, 3))
    month_0[30] = 0
    rest = [field for field in fields() if not field[0].startswith("UGRD")]
    provider.put([("odd", bytes(month_0)), *rest], inventory=False)

    file = provider.download()

    np.testing.assert_array_equal(provider.job.read_data(file, TEMPERATURE), values(1))
    with pytest.raises(ValueError, match=r"no message that is .*UGRD.* at byte 0: the reference"):
        provider.job.read_data(file, WIND)


@pytest.mark.parametrize("inventory", [True, False])
def test_a_missing_message_makes_one_variable_unreadable(provider, inventory):
    """The variable whose message the file lacks is named; the others are read."""
    provider.put([f for f in fields() if not f[0].startswith("UGRD")], inventory=inventory)

    file = provider.download()

    np.testing.assert_array_equal(provider.job.read_data(file, TEMPERATURE), values(1))
    with pytest.raises(ValueError, match="UGRD"):
        provider.job.read_data(file, WIND)


def test_a_file_without_any_of_the_messages_still_has_an_identity(provider):
    """A file that lacks every variable is unreadable as this version of it, not as absent."""
    provider.put([(FILLING, message(None, 1))])

    file = provider.download()

    assert file.etag
    with pytest.raises(ValueError, match="none of 1 messages"):
        provider.job.read_data(file, TEMPERATURE)


@pytest.mark.parametrize("inventory", [True, False])
def test_a_truncated_file_loses_only_what_lies_beyond_its_end(provider, inventory):
    """Messages before the end are read; those beyond it are unreadable, and said to be."""
    provider.put(fields(), inventory=inventory)
    path = provider.root / provider.coord.get_url()
    whole = sum(len(data) for _, data in fields()[:4])
    path.write_bytes(path.read_bytes()[: whole + 100])

    file = provider.download()

    np.testing.assert_array_equal(provider.job.read_data(file, TEMPERATURE), values(1))
    np.testing.assert_array_equal(provider.job.read_data(file, WIND), values(3))
    with pytest.raises(ValueError, match=f"{whole + 100}|{whole}"):
        provider.job.read_data(file, RAIN)


def test_without_the_inventory_of_another_upload_the_file_is_read_whole(provider):
    """Offsets that do not lead to a message make no variable wrong, and none missing."""
    provider.put(fields())
    text = provider.inventory.read_text()
    lines = [line.split(":", 2) for line in text.splitlines()]
    moved = [f"{n}:{int(at) + 7 * (int(n) > 1)}:{rest}\n" for n, at, rest in lines]
    provider.inventory.write_text("".join(moved))

    file = provider.download()

    np.testing.assert_array_equal(provider.job.read_data(file, TEMPERATURE), values(1))
    np.testing.assert_array_equal(provider.job.read_data(file, WIND), values(3))


def test_an_inventory_that_was_written_anew_meanwhile_is_used(provider, monkeypatch):
    """A stale copy is fetched once more, before the whole file is."""
    provider.put(fields())
    right = provider.inventory.read_bytes()
    stale = right.replace(b"2:2154:", b"2:2161:")
    provider.inventory.write_bytes(stale)
    reads = iter([stale, right])
    monkeypatch.setattr(
        inventories,
        "read_version",
        lambda url, settings: (next(reads), FileIdentity(etag="a")),
    )

    file = provider.download()

    assert next(reads, None) is None
    np.testing.assert_array_equal(provider.job.read_data(file, TEMPERATURE), values(1))
    assert not file.downloaded_path.with_name(f"{file.downloaded_path.name}.whole").exists()


class Late(Job):
    """Its forecasts are due one hour after they began."""

    publication_delay = timedelta(hours=1)


def test_an_inventory_that_changes_heals_what_it_hid(tmp_path, provider, client):
    """At once, though the file is as it was and nothing else is due; and nothing else is asked."""

    class Dataset(Generated):
        region_job = Late

    dataset = Dataset(tmp_path / "a.zarr", source_base=provider.server.url)
    for lead in (0, 3, 6):
        put_lead(provider, lead)
    right = provider.inventory.read_text()
    provider.inventory.write_text(right.replace("UGRD", "VGRD"))
    options = {"client": client, "until": "2026-08-01T12"}
    now = pd.Timestamp("2026-08-01T11")
    report = dataset.reformat_operational_update(now=now, **options)
    assert [gap.variables for gap in report.gaps] == [["u10"]]
    soon = now + pd.Timedelta(minutes=1)
    assert dataset.reformat_operational_update(now=soon, **options).variables_done == 0
    provider.inventory.write_text(right)
    dataset.reformat_operational_update(now=soon, **options)
    assert dataset.status(now=soon).pending == 0
    with xr.open_zarr(tmp_path / "a.zarr", chunks=None, decode_timedelta=True) as stored:
        np.testing.assert_array_equal(stored.u10.values[0, 2], values(6))


def test_an_inventory_that_is_cut_off_is_not_needed(provider):
    """Its last line's message does not end where the file does: the whole file is searched."""
    provider.put(fields())
    lines = provider.inventory.read_text().splitlines(keepends=True)
    provider.inventory.write_text("".join(lines[:4]))

    file = provider.download()

    np.testing.assert_array_equal(provider.job.read_data(file, TEMPERATURE), values(1))
    np.testing.assert_array_equal(provider.job.read_data(file, WIND), values(3))


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (lambda: message(WIND, 1), "parameter"),
        (lambda: message(TEMPERATURE, 1, lead=9), "end step"),
        (lambda: message(TEMPERATURE, 1, init=INIT + 6 * HOUR), "reference time"),
        (
            lambda: message(variable("t", "TMP", (0, 0, 0), Surface(103, 80.0), "80 m"), 1),
            "surface",
        ),
    ],
)
def test_a_message_must_be_what_the_inventory_calls_it(provider, other, reason):
    """Another parameter, lead, run or level under the right line is refused with the reason."""
    provider.put([(description(TEMPERATURE), other())])

    file = provider.download()

    # Where the file holds another variable in its place, it is used without the inventory.
    with pytest.raises(ValueError, match=f"{reason}|without an inventory, has no message"):
        provider.job.read_data(file, TEMPERATURE)


LEVELS = tuple(Level(f"{hpa} mb", Surface(100, 100.0 * hpa)) for hpa in (850, 500))


def on_level(level: Level) -> GribVar:
    """Declare the temperature on one level."""
    assert level.surface is not None
    return variable("t", "TMP", (0, 0, 0), level.surface, str(level.name))


@pytest.mark.parametrize("inventory", [True, False])
def test_levels_are_read_in_the_order_of_their_dim(provider, inventory):
    """A variable on several levels is an array of as many messages; without one it has no value."""
    layered = replace(on_level(LEVELS[0]), levels=LEVELS)
    high, low = on_level(LEVELS[1]), on_level(LEVELS[0])
    vars(provider.job)["data_vars"] = (layered,)
    parts = [(description(v), message(v, seed)) for v, seed in ((high, 5), (low, 8), (WIND, 3))]
    provider.put(parts, inventory=inventory)

    found = provider.job.read_data(provider.download(), layered)

    np.testing.assert_array_equal(found, np.stack([values(8), values(5)]))
    out = np.empty(found.shape, np.float32)
    provider.job.read_data_into(provider.download(), layered, out)
    np.testing.assert_array_equal(out, found)
    provider.put(parts[1:], inventory=inventory)
    with pytest.raises(ValueError, match="500 mb"):
        provider.job.read_data(provider.download(), layered)


def test_what_an_author_makes_of_messages_is_what_enters_the_archive(provider):
    """Whoever overrides `read_data` need not know that values are decoded into their place."""

    class Doubled(Job):
        def read_data(self, coord, data_var):
            return 2 * super().read_data(coord, data_var)

    provider.put(fields())
    file = provider.download()
    job = object.__new__(Doubled)
    vars(job).update(vars(provider.job))
    out = np.empty((31, 16), np.float32)

    job.read_data_into(file, WIND, out)

    np.testing.assert_array_equal(out, 2 * values(3))


def test_values_of_another_dtype_are_converted(provider):
    """An archive may keep float64."""
    provider.put(fields())
    out = np.empty((31, 16))

    provider.job.read_data_into(provider.download(), WIND, out)

    np.testing.assert_array_equal(out, values(3))


@pytest.mark.parametrize("shape", [(30, 16), (31 * 16,), (1, 31, 16), (2, 31, 16)])
def test_a_message_that_does_not_fit_its_place_is_refused(provider, shape):
    """Nor is it spread over a place of as many values."""
    provider.put(fields())
    file = provider.download()

    with pytest.raises(ValueError, match="shape"):
        provider.job.read_data_into(file, WIND, np.empty(shape, np.float32))


def test_units_that_a_provider_changes_are_told_apart(provider):
    """Values are multiplied by the factor of the message's units; other units are refused."""
    in_millikelvin = replace(TEMPERATURE, factors={"K": 1000.0})
    in_celsius = replace(TEMPERATURE, factors={"degC": 1.0})
    provider.put(fields())
    file = provider.download()

    found = provider.job.read_data(file, in_millikelvin)

    np.testing.assert_array_equal(found, values(1) * np.float32(1000))
    with pytest.raises(ValueError, match="t2m are in 'K', not in degC"):
        provider.job.read_data(file, in_celsius)


def test_a_message_on_another_grid_is_refused(provider, monkeypatch):
    """Values of a grid of the same shape elsewhere on Earth do not enter the archive."""
    provider.put(fields())
    monkeypatch.setattr(Job, "grid", LatitudeLongitudeGrid(step_degrees=6.0))

    file = provider.download()

    with pytest.raises(ValueError, match=r"not 60 longitude|not 31 latitude|latitude runs from 60"):
        provider.job.read_data(file, TEMPERATURE)


def test_the_first_of_two_equal_lines_is_taken(provider):
    """Up to the first reset a total comes twice, once since the reset and once since the start."""
    provider.put([*fields()[:4], (description(RAIN), message(RAIN, 4)), fields()[4]])

    file = provider.download()

    np.testing.assert_array_equal(provider.job.read_data(file, RAIN), values(4))


@pytest.mark.parametrize("inventory", [True, False])
def test_fields_packed_into_one_message_are_told_apart(provider, inventory):
    """Each variable gets its own field of a message that holds several."""
    a, b = sections(message(TEMPERATURE, 1)), sections(message(WIND, 3))
    packed = assemble(a[0], a[1], a[3], *(s[k] for s in (a, b) for k in (4, 5, 6, 7)))
    provider.put([(FILLING, message(None, 0)), ("x", packed)], inventory=False)
    if inventory:
        at = len(message(None, 0))
        provider.inventory.write_text(
            f"1:0:d={INIT:%Y%m%d%H}:{FILLING}:\n"
            f"2.1:{at}:d={INIT:%Y%m%d%H}:{description(TEMPERATURE)}:\n"
            f"2.2:{at}:d={INIT:%Y%m%d%H}:{description(WIND)}:\n"
        )

    file = provider.download()

    np.testing.assert_array_equal(provider.job.read_data(file, TEMPERATURE), values(1))
    np.testing.assert_array_equal(provider.job.read_data(file, WIND), values(3))


def test_an_index_in_json_does_as_well(provider, monkeypatch):
    """ECMWF's inventories are found under their own name and read."""
    provider.put(fields(), inventory=False)
    monkeypatch.setattr(Job, "inventory_url", lambda self, url: f"{url}.index")
    monkeypatch.setattr(
        Job,
        "inventory_selectors",
        lambda self, coord, var: [Selector(parameter=var.name, level="sfc")],
    )
    lines, offset = [], 0
    for (var, _), (_, data) in zip(ALL, fields(), strict=True):
        entry = {"param": getattr(var, "name", "msl"), "levtype": "sfc", "step": "6"}
        lines.append(json.dumps({**entry, "_offset": offset, "_length": len(data)}) + "\n")
        offset += len(data)
    (provider.root / f"{provider.coord.get_url()}.index").write_text("".join(lines))

    file = provider.download()

    check_all(provider, file)
    assert file.nbytes == sum(len(data) for text, data in fields() if text != FILLING)


def test_an_absent_file_is_not_available(provider):
    """A file that is not there yet is absent, with and without an inventory."""
    with pytest.raises(NotAvailable):
        provider.download()
    provider.inventory.write_text(f"1:0:d={INIT:%Y%m%d%H}:{description(TEMPERATURE)}:\n")
    with pytest.raises(NotAvailable):
        provider.download()


def test_a_server_that_fails_is_a_failed_download(provider):
    """A file or an inventory that cannot be had now is no reason to fetch or to give up more."""
    provider.put(fields())
    for pattern in ("*.idx", provider.coord.get_url()):
        provider.server.inject(pattern, Status(status=503), times=None)
        with pytest.raises(DownloadFailed):
            provider.download()
        provider.server.clear_faults()
    check_all(provider, provider.download())


def test_variables_without_a_value_at_lead_0_do_not_ask_for_it(provider):
    """Accumulations have files from the first lead on, instants from lead 0 on."""
    leads = pd.to_timedelta([0, 3, 6], unit="h")
    ds = xr.Dataset(coords={"init_time": [INIT], "lead_time": leads})

    groups = provider.job.source_groups(VARIABLES)
    asked = [
        [f.get_url()[-4:] for f in provider.job.generate_source_file_coords(ds, group)]
        for group in groups
    ]

    assert groups == [[TEMPERATURE, WIND], [RAIN]]
    assert asked == [["f000", "f003", "f006"], ["f003", "f006"]]


def test_a_step_whose_base_is_missing_is_not_this_runs_own(provider):
    """A mean over a longer interval, as a file is missing, does not replace a published one."""
    vars(provider.job)["step_seconds"] = (0.0, 10800.0, 21600.0, 32400.0)
    filled = np.array([False, False, True, True]).reshape(1, 4, 1, 1)

    assert provider.job.provenance(filled, RAIN).ravel().tolist() == [False, False, False, True]
    assert provider.job.provenance(filled, TEMPERATURE) is filled


class Template(TemplateConfig):
    """Three leads of the tests' provider."""

    append_dim = "init_time"
    append_dim_start = "2026-08-01T06"
    append_dim_frequency = "6h"
    dataset_attributes = {"dataset_id": "generated-forecast", "title": "Generated"}
    coords = (
        Coordinate(name="init_time", dtype="int64", units="seconds since 1970-01-01"),
        Coordinate(name="lead_time", dtype="int64", units="seconds"),
        Coordinate(name="latitude"),
        Coordinate(name="longitude"),
    )
    dims = ("init_time", "lead_time", "latitude", "longitude")
    data_vars = VARIABLES

    def dimension_coordinates(self) -> dict[str, Any]:
        leads = pd.to_timedelta([0, 3, 6], unit="h")
        return {"lead_time": leads, "latitude": np.arange(31), "longitude": np.arange(16)}


class Generated(DynamicalDataset):
    """Forecasts that the tests make."""

    template_config = Template
    region_job = Job


def put_lead(provider: Provider, lead: int) -> None:
    """Write the file of one lead; a field's seed is its lead, plus 100 for the rain."""
    provider.coord = provider.job.source_file(INIT, pd.Timedelta(hours=lead))
    provider.put(
        [
            (description(TEMPERATURE, lead), message(TEMPERATURE, lead, lead=lead)),
            (description(WIND, lead), message(WIND, lead, lead=lead)),
            *([(description(RAIN, lead), message(RAIN, 100 + lead, lead=lead))] * (lead > 0)),
        ]
    )


def test_a_forecast_is_completed_by_the_next_update(tmp_path, provider, client):
    """What is there is taken, nothing is shown before all is; totals become rates."""
    dataset = Generated(tmp_path / "a.zarr", source_base=provider.server.url)
    put_lead(provider, 0)
    put_lead(provider, 3)
    report = dataset.backfill("2026-08-01T12", client=client, now="2026-08-01T07")
    assert (report.positions_after, report.failures) == (0, [])
    assert "f006 not yet available" in (report.stops_because or "")

    put_lead(provider, 6)
    report = dataset.reformat_operational_update(client=client, now="2026-08-01T08")

    assert (report.positions_after, report.stops_because) == (1, None)
    with xr.open_zarr(tmp_path / "a.zarr", chunks=None, decode_timedelta=True) as stored:
        ds = stored.isel(init_time=0).load()
    for at, lead in enumerate((0, 3, 6)):
        np.testing.assert_array_equal(ds.t2m.values[at], values(lead))
        np.testing.assert_array_equal(ds.u10.values[at], values(lead))
    assert np.isnan(ds.rain.values[0]).all()
    np.testing.assert_allclose(ds.rain.values[1], values(103) / 10800, rtol=1e-5)
    np.testing.assert_allclose(ds.rain.values[2], (values(106) - values(103)) / 10800, rtol=1e-5)
