"""Every built-in dataset keeps the contract that authors' datasets are asked to keep."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from gridmill.datasets.met_office.hadgem2_north_america import HadGem2NorthAmerica
from gridmill.datasets.met_office.ostia_sst_monthly import OstiaSstMonthly
from gridmill.demo.archive import build_hadgem2_archive, build_ostia_archive
from gridmill.registry import dataset_names, find_dataset
from gridmill.testing import DatasetContract

# Those that need no source file.
STRUCTURE = (
    "the_structure_does_not_depend_on_where_it_ends",
    "the_metadata_says_what_readers_need",
    "every_dim_has_its_coordinate",
    "source_files_have_stable_addresses",
    "what_goes_to_workers_pickles",
    "what_is_expected_is_a_claim",
)


class TestOstia(DatasetContract):
    """All of it, on the files of the demo."""

    dataset = OstiaSstMonthly
    until = "2007-04"

    def make_source(self, folder: Path) -> str:
        """Split the sample file as the provider does."""
        build_ostia_archive(folder)
        return str(folder)


class TestHadGem2(DatasetContract):
    """All of it, with two source groups and a 360-day calendar."""

    dataset = HadGem2NorthAmerica
    until = "1862-12"

    def make_source(self, folder: Path) -> str:
        """Split the sample files as the provider does."""
        build_hadgem2_archive(folder)
        return str(folder)


class _OfForecasts(DatasetContract):
    pass


@pytest.mark.parametrize("test", STRUCTURE)
@pytest.mark.parametrize(
    "name", [name for name in dataset_names() if name.startswith(("noaa-", "ecmwf-"))]
)
def test_a_built_in_forecast_keeps_what_needs_no_source_file(name, test):
    """Their files are compared with real ones in tests of their own."""
    contract = _OfForecasts()
    contract.dataset = find_dataset(name)
    config = contract.dataset.template_config()
    start = config.label(config.append_dim_start)
    index = config.append_dim_coordinates(start + timedelta(days=40))
    contract.until = str(index[2])
    getattr(contract, f"test_{test}")()
