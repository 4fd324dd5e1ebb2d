"""Records of variables come among those of others, and leave, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gridmill.model.files.earlier import Earlier
from gridmill.model.files.recorded import SourceFileRecord
from gridmill.model.records import ProgressRecord, VariableRecord
from gridmill.model.settled import SourceFileStatus
from gridmill.publishing.variables.merging import with_variables, without_variables

NAMES = st.sampled_from("abcdef")


def file_of(url: str) -> SourceFileRecord:
    """Give a source file that succeeded."""
    return SourceFileRecord(
        url=url, start=0, stop=4, status=SourceFileStatus.SUCCEEDED, settled=True
    )


@st.composite
def records(draw: st.DrawFn) -> ProgressRecord:
    """Give the record of a region whose variables share source files, or do not."""
    files = draw(st.dictionaries(NAMES, st.sampled_from("xyz"), min_size=1))
    urls = list(dict.fromkeys(files.values()))
    return ProgressRecord(
        dataset_id="tiny",
        start=0,
        stop=4,
        groups=tuple((file_of(url),) for url in urls),
        variables={
            name: VariableRecord(state="done", group=urls.index(url)) for name, url in files.items()
        },
    )


def files_of(record: ProgressRecord) -> dict[str, str]:
    """Give by variable the file that it is made of."""
    return {n: record.groups[v.group][0].url for n, v in record.variables.items()}


@given(records(), records(), st.sets(NAMES))
def test_variables_are_taken_with_their_files(
    record: ProgressRecord, added: ProgressRecord, names: set[str]
) -> None:
    """Those that are named are as they were added, the others as before; no group is idle."""
    merged = with_variables(record, added, names)
    taken = {n: url for n, url in files_of(added).items() if n in names}
    kept = {n: url for n, url in files_of(record).items() if n not in names}
    assert files_of(merged) == {**kept, **taken}
    assert {v.group for v in merged.variables.values()} == set(range(len(merged.groups)))
    assert with_variables(merged, added, names) == merged


def fetched_by(by: str, name: str, url: str, *, arrived: str, run: int) -> ProgressRecord:
    """Give the record of a variable whose file arrived with a run."""
    return ProgressRecord(
        dataset_id="tiny",
        start=0,
        stop=4,
        groups=((replace(file_of(url), arrived=arrived, run=run),),),
        variables={name: VariableRecord(state="done", group=0)},
        runs=((by, "1"),),
    )


def arrivals_of(record: ProgressRecord) -> dict[str, tuple[str | None, str | None]]:
    """Give by variable when its file arrived, and with which run."""
    files = {n: record.groups[v.group][0] for n, v in record.variables.items()}
    return {
        n: (f.arrived, None if f.run is None else record.runs[f.run][0]) for n, f in files.items()
    }


@given(st.lists(st.sampled_from(["r1", "r2", "r3"]), min_size=2, max_size=4))
def test_files_that_are_taken_name_their_own_runs(runs: list[str]) -> None:
    """Whatever numbers they have in either record; a number of no run names none."""
    merged = None
    for number, run in enumerate(runs):
        added = fetched_by(run, f"v{number}", f"u{number}", arrived=f"2026-01-0{number + 1}", run=0)
        merged = with_variables(merged, added, list(added.variables))
    assert merged is not None
    assert [run for run, _ in merged.runs] == list(dict.fromkeys(runs))
    named = {f"v{n}": (f"2026-01-0{n + 1}", run) for n, run in enumerate(runs)}
    assert arrivals_of(merged) == named
    assert arrivals_of(ProgressRecord.from_json(merged.to_json())) == named
    lost = fetched_by("r9", "w", "u", arrived="2026-02-01", run=1)
    assert arrivals_of(with_variables(merged, lost, ["w"]))["w"] == ("2026-02-01", None)


def test_a_version_that_was_there_keeps_when_it_arrived_first() -> None:
    """Variables of the same files share them, and the run that fetched them first."""
    before = fetched_by("r1", "a", "x", arrived="2026-01-01", run=0)
    added = fetched_by("r2", "b", "x", arrived="2026-01-02", run=0)
    merged = with_variables(before, added, ["b"])
    assert len(merged.groups) == 1
    assert arrivals_of(merged)["b"] == ("2026-01-01", "r1")


def revised(record: ProgressRecord, day: str, *names: str) -> ProgressRecord:
    """Give a record whose last run replaced a version of a file that its first had fetched."""
    was = Earlier(variables=names, url="x", stop=4, status="succeeded", nbytes=1, run=0, until=day)
    by = len(record.runs) - 1
    return replace(record, history=(*record.history, replace(was, by=by)))


def history_of(record: ProgressRecord) -> list[tuple[tuple[str, ...], str, str, str]]:
    """Give whose values were replaced when, who made them and by whom they were replaced."""
    runs = [run for run, _ in record.runs]
    return [(was.variables, was.until, runs[was.run or 0], runs[was.by]) for was in record.history]


def test_what_places_held_before_comes_with_its_variables() -> None:
    """Among what others' held, in order of time, and with the runs by their own numbers."""
    before = fetched_by("r1", "a", "x", arrived="2026-01-01", run=0)
    before = revised(replace(before, runs=(("r1", "1"), ("r3", "1"))), "2026-01-03", "a", "b")
    added = fetched_by("r2", "b", "x", arrived="2026-01-02", run=0)
    added = revised(replace(added, runs=(("r2", "1"), ("r4", "1"))), "2026-01-02", "b", "c")
    merged = with_variables(before, revised(added, "2026-01-04", "c"), ["b", "c"])
    assert history_of(merged) == [
        (("b",), "2026-01-02", "r2", "r4"),
        (("a",), "2026-01-03", "r1", "r3"),
    ]
    assert with_variables(merged, added, ["b", "c"]) == merged
    assert history_of(with_variables(None, added, ["b"])) == [(("b",), "2026-01-02", "r2", "r4")]
    assert history_of(without_variables(merged, ["b"])) == [(("a",), "2026-01-03", "r1", "r3")]


@given(records(), st.sets(NAMES))
def test_variables_that_go_leave_nothing(record: ProgressRecord, names: set[str]) -> None:
    """The others are as before."""
    rest = without_variables(record, names)
    assert files_of(rest) == {n: u for n, u in files_of(record).items() if n not in names}
    assert {v.group for v in rest.variables.values()} == set(range(len(rest.groups)))
