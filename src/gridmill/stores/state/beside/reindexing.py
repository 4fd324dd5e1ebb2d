"""What a reindex is about to make of an archive: kept until its records say it, too.

Readers get new labels and moved values with one commit; the records of what moved follow one by
one. Until they have, they say something else than the store, and nobody may act on them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from gridmill.model.records import ProgressRecord
from gridmill.model.state_files import SCHEMA, parse_state
from gridmill.stores.objects.protocol import Objects

__all__ = ["Reindexing"]

ORDER = "reindex/order.json"
RECORDS = "reindex/regions"
RESTORE = "restore it from a backup, or run gridmill rebuild-records after deleting reindex/"
NEEDS = {"first": (int,), "length": (int,), "inserted": (list,)}


class Reindexing:
    """The reindex of one archive that is under way, if there is one.

    Parameters
    ----------
    objects
        Where it is kept: beside the records.
    """

    def __init__(self, objects: Objects) -> None:
        self.objects = objects

    def read(self) -> dict[str, Any] | None:
        """Read what is under way; None if nothing is.

        Returns
        -------
        dict
            ``first`` and ``length``: records of regions from the position `first` on are replaced,
            of an archive that has `length` positions then; ``inserted``: the labels that it gets.

        Raises
        ------
        UnreadableState
            It is damaged, or a later gridmill's.
        """
        content = self.objects.get(ORDER)
        if content is None:
            return None
        return parse_state(content, f"{self.objects.url}/{ORDER}", RESTORE, needs=NEEDS)

    def begin(
        self, first: int, length: int, inserted: Sequence[str], records: Sequence[ProgressRecord]
    ) -> None:
        """Keep the records that are to be, and last of all that this is under way."""
        self._delete_records()
        for record in records:
            self.objects.put(f"{RECORDS}/{record.region.key}.json", record.to_json())
        order = {"schema": SCHEMA, "first": first, "length": length, "inserted": list(inserted)}
        self.objects.put(ORDER, json.dumps(order).encode())

    def records(self) -> Iterator[ProgressRecord]:
        """Yield the records that are to be, in the order of their regions."""
        for key in sorted(self.objects.keys(RECORDS)):
            content = self.objects.get(key)
            if content is not None:
                yield ProgressRecord.from_json(content)

    def end(self) -> None:
        """Forget it: the records say it now, or nothing became of it."""
        self.objects.delete(ORDER)
        self._delete_records()

    def _delete_records(self) -> None:
        for key in list(self.objects.keys(RECORDS)):
            self.objects.delete(key)
