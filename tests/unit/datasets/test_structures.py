"""The structures of datasets as they are checked in: nothing of one can change unnoticed."""

from __future__ import annotations

import copy
import json

import pytest
from click.testing import CliRunner

from checked_in import STRUCTURES, as_text, check_structure
from gridmill.cli import cli
from nested import at, leaves

# With the end of each dataset's first day.
DATASETS = {
    "dwd-icon-eu-forecast": "2026-10-08",
    "eccc-hrdps-forecast": "2026-07-11",
    "ecmwf-aifs-single-forecast": "2025-03-02",
    "ecmwf-ifs-ens-forecast": "2024-12-02",
    "noaa-gefs-extended-forecast": "2020-10-02",
    "chc-chirps-daily": "1981-01-02",
    "nasa-imerg-late": "1998-01-01T01:00",
    "ecmwf-era5-wind-daily": "1940-01-02",
    "noaa-gefs-forecast": "2020-10-02",
    "noaa-gfs-analysis": "2021-05-02",
    "noaa-gfs-forecast": "2021-05-02",
    "noaa-gfs-forecast-1deg": "2021-05-02",
    "noaa-goes19-conus-infrared": "2025-04-08",
    "noaa-hrrr-forecast": "2020-12-04",
    "noaa-hrrr-forecast-hourly": "2020-12-04",
    "noaa-mrms-qpe": "2020-10-16",
    "noaa-nbm-forecast": "2025-09-02",
}


@pytest.fixture(scope="module")
def structure() -> dict:
    """What the command line says of a dataset with coordinates of every kind."""
    args = ["template", "noaa-gfs-forecast-1deg", "--until", "2021-05-02", "--json"]
    content = json.loads(CliRunner().invoke(cli, args).stdout)
    # A few of each layout; all of them would say the same.
    return {**content, "data_vars": content["data_vars"][:3] + content["data_vars"][-2:]}


@pytest.mark.parametrize("name", DATASETS)
def test_a_change_of_the_structure_shows_as_a_diff(name):
    """What an archive looks like is checked in, so that a reviewer reads what a change does."""
    check_structure(name, until=DATASETS[name])


def test_every_single_change_changes_the_text(structure):
    """Whatever value of a structure changes, the text that is checked in does."""
    text, paths = as_text(structure), list(leaves(structure))
    assert len(paths) > 300
    for path in paths:
        changed = copy.deepcopy(structure)
        at(changed, path[:-1])[path[-1]] = "changed"
        assert as_text(changed) != text, path


@pytest.mark.parametrize("kind", ["coords", "data_vars"])
def test_variables_that_come_go_or_change_places_change_the_text(structure, kind):
    """An array more, an array less and another order are changes, too."""
    first, *rest = structure[kind]
    for members in (rest, [*rest, first], [first, first, *rest]):
        assert as_text({**structure, kind: members}) != as_text(structure)


def test_a_text_is_short_enough_to_be_read():
    """A reviewer reads at most a screen or a few; variables take a line each."""
    for path in STRUCTURES.iterdir():
        assert len(path.read_text().splitlines()) < 200, path.name
