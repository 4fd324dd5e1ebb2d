"""An archive that another program made is continued: misfits are named, readers keep all."""

from __future__ import annotations

import json
import shutil
import uuid
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from click.testing import CliRunner

from elsewhere import (
    NOW,
    N,
    Punctual,
    dataset_at,
    look_at,
    made,
    write,
)
from gridmill.cli import ExitCode, cli
from gridmill.model.variables import Encoding
from gridmill.operations.elsewhere.adopt import adopt
from gridmill.operations.elsewhere.copying import copy_archive
from gridmill.operations.elsewhere.examine import NotAdoptable
from gridmill.testing import S3Server
from killed_steps import Attempts, Readers
from quirky_s3 import QuirkyS3, as_aws
from tiny import NAMES, Provider, TinyTemplate, dataset_of, hours, snapshot, tiny_var, truth, until

WHO = {"who": "operator", "now": NOW}
KINDS = ["a.zarr", "a.icechunk"]
SHARDED = {
    name: {"chunks": (2, 2, 3), "shards": (4, 2, 3), "compressors": zarr.codecs.BloscCodec()}
    for name in NAMES
}


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    """It no longer has what the archive holds."""
    provider = Provider(tmp_path / "source")
    provider.publish(hours(4, N))
    return provider


def update(dataset: Any, n: int = 14) -> Any:
    """Bring an archive up to `n` positions."""
    return dataset.reformat_operational_update(client="none", until=until(n), now=NOW)


def refused(dataset: Any, tmp_path: Path) -> str:
    """Adopt what does not fit; give what is said, once nothing was written."""
    before = snapshot(tmp_path)
    with pytest.raises(NotAdoptable) as caught:
        adopt(dataset, **WHO)
    assert snapshot(tmp_path) == before
    return str(caught.value)


WAYS: Mapping[str, Mapping[str, Any]] = {
    "at once": {"steps": ()},
    "appended": {"steps": (6,)},
    "an object a position": {
        "steps": range(1, N),
        "encoding": {"time": {"units": "hours since 2020-01-01", "dtype": "int64"}},
    },
    "consolidated": {"consolidated": True},
    "shards, none whole at the end": {"steps": (), "encoding": SHARDED},
    "no compressor": {"encoding": {name: {"compressors": None} for name in NAMES}},
    "another compressor": {
        "encoding": {name: {"compressors": zarr.codecs.ZstdCodec(level=9)} for name in NAMES}
    },
    "another dtype": {"encoding": {"a": {"dtype": "float64"}}},
    "NaN as fill value": {"encoding": {name: {"fill_value": np.nan} for name in NAMES}},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_next_update_appends(tmp_path, provider, kind, way):
    """Nothing is asked of the provider for what is there, and data objects stay as they are."""
    how = dict(WAYS[way])
    if kind.endswith("icechunk"):
        how.pop("consolidated", None)
    store = str(tmp_path / kind)
    write(store, **how)
    dataset = dataset_at(store, str(provider.root))
    before = {k: v for k, v in snapshot(tmp_path / kind).items() if "/c/" in k}
    adoption = adopt(dataset, **WHO)
    assert (adoption.positions, adoption.gaps) == (N, {})
    after = snapshot(tmp_path / kind)
    assert {k: v for k, v in after.items() if k in before and k[0] in NAMES} == {
        k: v for k, v in before.items() if k[0] in NAMES
    }
    look_at(store, N, N)
    report = update(dataset)
    assert report.succeeded
    assert report.files["succeeded"] == sum(report.files.values())
    assert look_at(store, 14, 14) == 14
    again = update(dataset)
    assert (again.variables_done, again.problems) == (0, type(again.problems)())


def test_publications_ask_for_no_label_that_readers_see(tmp_path, provider):
    """However many of them there are, and however many publications: none is looked at again."""
    provider.publish(hours(12, N))
    write(str(tmp_path / "a"), **WAYS["an object a position"])
    with QuirkyS3(as_aws) as server:
        for path in (path for path in (tmp_path / "a").rglob("*") if path.is_file()):
            key = path.relative_to(tmp_path / "a").as_posix()
            server.contents[f"/bucket/a.zarr/{key}"] = path.read_bytes()
        dataset = dataset_at("s3://bucket/a.zarr", str(provider.root), server.storage_options)
        adopt(dataset, **WHO)
        server.asked.clear()
        assert update(dataset, 22).positions_after == 22
        asked = Counter(key for _, key in server.asked)
        roots = server.puts.count("/bucket/a.zarr/zarr.json")
    labels = [asked[f"/bucket/a.zarr/time/c/{i}"] for i in range(1, N - 1)]
    # As the run begins: what the template follows, and what is compared with it.
    assert roots > 2
    assert set(labels) == {2}


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_unproven_until_they_are_made_anew(tmp_path, provider, kind):
    """`status` counts the regions; one that a run makes anew from all of its files is proven."""
    store = str(tmp_path / kind)
    write(store)
    dataset = dataset_at(store, str(provider.root))
    adopt(dataset, **WHO)
    assert dataset.status(now=NOW).unproven == 2
    update(dataset)
    assert dataset.status(now=NOW).unproven == 2  # the second holds values of before
    provider.publish(hours(6))
    dataset.backfill(until(14), end=until(6), redo=True, client="none", now=NOW)
    assert [any(v.unproven for v in r.variables.values()) for r in dataset.store.progress()] == [
        False,
        True,
        False,
    ]


def test_a_place_without_values_is_a_gap(tmp_path, provider):
    """NaN is what no source file filled: listed, and fetched once the provider has it."""
    ds = made()
    for name in NAMES:
        ds[name].values[3] = np.nan
    ds["b"].values[7] = np.nan
    store = str(tmp_path / "a.zarr")
    write(store, ds)
    dataset = dataset_at(store, str(provider.root))
    assert adopt(dataset, **WHO).gaps == {"a": 1, "b": 2}
    records = dataset.store.progress()
    assert [(r.start, *where) for r in records for where in r.pending()] == [
        (0, "a", 3),
        (0, "b", 3),
        (6, "b", 1),
    ]
    provider.publish(hours(1, 3))
    assert update(dataset).succeeded
    wanted = truth(hours(14), "b")
    wanted[7] = np.nan
    look_at(store, 14, 14, b=wanted)


def test_zeros_are_values_where_nothing_says_missing(tmp_path, provider):
    """An integer without a fill value has a value everywhere."""

    class Counted(TinyTemplate):
        data_vars = (
            tiny_var("a", encoding=Encoding(chunks=(2, 2, 3), shards=(4, 2, 3), dtype="int16")),
        )

    ds = made()[["a"]].assign(a=lambda d: (d.a * 0).astype("int16").assign_attrs(d.a.attrs))
    write(str(tmp_path / "a"), ds)
    kind = dataset_of(template=Counted, job=Punctual)
    dataset = kind(tmp_path / "a", source_base=str(provider.root))
    assert adopt(dataset, **WHO).gaps == {}


# -- what does not fit ---------------------------------------------------------------------------


def test_chunks_that_are_absent_and_read_as_zero_are_named(tmp_path, provider):
    """xarray wrote 0 as Zarr's fill value for years: what is not there is a value for readers."""
    ds = made()
    ds["a"].values[:6] = 0
    how = {"encoding": {name: {"fill_value": 0.0} for name in NAMES}}
    store = tmp_path / "a"
    write(str(store), ds, **how)
    dataset = dataset_at(str(store), str(provider.root))
    said = refused(dataset, tmp_path)
    assert "a: 1 chunk not written, which readers take for a value" in said
    assert "gridmill copy" in said


@pytest.mark.parametrize("sharded", [False, True])
def test_a_fill_value_that_no_reader_meets_is_changed(tmp_path, provider, sharded):
    """Where every chunk is there, 0 becomes NaN: a place that is missing later is no 0."""
    how: dict[str, Any] = {"encoding": {name: {"fill_value": 0.0} for name in NAMES}}
    if sharded:
        how = {"encoding": {n: {**SHARDED[n], "fill_value": 0.0} for n in NAMES}, "steps": ()}
    write(str(tmp_path / "a"), **how)
    dataset = dataset_at(str(tmp_path / "a"), str(provider.root))
    adopt(dataset, **WHO)
    array = json.loads((tmp_path / "a/a/zarr.json").read_bytes())
    assert array["fill_value"] == "NaN"
    provider.withdraw(hours(1, 12)[0])
    update(dataset)
    wanted = {name: truth(hours(14), name) for name in NAMES}
    for values in wanted.values():
        values[12] = np.nan
    look_at(str(tmp_path / "a"), 14, 14, **wanted)


def test_chunks_absent_within_a_shard_are_counted(tmp_path, provider):
    """A shard's index says what is not in it."""
    ds = made()
    ds["b"].values[2:4] = 0
    encoding = {n: {**SHARDED[n], "fill_value": 0.0} for n in NAMES}
    write(str(tmp_path / "a"), ds, steps=(), encoding=encoding)
    dataset = dataset_at(str(tmp_path / "a"), str(provider.root))
    assert "b: 1 chunk not written" in refused(dataset, tmp_path)


def _with(change: Any) -> xr.Dataset:
    return change(made())


MISFITS: Mapping[str, tuple[Mapping[str, Any], list[str]]] = {
    "Zarr v2": ({"zarr_format": 2}, ["Zarr v2", "gridmill copy"]),
    "other keys": (
        {"encoding": {n: {"chunk_key_encoding": {"name": "v2", "separator": "."}} for n in NAMES}},
        ["a: chunk_key_encoding is", "gridmill copy"],
    ),
    "a codec that gives other bytes each time": (
        {"encoding": {"a": {"compressors": zarr.codecs.GzipCodec()}}},
        ["a: gzip writes the time", "gridmill copy"],
    ),
    "a filter": (
        {"encoding": {"b": {"filters": [zarr.codecs.TransposeCodec(order=(2, 1, 0))]}}},
        ["b: codec transpose", "gridmill copy"],
    ),
    "other units": (
        {"ds": _with(lambda ds: ds.assign(a=ds.a.assign_attrs(units="K")))},
        ['a: attribute units is "1" in the template and "K" in the store', "declare the archive"],
    ),
    "another dataset": (
        {"ds": made(dataset_id="other")},
        ["dataset_id", "give the dataset that it is of"],
    ),
    "a variable more": (
        {"ds": _with(lambda ds: ds.assign(c=ds.a))},
        ["c is not in the template", "declare it, or delete it"],
    ),
    "a label missing": (
        {"ds": _with(lambda ds: ds.isel(time=[0, 1, 2, 3, 4, 5, 7, 8, 9]))},
        ["time is 2020-01-01 07:00:00 at position 6", "2020-01-01 06:00:00", "gridmill copy"],
    ),
    "another grid": (
        {"ds": _with(lambda ds: ds.assign_coords(y=[5.0, 6.0]))},
        ["values of coordinate y differ"],
    ),
    "other dims": (
        {"ds": _with(lambda ds: ds.rename(x="longitude"))},
        ["longitude is not in the template", "x is not in the store"],
    ),
    "none of its variables": (
        {"ds": _with(lambda ds: ds.rename(a="t", b="u"))},
        ["it has none of a, b", "give the dataset that it is of"],
    ),
}


@pytest.mark.parametrize("why", MISFITS)
def test_what_does_not_fit_is_named_with_its_remedy(tmp_path, provider, why):
    """Nothing is written, in the store or beside it."""
    how, named = MISFITS[why]
    write(str(tmp_path / "a"), **how)
    dataset = dataset_at(str(tmp_path / "a"), str(provider.root))
    said = refused(dataset, tmp_path)
    assert "nothing was written" in said
    assert [part for part in named if part not in said] == []


def test_all_differences_are_named_at_once(tmp_path, provider):
    """Not only the first."""
    ds = made(dataset_id="other").assign(c=lambda d: d.a)
    write(str(tmp_path / "a"), ds)
    said = refused(dataset_at(str(tmp_path / "a"), str(provider.root)), tmp_path)
    assert "dataset_id" in said
    assert "c is not in the template" in said


def test_stale_consolidated_metadata_are_named(tmp_path, provider):
    """Readers of the root would see less than the arrays have."""
    write(str(tmp_path / "a"), made(6), steps=(), consolidated=True)
    root = (tmp_path / "a/zarr.json").read_bytes()
    made(4, 6).to_zarr(tmp_path / "a", append_dim="time", consolidated=False)
    (tmp_path / "a/zarr.json").write_bytes(root)
    said = refused(dataset_at(str(tmp_path / "a"), str(provider.root)), tmp_path)
    assert "zarr.consolidate_metadata" in said


def test_there_must_be_something(tmp_path, provider):
    """A mistyped address is no archive."""
    assert "no Zarr group" in refused(dataset_at(str(tmp_path / "a"), "x"), tmp_path)
    assert "readers see nothing" in refused(dataset_at(str(tmp_path / "b.icechunk"), "x"), tmp_path)


def test_what_gridmill_made_is_not_adopted(tmp_path, provider):
    """It has records already."""
    dataset = dataset_at(str(tmp_path / "a"), str(provider.root))
    provider.publish(hours(4))
    dataset.backfill(until(4), client="none")
    with pytest.raises(ValueError, match="gridmill update continues it"):
        adopt(dataset, **WHO)


def test_an_archive_that_changes_meanwhile_is_left(tmp_path, provider, monkeypatch):
    """Who looked at ten positions does not hide the eleventh."""
    store = tmp_path / "a"
    write(str(store))
    dataset = dataset_at(str(store), str(provider.root))
    write_record = type(dataset.store.tracker).write

    def and_append(self, record):
        write_record(self, record)
        if record.start:
            made(1, N).to_zarr(store, append_dim="time", consolidated=False)

    monkeypatch.setattr(type(dataset.store.tracker), "write", and_append)
    with pytest.raises(ValueError, match="was changed during the check"):
        adopt(dataset, **WHO)
    monkeypatch.undo()
    assert look_at(str(store), 11, 11) == 11
    adopt(dataset, **WHO)
    assert look_at(str(store), 11, 11) == 11


def test_an_archive_that_begins_later_has_fewer_variables_and_positions(tmp_path, provider):
    """Its declaration says so, as that of one that gridmill makes."""
    write(str(tmp_path / "a"), made(6, 4)[["a"]], steps=())
    dataset = dataset_at(str(tmp_path / "a"), str(provider.root))
    adopt(dataset, **WHO)
    declared = dataset.store.tracker.read_declaration()
    assert (declared["start"], declared["variables"]) == (hours(1, 4)[0].isoformat(), ["a"])
    assert update(dataset).succeeded
    assert dataset.store.published_length("time") == 10


def test_the_command_says_what_would_change(tmp_path, provider):
    """`--dry-run` writes nothing; what does not fit exits with 2; `--json` is whole."""
    store = tmp_path / "a"
    write(str(store))
    args = ["adopt", "elsewhere:Elsewhere", "--store", str(store), "--now", NOW]
    before = snapshot(tmp_path)
    done = CliRunner().invoke(cli, [*args, "--dry-run", "--json"])
    assert (done.exit_code or ExitCode.SUCCESS) == ExitCode.SUCCESS, done.output
    content = json.loads(done.stdout)
    assert (content["dry_run"], content["positions"]) == (True, N)
    assert "the metadata are consolidated" in content["changes"]
    assert snapshot(tmp_path) == before
    done = CliRunner().invoke(cli, [*args, "--yes", "--who", "me"])
    assert "adopted" in done.output
    shown = CliRunner().invoke(cli, ["status", *args[1:]])
    assert "2 regions created by another program" in shown.output


# -- killed ----------------------------------------------------------------------------------------


def take_over_under_kills(url: str, source: str, options: Any = None, **how: Any) -> int:
    """Adopt with a death before each write; give how many, once readers saw all at every moment."""
    write(url, options=options, **how)
    deaths = 0
    with (
        Readers(lambda: look_at(url, N, 14, options)) as readers,
        Attempts("elsewhere:adopt_tiny") as attempts,
    ):
        for _ in attempts.one_after_the_other(url, source, options):
            readers.once()
            deaths += 1
    assert readers.violations == []
    assert readers.looks > deaths
    return deaths


@pytest.mark.parametrize("kind", KINDS)
def test_a_death_at_any_write_takes_nothing_from_readers(tmp_path, provider, kind):
    """The same command, called again, completes it."""
    store = str(tmp_path / kind)
    assert take_over_under_kills(store, str(provider.root)) > 8
    dataset = dataset_at(store, str(provider.root))
    assert update(dataset).succeeded
    look_at(store, 14, 14)


def test_a_death_in_a_bucket_takes_nothing_from_readers(tmp_path, provider, s3_server: S3Server):
    """As on a disk."""
    bucket = f"adopt-{uuid.uuid4().hex[:8]}"
    s3_server.create_bucket(bucket)
    url, options = f"s3://{bucket}/a.zarr", dict(s3_server.storage_options)
    assert take_over_under_kills(url, str(provider.root), options) > 8
    dataset = dataset_at(url, str(provider.root), options)
    assert update(dataset).succeeded
    look_at(url, 14, 14, options)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_append_is_safe_at_any_death(tmp_path, provider, kind):
    """Though the append coordinate is in many chunks, and the last object is not full."""
    store = str(tmp_path / kind)
    write(store, made(9), **{**WAYS["an object a position"], "steps": (2, 4, 6, 8)})
    provider.publish(hours(1, 9))
    adopt(dataset_at(store, str(provider.root)), **WHO)
    seen = [9]

    def look() -> None:
        seen[0] = max(seen[0], look_at(store, seen[0], 14))

    with Readers(look) as readers, Attempts("elsewhere:update_tiny") as attempts:
        deaths = 0
        for _ in attempts.one_after_the_other(store, str(provider.root)):
            readers.once()
            deaths += 1
        readers.once()
    assert readers.violations == []
    assert (seen, deaths > 10) == ([14], True)


def test_what_was_adopted_is_copied_by_its_sizes(tmp_path, provider):
    """There are no checksums to compare, which is said; what is unproven stays so."""
    write(str(tmp_path / "a"))
    dataset = dataset_at(str(tmp_path / "a"), str(provider.root))
    adopt(dataset, **WHO)
    copy = dataset_at(str(tmp_path / "b.icechunk"), str(provider.root))
    copied = copy_archive(dataset, copy, **WHO)
    assert (copied.positions, copied.objects, copied.without_checksum) == (N, 4, 4)
    assert copy.status(now=NOW).unproven == 2
    update(copy)
    look_at(str(tmp_path / "b.icechunk"), 14, 14)


def test_no_run_begins_before_an_archive_is_adopted_whole(tmp_path, provider):
    """Without a declaration an update refuses what readers see, whatever records there are."""
    store = str(tmp_path / "a")
    write(store)
    with Attempts("elsewhere:adopt_tiny") as attempts:
        number = 1
        while attempts.dies_before(number, store, str(provider.root)):
            dataset = dataset_at(store, str(provider.root))
            if dataset.store.tracker.read_declaration() is None:
                with pytest.raises(Exception, match=r"declaration|contradicts"):
                    update(dataset)
            look_at(store, N, N)
            shutil.rmtree(store)
            shutil.rmtree(f"{store}.gridmill", ignore_errors=True)
            write(store)
            number += 1
    assert number > 8
