"""Spot-like loss: half of all workers a minute for ten minutes, and what was fetched twice.

Run by ``make test-long`` and ``make spot``. The last result is kept in `last_spot.json` beside this
file, with its date and commit; where nobody has run it there is no such file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from long import commit_here

from spot_loss import play

RESULT = Path(__file__).with_name("last_spot.json")
MOST_AGAIN = 0.05


def main(arguments: list[str]) -> int:
    """Lose workers and keep what came of it; or show what the last run found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--every", type=float, default=60.0, help="Seconds between two losses.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", action="store_true", help="Only show the last result.")
    options = parser.parse_args(arguments)
    if options.show:
        print(RESULT.read_text() if RESULT.exists() else "no run is recorded: make test-long")
        return 0
    with tempfile.TemporaryDirectory(prefix="gridmill-spot-") as folder:
        losses = play(
            Path(folder),
            workers=options.workers,
            seconds=60 * options.minutes,
            every_s=options.every,
            seed=options.seed,
        )
    passed = losses.same_bytes and not losses.failures and losses.share_again <= MOST_AGAIN
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit_here(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "workers": options.workers,
        "minutes": options.minutes,
        "every_s": options.every,
        "passed": passed,
        **asdict(losses),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(RESULT.read_text())
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
