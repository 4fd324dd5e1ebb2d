"""`gridmill new --from`: what it writes passes its contract, and stores what the files hold."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from click.testing import CliRunner

import gridmill
from gridmill.cli import ExitCode, cli
from gridmill.sources.grib.framing import iter_messages
from gridmill.sources.grib.messages import decode_message_into, message_identity
from gridmill.testing import ArchiveServer
from guarded import Guarded
from provider_samples import (
    SHAPE,
    counts,
    written_dated,
    written_forecasts,
    written_raster,
    written_yearly,
)

INITS = [datetime(2024, 5, 1), datetime(2024, 5, 1, 6)]
PATH = "fc.{init:%Y%m%d}/{init:%H}/fc.t{init:%H}z.f{lead:03d}"
MEMBERS = "{init:%Y%m%d%H}/m{member:02d}.f{lead:03d}.grib2"


def invoke(*arguments: str) -> Any:
    """Call the command line."""
    return CliRunner().invoke(cli, ["new", *map(str, arguments)])


def propose(folder: Path, *samples: object, more: tuple[str, ...] = ()) -> dict[str, Any]:
    """Write a package from samples; what was said of it."""
    named = [f"--from={sample}" for sample in samples]
    done = invoke("Institute", "Model", "--into", str(folder), "--json", *more, *named)
    assert done.exit_code == ExitCode.SUCCESS, done.output
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def passes_its_contract(folder: Path) -> None:
    """Run the package's own test as its author does, without installing it."""
    source = str(Path(gridmill.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 passed" in done.stdout


@pytest.fixture
def imported(monkeypatch) -> Iterator[Any]:
    """Import the dataset of a package that was written."""

    def load(folder: Path) -> Any:
        monkeypatch.syspath_prepend(str(folder))
        for name in [one for one in sys.modules if one.startswith("institute_model")]:
            del sys.modules[name]
        return importlib.import_module("institute_model").InstituteModel

    yield load
    for name in [one for one in sys.modules if one.startswith("institute_model")]:
        del sys.modules[name]


def archive_of(dataset: Any, store: Path, until: str, base: str | None = None) -> xr.Dataset:
    """Backfill from the samples' own server, and open what readers get."""
    given = {} if base is None else {"source_base": base}
    report = dataset(store, **given).backfill(until, client="none", now="2100-01-01")
    assert report.succeeded, f"{report.failures} {list(report.problems)}"
    return xr.open_zarr(store)


def decoded(path: Path) -> dict[tuple[int, ...], np.ndarray]:
    """Read a GRIB file with ecCodes alone: by parameter and level."""
    found = {}
    for message in iter_messages(path):
        identity = message_identity(message.data)
        values = np.empty(SHAPE, "float32")
        decode_message_into(values, message.data)
        surface = identity.first_surface
        assert surface is not None
        found[identity.category, identity.number, int(surface.value or 0)] = values
    return found


def test_forecasts_on_a_server_become_a_dataset_that_reads_them(tmp_path, imported):
    """Dims, levels, periods, path and step are those of the files; so is every value."""
    source = tmp_path / "source"
    files = written_forecasts(source, PATH, INITS, (0, 6, 12))
    with ArchiveServer(source) as server:
        server.release_all()
        urls = [f"{server.url}/{path.relative_to(source)}" for path in files]
        said = propose(tmp_path / "package", *urls)
        assert said["dims"] == ["init_time", "lead_time", "latitude", "longitude"]
        assert said["path"] == "fc.%Y%m%d/%H/fc.t%Hz.f{lead}"
        assert said["frequency"] == "6h"
        assert [one["name"] for one in said["variables"]] == [
            "temperature_2m",
            "wind_u",
            "precipitation_surface",
        ]
        stored = archive_of(imported(tmp_path / "package"), tmp_path / "a.zarr", "2024-05-01T12")
        for init in INITS:
            for lead in (0, 6, 12):
                plain = decoded(source / PATH.format(init=init, lead=lead))
                ours = stored.sel(init_time=init, lead_time=pd.Timedelta(hours=lead))
                np.testing.assert_array_equal(ours.temperature_2m, plain[0, 0, 2])
                np.testing.assert_array_equal(
                    ours.wind_u.sel(pressure_level=850), plain[2, 2, 85_000]
                )
                if lead:
                    np.testing.assert_array_equal(ours.precipitation_surface, plain[1, 8, 0])
    passes_its_contract(tmp_path / "package")


def test_members_in_files_of_their_own_become_a_dim(tmp_path):
    """By what the messages say, wherever the names have it."""
    files = written_forecasts(tmp_path / "source", MEMBERS, INITS[:1], (6,), (0, 1, 2))
    said = propose(tmp_path / "package", *files)
    assert said["dims"][:2] == ["init_time", "ensemble_member"]
    assert said["path"] == "%Y%m%d%H/m{member}.f{lead}.grib2"
    passes_its_contract(tmp_path / "package")


@pytest.mark.parametrize("suffix", ["nc", "gz", "bz2", "zip"])
def test_daily_files_wrapped_in_any_way(suffix, tmp_path, imported):
    """The archive equals what netCDF4 reads."""
    source = tmp_path / "source"
    source.mkdir()
    written_dated(tmp_path / "plain")
    files = written_dated(source, suffix)
    said = propose(tmp_path / "package", *files)
    assert said["frequency"] == "D"
    assert "%Y/analysis-%Y%m%d" in said["path"]
    stored = archive_of(imported(tmp_path / "package"), tmp_path / "a.zarr", "2024-03-01")
    for day in pd.date_range("2024-02-27", periods=3):
        with xr.open_dataset(tmp_path / f"plain/2024/analysis-{day:%Y%m%d}.nc") as plain:
            np.testing.assert_array_equal(stored.t2m.sel(time=day), plain.t2m[0])
    if suffix in ("gz", "zip"):
        passes_its_contract(tmp_path / "package")


def test_years_of_months_in_a_file_a_variable_and_a_calendar_of_360_days(tmp_path, imported):
    """The variable is a part of the names; a file fills twelve positions."""
    source = tmp_path / "source"
    source.mkdir()
    files = written_yearly(source, ("tas", "pr"))
    said = propose(tmp_path / "package", *files)
    assert said["frequency"] == "MS"
    assert said["path"] == "{name}_%Y.nc"
    stored = archive_of(imported(tmp_path / "package"), tmp_path / "a.zarr", "2003-01-01")
    assert stored.sizes["time"] == 24
    with xr.open_dataset(source / "pr_2002.nc") as plain:
        np.testing.assert_array_equal(stored.pr[12:], plain.pr)
    passes_its_contract(tmp_path / "package")


def test_groups_of_hdf5(tmp_path, imported):
    """As IMERG has them."""
    source = tmp_path / "source"
    files = written_dated(source, group="Grid")
    propose(tmp_path / "package", *files)
    stored = archive_of(imported(tmp_path / "package"), tmp_path / "a.zarr", "2024-03-01")
    with xr.open_dataset(files[1], group="Grid") as plain:
        np.testing.assert_array_equal(stored.rain[1], plain.rain[0])
    passes_its_contract(tmp_path / "package")


def test_rasters_say_their_time_in_their_names(tmp_path, imported):
    """As CHIRPS has them, compressed; no digit is lost, and later files are read as they say."""
    pytest.importorskip("rasterio")
    source = tmp_path / "source"
    source.mkdir()
    files = [written_raster(source, f"2024-05-0{day}", counts(day)) for day in (1, 2)]
    said = propose(tmp_path / "package", *files)
    assert said["frequency"] == "D"
    written_raster(source, "2024-05-03", counts(3), is_flipped=True, scale=0.5)
    dataset = imported(tmp_path / "package")
    stored = archive_of(dataset, tmp_path / "a.zarr", "2024-05-04")
    np.testing.assert_array_equal(stored.band_1[1], counts(2))
    np.testing.assert_array_equal(stored.band_1[2], counts(3) / 2)
    written_raster(source, "2024-05-04", counts(4), crs="EPSG:4267")
    report = dataset(tmp_path / "a.zarr").backfill("2024-05-05", client="none", now="2100-01-01")
    assert any("EPSG:4267, and EPSG:4326 is wanted" in str(one) for one in report.problems)
    assert np.isnan(xr.open_zarr(tmp_path / "a.zarr").band_1[3:]).all()
    assert '"gridmill[geotiff]"' in (tmp_path / "package/pyproject.toml").read_text()
    passes_its_contract(tmp_path / "package")


@pytest.mark.parametrize("dims", [("valid_time", "lat", "lon"), ("lat", "lon", "date")])
def test_a_store_of_zarr_is_read_region_by_region(dims, tmp_path, imported):
    """Whatever it calls its time, wherever that stands; a revised chunk is taken in."""
    source = tmp_path / "source" / "analysis"
    (time,) = set(dims) - {"lat", "lon"}
    with xr.open_mfdataset(written_dated(tmp_path / "days")) as whole:
        renamed = whole.load().drop_encoding().rename(time=time).transpose(*dims)
        renamed.to_zarr(source, encoding={"rain": {"chunks": (1, 31, 16)}})
    propose(tmp_path / "package", source)
    dataset = imported(tmp_path / "package")
    with ArchiveServer(source.parent) as server:
        server.release_all()
        archive_of(dataset, tmp_path / "a.zarr", "2024-03-01", server.url)
        zarr.open_array(source / "rain")[0] = 1.0
        updated = dataset(tmp_path / "a.zarr", source_base=server.url)
        report = updated.reformat_operational_update(now="2024-03-01")
        assert report.succeeded, list(report.problems)
    with xr.open_zarr(source) as plain, xr.open_zarr(tmp_path / "a.zarr") as stored:
        np.testing.assert_array_equal(stored.t2m, plain.t2m.transpose(time, ...))
        np.testing.assert_array_equal(stored.rain, plain.rain.transpose(time, ...))
    passes_its_contract(tmp_path / "package")


def test_a_store_is_asked_for_times_as_it_has_them(tmp_path, imported):
    """Those of months lie on no first day."""
    (days,) = written_yearly(tmp_path, ("tas",))[:1]
    with xr.open_dataset(days) as opened:
        opened.load().drop_encoding().to_zarr(tmp_path / "source.zarr")
    propose(tmp_path / "package", tmp_path / "source.zarr")
    stored = archive_of(imported(tmp_path / "package"), tmp_path / "a.zarr", "2002-01-01")
    with xr.open_zarr(tmp_path / "source.zarr") as plain:
        np.testing.assert_array_equal(stored.tas, plain.tas)
    passes_its_contract(tmp_path / "package")


def test_a_dry_run_writes_nothing(tmp_path):
    """It shows what is proposed and asked."""
    files = written_dated(tmp_path / "source")
    named = [f"--from={path}" for path in files]
    done = invoke("a", "b", "--into", str(tmp_path / "package"), "--dry-run", *named)
    assert done.exit_code == ExitCode.SUCCESS, done.output
    assert "Nothing was written" in done.output
    assert "what are the title, institution, source and license?" in done.output
    assert not (tmp_path / "package").exists()


def test_questions_are_marked_in_the_code_and_few(tmp_path):
    """Each with why it is asked; in the package's README with what to look at."""
    files = written_forecasts(tmp_path / "source", PATH, INITS[:1], (6,))
    said = propose(tmp_path / "package", *files)
    assert 3 < len(said["questions"]) <= 12
    code = (tmp_path / "package/institute_model/dataset.py").read_text()
    assert "# QUESTION: is 6h the step of init_time?" in code
    assert code.count("# QUESTION: ") >= len(said["questions"]) - 1
    readme = (tmp_path / "package/README.md").read_text()
    assert all(one["look_at"] in " ".join(readme.split()) for one in said["questions"])


def test_chosen_variables_alone_are_proposed(tmp_path):
    """By the names that a dry run shows; others are refused with those that there are."""
    files = written_forecasts(tmp_path / "source", PATH, INITS[:1], (6,))
    said = propose(tmp_path / "package", *files, more=("--variables", "temperature_2m"))
    assert [one["name"] for one in said["variables"]] == ["temperature_2m"]
    done = invoke("a", "b", "--variables", "snow", f"--from={files[0]}")
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert "known: temperature_2m" in done.output


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>Log in</html>", "none of GRIB, netCDF"),
        (b"", "none of GRIB, netCDF"),
        (b"GRIB\x00\x00\x00\x02 cut off", "no message that can be archived"),
        (b"\x89HDF\r\n\x1a\n broken", "cannot be read"),
        (b"CDF\x01", "cannot be read"),
        (b"\x1f\x8b\x08 no gzip", "cannot be read"),
    ],
)
def test_what_is_no_weather_data_is_refused_in_one_line(content, said, tmp_path):
    """It is named, with what would be taken."""
    path = tmp_path / "sample"
    path.write_bytes(content)
    done = invoke("a", "b", "--into", str(tmp_path / "p"), f"--from={path}")
    assert done.exit_code == ExitCode.WRONG_INPUT, done.output
    assert said in done.output
    assert str(path) in done.output
    assert "Traceback" not in done.output
    assert not (tmp_path / "p").exists()


def inventory_of(path: Path, *, names: tuple[str, ...] = ("TMP", "UGRD", "UGRD")) -> Path:
    """Write beside a file of instants the inventory that NOAA would."""
    levels = ("2 m above ground", "850 mb", "500 mb")
    lines = [
        f"{n}:{m.offset}:d={INITS[0]:%Y%m%d%H}:{name}:{level}:anl:"
        for n, (m, name, level) in enumerate(zip(iter_messages(path), names, levels, strict=True))
    ]
    beside = path.with_name(f"{path.name}.idx")
    beside.write_text("".join(f"{line}\n" for line in lines))
    return beside


@pytest.mark.parametrize("is_on_a_server", [False, True])
def test_an_inventory_beside_a_file_is_found_and_used(is_on_a_server, tmp_path, imported):
    """Its names are those that are asked for, and the messages come by their ranges."""
    source = tmp_path / "source"
    (path,) = written_forecasts(source, PATH, INITS[:1], (0,))
    inventory_of(path)
    with ArchiveServer(source) as server:
        server.release_all()
        at = f"{server.url}/{path.relative_to(source)}" if is_on_a_server else str(path)
        said = propose(tmp_path / "package", at)
        assert said["inventory"] == ".idx"
        stored = archive_of(
            imported(tmp_path / "package"), tmp_path / "a.zarr", "2024-05-01T01", server.url
        )
        asked = [one.byte_range for one in server.requests if one.path.endswith("f000")]
        assert any(asked)
    code = (tmp_path / "package/institute_model/dataset.py").read_text()
    assert 'parameter="TMP"' in code
    plain = decoded(path)
    np.testing.assert_array_equal(stored.temperature_2m[0, 0], plain[0, 0, 2])


def test_an_inventory_of_another_file_is_not_used(tmp_path):
    """It is said; its offsets are those of other messages."""
    (path,) = written_forecasts(tmp_path / "source", PATH, INITS[:1], (0,))
    beside = inventory_of(path)
    beside.write_text(beside.read_text().replace(":0:d=", ":7:d="))
    said = propose(tmp_path / "package", path)
    assert said["inventory"] is None
    assert any("other messages than the file has" in line for line in said["left_out"])


def test_an_inventory_alone_asks_for_the_grid(tmp_path):
    """What stands in its place is said in the code, and the contract passes on made-up values."""
    (path,) = written_forecasts(tmp_path / "source", PATH, INITS[:1], (0,))
    beside = inventory_of(path)
    path.unlink()
    said = propose(tmp_path / "package", beside)
    assert said["grid"] == "unknown"
    assert "a global one of 1° stands in its place" in said["questions"][0]["why"]
    code = (tmp_path / "package/institute_model/dataset.py").read_text()
    assert "# QUESTION: which grid do the messages have?" in code
    passes_its_contract(tmp_path / "package")


def test_samples_without_a_date_in_their_names_are_read_where_they_lie(tmp_path, imported):
    """No folder is invented: a file holds the times that its name does not tell apart."""
    (path,) = written_forecasts(tmp_path / "source", "t{init:%H}z.f{lead:03d}", INITS[:1], (6,))
    said = propose(tmp_path / "package", path)
    assert said["path"] == "t%Hz.f{lead}"
    assert said["questions"][0]["question"] == "where is the date in a file's address?"
    stored = archive_of(imported(tmp_path / "package"), tmp_path / "a.zarr", "2024-05-01T01")
    np.testing.assert_array_equal(stored.temperature_2m[0, 0], decoded(path)[0, 0, 2])
    passes_its_contract(tmp_path / "package")


def test_a_day_of_arrays_without_a_date_is_not_stored_as_another_day(tmp_path, imported):
    """The file has one time; the next one is absent, and not the same values again."""
    (dated,) = written_dated(tmp_path / "source", days=1)
    path = dated.rename(tmp_path / "source" / "sample.nc")
    said = propose(tmp_path / "package", path)
    assert said["path"] == "sample.nc"
    dataset = imported(tmp_path / "package")
    stored = archive_of(dataset, tmp_path / "a.zarr", "2024-02-28")
    with xr.open_dataset(path) as plain:
        np.testing.assert_array_equal(stored.t2m[0], plain.t2m[0])
    dataset(tmp_path / "a.zarr").backfill("2024-02-29", client="none", now="2100-01-01")
    assert np.isnan(xr.open_zarr(tmp_path / "a.zarr").t2m[1:]).all()
    passes_its_contract(tmp_path / "package")


def test_a_part_of_names_that_nothing_explains_is_asked(tmp_path, imported):
    """Files of different times are one product, and those of the same time are not."""
    first, second = written_dated(tmp_path / "source", days=2)
    odd = second.rename(second.with_stem(f"{second.stem}_revised"))
    said = propose(tmp_path / "package", first, odd)
    assert any("'_revised'" in one["question"] for one in said["questions"])
    stored = archive_of(imported(tmp_path / "package"), tmp_path / "a.zarr", "2024-02-28")
    with xr.open_dataset(first) as plain:
        np.testing.assert_array_equal(stored.t2m[0], plain.t2m[0])
    again = first.with_stem(f"{first.stem}_revised")
    again.write_bytes(first.read_bytes())
    done = invoke("a", "b", f"--from={first}", f"--from={again}")
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert "give samples of one product" in done.output


def test_a_shell_completes_the_names_of_proposed_variables(tmp_path):
    """Those in samples on this disk; an address is not asked."""
    (path,) = written_forecasts(tmp_path / "source", PATH, INITS[:1], (6,))

    def offered(sample: object, begun: str) -> str:
        words = f"gridmill new a b --from {sample} --variables {begun}"
        env = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        shell = {**env, "_GRIDMILL_COMPLETE": "bash_complete"}
        return CliRunner().invoke(cli, [], prog_name="gridmill", env=shell).output

    assert offered(path, "temp").split(",")[1].strip() == "temperature_2m"
    assert "temperature_2m,wind_u" in offered(path, "temperature_2m,w")
    assert offered("http://127.0.0.1:9/a.grib2", "temp").strip() == ""


def test_names_and_questions_beyond_those_shown_are_not_lost(tmp_path):
    """JSON has all variables' names; every question stands in the code."""
    days = written_dated(tmp_path / "source", days=1)
    with xr.open_dataset(days[0]) as opened:
        first = opened.t2m.load().drop_attrs()
        many = xr.Dataset({f"field_{n:02d}": first for n in range(45)})
    many.time.attrs["standard_name"] = "time"
    many.to_netcdf(days[0])
    said = propose(tmp_path / "package", days[0])
    named = {one["name"] for one in said["variables"]} | set(said["other_variables"])
    assert named == {f"field_{n:02d}" for n in range(45)}
    assert len(said["questions"]) == 12
    assert "more questions?" in said["questions"][-1]["question"]
    code = (tmp_path / "package/institute_model/dataset.py").read_text()
    assert code.count("what are its units?") == 40


def test_samples_behind_a_credential_are_fetched_and_the_dataset_declares_it(tmp_path, monkeypatch):
    """By its place; without it, the refusal says what to do, and no file has the token."""
    source = tmp_path / "source"
    (path,) = written_forecasts(source, PATH, INITS[:1], (6,))
    monkeypatch.setenv("INSTITUTE_TOKEN", "t0ken-of-mine")
    with Guarded(source, "bearer", ["t0ken-of-mine"]) as server:
        url = f"{server.url}/{path.relative_to(source)}"
        refused = invoke("a", "b", "--into", str(tmp_path / "p"), f"--from={url}")
        assert refused.exit_code == ExitCode.WRONG_INPUT, refused.output
        rule = json.dumps({"kind": "bearer", "env": "INSTITUTE_TOKEN"})
        more = ("--credential", f"{server.url}={rule}")
        propose(tmp_path / "package", url, more=more)
    code = (tmp_path / "package/institute_model/dataset.py").read_text()
    assert f'BearerToken("{server.url}", env="INSTITUTE_TOKEN")' in code
    written = [p.read_bytes() for p in (tmp_path / "package").rglob("*") if p.is_file()]
    assert b"t0ken-of-mine" not in b"".join(written)


def test_credentials_of_an_address_are_nowhere(tmp_path):
    """Neither on the terminal nor in what is written."""
    source = tmp_path / "source"
    (file,) = written_dated(source, days=1)
    with ArchiveServer(source) as server:
        server.release_all()
        host = server.url.removeprefix("http://")
        url = f"http://me:s3cret@{host}/{file.relative_to(source)}?token=h1dden"
        said = propose(tmp_path / "package", url)
        missing = invoke("a", "b", f"--from=http://me:s3cret@{host}/x.nc?token=h1dden")
    assert missing.exit_code == ExitCode.WRONG_INPUT
    written = [p.read_bytes() for p in (tmp_path / "package").rglob("*") if p.is_file()]
    everything = b"".join(written).decode("latin1") + json.dumps(said) + missing.output
    assert "s3cret" not in everything
    assert "h1dden" not in everything


def test_samples_of_other_formats_or_products_are_refused(tmp_path):
    """No dataset has them together."""
    grib = written_forecasts(tmp_path / "g", PATH, INITS[:1], (6,))
    days = written_dated(tmp_path / "n", days=1)
    done = invoke("a", "b", f"--from={grib[0]}", f"--from={days[0]}")
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert "give samples of one product" in done.output


def test_options_of_samples_need_samples():
    """A file without --from is no silent mistake."""
    done = invoke("a", "b", "c.nc")
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert "need --from" in done.output
