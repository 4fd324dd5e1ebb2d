"""Backfill my-forecast on Coiled: python backfill.py 2025-07-01.

The driver runs where this script runs, the workers near the data.
"""

import sys

from gridmill import connect
from gridmill.registry import find_dataset

STORE = "s3://my-bucket/my-forecast.zarr"


def main(until: str) -> None:
    """Build the archive up to a date; the same call resumes."""
    dataset = find_dataset("my-forecast")(STORE)
    print(dataset.plan(until))
    with connect(
        "coiled",
        workers=20,
        region="us-east-1",
        worker_vm_types=["m6i.large", "m7i.large"],
        spot_policy="spot_with_fallback",
        tags={"archive": "my-forecast"},
    ) as client:
        print(dataset.backfill(until, client=client))


if __name__ == "__main__":
    main(sys.argv[1])
