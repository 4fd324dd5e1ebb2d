"""What looks at an archive where the code declares a member, a lead or a level more than it has."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import pytest

from arrivals import (
    START,
    STEP,
    ForecastFile,
    ForecastJob,
    ForecastProvider,
    Forecasts,
    ForecastTemplate,
    places,
)
from gridmill import Offering
from gridmill.model.variables import Completeness, Coordinate, DataVar, Encoding
from gridmill.operations.elsewhere.copying import copy_archive
from gridmill.operations.history.history import read_history
from gridmill.operations.proving.prove import prove
from gridmill.operations.restore import restore_metadata
from gridmill.operations.statistics.gathering import read_statistics
from gridmill.stores.structure import StructureMismatch
from gridmill.validation import Context
from gridmill.validation.checks.gaps import find_gaps

N = 5
NOW = START + STEP * (N + 1)
LEVELS = (850.0, 500.0)


def variable(name):
    """Give one on levels, too."""
    return DataVar(
        name=name,
        encoding=Encoding(chunks=(1, 3, 2, 2, 2), shards=(2, 3, 2, 2, 2)),
        attrs={"long_name": name, "units": "1"},
    )


class Template(ForecastTemplate):
    """Each level has the values of its lead and member."""

    dims = ("init_time", "lead_time", "member", "level", "x")
    coords = (
        *ForecastTemplate.coords[:-1],
        Coordinate(name="level"),
        Coordinate(name="member_name", dims=("member",), dtype="int32"),
        Completeness(dims=("init_time", "lead_time", "member", "level")),
    )
    data_vars = (variable("a"), variable("b"))

    def dimension_coordinates(self):
        """Give two levels, too."""
        return {**super().dimension_coordinates(), "level": list(LEVELS)}

    def derive_coordinates(self, ds):
        """Give what is along the members without asking how many there are."""
        return {"member_name": ("member", range(100, 100 + len(self.members())))}

    def members(self):
        """Give the members."""
        return self.dimension_coordinates()["member"]


@dataclass(frozen=True, kw_only=True)
class File(ForecastFile):
    """One level."""

    level: float

    def out_loc(self):
        """Give the labels."""
        return {**super().out_loc(), "level": self.level}


class Job(ForecastJob):
    """Knows levels by heart, as many authors do."""

    levels = LEVELS

    def source_groups(self, data_vars):
        """Give all at once."""
        return [data_vars]

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Give the files."""
        return [
            File(init=file.init, lead=file.lead, member=file.member, level=level)
            for file in super().generate_source_file_coords(processing_region_ds, data_var_group)
            for level in self.levels
        ]


class Before(Forecasts):
    """What the archive was made with."""

    template_config, region_job = Template, Job


MORE = {
    "member": [0, 1, 2],
    "lead_time": pd.to_timedelta([0, 3, 6, 9], unit="h"),
    "level": [*LEVELS, 250.0],
}


def with_more(dim):
    """Give the dataset whose code declares one label more."""

    class More(Template):
        def dimension_coordinates(self):
            return {**super().dimension_coordinates(), dim: MORE[dim]}

    class MoreJob(Job):
        levels = MORE[dim] if dim == "level" else LEVELS
        offerings = (Offering(dim=dim, labels=list(MORE[dim])[-1:], since=str(NOW)),)

    return type("WithMore", (Forecasts,), {"template_config": More, "region_job": MoreJob})


@pytest.fixture(params=MORE)
def dim(request):
    """Of which the code declares more."""
    return request.param


@pytest.fixture
def looked_at(tmp_path, dim):
    """Give the archive, as the code that made it opens it, and as the other does."""
    ForecastProvider(tmp_path / "source").publish(places(N)[:-3])
    both = [
        of(tmp_path / "a", source_base=str(tmp_path / "source")) for of in (Before, with_more(dim))
    ]
    both[0].backfill(START + STEP * N, client="none", now=NOW)
    return both


def test_it_is_judged_by_its_own_labels_and_the_others_are_named(looked_at, dim):
    """Validation finds what it found before, and says that grow adds the label."""
    before, after = (dataset.validate(now=NOW) for dataset in looked_at)
    found = [(r.validator, f) for r in after.results for f in r.findings]
    more = [f for _, f in found if f.variables == (dim,)]
    assert [(f.severity, "gridmill grow" in f.repair) for f in more] == [("warning", True)]
    assert f"labels of {dim} and the archive has" in more[0].message
    said = [(r.validator, f.message) for r in before.results for f in r.findings]
    assert [(by, f.message) for by, f in found if f not in more] == said
    assert said


def test_what_only_looks_says_what_it_said(looked_at, dim):
    """Gaps, status, history, statistics and proofs are those of what is there."""
    before, after = looked_at
    gaps = [list(find_gaps(Context(d, now=NOW, beyond=True))) for d in looked_at]
    assert gaps[0] == gaps[1]
    assert gaps[0]
    told, now = (dataset.status(now=NOW) for dataset in looked_at)
    assert [dim in remark for remark in now.remarks] == [True]
    assert (now.positions, now.pending, now.late) == (told.positions, told.pending, told.late)
    assert read_history(before, str(START), now=NOW) == read_history(after, str(START), now=NOW)
    assert read_statistics(before, now=NOW) == read_statistics(after, now=NOW)
    assert [p.verdict for p in prove(after, 9, client="none", now=NOW).proofs] == ["proven"] * 3


def objects(folder):
    """Read every object below a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_damage_is_repaired_as_it_was_made(looked_at, dim, tmp_path):
    """The archive's own metadata and labels are put back, and not the code's."""
    _, after = looked_at
    written = objects(tmp_path / "a")
    for name in (f"{dim}/zarr.json", f"{dim}/c/0", "a/zarr.json"):
        (tmp_path / "a" / name).unlink()
    restore_metadata(after, who="me", now=NOW)
    assert objects(tmp_path / "a") == written


def test_what_writes_is_refused_and_names_the_way(looked_at, tmp_path):
    """Nothing is written under other labels than the archive has."""
    _, after = looked_at
    target = type(after)(tmp_path / "copy", source_base=str(tmp_path / "source"))
    for write in (
        lambda: after.reformat_operational_update(client="none", now=NOW),
        lambda: copy_archive(after, target, who="me", now=NOW),
    ):
        with pytest.raises(StructureMismatch, match="gridmill grow"):
            write()
