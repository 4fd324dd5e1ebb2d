"""An archive is copied to another store, format or cloud, and goes on there."""

from __future__ import annotations

import json
import shutil
import uuid
import warnings
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

from elsewhere import NOW, Punctual, dataset_at, look_at, made, open_for_reading, write
from gridmill.cli import ExitCode, cli
from gridmill.model.records import ProgressRecord
from gridmill.model.variables import Encoding
from gridmill.operations.elsewhere.comparing import compare
from gridmill.operations.elsewhere.copying import copy_archive
from gridmill.testing import S3Server
from killed_steps import Attempts, Readers
from tiny import NAMES, Provider, TinyTemplate, dataset_of, hours, snapshot, tiny_var, truth, until

N = 10
# Of what is killed at every write: two regions, one of them not full.
FEW = 6
WHO = {"who": "operator", "now": NOW}
PAIRS = ["a.zarr b.zarr", "a.zarr b.icechunk", "a.icechunk b.zarr", "a.icechunk b.icechunk"]
HOURLY = {"time": {"units": "hours since 2020-01-01", "dtype": "int64"}}
FOREIGN = {
    "Zarr v2": {"zarr_format": 2},
    "other keys": {
        "encoding": {n: {"chunk_key_encoding": {"name": "v2", "separator": "."}} for n in NAMES}
    },
    "appended": {"steps": range(1, N), "encoding": HOURLY},
}


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    """It has what a backfill takes."""
    provider = Provider(tmp_path / "source")
    provider.publish(hours(N))
    return provider


def built(url: str, provider: Provider, n: int = N) -> Any:
    """Backfill an archive; its provider has only what follows, from then on."""
    dataset = dataset_at(url, str(provider.root))
    assert dataset.backfill(until(n), client="none", now=NOW).succeeded
    shutil.rmtree(provider.root)
    provider.publish(hours(14 - n, n))
    return dataset


def update(dataset: Any, n: int = 14) -> Any:
    """Bring an archive up to `n` positions."""
    return dataset.reformat_operational_update(client="none", until=until(n), now=NOW)


def essence(record: ProgressRecord) -> str:
    """Give a record without what is the store's own."""
    content = json.loads(record.to_json())
    for variable in content["variables"].values():
        variable.pop("token", None)
    return json.dumps(content, sort_keys=True)


@pytest.mark.parametrize("pair", PAIRS)
def test_the_copy_goes_on_without_reprocessing(tmp_path, provider, pair):
    """Objects, records and declaration are the same; an update fetches what is new, and no more."""
    a, b = (str(tmp_path / name) for name in pair.split())
    source, target = built(a, provider), dataset_at(b, str(provider.root))
    copied = copy_archive(source, target, **WHO)
    assert (copied.positions, copied.without_checksum, copied.is_recoded) == (N, 0, False)
    assert compare(source.store, target.store).is_same
    ours, theirs = (list(map(essence, d.store.tracker.records())) for d in (source, target))
    assert ours == theirs
    if pair == PAIRS[0]:
        assert snapshot(Path(a)) == snapshot(Path(b))
    report = update(target)
    assert report.succeeded
    # Of the region that grows, its files of before are asked for, as in the source.
    assert report.variables_done == update(source).variables_done
    look_at(b, 14, 14)


def test_a_copy_is_not_undone_by_copying_again(tmp_path, provider):
    """What went its own way since, or was never a copy, is left."""
    source = built(str(tmp_path / "a"), provider)
    target = dataset_at(str(tmp_path / "b"), str(provider.root))
    copy_archive(source, target, **WHO)
    assert copy_archive(source, target, **WHO).positions == N  # resumed, with nothing to do
    update(target)
    with pytest.raises(ValueError, match="changed since by the update"):
        copy_archive(source, target, **WHO)
    other = dataset_at(str(tmp_path / "c"), str(provider.root))
    with pytest.raises(ValueError, match="no copy of"):
        copy_archive(other, source, **WHO)
    with pytest.raises(ValueError, match="is a copy of"):
        copy_archive(other, target, **WHO)
    with pytest.raises(ValueError, match="the archive itself"):
        copy_archive(source, source, **WHO)


def test_an_object_that_is_not_as_recorded_is_not_copied(tmp_path, provider):
    """The copy ends before its region, and says why."""
    source = built(str(tmp_path / "a"), provider)
    damaged = tmp_path / "a/a/c/1/0/0"
    content = bytearray(damaged.read_bytes())
    content[3] ^= 1
    damaged.write_bytes(content)
    target = dataset_at(str(tmp_path / "b"), str(provider.root))
    copied = copy_archive(source, target, **WHO)
    assert copied.positions == 4
    (outcome,) = copied.report.replicas
    assert "a/c/1/0/0 was replaced since it was recorded" in outcome.failure
    look_at(str(tmp_path / "b"), 4, N)


def test_a_source_that_is_updated_meanwhile_is_followed(tmp_path, provider, monkeypatch):
    """It is only read: its own runs go on, and the copy ends where the source does."""
    source = built(str(tmp_path / "a"), provider)
    target = dataset_at(str(tmp_path / "b"), str(provider.root))
    update_once = [lambda: update(source)]
    download = type(source.store).download

    def and_update(self, *args, **options):
        if update_once:
            update_once.pop()()
        return download(self, *args, **options)

    monkeypatch.setattr(type(source.store), "download", and_update)
    assert copy_archive(source, target, **WHO).positions == 14
    assert compare(source.store, target.store).is_same


# -- what another program made --------------------------------------------------------------------


@pytest.mark.parametrize("target", ["b.zarr", "b.icechunk"])
@pytest.mark.parametrize("way", FOREIGN)
def test_what_cannot_be_adopted_is_written_anew(tmp_path, provider, way, target):
    """In whichever format, chunks and keys; the next update appends, and asks for nothing of it."""
    built(str(tmp_path / "unused"), provider)
    write(str(tmp_path / "a"), **FOREIGN[way])
    source = dataset_at(str(tmp_path / "a"), str(provider.root))
    copy = dataset_at(str(tmp_path / target), str(provider.root))
    copied = copy_archive(source, copy, **WHO)
    assert (copied.positions, copied.is_recoded) == (N, True)
    look_at(str(tmp_path / target), N, N)
    assert copy.status(now=NOW).unproven == 3
    report = update(copy)
    assert report.succeeded
    assert report.files["succeeded"] == sum(report.files.values())
    look_at(str(tmp_path / target), 14, 14)


def test_labels_are_looked_up(tmp_path, provider):
    """A label that is missing is a gap, and a dim may run the other way."""
    ds = made().isel(time=[0, 1, 2, 4, 5, 6, 7, 8, 9], y=slice(None, None, -1))
    write(str(tmp_path / "a"), ds)
    copy = dataset_at(str(tmp_path / "b"), str(provider.root))
    source = dataset_at(str(tmp_path / "a"), str(provider.root))
    notes = copy_archive(source, copy, **WHO).report.notes
    assert any("1 label of time were not there" in note for note in notes)
    wanted = {name: truth(hours(N), name) for name in NAMES}
    for values in wanted.values():
        values[3] = np.nan
    look_at(str(tmp_path / "b"), N, N, **wanted)
    assert copy.status(now=NOW).pending == 1
    update(copy)  # the provider has it
    look_at(str(tmp_path / "b"), N, N)


def test_zeros_that_were_not_written_stay_zeros(tmp_path, provider):
    """A reader of the source gets 0 for a chunk that is absent, and so does one of the copy."""
    ds = made()
    ds["a"].values[:6] = 0
    write(str(tmp_path / "a"), ds, encoding={name: {"fill_value": 0.0} for name in NAMES})
    copy = dataset_at(str(tmp_path / "b"), str(provider.root))
    copy_archive(dataset_at(str(tmp_path / "a"), str(provider.root)), copy, **WHO)
    look_at(str(tmp_path / "b"), N, N, a=ds["a"].values)
    assert copy.status(now=NOW).gaps == 0


def test_a_variable_that_lacks_what_it_has_later_has_a_gap(tmp_path, provider):
    """It shows beside later regions only: the record that was written is corrected."""
    ds = made()
    ds["b"].values[1] = np.nan
    write(str(tmp_path / "a"), ds, zarr_format=2)
    copy = dataset_at(str(tmp_path / "b"), str(provider.root))
    copy_archive(dataset_at(str(tmp_path / "a"), str(provider.root)), copy, **WHO)
    first = next(iter(copy.store.progress()))
    assert list(first.pending()) == [("b", 1)]


class Packed(TinyTemplate):
    """One variable in tenths."""

    data_vars = (
        tiny_var(
            "a",
            encoding=Encoding(chunks=(2, 2, 3), dtype="int16", scale_factor=0.1, fill_value=-32768),
        ),
    )


def test_no_value_becomes_another_unless_that_is_wished(tmp_path, provider):
    """What an encoding does not hold is named, with the way."""
    write(str(tmp_path / "a"), made()[["a"]], zarr_format=2)
    kind = dataset_of(template=Packed, job=Punctual)
    source, copy = (kind(tmp_path / n, source_base=str(provider.root)) for n in "ab")
    with pytest.raises(ValueError, match=r"values would be another in int16.*--lossy"):
        copy_archive(source, copy, **WHO)
    assert copy_archive(source, copy, lossy=True, **WHO).positions == N
    with copy.store.open_dataset() as ds:
        np.testing.assert_allclose(ds["a"].values, truth(hours(N)), atol=0.051)


def test_what_is_of_another_dataset_is_refused(tmp_path, provider):
    """Other units, dims or labels: nothing of the copy is declared."""
    changes = {
        "units": lambda ds: ds.assign(a=ds.a.assign_attrs(units="K")),
        "dims": lambda ds: ds.rename(x="longitude"),
        "labels of y": lambda ds: ds.assign_coords(y=[5.0, 6.0]),
        "no labels of time": lambda ds: ds.drop_vars("time"),
    }
    for number, (named, change) in enumerate(changes.items()):
        change(made()).to_zarr(tmp_path / f"a{number}", zarr_format=3)
        source = dataset_at(str(tmp_path / f"a{number}"), "x")
        copy = dataset_at(str(tmp_path / f"b{number}"), "x")
        with pytest.raises(ValueError, match=named.removeprefix("no ")):
            copy_archive(source, copy, **WHO)
        assert copy.store.tracker.read_declaration() is None


def test_memory_is_bounded_by_an_object(tmp_path, provider, monkeypatch):
    """Of a variable no more is read at once than one object of the copy holds."""
    write(str(tmp_path / "a"), zarr_format=2)
    sizes: list[int] = []
    read = xr.Variable.values.fget

    def and_note(self):
        values = read(self)
        sizes.append(values.size)
        return values

    monkeypatch.setattr(xr.Variable, "values", property(and_note))
    source = dataset_at(str(tmp_path / "a"), str(provider.root))
    copy_archive(source, dataset_at(str(tmp_path / "b"), str(provider.root)), **WHO)
    assert max(sizes) == 4 * 2 * 3


# -- killed ---------------------------------------------------------------------------------------


def copied_under_kills(a: str, b: str, source: str, options: Any = None) -> int:
    """Copy with a death before each write; give how many, once readers saw a prefix or nothing."""
    seen = [0]

    def look() -> None:
        least = seen[0]
        try:
            open_for_reading(b, options).close()
        except (FileNotFoundError, icechunk.IcechunkError) as error:
            if least:
                raise AssertionError(f"{least} positions are gone") from error
            return
        seen[0] = max(least, look_at(b, least, FEW, options))

    deaths = 0
    with Readers(look) as readers, Attempts("elsewhere:copy_tiny") as attempts:
        for _ in attempts.one_after_the_other(a, b, source, options):
            readers.once()
            deaths += 1
    assert readers.violations == []
    assert seen == [FEW]
    return deaths


@pytest.mark.parametrize("kind", ["b.zarr", "b.icechunk"])
@pytest.mark.parametrize("is_foreign", [False, True])
def test_a_death_at_any_write_shows_a_prefix_or_nothing(tmp_path, provider, kind, is_foreign):
    """The same command resumes; in the end readers see all, and the copy goes on."""
    a, b = str(tmp_path / "a"), str(tmp_path / kind)
    if is_foreign:
        built(str(tmp_path / "unused"), provider, FEW)
        write(a, made(FEW), steps=(), zarr_format=2)
    else:
        built(a, provider, FEW)
    assert copied_under_kills(a, b, str(provider.root)) > 15
    look_at(b, FEW, FEW)
    copy = dataset_at(b, str(provider.root))
    assert update(copy).succeeded
    look_at(b, 14, 14)


def test_a_death_in_a_bucket_shows_a_prefix_or_nothing(tmp_path, provider, s3_server: S3Server):
    """As on a disk."""
    bucket = f"copy-{uuid.uuid4().hex[:8]}"
    s3_server.create_bucket(bucket)
    url, options = f"s3://{bucket}/b.zarr", dict(s3_server.storage_options)
    a = str(tmp_path / "a.icechunk")
    built(a, provider, FEW)
    assert copied_under_kills(a, url, str(provider.root), options) > 15
    copy = dataset_at(url, str(provider.root), options)
    assert update(copy).succeeded
    look_at(url, 14, 14, options)


# -- the command ----------------------------------------------------------------------------------


def test_the_command_copies_and_says_what(tmp_path, provider):
    """The copy's own options are of its own; a failure exits with 1."""
    built(str(tmp_path / "a"), provider)
    args = ["copy", "elsewhere:Elsewhere", "--store", str(tmp_path / "a")]
    to = ["--to", str(tmp_path / "b"), "--to-format", "icechunk", "--json"]
    done = CliRunner().invoke(cli, [*args, *to])
    content = json.loads(done.stdout)
    assert (content["objects"], content["positions_after"]) == (6, N)
    shown = CliRunner().invoke(cli, [*args, "--to", str(tmp_path / "c")])
    assert "6 objects" in shown.output
    (tmp_path / "a/a/c/1/0/0").write_bytes(b"x")
    failed = CliRunner().invoke(cli, [*args, "--to", str(tmp_path / "d")])
    assert failed.exit_code == ExitCode.FAILED
