"""Records as the first release wrote them."""

from __future__ import annotations

import json

from gridmill.model.records import ProgressRecord


def as_first_release(record: ProgressRecord) -> ProgressRecord:
    """Give a record as gridmill 0.1.0 wrote it: with one hash that includes library versions."""
    raw = json.loads(record.to_json())
    for variable in raw["variables"].values():
        for name in ("fingerprint", "epochs", "version", "libraries"):
            variable.pop(name, None)
        variable["plan"] = "made-by-0.1.0"
    return ProgressRecord.from_json(json.dumps(raw).encode())
