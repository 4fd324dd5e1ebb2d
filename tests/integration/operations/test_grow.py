"""Members and leads that a provider adds to an archive that exists."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner

from arrivals import (
    START,
    STEP,
    ForecastJob,
    ForecastProvider,
    Forecasts,
    ForecastTemplate,
    inits,
    value_of,
)
from gridmill import Offering
from gridmill.cli import cli
from gridmill.operations.axis.grow import grow, growth_of
from gridmill.stores.structure import StructureMismatch
from gridmill.validation import Context
from gridmill.validation.checks.gaps import find_gaps
from steps import PATIENCE_S, meanwhile, wait_until

N = 5
SINCE = START + STEP * N
NOW = START + STEP * (N + 1)
LATER = START + STEP * (N + 6)
FORMATS = ["zarr", "icechunk"]
LEADS = pd.to_timedelta([0, 3, 6, 9], unit="h")
MEMBERS = (0, 1, 2)
AXES = {"x": {"axis": "X"}}


class Template(ForecastTemplate):
    """Each member has fields of its own."""

    coords = (
        tuple(
            replace(coord, attrs={"long_name": coord.name} | AXES.get(coord.name, {}))
            for coord in ForecastTemplate.coords[:-1]
        )
        + ForecastTemplate.coords[-1:]
    )


class Before(Forecasts):
    """Two members and three leads."""

    template_config = Template


class GrownTemplate(Template):
    """One more of each."""

    def dimension_coordinates(self):
        """Give them last."""
        return {**super().dimension_coordinates(), "lead_time": LEADS, "member": list(MEMBERS)}


class GrownJob(ForecastJob):
    """From a forecast on."""

    offerings = (
        Offering(dim="member", labels=[2], since=str(SINCE)),
        Offering(dim="lead_time", labels=["9h"], since=str(SINCE)),
    )


class After(Forecasts):
    """Three members and four leads."""

    template_config = GrownTemplate
    region_job = GrownJob


def offered(n):
    """Return what the provider makes."""
    return [
        (init, lead, member)
        for init in inits(n)
        for lead in LEADS
        for member in MEMBERS
        if init >= SINCE or (member < 2 and lead != LEADS[-1])
    ]


def dataset_of(folder, of, kind="zarr", **options):
    """Give the archive in a folder."""
    return of(folder / "a", source_base=str(folder / "source"), format=kind, **options)


def built(folder, kind="zarr", **options):
    """Build it as it was before."""
    ForecastProvider(folder / "source").publish(offered(N))
    dataset = dataset_of(folder, Before, kind, **options)
    dataset.backfill(SINCE, client="none", now=NOW)
    return dataset


def assert_true(ds, n, leads, members):
    """Assert that readers see what is offered of so many forecasts, and nothing else."""
    assert list(ds.lead_time.values) == list(leads.values)
    assert list(ds.member.values) == list(members)
    assert ds.sizes["init_time"] == n
    made = set(offered(n))
    values, shares = ds.a.load(), ds.completeness.load()
    for init in inits(n):
        for lead in leads:
            for member in members:
                at = {"init_time": init, "lead_time": lead, "member": member}
                is_there = (init, lead, member) in made
                found = values.sel(at).values
                wanted = value_of((init, lead, member)) if is_there else [np.nan] * 2
                np.testing.assert_array_equal(found, wanted, err_msg=str(at))
                assert shares.sel(at) == is_there


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("replicas", [False, True])
def test_members_and_leads_are_added_and_nothing_is_reprocessed(tmp_path, kind, replicas):
    """Readers see them missing before the day, and filled after it; who opened before reads on."""
    options = {"replicas": [str(tmp_path / "b")]} if replicas else {}
    built(tmp_path, kind, **options)
    before = dataset_of(tmp_path, Before, kind).store.open_dataset(chunks=None)
    dataset = dataset_of(tmp_path, After, kind, **options)
    with pytest.raises(StructureMismatch, match="gridmill grow"):
        dataset.reformat_operational_update(client="none", now=NOW)
    assert [(g.dim, g.before) for g in growth_of(dataset, now=NOW)] == [
        ("lead_time", 3),
        ("member", 2),
    ]
    report = grow(dataset, who="me", now=NOW)
    assert [outcome.failure for outcome in report.replicas] == [None] * replicas
    stores = [dataset.store, *dataset.replicas]
    for store in stores:
        assert_true(store.open_dataset(chunks=None), N, LEADS, MEMBERS)
    assert_true(before, N, LEADS[:3], MEMBERS[:2])
    again = dataset.backfill(SINCE, client="none", now=NOW)
    assert (again.regions_done, again.succeeded) == (0, True)
    ForecastProvider(tmp_path / "source").publish(offered(N + 5))
    report = dataset.reformat_operational_update(client="none", now=LATER - STEP)
    assert report.succeeded, report.problems
    for store in stores:
        assert_true(store.open_dataset(chunks=None), N + 5, LEADS, MEMBERS)
    assert list(find_gaps(Context(dataset, now=LATER - STEP, beyond=True))) == []
    assert dataset.validate(now=LATER - STEP).found_by == {}


class Undated(Forecasts):
    """Says not from when."""

    template_config = GrownTemplate


class Regridded(Forecasts):
    """Three points."""

    template_config = type(
        "RegriddedTemplate",
        (Template,),
        {
            "dimension_coordinates": lambda self: {
                **Template.dimension_coordinates(self),
                "x": [0.0, 0.5, 1.0],
            }
        },
    )


class Inserted(Forecasts):
    """The new member is the first."""

    template_config = type(
        "InsertedTemplate",
        (Template,),
        {
            "dimension_coordinates": lambda self: {
                **Template.dimension_coordinates(self),
                "member": [-1, 0, 1],
            }
        },
    )


@pytest.mark.parametrize(
    ("of", "message"),
    [
        (Undated, r"declare in RegionJob\.offerings from when"),
        (Regridded, "another grid is another archive"),
        (Inserted, "let dimension_coordinates"),
        (Before, "there is nothing to add"),
    ],
)
def test_what_would_move_or_be_reprocessed_is_refused(tmp_path, of, message):
    """With the reason and the way; nothing is written."""
    built(tmp_path)
    before = {p: p.read_bytes() for p in (tmp_path / "a").rglob("*") if p.is_file()}
    with pytest.raises(ValueError, match=message):
        grow(dataset_of(tmp_path, of), who="me", now=NOW)
    assert {p: p.read_bytes() for p in (tmp_path / "a").rglob("*") if p.is_file()} == before


def test_the_command_says_what_it_adds(tmp_path):
    """And asks."""
    built(tmp_path)
    arguments = ["test_grow:After", "--store", str(tmp_path / "a"), "--now", NOW.isoformat()]
    refused = CliRunner().invoke(cli, ["grow", *arguments])
    assert "member from 2 to 3 labels (2)" in refused.output
    done = CliRunner().invoke(cli, ["grow", *arguments, "--yes"])
    assert done.exit_code == 0, done.output
    assert_true(xr.open_zarr(tmp_path / "a"), N, LEADS, MEMBERS)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_growth_killed_at_its_every_step_is_completed(tmp_path, kind):
    """Readers see the archive as it was or as it is to be; runs are refused in between."""
    built(tmp_path / "base", kind)
    number = 0
    while True:
        folder = tmp_path / f"step-{number}"
        shutil.copytree(tmp_path / "base", folder)
        is_done = killed_at(folder, kind, number)
        dataset = dataset_of(folder, After, kind)
        ds = dataset.store.open_dataset(chunks=None)
        assert_true(ds, N, LEADS[: ds.sizes["lead_time"]], MEMBERS[: ds.sizes["member"]])
        if ds.sizes["member"] < len(MEMBERS):
            with pytest.raises(StructureMismatch):
                dataset.reformat_operational_update(client="none", now=NOW)
            grow(dataset, who="me", now=NOW)
        again = dataset.backfill(SINCE, client="none", now=NOW)
        assert (again.regions_done, again.succeeded) == (0, True), number
        assert_true(dataset.store.open_dataset(chunks=None), N, LEADS, MEMBERS)
        if is_done:
            break
        number += 1
    assert number >= 4


def killed_at(folder: Path, kind: str, number: int) -> bool:
    """Grow in a process that kills itself before its `number`-th step; whether it ended."""
    script = (
        "import sys; from pathlib import Path; from scenes import kill_at;"
        "from gridmill.operations.axis.grow import grow; import test_grow;"
        "folder, kind, number = sys.argv[1:];"
        "dataset = test_grow.dataset_of(Path(folder), test_grow.After, kind);"
        "kill_at(int(number), ('regions', 'member', 'zarr.json'));"
        "grow(dataset, who='me', now=test_grow.NOW)"
    )
    here = Path(__file__).parent
    support = [str(here), str(here.parents[1] / "support"), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder), kind, str(number)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, support))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr[-2000:]
    return done.returncode == 0


class HeldJob(ForecastJob):
    """Waits before it reads the added variable, until it is let on."""

    may_go = threading.Event()
    waits = threading.Event()

    def read_data(self, coord, data_var):
        """Read the file's only values, later."""
        if data_var.name == "rain":
            self.waits.set()
            assert self.may_go.wait(PATIENCE_S)
        return super().read_data(coord, data_var)


class Held(Before):
    """As it was before, whose rain waits."""

    region_job = HeldJob


@pytest.mark.parametrize("kind", FORMATS)
def test_a_variable_that_is_added_beside_undoes_nothing(tmp_path, kind):
    """It is refused as every run of the former code, and the code that grew it adds it."""
    ForecastProvider(tmp_path / "source").publish(offered(N))
    few = {"variables": ["a", "b"], "client": "none", "now": NOW}
    dataset_of(tmp_path, Before, kind).backfill(SINCE, **few)
    dataset, rain = dataset_of(tmp_path, After, kind), {**few, "variables": ["rain"]}

    def add():
        with pytest.raises(StructureMismatch, match="gridmill grow"):
            dataset_of(tmp_path, Held, kind).backfill(SINCE, **rain)

    with meanwhile(add):
        wait_until(HeldJob.waits.is_set)
        grow(dataset, who="me", now=NOW)
        HeldJob.may_go.set()
    with dataset.store.open_dataset(chunks=None) as shown:
        assert set(shown.data_vars) == {"a", "b"}
        assert_true(shown, N, LEADS, MEMBERS)
    assert dataset.backfill(SINCE, **rain).succeeded
    with dataset.store.open_dataset(chunks=None) as shown:
        assert_true(shown, N, LEADS, MEMBERS)
        np.testing.assert_array_equal(shown.rain[:, 1:3, :2], shown.a[:, 1:3, :2])
