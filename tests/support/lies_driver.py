"""The driver of a play in a process of its own, which kills itself with SIGKILL at a stage."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd

from gridmill.runs.ledger import Ledger
from lies import STAGES, archive_at


def main(arguments: list[str]) -> None:
    """Update as the play says, and die."""
    said: dict[str, Any] = json.loads(arguments[0])

    def dies(*args: Any, **options: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    archive = archive_at(
        Path(said["folder"]), said["base"], said["url"], said["store"], said["is_grib"]
    )
    with mock.patch.object(Ledger, "record_partly", return_value=None):
        for owner, name in STAGES[said["stage"]]:
            mock.patch.object(owner, name, dies).start()
        archive.reformat_operational_update(
            until=said["until"], now=pd.Timestamp(said["now"]), client="none"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
