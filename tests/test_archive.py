"""An archive owns its template, and makes the job of each of its regions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gridmill.archive.archive import Archive
from gridmill.archive.selection import jobs_between
from gridmill.model.region import Region
from gridmill.model.variables import Encoding
from gridmill.stores.zarr_store import ZarrStore
from tiny import REGION, SHAPE, TinyJob, TinyTemplate, tiny_var, until

N = 10
STATIC = tiny_var("z", 2, dims=("y", "x"), encoding=Encoding(chunks=SHAPE))


class WithStatic(TinyTemplate):
    """With a variable that has no time."""

    data_vars = (tiny_var("a"), tiny_var("b", 1), STATIC)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    config = WithStatic()
    template_ds = config.get_template(until(N))

    def make_job(region: slice) -> TinyJob:
        varying = [var for var in config.data_vars if "time" in var.dims]
        return TinyJob(template_ds=template_ds, data_vars=varying, append_dim="time", region=region)

    return Archive(ZarrStore(str(tmp_path / "a"), "tiny"), config, template_ds, make_job)


def names(job: Any) -> list[str]:
    return [var.name for var in job.data_vars]


def test_the_job_without_positions_is_that_of_the_static_variables(archive: Archive) -> None:
    """And each other has all that vary; none has both."""
    assert names(archive.job(Region(0, 0))) == ["z"]
    assert names(archive.job(archive.region_at(5))) == ["a", "b"]


def test_regions_end_with_the_template(archive: Archive) -> None:
    """The last is shorter; readers see those that are published, the last perhaps in part."""
    assert archive.region_at(N - 1) == Region(2 * REGION, N)
    archive.reach(REGION + 1)
    assert list(archive.visible_regions()) == [Region(0, REGION), Region(REGION, 2 * REGION)]


def test_jobs_hold_the_template_as_it_is_now(archive: Archive) -> None:
    """One object: what is known by the template of before is not believed of another."""
    assert archive.job(Region(0, REGION)).template_ds is archive.template_ds
    archive.template_ds = archive.config.get_template(until(N + 1))
    assert archive.job(Region(0, REGION)).template_ds is archive.template_ds


def test_what_is_selected_are_whole_regions(archive: Archive) -> None:
    """The static variables come first, and only where one of them is chosen."""
    jobs = jobs_between(archive, until(N), start=until(5), variables=["a", "z"])
    assert [(job.region, names(job)) for job in jobs] == [
        (Region(0, 0), ["z"]),
        (Region(REGION, 2 * REGION), ["a"]),
        (Region(2 * REGION, N), ["a"]),
    ]
    assert [names(job) for job in jobs_between(archive, until(1), variables=["b"])] == [["b"]]


def test_nothing_to_process_is_an_error(archive: Archive) -> None:
    """An empty selection is a mistake of who called, and no run."""
    with pytest.raises(ValueError, match="no region to process"):
        jobs_between(archive, until(N), start=until(6), end=until(6))
