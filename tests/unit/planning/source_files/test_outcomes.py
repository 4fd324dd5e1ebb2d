"""What is recorded of a variable's files is its own, also where others list the same."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gridmill.model.files.recorded import SourceFileRecord
from gridmill.model.records import ProgressRecord, VariableRecord
from gridmill.model.settled import SourceFileStatus
from gridmill.planning.source_files.outcomes import with_files

ABSENT = SourceFileStatus.NOT_YET_AVAILABLE
Files = tuple[SourceFileRecord, ...]


def files_of(settled: int) -> Files:
    """Give one of two files that are told apart by what is settled."""
    return (SourceFileRecord(url="a", start=0, stop=1, status=ABSENT, settled=bool(settled)),)


def variables_of(numbers: dict[str, int]) -> dict[str, VariableRecord]:
    """Give variables in these groups of files."""
    return {name: VariableRecord(state="absent", group=at) for name, at in numbers.items()}


def seen(record: ProgressRecord) -> dict[Any, Files]:
    """Give what is recorded of the files of each variable."""
    every = [(name, of) for name, of in record.variables.items()]
    every += [(("under way", name), of) for name, of in record.under_way.items()]
    return {name: record.groups[of.group] for name, of in every}


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 1), min_size=1),
    st.dictionaries(st.sampled_from("abe"), st.integers(0, 1)),
    st.integers(0, 1),
    st.data(),
)
def test_others_keep_what_is_recorded_of_their_files(numbers, before, settled, data):
    """Only what was named changes, each content is written once, and none is left over."""
    groups = (files_of(0), files_of(1))
    parts = {"variables": variables_of(numbers), "under_way": variables_of(before)}
    record = ProgressRecord(dataset_id="d", start=0, stop=1, groups=groups, **parts)
    group = data.draw(st.sampled_from(sorted(set(numbers.values()))))
    ours = [name for name, number in numbers.items() if number == group]
    chosen = data.draw(st.lists(st.sampled_from(ours), min_size=1, unique=True))
    changed = with_files(record, chosen, files_of(settled))
    assert seen(changed) == seen(record) | dict.fromkeys(chosen, files_of(settled))
    assert len(set(changed.groups)) == len(changed.groups)
