"""Several files to a day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

import daily_netcdf as daily
from gridmill.authoring.derived import Aggregation
from liars.files import Provider, Template

__all__ = ["Parts"]

PARTS = 4
STEP = pd.Timedelta(hours=24 // PARTS)


class PartsTemplate(Template):
    """Means of days."""

    data_vars = tuple(
        replace(
            var,
            attrs={**var.attrs, "cell_methods": "time: mean"},
            aggregated=Aggregation(method="mean", every="6h"),
        )
        for var in Template.data_vars
    )


class Part(daily.Day):
    """The file of some hours."""

    def get_url(self) -> str:
        """Give its name."""
        return f"{self.label:%Y%m%d%H}.nc"


class PartsJob(daily.Job):
    """Reads each part."""

    file_type = Part


class Parts(Provider):
    """Four files to a day, of which one lies."""

    template = PartsTemplate
    job = PartsJob

    def tell(self, days: Sequence[int], lie: str = "") -> None:
        """Put the parts of days."""
        for day in days:
            at = self.draw.randrange(PARTS)
            for part in range(PARTS):
                self.put(self.labels[day] + part * STEP, lie if part == at else "")

    def path(self, label: pd.Timestamp) -> Path:
        """Return where a part is."""
        return self.root / f"{label:%Y%m%d%H}.nc"

    def fetched(self, days: Sequence[int]) -> int:
        """Count days: one part of each lies."""
        return super().fetched(days) // PARTS
