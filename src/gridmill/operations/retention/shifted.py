"""The records of regions whose positions move because the first ones go. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gridmill.model.fields.statistics import noted, told
from gridmill.model.records import ProgressRecord, VariableRecord
from gridmill.publishing.variables.merging import without_variables

__all__ = ["Shift"]


@dataclass(frozen=True)
class Shift:
    """How keys and records change when the first positions of an archive go.

    Parameters
    ----------
    dropped
        How many positions go: whole regions.
    arrays
        Metadata of the archive's arrays, by name.
    dim
        The append dim.

    Examples
    --------
    >>> grid = {"configuration": {"chunk_shape": [4, 10]}}
    >>> arrays = {"a": {"dimension_names": ["time", "x"], "chunk_grid": grid}}
    >>> Shift(8, arrays, "time").key("a/c/3/0")
    'a/c/1/0'
    """

    dropped: int
    arrays: Mapping[str, Mapping[str, Any]]
    dim: str

    def key(self, key: str) -> str:
        """Return the key of an object where its positions are then."""
        name, prefix, *at = key.split("/")
        array = self.arrays[name]
        axis = list(array["dimension_names"]).index(self.dim)
        size = array["chunk_grid"]["configuration"]["chunk_shape"][axis]
        at[axis] = str(int(at[axis]) - self.dropped // size)
        return "/".join([name, prefix, *at])

    def record(self, record: ProgressRecord) -> ProgressRecord:
        """Return a record with the positions that its region has then.

        Of variables that nobody sees yet it says nothing: their uploads began from what was. All
        within a region is relative to its start, and stays.
        """
        unseen = {*record.variables, *record.under_way} - self.arrays.keys()
        if unseen:
            record = without_variables(record, unseen)
        variables, under_way = (
            {name: self._variable(v) for name, v in of.items()}
            for of in (record.variables, record.under_way)
        )
        start, stop = record.start - self.dropped, record.stop - self.dropped
        return replace(record, start=start, stop=stop, variables=variables, under_way=under_way)

    def _variable(self, known: VariableRecord) -> VariableRecord:
        objects = tuple(replace(one, key=self.key(one.key)) for one in known.objects)
        made_of = known.fingerprint
        if made_of is not None and "stop" in made_of:
            made_of = {**made_of, "stop": made_of["stop"] - self.dropped}
        # Statistics are bound to the keys of the objects that they were made of.
        said = noted(told(known.statistics, known.objects), objects)
        return replace(
            known,
            objects=objects,
            holes=tuple(map(self.key, known.holes)),
            fingerprint=made_of,
            statistics=said,
            token=None,  # what is shifted is no upload any more
        )
