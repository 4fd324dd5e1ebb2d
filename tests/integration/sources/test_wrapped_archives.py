"""Archives of files that come compressed, or in zips, are those of the plain files."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import random
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest

import daily_grib
import daily_netcdf as daily
from clusters import one_worker
from daily_netcdf import DAYS, LATS, LONS, Held, field, write
from gridmill import DownloadSettings, SourceFileStatus
from gridmill.pipeline.slabs.piece import is_as_it_came
from gridmill.pipeline.values import SourceFile
from gridmill.sources.grib.framing import iter_messages
from gridmill.sources.grib.messages import open_message
from gridmill.sources.wrapped.fetching import fetch_unwrapped
from gridmill.testing import ArchiveServer
from tiny import dataset_of, snapshot

END, LATE = "2020-01-09", DAYS[-1] + (DAYS[-1] - DAYS[-3])
BROKEN = 5


@dataclass(frozen=True, kw_only=True)
class GzipDay(daily.Day):
    """The compressed file of a day: nothing more is declared."""

    def get_url(self) -> str:
        """Give its name."""
        return f"{super().get_url()}.gz"


@dataclass(frozen=True, kw_only=True)
class XzDay(daily.Day):
    """One whose name does not say that it is compressed."""

    compression = "xz"


@dataclass(frozen=True, kw_only=True)
class MonthDay(daily.Day):
    """A member of a month's zip."""

    compression = "zip"

    def get_url(self) -> str:
        """Give the month's name."""
        return self.label.strftime("%Y%m.zip")

    def get_member(self) -> str:
        """Give the day's name there."""
        return self.label.strftime("*/%Y%m%d.nc")


def job_of(day: type[daily.Day]) -> type[daily.Job]:
    """Return a job whose files are of a class."""

    def generate(self: Any, ds: Any, group: Any) -> list[daily.Day]:
        return [day(label=label) for label in ds.get_index("time")]

    settings = DownloadSettings(attempts=1, expect="netcdf")
    parts = {"generate_source_file_coords": generate, "download_settings": settings}
    return type("Job", (daily.Job,), parts)


def zip_of(files: dict[str, bytes]) -> bytes:
    """Return a zip with a folder."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in files.items():
            opened.writestr(f"days/{name}", content)
    return out.getvalue()


FORMS: dict[type[daily.Day], Callable[[dict[str, bytes]], dict[str, bytes]]] = {
    GzipDay: lambda files: {f"{n}.gz": gzip.compress(content) for n, content in files.items()},
    XzDay: lambda files: {n: lzma.compress(content) for n, content in files.items()},
    MonthDay: lambda files: {"202001.zip": zip_of(files)},
}


client = one_worker()


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The plain files by their names."""
    path = tmp_path_factory.mktemp("days") / "day.nc"
    found = {}
    for number, day in enumerate(DAYS):
        held = Held(values=field(number), lats=LATS, lons=LONS, time=day)
        write(path, held, "NETCDF3_CLASSIC")
        found[day.strftime("%Y%m%d.nc")] = path.read_bytes()
    return found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ArchiveServer]:
    """A provider on loopback, without a file."""
    root = tmp_path / "provider"
    root.mkdir()
    with ArchiveServer(root) as server:
        yield server


def put(server: ArchiveServer, files: dict[str, bytes]) -> None:
    """Publish files."""
    for name, content in files.items():
        (server.root / name).write_bytes(content)
    server.release_all()


def archive(tmp_path: Path, server: ArchiveServer, name: str, job: Any) -> Any:
    """Return a dataset."""
    return dataset_of(template=daily.Template, job=job)(tmp_path / name, source_base=server.url)


def stored(dataset: Any) -> np.ndarray:
    """Return what readers see."""
    with dataset.store.open_dataset() as ds:
        return ds["t2m"].values


@pytest.mark.parametrize("day", FORMS)
def test_the_archive_is_that_of_the_plain_files(tmp_path, client, server, days, day):
    """Byte for byte; its records tell the checksum and size of what came, and nothing is redone."""
    packed = FORMS[day](days)
    plain = archive(tmp_path, server, "plain", job_of(daily.Day))
    put(server, days)
    plain.backfill(END, client=client, now=LATE)
    put(server, packed)
    dataset = archive(tmp_path, server, "packed", job_of(day))
    report = dataset.backfill(END, client=client, now=LATE)
    assert report.positions_after == len(DAYS)
    assert not report.problems
    assert snapshot(tmp_path / "packed") == snapshot(tmp_path / "plain")
    np.testing.assert_array_equal(stored(dataset), np.stack([field(n) for n in range(len(DAYS))]))
    groups = [group for record in dataset.store.progress() for group in record.groups]
    recorded = {(file.nbytes, file.checksum) for group in groups for file in group}
    assert recorded == {of_content(content) for content in packed.values()}
    assert dataset.backfill(END, client=client, now=LATE).nbytes_downloaded == 0


def of_content(content: bytes) -> tuple[int, str]:
    """Return size and checksum of what is served."""
    return len(content), f"whole-{google_crc32c.value(content):08x}"


def damage(content: bytes) -> bytes:
    """Cut the end off."""
    return content[:-9]


def bomb(content: bytes) -> bytes:
    """Put something large in its place."""
    return gzip.compress(bytes(2_000_000))


@pytest.mark.parametrize(
    ("fault", "why"), [(damage, "it is damaged (EOFError"), (bomb, "most_unpacked_nbytes")]
)
def test_what_cannot_be_unpacked_is_a_failure_to_read(tmp_path, client, server, days, fault, why):
    """It names the file, leaves a gap alone, and heals once the provider mends it."""
    files = FORMS[GzipDay](days)
    broken = list(files)[BROKEN]
    job = job_of(GzipDay)
    job.download_settings = DownloadSettings(attempts=1, most_unpacked_nbytes=1_000_000)
    put(server, {**files, broken: fault(files[broken])})
    dataset = archive(tmp_path, server, "a", job)
    report = dataset.backfill(END, client=client, now=LATE + (DAYS[1] - DAYS[0]))
    (gap,) = report.gaps
    assert gap.url == broken
    problems = [problem for problem in report.problems if broken in (problem.url or "")]
    assert {problem.status for problem in problems} == {SourceFileStatus.READ_FAILED}
    assert why in problems[0].detail
    found = stored(dataset)
    assert np.isnan(found[BROKEN]).all()
    assert not np.isnan(np.delete(found, BROKEN, 0)).any()
    put(server, files)
    dataset.backfill(END, client=client, now=LATE + 9 * (DAYS[1] - DAYS[0]))
    np.testing.assert_array_equal(stored(dataset)[BROKEN], field(BROKEN))


def test_what_was_unpacked_is_held_against_itself(tmp_path, server, days):
    """A worker's disk that changes it is found out, and what is as it was is not blamed."""
    put(server, {"a.nc.gz": gzip.compress(days["20200101.nc"])})
    done = fetch_unwrapped(f"{server.url}/a.nc.gz", tmp_path / "a.nc.gz")
    coord = GzipDay(
        label=DAYS[0],
        downloaded_path=done.path,
        checksum=done.checksum,
        unpacked=done.unpacked,
    )
    file = SourceFile(coord=coord, place={})
    assert is_as_it_came(file)
    with done.path.open("r+b") as out:
        out.seek(-1, os.SEEK_END)
        out.write(b"\xa5")
    assert not is_as_it_came(file)


class GzipForecast(daily_grib.Day):
    """The compressed file of a forecast."""

    def get_url(self) -> str:
        """Give its name."""
        return f"{super().get_url()}.gz"


class GzipForecasts(daily_grib.Job):
    """Reads messages of whole files."""

    file_type = GzipForecast
    download_settings = DownloadSettings(attempts=1)


def test_whole_grib_files_come_compressed(tmp_path, client, server):
    """They are fetched whole: an inventory beside them tells the bytes of what is in them."""
    for number in range(len(DAYS)):
        daily_grib.publish(server.root, number, "", random.Random(0))
    for path in list(server.root.glob("*.grib2")):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        index = path.with_name(f"{path.name}.idx")
        path.with_name(f"{path.name}.gz.idx").write_bytes(index.read_bytes())
    server.release_all()
    found = {}
    for name, job in (("plain", daily_grib.Job), ("packed", GzipForecasts)):
        kind = dataset_of(template=daily_grib.Template, job=job)
        dataset = kind(tmp_path / name, source_base=server.url)
        report = dataset.backfill(END, client=client, now=LATE)
        assert report.positions_after == len(DAYS)
        found[name] = snapshot(tmp_path / name)
    assert found["packed"] == found["plain"]
    (note,) = report.notes
    assert note.startswith("8 source files were fetched whole: it comes compressed")
    asked = [one for one in server.requests if ".gz" in one.path]
    assert len(asked) == len(DAYS)


REAL = sorted(Path(os.environ.get("GRIDMILL_TEST_DATA", "/nothing"), "S7_providers").rglob("*.?z"))


@pytest.mark.shared_data
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_what_providers_compress_is_unpacked(tmp_path, path):
    """MRMS's .gz, ECMWF's and Environment Canada's .xz are whole GRIB, message by message."""
    settings = DownloadSettings(attempts=1, expect="grib")
    done = fetch_unwrapped(str(path), tmp_path / path.name, settings=settings)
    opener = {".gz": gzip.open, ".xz": lzma.open}[path.suffix]
    with opener(path) as whole:
        assert done.path.read_bytes() == whole.read()
    messages = list(iter_messages(done.path))
    assert messages
    with open_message(messages[0].data) as message:
        values = np.full(message.shape, np.inf, "float32")
        message.decode_into(values)
    assert not np.isinf(values).any()
