"""What the demo shows: an archive that is built and kept current while somebody reads it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import xarray as xr
from rich.console import Console

from gridmill import connect
from gridmill.datasets.met_office.hadgem2_north_america import HadGem2NorthAmerica
from gridmill.datasets.met_office.ostia_sst_monthly import OstiaSstMonthly
from gridmill.demo.archive import (
    HADGEM2_SOURCES,
    OSTIA_SOURCE,
    build_hadgem2_archive,
    build_ostia_archive,
    ostia_path,
    sample_file,
)
from gridmill.demo.check import Check, check_coordinates, check_values, largest_rounding_error
from gridmill.demo.plots import Release, Run, Timeline, plot_demo
from gridmill.demo.reader import ReaderProcess, ReaderReport, Sighting
from gridmill.model.reports.run_report import RunReport
from gridmill.model.reports.spans import STAGES
from gridmill.runs.narration import Event
from gridmill.testing import ArchiveServer, S3Server

__all__ = ["BUCKET", "DemoFailed", "Tour"]

WORKERS = 2
BUCKET = "archives"
BACKFILL_UNTIL = "2010-07-01"
BACKFILLED = "51 months to June 2010"
# The months that arrive while the reader watches, and the days on which an update looks for them.
ARRIVALS = (
    ("July 2010", ostia_path(2010, 7), "2010-08-04"),
    ("August 2010", ostia_path(2010, 8), "2010-09-03"),
    ("September 2010", ostia_path(2010, 9), "2010-10-05"),
)
TOO_EARLY = "2010-08-02"
# So that the arrivals stand apart in the picture and in the eye of who watches.
PAUSE_S = 1.0


class DemoFailed(RuntimeError):  # noqa: N818
    """A run of the pipeline failed, so that there is nothing to continue with."""


@dataclass(frozen=True)
class Stores:
    """Where the demo keeps its archives, and how they are reached.

    Parameters
    ----------
    output
        Folder for all that it makes.
    s3
        The server that keeps the archives; None keeps them in the folder.
    """

    output: Path
    s3: S3Server | None

    @property
    def growing(self) -> str:
        """The archive that grows while it is read."""
        return f"{self._root}/ostia-sst-monthly.zarr"

    @property
    def second(self) -> str:
        """The archive with several variables."""
        return f"{self._root}/hadgem2-north-america.zarr"

    @property
    def writes(self) -> dict[str, Any] | None:
        """What a run needs to write the archives."""
        return None if self.s3 is None else self.s3.storage_options

    @property
    def reads(self) -> dict[str, Any] | None:
        """What anybody needs to read the archives: no credentials."""
        return None if self.s3 is None else {"anon": True, "endpoint_url": self.s3.endpoint_url}

    @property
    def _root(self) -> str:
        return str(self.output) if self.s3 is None else f"s3://{BUCKET}"


@dataclass
class Tour:
    """One run of the demo.

    Parameters
    ----------
    output
        Folder for all that it makes.
    console
        Where it tells what it does.
    s3
        The server that keeps the archives; None keeps them in the folder.

    Attributes
    ----------
    stores
        Where the archives are.
    checks
        What was claimed and whether it holds, in order.
    """

    output: Path
    console: Console
    s3: S3Server | None = None
    checks: list[Check] = field(default_factory=list)
    releases: list[Release] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def stores(self) -> Stores:
        """The stores of the archives; the server is started after this is made."""
        return Stores(self.output, self.s3)

    @property
    def picture(self) -> Path:
        """The picture."""
        return self.output / "el-nino.png"

    def run(self) -> bool:
        """Show everything; whether every check passed.

        - build the providers' archives and serve them;
        - start a reader and a cluster;
        - backfill, take in three months as they arrive, check, draw;
        - backfill the archive with several variables, check.

        Notes
        -----
        Whatever it started has ended when it returns or raises.

        Raises
        ------
        DemoFailed
            A backfill or an update failed.
        ReaderDied
            The reader's process ended before it was told to.
        SampleDataMissing
            The provider's files are not installed.
        """
        began = time.time()
        with ExitStack() as stack:
            self._tell_of_s3()
            server = self._open_archive(stack)
            reader = self._start_reader(stack)
            with self._step("A Dask cluster on this machine") as say:
                client = _start_cluster(stack)
                say(f"{WORKERS} worker processes; dashboard at {client.dashboard_link}")
            reader.wait_until_ready()
            report = self._grow_archive(server, reader, client)
            self._check_growing(report)
            self._draw(report)
            self._show_overlap(stack, client)
        self.summary["seconds"] = round(time.time() - began, 1)
        self.summary["checks"] = [asdict(check) for check in self.checks]
        self.summary["succeeded"] = all(check.passed for check in self.checks)
        return bool(self.summary["succeeded"])

    def _tell_of_s3(self) -> None:
        if self.s3 is not None:
            with self._step("An S3 server") as say:
                say(f"SeaweedFS at {self.s3.endpoint_url}; anyone may read bucket {BUCKET}")

    # -- the archive that grows while it is read ----------------------------------------------

    def _open_archive(self, stack: ExitStack) -> ArchiveServer:
        with self._step("A provider's files") as say:
            root = self.output / "provider" / "ostia"
            paths = build_ostia_archive(root)
            server = stack.enter_context(ArchiveServer(root))
            self._release(server, BACKFILLED, "*", positions=len(paths) - len(ARRIVALS))
            for _, path, _ in ARRIVALS:
                server.hold(path.as_posix())
            say(f"{len(paths)} months of sea surface temperature, a netCDF file each,")
            say(f"served at {server.url} as a provider would serve them;")
            say("the last three are not released yet: the server answers 404")
        return server

    def _start_reader(self, stack: ExitStack) -> ReaderProcess:
        with self._step("A reader") as say:
            reader = ReaderProcess(
                store=self.stores.growing,
                source=sample_file(OSTIA_SOURCE),
                variable="surface_temperature",
                journal=self.output / "reader.jsonl",
                tolerance=_largest_error(),
                options=self.stores.reads,
            )
            stack.enter_context(reader)
            say("a process that knows nothing of gridmill opens the store again and again with")
            what = "path" if self.s3 is None else "url, storage_options={'anon': True, …}"
            say(f"xr.open_zarr({what}), reads all of it and compares it with the source")
        return reader

    def _grow_archive(
        self, server: ArchiveServer, reader: ReaderProcess, client: Any
    ) -> ReaderReport:
        dataset = OstiaSstMonthly(
            self.stores.growing, source_base=server.url, storage_options=self.stores.writes
        )
        with self._step("Backfill of what is released") as say:
            report = self._timed(
                BACKFILLED,
                lambda: dataset.backfill(
                    BACKFILL_UNTIL, client=client, now=BACKFILL_UNTIL, listener=_published(say)
                ),
            )
            say(_what_was_done(report))
            self._check_visible(reader)
        with self._step("Three months arrive, one by one") as say:
            self._update_too_early(dataset, client, say)
            for name, path, now in ARRIVALS:
                time.sleep(PAUSE_S)
                positions = self.releases[-1].positions + 1
                self._release(server, name, path.as_posix(), positions)
                self._update(dataset, client, reader, now, say)
        return reader.stop()

    def _update_too_early(
        self, dataset: OstiaSstMonthly, client: Any, say: Callable[[str], None]
    ) -> None:
        name = ARRIVALS[0][0]
        report = self._timed(
            name, lambda: dataset.reformat_operational_update(client=client, now=TOO_EARLY)
        )
        say(f"{TOO_EARLY}  {name} is not released: the extent stays, because")
        say(f"            {report.stops_because}")
        stays = not report.published_anything and report.positions_after > 0
        stays = stays and report.succeeded and bool(report.stops_because)
        claim = "an update before the release leaves the extent, and says why"
        self.checks.append(Check(claim, stays, f"{report.positions_after} months before and after"))

    def _update(
        self,
        dataset: OstiaSstMonthly,
        client: Any,
        reader: ReaderProcess,
        now: str,
        say: Callable[[str], None],
    ) -> None:
        release = self.releases[-1]
        report = self._timed(
            release.name, lambda: dataset.reformat_operational_update(client=client, now=now)
        )
        found = self._check_visible(reader)
        say(f"{now}  {release.name} is released: {found}")
        if report.stops_because:
            say(f"            {report.stops_because}")

    def _check_visible(self, reader: ReaderProcess) -> str:
        """Check that the reader sees what was released last."""
        release = self.releases[-1]
        seen = reader.wait_for(release.positions)
        found = "the reader does not see it"
        if seen is not None:
            found = f"the reader sees it {seen.time - release.time:.1f} s later"
        self.checks.append(Check(f"{release.name} became visible", seen is not None, found))
        return found

    def _check_growing(self, report: ReaderReport) -> None:
        with self._step("Check") as say:
            found = f"{report.opens} opens, {report.n_violations} violations"
            if report.violations:
                found += f"; the first: {report.violations[0].what}"
            claim = "every open of the reader gave a valid dataset, whole and right"
            watched = report.opens > 0 and report.n_violations == 0
            self.checks.append(Check(claim, watched, found))
            self._check_against(
                self.stores.growing, {"surface_temperature": sample_file(OSTIA_SOURCE)}
            )
            self.summary["reader"] = asdict(report)
            for check in self.checks:
                say(_told(check))

    def _draw(self, report: ReaderReport) -> None:
        timeline = Timeline(self.releases[0].time, self.releases, self.runs, report)
        with xr.open_zarr(self.stores.growing, storage_options=self.stores.reads) as ds:
            plot_demo(ds.surface_temperature, timeline, self.picture)
        self.summary["arrivals"] = [
            _arrival(release, timeline.sightings_of(release)) for release in self.releases
        ]

    # -- the archive with several variables ---------------------------------------------------

    def _show_overlap(self, stack: ExitStack, client: Any) -> None:
        with self._step("An archive with several variables") as say:
            root = self.output / "provider" / "hadgem2"
            paths = build_hadgem2_archive(root)
            server = stack.enter_context(ArchiveServer(root))
            server.release_all()
            say(f"air temperature in two climate projections, {len(paths)} files of a year each,")
            say("on the model's calendar of 360 days")
            dataset = HadGem2NorthAmerica(
                self.stores.second, source_base=server.url, storage_options=self.stores.writes
            )
            report = dataset.backfill("2100-01-01", client=client, now="2100-01-01")
            _demand_success(report)
            say(_what_was_done(report))
            for line in _pipeline(report):
                say(line)
            first = len(self.checks)
            sources = {
                f"air_temperature_{scenario.lower()}": sample_file(name)
                for scenario, name in HADGEM2_SOURCES.items()
            }
            self._check_against(self.stores.second, sources)
            for check in self.checks[first:]:
                say(_told(check))
        self.summary["second"] = {
            "seconds": _seconds(report),
            "overlap": asdict(report.overlap()),
            "nbytes_per_s": report.throughput(),
            "nbytes_downloaded": report.nbytes_downloaded,
            "nbytes_healed": report.nbytes_healed,
        }

    # -- what both share ----------------------------------------------------------------------

    def _check_against(self, store: str, sources: dict[str, Path]) -> None:
        """Check a store's variables and coordinates against the files that they come from."""
        dataset = {self.stores.growing: OstiaSstMonthly, self.stores.second: HadGem2NorthAmerica}[
            store
        ]
        bits = {v.name: v.keep_mantissa_bits for v in dataset.template_config.data_vars}
        with xr.open_zarr(store, storage_options=self.stores.reads) as stored:
            for name, path in sources.items():
                with xr.open_dataset(path) as source:
                    original = name if name in source else "air_temperature"
                    keep = bits[name] or 23
                    self.checks.append(check_values(stored[name], source[original], keep))
                    names = [str(n) for n in stored.coords if n in source and n not in GRID_MAPPING]
                    self.checks.append(check_coordinates(stored, source, names))

    def _release(self, server: ArchiveServer, name: str, pattern: str, positions: int) -> None:
        server.release(pattern)
        self.releases.append(Release(name, positions, time.time()))

    def _timed(self, release: str, process: Callable[[], RunReport]) -> RunReport:
        started = time.time()
        report = process()
        _demand_success(report)
        self.runs.append(Run(release, started, time.time(), report.published_anything))
        return report

    @contextmanager
    def _step(self, title: str) -> Iterator[Callable[[str], None]]:
        self.console.print(f"\n[bold]{title}[/bold]")
        yield lambda line: self.console.print(f"  {line}", highlight=False, soft_wrap=True)


# A container without a value.
GRID_MAPPING = ("latitude_longitude",)


def _start_cluster(stack: ExitStack) -> Any:
    return stack.enter_context(connect("local", workers=WORKERS))


def _largest_error() -> float:
    (variable,) = OstiaSstMonthly.template_config.data_vars
    with xr.open_dataset(sample_file(OSTIA_SOURCE)) as source:
        warmest = source[variable.name].max().values
    return float(largest_rounding_error(warmest, variable.keep_mantissa_bits or 23))


def _demand_success(report: RunReport) -> None:
    if not report.succeeded:
        causes = "; ".join(f"{f.region}, {f.variable}: {f.cause}" for f in report.failures)
        raise DemoFailed(f"the {report.kind} of {report.dataset_id} failed: {causes}")


def _published(say: Callable[[str], None]) -> Callable[[Event], None]:
    def tell(event: Event) -> None:
        # The first publication is that of the empty store.
        if event.kind == "published" and event.detail[:1].isdigit():
            say(f"readers see the months up to {event.detail[:7]}")

    return tell


def _seconds(report: RunReport) -> float:
    spans = report.spans
    return max(s.ended for s in spans) - min(s.started for s in spans) if spans else 0.0


def _what_was_done(report: RunReport) -> str:
    files = report.files.get("succeeded", 0)
    return (
        f"{files} source files, {report.nbytes_downloaded / 1e6:.1f} MB; {report.variables_done} "
        f"chains; {report.nbytes_uploaded / 1e6:.1f} MB stored; {_seconds(report):.1f} s"
    )


def _pipeline(report: RunReport) -> Iterator[str]:
    overlap = report.overlap()
    yield f"at least two stages were active in {overlap.two:.0%} of the busy time,"
    yield f"all three in {overlap.three:.1%}"
    rates = report.throughput()
    if report.nbytes_healed:
        yield f"{report.nbytes_healed / 1e6:.1f} MB were fetched again where a task had moved"
    for stage in STAGES:
        spans = [span for span in report.spans if span.stage == stage]
        yield (
            f"{stage:9} {len(spans):3} tasks {sum(s.seconds for s in spans):6.2f} s "
            f"{rates.get(stage, 0.0) / 1e6:7.1f} MB/s a task"
        )


def _told(check: Check) -> str:
    mark = "[green]✓[/green]" if check.passed else "[bold red]✗[/bold red]"
    return f"{mark} {check.claim}: {check.found}"


def _arrival(release: Release, sightings: list[Sighting]) -> dict[str, Any]:
    visible = sightings[-1].time if sightings else None
    return {
        "name": release.name,
        "positions": release.positions,
        "released": release.time,
        "visible": visible,
        "seconds": None if visible is None else round(visible - release.time, 2),
    }
