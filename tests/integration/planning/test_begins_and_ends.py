"""A provider begins with variables and ends them: elsewhere nothing is asked for or missing."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.settling import where_offered
from gridmill.authoring.source_file import SourceFileCoord
from gridmill.dataset import DynamicalDataset
from gridmill.model.region import Region
from gridmill.model.variables import Completeness
from gridmill.operations.elsewhere.adopt import adopt
from gridmill.operations.history.history import read_history
from gridmill.operations.proving.prove import prove
from gridmill.sources.fetch.download import DownloadSettings
from gridmill.testing import DatasetContract
from gridmill.validation import Context
from gridmill.validation.checks.due import Complete, Current
from gridmill.validation.checks.gaps import find_gaps
from gridmill.validation.checks.values import MissingValues
from tiny import TinyTemplate, TinyVar, hours, tiny_var, until, url_of, values_at

N = 11
NAMED = tuple(replace(coord, attrs={"long_name": coord.name}) for coord in TinyTemplate.coords)


@dataclass(frozen=True, kw_only=True)
class OwnCoord(SourceFileCoord):
    """The file of one label for the variables of one group."""

    label: Any
    of: str

    def get_url(self) -> str:
        """Give the path that names both."""
        return f"{self.of}/{url_of(self.label)}"

    def out_loc(self) -> dict[str, Any]:
        """Give the label."""
        return {"time": self.label}


class OwnJob(RegionJob[TinyVar, OwnCoord]):
    """Reads files of variables by themselves, which are due at once."""

    download_settings = DownloadSettings(attempts=1)
    publication_delay = timedelta(0)
    lookback = timedelta(hours=100)

    @classmethod
    def source_groups(cls, data_vars: Sequence[TinyVar]) -> Sequence[Sequence[TinyVar]]:
        """Give each variable its files."""
        return [[var] for var in data_vars]

    def generate_source_file_coords(self, ds: Any, group: Any) -> list[OwnCoord]:
        """Give a file a label, whether the provider has it or not."""
        of = "".join(var.name for var in group)
        return [OwnCoord(label=label, of=of) for label in ds.get_index("time")]

    def read_data(self, coord: OwnCoord, data_var: TinyVar) -> np.ndarray:
        """Read one of the file's arrays."""
        found: np.ndarray = np.load(coord.downloaded_path)[data_var.number]
        return found


class TogetherJob(OwnJob):
    """The last two share their files."""

    @classmethod
    def source_groups(cls, data_vars: Sequence[TinyVar]) -> Sequence[Sequence[TinyVar]]:
        """Give two groups."""
        groups = ([v for v in data_vars if v.name == "a"], [v for v in data_vars if v.name != "a"])
        return [group for group in groups if group]


Span = tuple[int | None, int | None]


def dataset(folder: Path, spans: Mapping[str, Span], job: type[OwnJob]) -> DynamicalDataset:
    """Give a dataset whose variables begin and end at positions."""
    variables = tuple(
        tiny_var(
            name,
            number,
            valid_from=None if first is None else until(first),
            valid_until=None if last is None else until(last),
        )
        for number, (name, (first, last)) in enumerate(spans.items())
    )

    class Template(TinyTemplate):
        coords = (*NAMED, Completeness(dims=("time",)))
        data_vars = variables

    parts = {"template_config": Template, "region_job": job}
    kind = type("Ending", (DynamicalDataset,), parts)
    return kind(str(folder / "a.zarr"), source_base=str(folder / "provider"))


def is_offered(spans: Mapping[str, Span], name: str, at: int) -> bool:
    """Whether the provider has a variable at a position."""
    first, last = spans[name]
    return (first is None or at >= first) and (last is None or at < last)


def provide(folder: Path, spans: Mapping[str, Span], job: type[OwnJob]) -> int:
    """Write the files that the provider has; how many."""
    names = dataset(folder, spans, job).config().data_vars
    many = 0
    for group in job.source_groups(names):  # type: ignore[arg-type]
        for at, label in enumerate(hours(N)):
            if any(is_offered(spans, var.name, at) for var in group):
                path = folder / "provider" / "".join(v.name for v in group) / url_of(label)
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, values_at(label))
                many += 1
    return many


def faults(ds: DynamicalDataset, spans: Mapping[str, Span], n: int) -> Iterator[object]:
    """Yield what any part of gridmill takes for missing, or sees where nothing is."""
    now = until(n)
    status = ds.status(now=now)
    yield from (status.late, status.gaps, status.pending, *status.incomplete)
    yield from find_gaps(Context(ds, now=now, beyond=True))
    yield from ds.validate([Complete(), Current(), MissingValues()], now=now).findings
    yield from (p.todo for p in ds.plan(now, now=now).prepared() if p.todo or p.n_files)
    with ds.store.open_dataset(chunks=None) as opened:
        yield from [n - opened.sizes["time"]]
        for at, label in enumerate(hours(n)):
            offered = [name for name in spans if is_offered(spans, name, at)]
            yield opened["completeness"].values[at] != bool(offered)
            for name in spans:
                truth = values_at(label)[list(spans).index(name)]
                wanted = truth if name in offered else np.full_like(truth, np.nan)
                yield not np.array_equal(opened[name].values[at], wanted, equal_nan=True)


ends = st.one_of(st.none(), st.integers(0, N))
drawn = st.tuples(ends, ends).filter(lambda s: None in s or s[0] < s[1])  # type: ignore[operator]


@settings(max_examples=10, deadline=None)
@given(
    spans=st.fixed_dictionaries({"b": drawn, "c": drawn}),
    job=st.sampled_from([OwnJob, TogetherJob]),
    steps=st.lists(st.integers(1, N - 1), max_size=2),
)
def test_nothing_is_asked_for_or_missing_outside(
    spans: dict[str, Span], job: type[OwnJob], steps: list[int]
) -> None:
    """However it came to be, whatever looks at it: every file that there is was read, once."""
    spans = {"a": (None, None), **spans}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        many = provide(folder, spans, job)
        ds = dataset(folder, spans, job)
        planned = ds.plan(until(N), now=until(N)).prepared()
        assert sum(prepared.n_files for prepared in planned) == many
        for number, n in enumerate([*sorted(set(steps)), N]):
            if number:
                report = ds.reformat_operational_update(client="none", now=until(n))
            else:
                report = ds.backfill(until(n), client="none", now=until(n))
            assert (report.succeeded, report.positions_after) == (True, n), report.problems
            assert set(report.files) <= {"succeeded"}, report.files
            assert [fault for fault in faults(ds, spans, n) if fault] == []
        assert ds.reformat_operational_update(client="none", now=until(N)).variables_done == 0


@pytest.fixture
def ended(tmp_path: Path) -> DynamicalDataset:
    """An archive that was made as if the provider went on with b, which it had ended."""
    spans: dict[str, Span] = {"a": (None, None), "b": (None, 6)}
    provide(tmp_path, spans, OwnJob)
    unaware = dataset(tmp_path, {"a": (None, None), "b": (None, None)}, OwnJob)
    unaware.backfill(until(N), client="none", now=until(N))
    assert unaware.status(now=until(N)).pending == N - 6
    return dataset(tmp_path, spans, OwnJob)


def test_what_was_made_before_the_end_was_declared_stays(ended: DynamicalDataset) -> None:
    """A declared end closes what was pending, and nothing is made anew or asked for."""
    spans: dict[str, Span] = {"a": (None, None), "b": (None, 6)}
    for _ in range(2):
        assert ended.status(now=until(N)).gaps == 0
        assert list(find_gaps(Context(ended, now=until(N), beyond=True))) == []
        report = ended.backfill(until(N), client="none", now=until(N))
        assert (report.variables_done, report.succeeded) == (0, True), report.problems
        report = ended.reformat_operational_update(client="none", now=until(N))
        assert (report.variables_done, report.succeeded) == (0, True), report.problems
    assert not any(fault for fault in faults(ended, spans, N) if not isinstance(fault, np.bool_))


def test_only_what_is_late_is_made_of_what_was_made_before_the_end(tmp_path: Path) -> None:
    """A file that comes later is added, and the others of its region are not fetched once more."""
    job = type("Job", (OwnJob,), {"reads_again": False, "asks_for_revisions": False})
    spans: dict[str, Span] = {"a": (None, None), "b": (None, 6)}
    provide(tmp_path, spans, job)
    late = tmp_path / "provider" / "b" / url_of(hours(6)[5])
    content = late.read_bytes()
    late.unlink()
    unaware = dataset(tmp_path, {"a": (None, None), "b": (None, None)}, job)
    unaware.backfill(until(N), client="none", now=until(N))
    late.write_bytes(content)
    ds = dataset(tmp_path, spans, job)
    report = ds.reformat_operational_update(client="none", now=until(N))
    assert (report.succeeded, report.nbytes_downloaded) == (True, len(content)), report.problems
    assert not any(fault for fault in faults(ds, spans, N) if not isinstance(fault, np.bool_))
    assert ds.reformat_operational_update(client="none", now=until(N)).variables_done == 0
    with ds.store.open_dataset(chunks=None) as opened:
        np.testing.assert_array_equal(opened.b[5], values_at(hours(6)[5])[1])


def test_an_end_that_is_taken_back_is_no_end(ended: DynamicalDataset, tmp_path: Path) -> None:
    """The provider had it after all: what was left out is asked for, and filled."""
    ended.backfill(until(N), client="none", now=until(N), redo=True)
    spans: dict[str, Span] = {"a": (None, None), "b": (None, None)}
    provide(tmp_path, spans, OwnJob)
    again = dataset(tmp_path, spans, OwnJob)
    report = again.backfill(until(N), client="none", now=until(N))
    assert report.succeeded
    assert [fault for fault in faults(again, spans, N) if fault] == []


def test_a_record_says_nothing_of_what_is_not_offered(ended: DynamicalDataset) -> None:
    """Its files are counted without those; tries and what was unread go with their files."""
    archive = ended.archive(until(N))
    record = ended.store.tracker.read(Region(4, 8))
    assert record is not None
    seen = where_offered(archive.job(Region(4, 8)), record)
    assert [len(record.groups[v.group]) for v in record.variables.values()] == [4, 4]
    assert [len(seen.groups[v.group]) for v in seen.variables.values()] == [4, 2]
    assert seen.variables["b"].tries == {}
    assert list(seen.pending()) == []


def test_it_is_proven_and_has_a_history(ended: DynamicalDataset) -> None:
    """Where it is not offered nothing differs, and no file is named."""
    done = prove(ended, 10, client="none", now=until(N))
    assert {proof.verdict for proof in done.proofs} <= {"proven"}
    history = read_history(ended, until(9), now=until(N))
    assert [place.variables for place in history.places] == [("a",)]


def test_an_archive_from_elsewhere_lacks_nothing(ended: DynamicalDataset, tmp_path: Path) -> None:
    """Values that nobody has are no gap of what is taken over."""
    with ended.store.open_dataset(chunks=None) as opened:
        taken = opened.drop_vars("completeness").drop_encoding().load()
    taken.attrs.clear()
    taken.to_zarr(tmp_path / "b.zarr", consolidated=True, zarr_format=3)
    plain = type(
        "Plain",
        (type(ended),),
        {"template_config": _without_completeness(type(ended).template_config)},
    )
    ds = plain(str(tmp_path / "b.zarr"), source_base=str(tmp_path / "provider"))
    assert adopt(ds, who="me", now=until(N)).report.succeeded
    assert ds.status(now=until(N)).gaps == 0


def _without_completeness(config: Any) -> Any:
    return type("Plain", (config,), {"coords": TinyTemplate.coords})


class TestBeginsAndEnds(DatasetContract):
    """The contract holds for a dataset whose variables begin and end."""

    until = until(N)

    @property
    def dataset(self) -> Any:
        """Of all kinds."""
        return type(dataset(Path(), {"a": (None, None), "b": (None, 6), "c": (6, None)}, OwnJob))

    def make_source(self, folder: Path) -> str:
        """Write what is offered."""
        provide(folder, {"a": (None, None), "b": (None, 6), "c": (6, None)}, OwnJob)
        return str(folder / "provider")
