"""Which variables readers wait for, and how long: what is published, listed and asked for again."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from gridmill.model.variables import Encoding
from gridmill.operations.follow import follow_cycle
from tiny import (
    HOUR,
    SHAPE,
    START,
    TinyCoord,
    TinyJob,
    TinyTemplate,
    dataset_of,
    hours,
    tiny_var,
    until,
    url_of,
    values_at,
)

DELAYS = {"essential": 2, "optional": 2, "patient": 5, "impatient": 1}


@dataclass(frozen=True, kw_only=True)
class OwnFile(TinyCoord):
    """A label's file of one variable, or of several."""

    name: str

    def get_url(self) -> str:
        """Give the path that names both."""
        return f"{self.name}/{url_of(self.label)}"


class OwnFiles(TinyJob):
    """Each variable has files of its own; absent ones are gaps after two hours."""

    publication_delay = timedelta(hours=2)

    def source_groups(self, data_vars):
        """Give each variable apart."""
        return [[var] for var in data_vars]

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Give a file a label."""
        labels = processing_region_ds.get_index("time")
        return [OwnFile(label=label, name=data_var_group[0].name) for label in labels]


class SharedFiles(OwnFiles):
    """All variables are in the same files."""

    def source_groups(self, data_vars):
        """Give them together."""
        return [data_vars]


class ListedTwice(OwnFiles):
    """Each variable has a group of its own, which lists the same files."""

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Give the same file a label, whatever the variable."""
        labels = processing_region_ds.get_index("time")
        return [OwnFile(label=label, name="essential") for label in labels]


class RuledTemplate(TinyTemplate):
    """A variable of each kind."""

    data_vars = (
        tiny_var("essential"),
        tiny_var("optional", is_essential=False),
        tiny_var("patient", publication_delay=timedelta(hours=5)),
        tiny_var("impatient", publication_delay=timedelta(hours=1)),
    )


class OptionalTemplate(TinyTemplate):
    """A variable that readers do not wait for."""

    data_vars = (tiny_var("a"), tiny_var("b", 1, is_essential=False))


Optional = dataset_of(template=OptionalTemplate, job=OwnFiles)


def publish(root: Path, name: str, label) -> None:
    path = root / name / url_of(label)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values_at(label))


def update(dataset, hour: float):
    return dataset.reformat_operational_update(client="none", now=START + hour * HOUR)


def pending(dataset) -> list[str]:
    return [
        record.groups[record.variables[name].group][at].url
        for record in dataset.store.progress()
        for name, at in record.pending()
    ]


def stored(dataset) -> xr.Dataset:
    return xr.open_zarr(dataset.store.url, chunks=None)


# -- a variable that is not essential ---------------------------------------------------------


def test_what_is_not_essential_holds_nobody_and_heals(tmp_path):
    """Readers see what else is there; it is no gap before its deadline, one after, and heals."""
    source = tmp_path / "source"
    dataset = Optional(tmp_path / "a", source_base=str(source))
    for label in hours(4):
        publish(source, "a", label)
    report = update(dataset, 4)
    assert report.positions_after == 4
    # Labels 0, 1 and 2 are two hours old or more: theirs are gaps of b, and 3 is still to come.
    assert report.new_gaps == 3
    assert sorted(pending(dataset)) == [f"b/{url_of(label)}" for label in hours(3)]
    publish(source, "b", hours(4)[3])
    publish(source, "a", hours(5)[4])
    update(dataset, 4.9)
    seen = stored(dataset)
    np.testing.assert_array_equal(seen.b[3], values_at(hours(4)[3])[1])
    assert np.isnan(seen.b[:3]).all()
    for label in hours(3):
        publish(source, "b", label)
    update(dataset, 5.5)
    assert [url for url in pending(dataset) if url.startswith("b/") and url[-7:-4] < "T03"] == []
    np.testing.assert_array_equal(stored(dataset).b[:4], [values_at(h)[1] for h in hours(4)])


def test_waiting_does_not_wait_for_what_is_not_essential(tmp_path):
    """`--wait` ends with the last essential file."""
    source = tmp_path / "source"
    dataset = Optional(tmp_path / "a", source_base=str(source))
    for label in hours(4):
        publish(source, "a", label)
    options = {"deadline_s": 30.0, "client": "none", "now": until(4)}
    (report,) = follow_cycle(dataset, **options)
    assert report.positions_after == 4


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"encoding": Encoding(chunks=(2, *SHAPE), dtype="int16")}, "nothing says missing"),
        ({"publication_delay": timedelta(days=9)}, "look back"),
    ],
)
def test_what_could_not_be_told_is_refused(tmp_path, changes, complaint):
    """An optional variable without a word for missing, or whose gaps nobody would hear of."""

    def declare() -> None:
        parts = {"data_vars": (tiny_var("a"), tiny_var("b", 1, is_essential=False, **changes))}
        dataset_of(template=type("T", (TinyTemplate,), parts), job=OwnFiles)(tmp_path / "a")

    with pytest.raises(ValueError, match=complaint):
        declare()


def test_no_deadline_and_no_essential_variable_are_refused(tmp_path):
    """Without a deadline nobody would hear of a gap; without essential ones nothing is awaited."""
    with pytest.raises(ValueError, match="has no deadline"):
        dataset_of(template=OptionalTemplate)(tmp_path / "a")
    parts = {"data_vars": (tiny_var("a", is_essential=False),)}
    with pytest.raises(ValueError, match="no variable is_essential"):
        dataset_of(template=type("T", (TinyTemplate,), parts), job=OwnFiles)(tmp_path / "a")


# -- its own deadline -------------------------------------------------------------------------


class TwoDeadlines(TinyTemplate):
    """A variable that is given up after an hour, and one that is awaited for five."""

    data_vars = (
        tiny_var("hasty", publication_delay=timedelta(hours=1)),
        tiny_var("patient", 1, publication_delay=timedelta(hours=5)),
    )


@pytest.mark.parametrize("job", [SharedFiles, ListedTwice])
def test_what_others_gave_up_is_awaited_and_fetched(tmp_path, job):
    """A file that comes after the deadline of one variable, and before that of another."""
    kind = dataset_of(template=TwoDeadlines, job=type("Job", (job,), {"lookback": HOUR}))
    dataset, source = (
        kind(tmp_path / "a", source_base=str(tmp_path / "source")),
        tmp_path / "source",
    )
    name = "essential" if job is ListedTwice else "hasty"
    for at in (0, 1, 2, 4, 5):
        publish(source, name, hours(6)[at])
    # The same labels at each: nothing but time passes.
    for hour in (3.9, 4.4, 4.9):
        assert update(dataset, hour).positions_after == 3
    assert pending(dataset) == [f"{name}/{url_of(hours(4)[3])}"]
    publish(source, name, hours(4)[3])
    assert update(dataset, 6).positions_after == 6
    np.testing.assert_array_equal(stored(dataset).patient[:6], [values_at(h)[1] for h in hours(6)])
    assert pending(dataset) == []


def test_a_deadline_that_is_no_longer_later_is_not_awaited(tmp_path):
    """What a variable awaited longer by an earlier declaration is given up with the others."""
    source = tmp_path / "source"
    kind = dataset_of(template=TwoDeadlines, job=SharedFiles)
    publish(source, "hasty", START)
    dataset = kind(tmp_path / "a", source_base=str(source))
    assert update(dataset, 3.9).positions_after == 1
    assert len(pending(dataset)) == 2
    alike = [tiny_var(n, at, publication_delay=HOUR) for at, n in enumerate(["hasty", "patient"])]
    template = type("T", (TwoDeadlines,), {"data_vars": tuple(alike)})
    publish(source, "hasty", hours(5)[4])
    kind = dataset_of(template=template, job=SharedFiles)
    assert update(kind(tmp_path / "a", source_base=str(source)), 5).positions_after == 5
    assert len(pending(dataset)) == 6


@pytest.mark.parametrize("is_chosen", [True, False])
def test_what_is_awaited_longer_holds_without_those_that_gave_it_up(tmp_path, is_chosen):
    """In a run of chosen variables, and once the hastier variable is gone from the declaration."""
    source, job = tmp_path / "source", type("Job", (SharedFiles, ListedTwice), {"lookback": HOUR})
    dataset = dataset_of(template=TwoDeadlines, job=job)(tmp_path / "a", source_base=str(source))
    for at in (0, 1, 2, 4):
        publish(source, "essential", hours(5)[at])
    assert update(dataset, 4.9).positions_after == 3
    if not is_chosen:
        parts = {"data_vars": TwoDeadlines.data_vars[1:]}
        template = type("T", (TwoDeadlines,), parts)
        dataset = dataset_of(template=template, job=job)(tmp_path / "a", source_base=str(source))
    # Before its own deadline, and past it.
    for hour, extent in ((4.9, 3), (8.5, 5)):
        end, now = START + 4.9 * HOUR, START + hour * HOUR
        report = dataset.backfill(end, variables=["patient"], client="none", now=now)
        assert (report.positions_after, report.variables_done) == (extent, 0)


def test_nobody_awaits_what_a_variable_does_not_have(tmp_path):
    """A file past the end of a variable is given up by the deadline of those that it fills."""
    source = tmp_path / "source"
    ended = tiny_var("b", 1, valid_until=until(2), publication_delay=timedelta(hours=5))
    template = type("T", (TinyTemplate,), {"data_vars": (tiny_var("a"), ended)})
    dataset = dataset_of(template=template, job=SharedFiles)(
        tmp_path / "a", source_base=str(source)
    )
    for label in hours(3):
        publish(source, "a", label)
    for hour in (3.9, 5.9):
        update(dataset, hour)
    (known,) = (record for record in dataset.store.progress() if record.start == 0)
    assert known.unsettled_files() == []
    assert known.is_settled(["a", "b"])


def settles(name: str, has_come: bool, age: float) -> bool:
    return has_come or name == "optional" or age >= DELAYS[name]


@given(
    st.dictionaries(st.sampled_from(sorted(DELAYS)), st.sets(st.integers(0, 4)), min_size=1),
    st.lists(st.sampled_from([0, 1, 2, 3.5, 5, 7]), min_size=1, max_size=3).map(sorted),
    st.sampled_from([OwnFiles, SharedFiles, ListedTwice]),
)
@settings(max_examples=18, deadline=None)
def test_the_extent_is_what_the_rules_allow(comes, waits, job):
    """The longest prefix of positions that every essential variable has, or has given up for.

    Up to the last with data; it never shrinks, and what is pending is what is past its deadline.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source")
        kind, shares = dataset_of(template=RuledTemplate, job=job), job is not OwnFiles
        dataset = kind(Path(folder, "a"), source_base=str(source))
        labels = hours(5)
        there = {
            (name, n) for name in DELAYS for n in comes.get("essential" if shares else name, ())
        }
        for name, n in there:
            publish(source, name, labels[n])
        extent = 0
        for hour in (4.5 + wait for wait in waits):
            update(dataset, hour)
            within = [n for n in range(5) if labels[n] < START + hour * HOUR]
            settled = next(
                (
                    n
                    for n in within
                    if not all(settles(m, (m, n) in there, hour - n) for m in DELAYS)
                ),
                len(within),
            )
            with_data = [n + 1 for n in within[:settled] if any((m, n) in there for m in DELAYS)]
            extent = max([extent, *with_data])
            assert (dataset.store.published_length("time") or 0) == extent
            expected = {
                (name, n)
                for name in DELAYS
                for n in within
                if (name, n) not in there and hour - n >= DELAYS[name]
            }
            found = {
                (name, int(record.groups[record.variables[name].group][at].url[-6:-4]))
                for record in dataset.store.progress()
                for name, at in record.pending()
            }
            assert {place for place in found if place[1] < 5} == expected
