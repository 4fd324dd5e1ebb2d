"""A tiny dataset whose files take a second to read: its runs outlive jobs of a minute."""

from __future__ import annotations

import time

import numpy as np

from gridmill.dataset import DynamicalDataset
from tiny import TinyCoord, TinyJob, TinyTemplate, TinyVar

SECONDS_A_FILE = 1.0


class SlowJob(TinyJob):
    """Reads a file a second, for each variable."""

    def read_data(self, coord: TinyCoord, data_var: TinyVar) -> np.ndarray:
        """Read one of the file's arrays, slowly."""
        time.sleep(SECONDS_A_FILE)
        return super().read_data(coord, data_var)


class SlowTiny(DynamicalDataset):
    """Hourly, two variables, in no hurry."""

    template_config = TinyTemplate
    region_job = SlowJob
