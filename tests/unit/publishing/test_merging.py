"""Records of variables come among those of others, and leave, and nothing else changes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

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


@given(records(), st.sets(NAMES))
def test_variables_that_go_leave_nothing(record: ProgressRecord, names: set[str]) -> None:
    """The others are as before."""
    rest = without_variables(record, names)
    assert files_of(rest) == {n: u for n, u in files_of(record).items() if n not in names}
    assert {v.group for v in rest.variables.values()} == set(range(len(rest.groups)))
