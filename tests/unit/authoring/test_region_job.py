"""Where source files land, which regions an update takes, and what an author's hooks get."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import cftime
import cloudpickle
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gridmill.authoring.locate import locate, locate_along, processing_region
from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.settling import is_offered, offered_span, state_of
from gridmill.authoring.source_file import SourceFileCoord, addresses, known_of
from gridmill.model.region import Region
from gridmill.model.settled import RegionState, SourceFileStatus
from gridmill.sources.fetch.download import DownloadFailed, NotAvailable
from tiny import (
    HOUR,
    SHAPE,
    START,
    Provider,
    TinyCoord,
    TinyJob,
    TinyTemplate,
    hours,
    tiny_var,
    until,
)

OK = SourceFileStatus.SUCCEEDED
ABSENT = SourceFileStatus.NOT_YET_AVAILABLE
FAILED = SourceFileStatus.DOWNLOAD_FAILED
CONFIG = TinyTemplate()
INDEXES = {
    "hours": pd.date_range(START, periods=20, freq="h"),
    "360 days": xr.date_range("2020-02-20", periods=20, calendar="360_day", use_cftime=True),
    "levels": pd.Index([1000, 850, 700, 500]),
    "latitudes": pd.Index([50.0, 40.0, 30.0]),
    "members": pd.Index(["control", "first", "second"]),
    "leads": pd.timedelta_range("0h", periods=5, freq="6h"),
}


def job_of(n=10, region=slice(4, 8), job_class=TinyJob, config=CONFIG, **fields):
    return job_class(
        template_ds=config.get_template(until(n)),
        data_vars=config.data_vars,
        append_dim="time",
        region=region,
        **fields,
    )


@pytest.mark.parametrize("name", INDEXES)
@given(data=st.data())
def test_labels_and_slices_of_labels_have_their_positions(name, data):
    """A label is one position, a slice of labels all from the first to the last, both included."""
    index = INDEXES[name]
    positions = st.integers(0, len(index) - 1)
    first, last = sorted((data.draw(positions), data.draw(positions)))
    assert locate(index, "dim", index[first]) == first
    at = locate(index, "dim", slice(index[first], index[last]))
    assert at == slice(first, last + 1, 1)
    assert locate(index, "dim", slice(None)) == slice(0, len(index), 1)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("hours", START - HOUR),
        ("hours", START + HOUR / 2),
        ("hours", "2020-01-01"),
        ("hours", [START, START + HOUR]),
        ("360 days", cftime.datetime(2021, 1, 1, calendar="360_day")),
        ("levels", 925),
        ("members", "third"),
    ],
)
def test_a_label_that_is_not_there_is_refused(name, label):
    """The error names the dim and what it has."""
    with pytest.raises(ValueError, match=r"not in dim: "):
        locate(INDEXES[name], "dim", label)


def test_a_file_without_the_dim_fills_it_all():
    """Dims that out_loc() leaves out are filled whole."""

    @dataclass(frozen=True, kw_only=True)
    class Everywhere(SourceFileCoord):
        def out_loc(self):
            return {}

    ((_, at),) = locate_along(INDEXES["hours"], "time", [Everywhere()])
    assert at == slice(0, 20, 1)


def results(statuses, **changes):
    """Give a region's files with these statuses, from position 4 on."""
    return [
        TinyCoord(label=label, status=status, settled=status is OK, **changes)
        for label, status in zip(hours(len(statuses), first=4), statuses, strict=True)
    ]


@pytest.mark.parametrize(
    ("statuses", "settled", "data"),
    [
        ([OK] * 4, 4, 4),
        ([OK, ABSENT, OK, OK], 1, 1),
        ([OK, OK, FAILED, OK], 2, 2),
        ([ABSENT] * 4, 0, 0),
    ],
)
def test_the_default_trim_ends_at_the_last_settled_position(statuses, settled, data):
    """update_template_with_results cuts the template behind what may be published."""
    job = job_of()
    by_variable = {"a": results(statuses), "b": results([OK] * 4)}
    assert state_of(job, by_variable) == RegionState(4, 8, settled, data)
    assert job.update_template_with_results(by_variable).sizes["time"] == 4 + data


def test_files_of_the_margin_do_not_hold_a_region_back():
    """Only positions of the region itself count."""
    margin = TinyCoord(label=hours(4)[3], status=FAILED)
    assert state_of(job_of(), {"a": [margin, *results([OK] * 4)]}).is_settled


def test_an_ended_variable_counts_up_to_its_end():
    """valid_until cuts the region it lies in, and is over in later ones."""

    class Ends(TinyTemplate):
        data_vars = (tiny_var("a"), tiny_var("b", valid_until=until(6)))

    job = job_of(config=Ends())
    state = state_of(job, {"a": results([OK] * 4), "b": results([OK, OK, ABSENT, ABSENT])})
    assert state == RegionState(4, 8, 4, 4)
    assert not state_of(
        job, {"a": results([OK] * 4), "b": results([OK, ABSENT, OK, OK])}
    ).is_settled
    later = job_of(12, slice(8, 12), config=Ends())
    assert [is_offered(later, var) for var in later.data_vars] == [True, False]
    assert all(is_offered(job, var) for var in job.data_vars)


def test_a_variable_that_begins_later_counts_from_there():
    """valid_from cuts the region it lies in, and earlier ones have nothing of the variable."""

    class Begins(TinyTemplate):
        data_vars = (tiny_var("a"), tiny_var("b", valid_from=until(6)))

    job = job_of(config=Begins())
    assert offered_span(job, "b") == slice(6, 10)
    state = state_of(job, {"a": results([OK] * 4), "b": results([ABSENT, ABSENT, OK, OK])})
    assert state == RegionState(4, 8, 4, 4)
    assert not state_of(
        job, {"a": results([OK] * 4), "b": results([OK, OK, ABSENT, OK])}
    ).is_settled
    earlier = job_of(12, slice(0, 4), config=Begins())
    assert [is_offered(earlier, var) for var in earlier.data_vars] == [True, False]
    assert all(is_offered(job, var) for var in job.data_vars)


def test_the_processing_region_is_cut_to_the_template():
    """A margin that reaches beyond either end is cut off; its dataset has the rest."""

    class Wide(TinyJob):
        def get_processing_region(self):
            return slice(self.region.start - 2, self.region.stop + 2)

    assert processing_region(job_of(job_class=Wide)) == slice(2, 10)
    assert processing_region(job_of(5, slice(4, 5), Wide)) == slice(2, 5)
    assert processing_region(job_of(9, slice(0, 4), Wide)) == slice(0, 6)
    ds = job_of(job_class=Wide).processing_region_ds()
    assert list(ds.get_index("time")) == hours(8, first=2)


def test_a_worker_s_twin_is_small_and_says_so():
    """It pickles without the template, with the fields of the author's subclass."""

    @dataclass(frozen=True, kw_only=True, eq=False, repr=False)
    class Own(TinyJob):
        flavour: str = "plain"

    job = job_of(job_class=Own, flavour="sweet")
    twin = job.for_worker(job.data_vars[:1])
    assert (twin.flavour, twin.region, [v.name for v in twin.data_vars]) == (
        "sweet",
        Region(4, 8),
        ["a"],
    )
    assert len(cloudpickle.dumps(twin)) < len(cloudpickle.dumps(job))
    with pytest.raises(AttributeError, match="stays with the driver"):
        _ = twin.template_ds.sizes
    with pytest.raises(AttributeError, match="stays with the driver"):
        _ = twin.template_ds["a"]
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = job.nonsense
    assert "time 4:8: a, b" in repr(job)
    assert "static" in repr(replace(job, region=Region.STATIC))


@pytest.mark.parametrize(("start", "stop"), [(4, 8), (0, 0)])
def test_a_job_takes_its_region_as_a_slice(start, stop):
    """An author's slice becomes the region, and what indexes with it takes the region's slice."""
    job = job_of(region=slice(start, stop))
    assert job.region == job_of(region=Region(start, stop)).region == Region(start, stop)
    assert job.get_processing_region() == job.region.slice == slice(start, stop)
    assert job.is_static == (start == stop)


@pytest.mark.parametrize("region", [slice(0, None), slice(0, 8, 2), (0, 4)])
def test_a_job_refuses_what_is_no_region(region):
    """What is not one run of positions is refused where the job is made."""
    with pytest.raises(TypeError, match="give Region"):
        job_of(region=region)


@pytest.mark.parametrize(
    ("base", "url", "expected"),
    [
        (("http://one/", "http://two"), "a/b.nc", ["http://one/a/b.nc", "http://two/a/b.nc"]),
        (("http://one",), "s3://bucket/key", ["s3://bucket/key"]),
        (("http://one",), "/data/a.nc", ["/data/a.nc"]),
        ((), "a.nc", ["a.nc"]),
    ],
)
def test_relative_urls_are_tried_at_every_mirror(base, url, expected):
    """Absolute ones are taken as they are."""
    coord = SimpleNamespace(get_url=lambda: url)
    assert addresses(coord, base) == expected


def test_where_nothing_is_known_no_file_is_asked_for_its_address():
    """Each is, of every variable: of what was withdrawn, there is most often nothing."""
    asked = []
    coord = SimpleNamespace(get_url=lambda: asked.append(1) or "a/b.nc")
    assert (known_of(coord, {}), asked) == (None, [])
    assert (known_of(coord, {"a/b.nc": "withdrawn"}), asked) == ("withdrawn", [1])


def test_a_file_is_absent_only_if_every_mirror_says_so(tmp_path):
    """A mirror that has it serves it, and one that failed may have it."""
    providers = [Provider(tmp_path / name) for name in ("one", "two")]
    label = hours(1)[0]
    coord = TinyCoord(label=label)
    job = replace(job_of(source_base=tuple(str(p.root) for p in providers)), download_dir=tmp_path)
    with pytest.raises(NotAvailable):
        job.download_file(coord)
    providers[0].break_file(label, b"")
    with pytest.raises(DownloadFailed):
        job.download_file(coord)
    providers[1].publish([label])
    assert job.download_file(coord).path.exists()
    assert job.ask_file(coord).etag is not None


def test_asking_for_a_file_is_one_answer_or_none(tmp_path):
    """An absent file is None; one that is there has the identity that its download has."""
    provider = Provider(tmp_path / "provider")
    job = replace(job_of(source_base=(str(provider.root),)), download_dir=tmp_path)
    coord = TinyCoord(label=hours(1)[0])
    assert job.ask_file(coord) is None
    provider.publish(hours(1))
    asked, fetched = job.ask_file(coord), job.download_file(coord)
    assert (asked.etag, asked.last_modified) == (fetched.etag, fetched.last_modified)


def test_local_names_are_safe_and_unlike(tmp_path):
    """Whatever the URL, the local copy is inside the worker's folder, one a file and place."""
    job = replace(job_of(), download_dir=tmp_path)

    def path(url, **place):
        return job.download_path(SimpleNamespace(get_url=lambda: url, out_loc=lambda: place))

    urls = [
        "http://h/a/b.nc?x=1",
        "http://h/a/b.nc?x=2",
        "../../etc/passwd",
        "..",
        "",
        "a" * 500,
        "ä b/ü",
    ]
    paths = [path(url) for url in urls] + [path(urls[0], time=1)]
    assert len(set(paths)) == len(paths)
    assert all(p.parent == tmp_path and len(p.name) < 100 for p in paths)
    with pytest.raises(RuntimeError, match="on a worker"):
        job_of().download_path(TinyCoord(label=START))


class Delayed(TinyJob):
    publication_delay = timedelta(hours=3)


def test_a_file_is_expected_after_its_label_and_the_delay():
    """For a slice the last label counts; without a delay nothing is ever overdue."""
    job, coord = job_of(job_class=Delayed), TinyCoord(label=START)
    assert not job.expected(coord, START + 3 * HOUR - timedelta(seconds=1))
    assert job.expected(coord, START + 3 * HOUR)
    assert not job_of().expected(coord, START + 1000 * HOUR)
    day = SimpleNamespace(out_loc=lambda: {"time": slice(START, START + 23 * HOUR)})
    assert [job.expected(day, START + n * HOUR) for n in (3, 26)] == [False, True]
    assert not job.expected(SimpleNamespace(out_loc=lambda: {}), START + 1000 * HOUR)


class FakeStore:
    """A store that is published so far, with these regions complete."""

    def __init__(self, published, complete=()):
        self.published, self.complete = published, set(complete)
        self.tracker = SimpleNamespace(read_each=self.read_each)

    def published_length(self, append_dim):
        return self.published

    def read_each(self, regions):
        done = (region.start in self.complete for region in regions)
        return [SimpleNamespace(is_complete=lambda names, done=one: done) for one in done]


@pytest.mark.parametrize(
    ("published", "complete", "lookback_h", "asks", "due"),
    [
        (None, (), 0, False, [0, 4, 8, 12]),
        (0, (), 0, False, [0, 4, 8, 12]),
        (9, (0, 4), 100, False, [8, 12]),
        (9, (0,), 100, False, [4, 8, 12]),
        (9, (), 9, False, [4, 8, 12]),
        (14, (), 0, False, [12]),
        (9, (0, 4), 100, True, [0, 4, 8, 12]),
        (9, (0, 4), 9, True, [4, 8, 12]),
        (14, (), 0, True, [12]),
    ],
)
def test_an_update_takes_what_is_new_and_what_has_gaps(published, complete, lookback_h, asks, due):
    """From the last published region on, and earlier ones inside the lookback.

    Of those that have a gap, and all if the provider is asked for revised files.
    """
    changes = {"lookback": timedelta(hours=lookback_h), "asks_for_revisions": asks}
    job_class = type("Job", (TinyJob,), changes)
    template_ds = CONFIG.get_template(until(14))
    jobs = job_class.operational_update_jobs(
        FakeStore(published, complete), template_ds, "time", CONFIG.data_vars
    )
    assert [job.region.start for job in jobs] == due
    assert jobs[-1].region == Region(12, 14)


def test_the_author_is_told_what_to_define():
    """Hooks without a default name themselves."""
    job = job_of(job_class=RegionJob)
    for call in (
        lambda: job.generate_source_file_coords(job.template_ds, job.data_vars),
        lambda: job.read_data(None, None),
        lambda: SourceFileCoord().get_url(),
        lambda: SourceFileCoord().out_loc(),
    ):
        with pytest.raises(NotImplementedError, match="must define"):
            call()
    with pytest.raises(RuntimeError, match="knows no final store"):
        job.process()


@given(st.text(max_size=300), st.sampled_from(["", "http://h/", "../", "/", "s3://b/.."]))
def test_no_url_leads_out_of_the_download_folder(text, prefix):
    """Whatever a provider calls a file, it is written right below the worker's own folder."""
    folder = Path("/scratch/download-1")
    coord = SimpleNamespace(get_url=lambda: prefix + text, out_loc=dict)
    try:
        path = replace(job_of(), download_dir=folder).download_path(coord)
    except ValueError:  # no URL at all: nothing is written
        return
    assert path.parent == folder
    assert re.fullmatch(r"[0-9a-f]{12}-[A-Za-z0-9._-]{0,80}", path.name)


@pytest.mark.parametrize("value", [float("nan"), 300.0, 273.9])
def test_what_a_variable_cannot_hold_is_a_failure_to_read(value):
    """Not another number, published as if it had been read."""

    class Reads(TinyJob):
        def read_data(self, coord, data_var):
            return np.full(SHAPE, value, "float32")

    out = np.empty(SHAPE, "int8")
    with pytest.raises(ValueError, match=f"a: {value} cannot be stored as int8"):
        job_of(job_class=Reads).read_data_into(TinyCoord(label=START), tiny_var("a"), out)
