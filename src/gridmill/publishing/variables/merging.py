"""What is recorded of variables apart from the others, and how it comes among them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from gridmill.model.files.earlier import Earlier, kept_compactly
from gridmill.model.files.recorded import SourceFileRecord
from gridmill.model.records import ProgressRecord
from gridmill.planning.source_files.outcomes import without_unused_groups

__all__ = ["with_variables", "without_variables"]


def with_variables(
    record: ProgressRecord | None, added: ProgressRecord, names: Collection[str]
) -> ProgressRecord:
    """Return the record of a region with variables of another record of that region.

    Parameters
    ----------
    record
        What is known of the region; None if nothing is.
    added
        What is known of the variables.
    names
        Those to take, where it has them, with what their places held before.
    """
    chosen = {name: v for name, v in added.variables.items() if name in names}
    if record is None:
        record = replace(added, variables={}, under_way={}, history=())
    others = {name: v for name, v in record.variables.items() if name not in names}
    under_way = {name: v for name, v in record.under_way.items() if name not in names}
    groups = list(record.groups)
    runs = tuple(dict.fromkeys((*record.runs, *(added.runs if chosen else ()))))
    for name, variable in chosen.items():
        files = tuple(_by_runs(file, added, runs) for file in added.groups[variable.group])
        if files not in groups:
            groups.append(files)
        others[name] = replace(variable, group=groups.index(files))
    stop = max(record.stop, added.stop)
    history = [*_history_without(record, names), *_history_by_runs(added, chosen, runs)]
    history.sort(key=lambda was: was.until)
    known = replace(record, stop=stop, runs=runs, groups=tuple(groups))
    known = replace(known, history=kept_compactly(history))
    return _compact(replace(known, variables=others, under_way=under_way))


def without_variables(record: ProgressRecord, names: Collection[str]) -> ProgressRecord:
    """Return the record of a region that says nothing of some variables."""
    kept, under_way = (
        {name: v for name, v in of.items() if name not in names}
        for of in (record.variables, record.under_way)
    )
    history = tuple(_history_without(record, names))
    return _compact(replace(record, variables=kept, under_way=under_way, history=history))


def _history_without(record: ProgressRecord, names: Collection[str]) -> Iterator[Earlier]:
    """Yield what places of other variables held before."""
    for was in record.history:
        if others := tuple(name for name in was.variables if name not in names):
            yield replace(was, variables=others)


def _history_by_runs(
    record: ProgressRecord, names: Collection[str], runs: Sequence[tuple[str, str]]
) -> Iterator[Earlier]:
    """Yield what places of variables of a record held before, with the numbers of other runs."""
    for was in record.history:
        taken = tuple(name for name in was.variables if name in names)
        by = _number_among(runs, was.by, record)
        if taken and by is not None:
            run = _number_among(runs, was.run, record)
            yield replace(was, variables=taken, run=run, by=by)


def _by_runs(
    file: SourceFileRecord, record: ProgressRecord, runs: Sequence[tuple[str, str]]
) -> SourceFileRecord:
    """Return a file of a record with the number that its run has among others."""
    return replace(file, run=_number_among(runs, file.run, record))


def _number_among(
    runs: Sequence[tuple[str, str]], number: int | None, record: ProgressRecord
) -> int | None:
    """Return the number among others of a run that a record numbers so; None if it has none."""
    if number is None or not 0 <= number < len(record.runs):
        return None
    return runs.index(record.runs[number])


def _compact(record: ProgressRecord) -> ProgressRecord:
    """Leave out the groups of source files of which no variable is made."""
    groups, variables, under_way = without_unused_groups(
        record.groups, record.variables, record.under_way
    )
    return replace(record, groups=tuple(groups), variables=variables, under_way=under_way)
