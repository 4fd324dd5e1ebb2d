"""An archive goes on under what it was made with, when the code's defaults change."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridmill.archive.metadata import write_by_xarray
from gridmill.authoring.encoding.stored import stored_encoding
from gridmill.authoring.over_time.as_made import as_made
from gridmill.authoring.template import TemplateConfig
from gridmill.cli import ExitCode, cli
from gridmill.dataset import DynamicalDataset
from gridmill.model.variables import (
    BLOSC_ZSTD,
    PACKED,
    ZSTD,
    Completeness,
    Coordinate,
    Encoding,
)
from gridmill.operations.migrate import migrate_metadata, migration_of
from gridmill.operations.restore import restore_metadata
from gridmill.registry import dataset_entries
from gridmill.stores.structure import StructureMismatch, compare_structures
from listed_axis import with_labels
from tiny import (
    REGION,
    SHAPE,
    Provider,
    Tiny,
    TinyTemplate,
    dataset_of,
    hours,
    snapshot,
    time_coordinate,
    tiny_var,
    truth,
    until,
)

FORMATS = ["zarr", "icechunk"]


def written(config: TemplateConfig, end: Any) -> dict[str, Any]:
    """Give the root metadata of a template."""
    with tempfile.TemporaryDirectory() as folder:
        write_by_xarray(config.get_template(end), Path(folder))
        return json.loads((Path(folder) / "zarr.json").read_text())


# -- metadata and encodings -------------------------------------------------------------------

DTYPES = ["float32", "float64", "int16", "int64", "uint8", "bool"]
COMPRESSORS = [(), (BLOSC_ZSTD,), (ZSTD,), (ZSTD, BLOSC_ZSTD)]
FILLS = {"f": [None, 0.0, -9999.0, 0.1, float("inf")], "i": [None, -1], "u": [255], "b": [None]}

PACKING = {"scale_factor": [0.01, 2, -1.5], "add_offset": [273.15, 0.0]}


@st.composite
def encodings(draw: st.DrawFn) -> Encoding:
    """Give any encoding of a variable on (time, y, x)."""
    dtype = draw(st.sampled_from(DTYPES))
    fill_value = draw(st.sampled_from(FILLS[np.dtype(dtype).kind]))
    packing = {}
    if dtype in PACKED and fill_value is not None and draw(st.booleans()):
        names = draw(st.sampled_from([["scale_factor"], ["add_offset"], [*PACKING]]))
        packing = {name: draw(st.sampled_from(PACKING[name])) for name in names}
    chunks = tuple(draw(st.tuples(*[st.integers(1, 3)] * 3)))
    times = draw(st.none() | st.tuples(*[st.integers(1, 3)] * 3))
    return Encoding(
        chunks=chunks,
        shards=times and tuple(n * k for n, k in zip(chunks, times, strict=True)),
        dtype=dtype,
        fill_value=fill_value,
        fill_is_missing=bool(packing) or draw(st.booleans()),
        **packing,
        compressors=draw(st.sampled_from(COMPRESSORS)),
        checksum=draw(st.booleans()),
        index_location=draw(st.sampled_from(["end", "start"])),
    )


def config_of(*data_vars: Any, **changes: Any) -> TemplateConfig:
    """Give a template with these variables."""
    return type("Changed", (TinyTemplate,), {"data_vars": data_vars, **changes})()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(encodings(), encodings())
def test_any_encoding_is_found_again_in_its_metadata(made: Encoding, now: Encoding) -> None:
    """Whatever the code says by now, the template is written as the archive's was."""
    stored = written(config_of(tiny_var("a", encoding=made)), until(3))
    found = as_made(config_of(tiny_var("a", encoding=now)), stored)
    assert written(found.config, until(3)) == stored
    array = stored["consolidated_metadata"]["metadata"]["a"]
    assert as_made(config_of(tiny_var("a", encoding=stored_encoding(array))), stored).changed == ()


@pytest.mark.parametrize("entry", dataset_entries(), ids=lambda entry: entry.name)
def test_templates_of_this_package_are_found_again(entry: Any) -> None:
    """Unchanged they stay the very same; with every default changed they are written the same."""
    config = with_labels(entry.load().template_config())
    start = config.label(config.append_dim_start)
    end = config.append_dim_coordinates(start.replace(year=start.year + 4))[2]
    stored = written(config, end)
    same = as_made(config, stored)
    assert (same.changed, same.missing, same.config.remarks) == ((), (), ())
    # What was derived of the declaration stays as the archive has it; what is declared, too.
    assert same.config.dataset_attributes is config.dataset_attributes
    for name in ("coords", "data_vars"):
        pairs = zip(getattr(same.config, name), getattr(config, name), strict=True)
        assert all(ours is theirs for ours, theirs in pairs)
    other = with_labels(entry.load().template_config())
    other.dataset_attributes = {**other.dataset_attributes, "title": "Other"}
    other.append_dim_capacity = 1000
    other.data_vars = tuple(
        replace(
            var,
            attrs={**var.attrs, "comment": "other"},
            encoding=replace(
                var.encoding, shards=None, chunks=(1,) * len(var.dims), dtype="float64"
            ),
        )
        for var in other.data_vars
    )
    other.coords = tuple(
        replace(coord, attrs={**coord.attrs, "comment": "other"}, dtype="float32")
        if coord.units is None
        else replace(coord, dtype="float64", units=coord.units.replace("seconds", "days"))
        for coord in other.coords
    )
    found = as_made(other, stored)
    assert compare_structures(written(found.config, end), stored, config.append_dim) == []
    assert found.config.region_length == config.region_length
    assert found.config.capacity == config.capacity
    assert len(found.config.remarks) == 1


def test_what_no_encoding_gives_is_left_as_coded() -> None:
    """Another program's codecs, and metadata that contradict themselves, are for the comparison."""
    config = config_of(tiny_var("a"))
    for damage in (
        lambda a: a["codecs"].insert(0, {"name": "transpose", "configuration": {"order": [0]}}),
        lambda a: a.update(fill_value=0.0),
        lambda a: a.update(data_type={"name": "struct"}),
        lambda a: a.update(chunk_grid={"name": "rectilinear"}),
        lambda a: a.pop("codecs"),
        lambda a: a.update(dimension_names=None),
    ):
        stored = written(config, until(3))
        damage(stored["consolidated_metadata"]["metadata"]["a"])
        assert as_made(config, stored).config is config
    for nothing in (None, {}, {"attributes": {}}, {"consolidated_metadata": None}):
        assert as_made(config, nothing).config is config


# -- archives ---------------------------------------------------------------------------------


class ManyTemplate(TinyTemplate):
    """With coordinates of two kinds, one of them of data."""

    coords = (*TinyTemplate.coords, Coordinate(name="area", dims=("y", "x"), dtype="float32"))

    def derive_coordinates(self, ds: xr.Dataset) -> dict[str, Any]:
        """Give areas."""
        return {"area": (("y", "x"), np.ones(SHAPE))}


class Better(ManyTemplate):
    """Every kind of default is another one."""

    append_dim_capacity = 20_000
    dataset_attributes = {"dataset_id": "tiny", "title": "Tiny and neat", "license": "CC0"}
    coords = (
        time_coordinate(units="days since 1970-01-01", dtype="float64", attrs={"axis": "T"}),
        Coordinate(name="y", attrs={"units": "m"}, dtype="float32"),
        Coordinate(name="x", chunks=(2,)),
        Coordinate(name="area", dims=("y", "x"), attrs={"long_name": "Area"}),
        Coordinate(name="height", dims=("y", "x")),
        Completeness(dims=("time",)),
    )
    data_vars = (
        tiny_var(
            "a",
            0,
            encoding=Encoding(chunks=(3, 1, 3), shards=(6, 2, 3), dtype="float64", fill_value=-1.0),
            attrs={"long_name": "A, better", "units": "1", "comment": "new"},
        ),
        tiny_var(
            "b", 1, encoding=Encoding(chunks=(6, *SHAPE), compressors=(ZSTD,), checksum=False)
        ),
    )

    def derive_coordinates(self, ds: xr.Dataset) -> dict[str, Any]:
        """Give areas, and heights that archives of before do not have."""
        return {**super().derive_coordinates(ds), "height": (("y", "x"), np.ones(SHAPE))}


Old, New = dataset_of(template=ManyTemplate), dataset_of(template=Better)


class More(ManyTemplate):
    """One more variable along time, and a static one."""

    data_vars = (
        *ManyTemplate.data_vars,
        tiny_var("c", 2),
        tiny_var("z", 3, dims=("y", "x"), encoding=Encoding(chunks=SHAPE)),
    )


With = dataset_of(template=More)


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    """A provider with twelve files."""
    provider = Provider(tmp_path / "source")
    provider.publish(hours(12))
    return provider


def make(
    tmp_path: Path, kind: type[DynamicalDataset], name: str = "a", **options: Any
) -> DynamicalDataset:
    """Give a dataset at a place."""
    return kind(tmp_path / name, source_base=str(tmp_path / "source"), **options)


def assert_true(dataset: DynamicalDataset, length: int) -> None:
    """Compare what readers see with the truth."""
    ds = dataset.store.open_dataset()
    for name in ("a", "b"):
        np.testing.assert_array_equal(ds[name].values, truth(hours(length), name))


@pytest.mark.parametrize("kind", FORMATS)
def test_changed_defaults_stop_no_update(client, provider, tmp_path, kind):
    """New objects are those that the old code would have made; the report says what is kept."""
    for name in ("a", "b"):
        make(tmp_path, Old, name, format=kind).backfill(until(6), client=client)
    before = snapshot(tmp_path / "a")
    dataset = make(tmp_path, New, format=kind)
    plan = dataset.plan(now=until(12)).describe()
    report = dataset.reformat_operational_update(client=client, now=until(12))
    assert report.succeeded
    assert report.positions_after == 12
    assert (report.notes, plan["warnings"][:1]) == ([plan["warnings"][0]], report.notes)
    (remark,) = report.notes
    assert "title, time capacity" in remark
    assert "more; gridmill migrate-metadata" in remark
    assert dataset.status(now=until(12)).remarks == (remark,)
    assert_true(dataset, 12)
    old = make(tmp_path, Old, "b", format=kind)
    old.reformat_operational_update(client=client, now=until(12))
    assert dataset.store.metadata() == old.store.metadata()
    assert [r.start for r in dataset.store.progress()] == [0, 4, 8]
    if kind == "zarr":
        after = snapshot(tmp_path / "a")
        assert after == snapshot(tmp_path / "b")
        assert after["a/c/0/0/0"] == before["a/c/0/0/0"]
    # What is done stays done.
    again = make(tmp_path, New, format=kind).backfill(until(12), client=client)
    assert (again.regions_done, again.regions_skipped) == (0, 3)


CONTRADICTIONS: dict[str, tuple[type[TemplateConfig], Sequence[str]]] = {}


def contradiction(*named: str) -> Any:
    """Register a template that contradicts archives of `TinyTemplate`, and what is named."""

    def register(template: type[TemplateConfig]) -> type[TemplateConfig]:
        CONTRADICTIONS[template.__name__] = (template, named)
        return template

    return register


@contradiction("a: attribute units", "a: attribute scale_factor")
class OtherMeaning(TinyTemplate):
    data_vars = (
        tiny_var("a", 0, attrs={"long_name": "A", "units": "kg", "scale_factor": 2.0}),
        TinyTemplate.data_vars[1],
    )


@contradiction("attribute dataset_id")
class OtherId(TinyTemplate):
    dataset_attributes = {"dataset_id": "tiny", "title": "Tiny"}

    @property
    def dataset_id(self) -> str:
        return "tiny"

    def __init__(self) -> None:
        super().__init__()
        self.dataset_attributes = {"dataset_id": "other", "title": "Other"}


@contradiction("coordinate y differ")
class OtherLabels(TinyTemplate):
    def dimension_coordinates(self) -> dict[str, Any]:
        return {"y": np.arange(2.0) + 0.5, "x": np.arange(3.0)}


@contradiction("a: shape", "x: shape")
class OtherLength(TinyTemplate):
    def dimension_coordinates(self) -> dict[str, Any]:
        return {"y": np.arange(2.0), "x": np.arange(4.0)}


@contradiction("a: dimension_names", "a: shape")
class OtherDims(TinyTemplate):
    data_vars = (tiny_var("a", 0, dims=("time", "x", "y")),)


@contradiction("time: attribute calendar")
class OtherCalendar(TinyTemplate):
    coords = (time_coordinate(calendar="standard"), *TinyTemplate.coords[1:])


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_what_contradicts_stops_a_run_and_is_named(client, provider, tmp_path, name):
    """Values would be others, or mean something else: nothing is written."""
    template, named = CONTRADICTIONS[name]
    make(tmp_path, Tiny).backfill(until(6), client=client)
    before = snapshot(tmp_path / "a")
    with pytest.raises(StructureMismatch) as stopped:
        make(tmp_path, dataset_of(template=template)).backfill(until(12), client=client)
    for what in named:
        assert any(what in line for line in stopped.value.differences), stopped.value
    assert not any("title" in line for line in stopped.value.differences)
    assert snapshot(tmp_path / "a") == before


@pytest.mark.parametrize("kind", FORMATS)
def test_a_variable_that_the_archive_lacks_does_not_stop_the_others(
    client, provider, tmp_path, kind
):
    """Updates go on with those that are there, and say how it is added; then it is like them."""
    make(tmp_path, Old, format=kind).backfill(until(6), client=client)
    dataset = make(tmp_path, With, format=kind)
    report = dataset.reformat_operational_update(client=client, now=until(10))
    assert (report.succeeded, report.positions_after) == (True, 10)
    (remark,) = report.notes
    assert "lacks 2 declared variables: c, z; gridmill backfill … --variables c adds" in remark
    assert set(dataset.store.open_dataset().data_vars) == {"a", "b"}
    added = dataset.backfill(until(10), variables=["c"], client=client)
    assert added.notes[-1] == "added c"
    assert dataset.store.tracker.read_declaration()["variables"] is None
    report = make(tmp_path, With, format=kind).backfill(until(12), client=client)
    assert report.positions_after == 12
    assert "lacks 1 declared variable: z; it takes a new archive" in report.notes[0]
    assert_true(dataset, 12)
    got = dataset.store.open_dataset()
    assert set(got.data_vars) == {"a", "b", "c"}
    assert not np.isnan(got.c.values).any()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"encoding": Encoding(chunks=(8, *SHAPE))}, "must hold whole shards"),
        ({"dims": ("time", "level", "y"), "encoding": Encoding(chunks=(4, 1, 2))}, "no level"),
    ],
)
def test_a_variable_that_does_not_fit_is_refused(client, provider, tmp_path, changes, why):
    """Regions of the archive would be other ones, or dims are new: one line says so."""

    class Misfit(TinyTemplate):
        coords = (*TinyTemplate.coords, Coordinate(name="level"))
        data_vars = (*TinyTemplate.data_vars, tiny_var("c", 2, **changes))

        def dimension_coordinates(self) -> dict[str, Any]:
            return {**super().dimension_coordinates(), "level": np.arange(1.0)}

    make(tmp_path, Tiny).backfill(until(6), client=client)
    dataset = make(tmp_path, dataset_of(template=Misfit))
    assert dataset.backfill(until(8), client=client).positions_after == 8
    with pytest.raises(ValueError, match=why):
        dataset.backfill(until(8), variables=["c"], client=client)


@pytest.mark.parametrize("kind", FORMATS)
def test_an_operator_lets_descriptions_follow_the_code(client, provider, tmp_path, kind):
    """Then they are the archive's, old code or new; what is stored otherwise says what it takes."""
    make(tmp_path, Old, format=kind).backfill(until(6), client=client)
    dataset = make(tmp_path, New, format=kind)
    report = migrate_metadata(dataset, who="operator", now=until(6))
    assert any("Tiny and neat" in note for note in report.notes)
    left = migration_of(dataset, now=until(6))
    assert left.permitted == ()
    takes = {d.array: take for d, take in zip(left.refused, left.takes, strict=True) if not d.key}
    assert takes.keys() == {"height", "completeness"}
    for code in (New, Old):
        report = make(tmp_path, code, format=kind).backfill(until(12), client=client)
        assert report.succeeded
        assert make(tmp_path, code, format=kind).store.open_dataset().title == "Tiny and neat"
    assert_true(dataset, 12)


def test_a_missing_variable_is_said_with_what_it_takes(client, provider, tmp_path):
    """In the list of differences, too."""
    make(tmp_path, Old).backfill(until(6), client=client)
    planned = migration_of(make(tmp_path, With), now=until(6))
    assert [d.array for d in planned.refused] == ["c", "z"]
    assert planned.takes[0] == "continues without it; gridmill backfill --variables adds it"


def test_the_validator_of_metadata_knows_changed_defaults(client, provider, tmp_path):
    """They are remarks; damage beside them is an error, and is repaired as the archive was made."""
    make(tmp_path, Old).backfill(until(6), client=client)
    whole = snapshot(tmp_path / "a")
    dataset = make(tmp_path, New)
    found = dataset.validate(now=until(6))
    assert found.succeeded
    assert {f.severity for f in found.found_by["metadata"]} == {"warning"}
    for damage in ("", '{"zarr_format": 3'):
        (tmp_path / "a" / "zarr.json").write_text(damage)
        restore_metadata(dataset, who="operator", now=until(6))
        restored = json.loads((tmp_path / "a" / "zarr.json").read_text())
        kept, was = (x["consolidated_metadata"] for x in (restored, json.loads(whole["zarr.json"])))
        assert kept == was
    root = json.loads(whole["zarr.json"])
    root["consolidated_metadata"]["metadata"]["b"]["codecs"][0]["configuration"].pop("codecs")
    (tmp_path / "a" / "zarr.json").write_text(json.dumps(root))
    assert not dataset.validate(now=until(6)).succeeded
    restore_metadata(dataset, who="operator", now=until(6))
    restored = json.loads((tmp_path / "a" / "zarr.json").read_text())
    assert restored == json.loads(whole["zarr.json"])
    assert_true(dataset, 6)


def run(*args: str) -> Any:
    """Run the command line in this process."""
    return CliRunner().invoke(cli, list(args))


def test_the_command_line_says_it(client, provider, tmp_path):
    """Plan, update, and status show the line, and an update ends well."""
    make(tmp_path, Old).backfill(until(6), client=client)
    where = ["test_as_made:New", "--store", str(tmp_path / "a"), "--now", until(12)]
    source = ["--source-base", str(tmp_path / "source")]
    said = "the archive keeps what it was made with"
    plan = run("plan", *where, *source)
    assert said in " ".join(plan.stdout.split()), plan.output
    done = run("update", *where, *source, "--cluster", client.scheduler.address)
    assert done.exit_code == ExitCode.SUCCESS, done.output
    assert said in " ".join(done.stdout.split())
    status = run("status", *where, *source)
    assert said in " ".join(status.stdout.split()), status.output
    assert_true(make(tmp_path, New), 12)


def test_the_root_is_read_once_more_at_most(client, provider, tmp_path, monkeypatch):
    """What an archive was made with costs an update one read."""
    make(tmp_path, Old).backfill(until(6), client=client)
    reads: list[str] = []
    dataset = make(tmp_path, New)
    get = type(dataset.store.objects).get

    def counted(self: Any, key: str) -> Any:
        reads.extend([key] if key == "zarr.json" and self is dataset.store.objects else [])
        return get(self, key)

    monkeypatch.setattr(type(dataset.store.objects), "get", counted)
    dataset.config()
    assert len(reads) == 1
    assert REGION == 4


# -- what would not be made today -----------------------------------------------------------------


class ZeroIsMissing(TinyTemplate):
    """Readers of its archive would see no zero."""

    encoding = Encoding(chunks=(2, *SHAPE), shards=(REGION, *SHAPE), fill_value=0.0)
    data_vars = (tiny_var("a", encoding=encoding),)


def test_an_archive_that_no_reader_would_understand_is_not_made(tmp_path, client):
    """Neither by a backfill nor by an update, and the plan says so before."""
    Provider(tmp_path / "source").publish(hours(4))
    base = {"source_base": str(tmp_path / "source")}
    dataset = dataset_of(template=ZeroIsMissing)(tmp_path / "a", **base)
    refused = pytest.raises(ValueError, match="every real zero as missing")
    with refused:
        dataset.plan(until(4))
    with refused:
        dataset.backfill(until(4), client=client)
    with refused:
        dataset.reformat_operational_update(now=until(4), client=client)
    assert not (tmp_path / "a").exists()


def test_one_that_was_made_goes_on_and_says_why_it_would_not_be(tmp_path, client, monkeypatch):
    """To stop its updates would help nobody."""
    Provider(tmp_path / "source").publish(hours(8))
    base = {"source_base": str(tmp_path / "source")}
    dataset = dataset_of(template=ZeroIsMissing)(tmp_path / "a", **base)
    with monkeypatch.context() as patched:
        patched.setattr("gridmill.archive.archive.check_new", lambda config: None)
        assert dataset.backfill(until(4), client=client).notes == []
    report = dataset.backfill(until(8), client=client)
    assert report.positions_after == 8
    (note,) = report.notes
    assert note.startswith("a new archive would be refused: variable 'a' has fill_value 0.0")
    assert dataset.status().remarks == (note,)
