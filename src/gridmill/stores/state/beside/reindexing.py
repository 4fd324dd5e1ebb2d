"""What a reindex, or a retention, is about to make of an archive: kept until its records say it.

Readers get other labels and moved values with one commit; the records of what moved follow one by
one. Until they have, they say something else than the store, and nobody may act on them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gridmill.model.records import ProgressRecord
from gridmill.model.state_files import SCHEMA, parse_state
from gridmill.stores.objects.protocol import Objects

__all__ = ["Reindexing"]

NEEDS = {"first": (int,), "length": (int,), "inserted": (list,)}


class Reindexing:
    """The reindex of one archive that is under way, if there is one; or the retention.

    Parameters
    ----------
    objects
        Where it is kept: beside the records.
    folder
        Apart from others.
    """

    def __init__(self, objects: Objects, folder: str = "reindex") -> None:
        self.objects = objects
        self._order = f"{folder}/order.json"
        self._folders = (f"{folder}/regions", f"{folder}/beside")
        self._restore = (
            f"restore it from a backup, or run gridmill rebuild-records after deleting {folder}/"
        )

    def read(self) -> dict[str, Any] | None:
        """Read what is under way; None if nothing is.

        Returns
        -------
        dict
            ``first`` and ``length``: records of regions from the position `first` on are replaced,
            of an archive that has `length` positions then; ``inserted``: the labels that it gets.
            And what else it was started with.

        Raises
        ------
        UnreadableState
            It is damaged, or a later gridmill's.
        """
        content = self.objects.get(self._order)
        if content is None:
            return None
        address = f"{self.objects.url}/{self._order}"
        return parse_state(content, address, self._restore, needs=NEEDS)

    def begin(
        self,
        first: int,
        length: int,
        inserted: Sequence[str],
        records: Sequence[ProgressRecord],
        beside: Mapping[str, bytes] | None = None,
        **more: Any,
    ) -> None:
        """Keep the records that are to be, and last of all that this is under way.

        Parameters
        ----------
        first, length, inserted, records
            See `read`.
        beside
            Other objects that are to be beside the records, by key.
        more
            What the order says besides.
        """
        self._delete_kept()
        regions, others = self._folders
        for record in records:
            self.objects.put(f"{regions}/{record.region.key}.json", record.to_json())
        for key, content in (beside or {}).items():
            self.objects.put(f"{others}/{key}", content)
        order = {"first": first, "length": length, "inserted": list(inserted), **more}
        self.objects.put(self._order, json.dumps({"schema": SCHEMA, **order}).encode())

    def records(self) -> Iterator[ProgressRecord]:
        """Yield the records that are to be, in the order of their regions."""
        for key in sorted(self.objects.keys(self._folders[0])):
            content = self.objects.get(key)
            if content is not None:
                yield ProgressRecord.from_json(content)

    def beside(self) -> dict[str, bytes]:
        """Return the other objects that are to be, by key."""
        folder = self._folders[1]
        found = {key: self.objects.get(key) for key in self.objects.keys(folder)}
        return {k.removeprefix(f"{folder}/"): v for k, v in found.items() if v is not None}

    def end(self) -> None:
        """Forget it: the records say it now, or nothing became of it."""
        self.objects.delete(self._order)
        self._delete_kept()

    def _delete_kept(self) -> None:
        for folder in self._folders:
            for key in list(self.objects.keys(folder)):
                self.objects.delete(key)
