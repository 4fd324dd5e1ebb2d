"""Two archives are compared as a reader sees them, whoever wrote them."""

from __future__ import annotations

import json
import uuid
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from elsewhere import made, write
from gridmill.cli import ExitCode, cli
from gridmill.operations.elsewhere import comparing
from gridmill.operations.elsewhere.comparing import Comparison, compare
from gridmill.stores.opening import open_store
from gridmill.testing import S3Server
from tiny import HOUR, NAMES, hours


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def compared(tmp_path: Path, change: Any = lambda ds: ds, **options: Any) -> Comparison:
    """Compare the tiny archive with what became of it."""
    write(str(tmp_path / "a.zarr"))
    write(str(tmp_path / "b.zarr"), change(made()), steps=())
    stores = [open_store(str(tmp_path / f"{name}.zarr"), "") for name in "ab"]
    return compare(*stores, **options)


def test_format_chunks_and_keys_are_no_difference(tmp_path):
    """Zarr v2 and v3 and Icechunk, cut and compressed in other ways, with other keys."""
    write(str(tmp_path / "a.zarr"))
    keys = {"chunk_key_encoding": {"name": "v2", "separator": "."}}
    cut = {"chunks": (1, 2, 3), "shards": (5, 2, 3)}
    others = {
        "v2.zarr": {"zarr_format": 2, "consolidated": True},
        "keys.zarr": {"encoding": dict.fromkeys(NAMES, keys)},
        "cut.zarr": {"encoding": dict.fromkeys(NAMES, cut), "steps": ()},
        "b.icechunk": {},
    }
    ours = open_store(str(tmp_path / "a.zarr"), "")
    for name, how in others.items():
        write(str(tmp_path / name), **how)
        found = compare(ours, open_store(str(tmp_path / name), ""))
        assert found.is_same, (name, found)
        assert {one.name: one.values for one in found.variables} == {"a": 60, "b": 60}
        assert found.b.objects
        assert found.b.nbytes


def test_values_that_differ_are_counted_and_named(tmp_path):
    """How many, by how much, how many are missing on one side, and where the first is."""

    def change(ds):
        ds["a"].values[4, 1, 2] += 0.5
        ds["a"].values[7, 0, 0] = np.nan
        return ds

    found = compared(tmp_path, change)
    a, b = found.variables
    assert (a.name, a.differing, a.missing_in_one) == ("a", 2, 1)
    assert a.max_abs_difference == pytest.approx(0.5)
    assert a.first == {"time": str(hours(1, 4)[0]), "y": "1.0", "x": "2.0"}
    assert (b.differing, b.max_abs_difference) == (0, None)
    assert not found.is_same


def test_missing_on_both_sides_is_no_difference(tmp_path):
    """NaN is not another NaN."""
    ds = made()
    ds["a"].values[2] = np.nan
    for name in "ab":
        write(str(tmp_path / f"{name}.zarr"), ds)
    stores = [open_store(str(tmp_path / f"{name}.zarr"), "") for name in "ab"]
    assert compare(*stores).is_same


@pytest.mark.parametrize(
    ("change", "what", "said"),
    [
        (lambda ds: ds.drop_vars("b"), "structure", "b is only in A"),
        (lambda ds: ds.assign(a=ds.a.astype("f8")), "structure", "a: dtype float32 in A, float64"),
        (lambda ds: ds.transpose("y", "x", "time"), "structure", "a: dims time y x in A, y x time"),
        (lambda ds: ds.assign_attrs(title="x"), "attributes", 'title is "Tiny" in A, "x" in B'),
        (
            lambda ds: ds.assign(a=ds.a.assign_attrs(units="K")),
            "attributes",
            'a: units is "1" in A, "K" in B',
        ),
        (
            lambda ds: ds.isel(time=slice(2, 10)),
            "extent",
            "time: 2 labels only in A, 2020-01-01 00:00:00 … 2020-01-01 01:00:00",
        ),
        (
            lambda ds: ds.assign_coords(time=ds.get_index("time") + HOUR),
            "extent",
            "time: 1 label only in B, 2020-01-01 10:00:00",
        ),
        (
            lambda ds: ds.isel(y=slice(None, None, -1)),
            "extent",
            "y: its labels are in another order",
        ),
        (lambda ds: ds.drop_vars("y").isel(y=[0]), "extent", "y: 2 positions in A, 1 in B"),
    ],
)
def test_what_differs_is_named(tmp_path, change, what, said):
    """By its kind; values are compared where both have labels."""
    found = compared(tmp_path, change)
    assert not found.is_same
    assert any(line.startswith(said) for line in getattr(found, what)), found


def test_values_are_compared_by_label(tmp_path):
    """Where one begins later, or runs the other way, each value meets its own."""
    found = compared(tmp_path, lambda ds: ds.isel(time=slice(3, 10), y=slice(None, None, -1)))
    assert [(one.values, one.differing) for one in found.variables] == [(42, 0), (42, 0)]


def test_blocks_are_sampled(tmp_path):
    """The first and the last among them; which is said."""

    def change(ds):
        ds["a"].values[9] += 1
        return ds

    hourly = {"time": {"units": "hours since 2020-01-01", "dtype": "int64"}}
    write(str(tmp_path / "a.zarr"), steps=range(1, 10), encoding=hourly)
    write(str(tmp_path / "b.zarr"), change(made()))
    stores = [open_store(str(tmp_path / f"{name}.zarr"), "") for name in "ab"]
    a = compare(*stores, blocks=2, variables=["a"]).variables[0]
    assert (a.values, a.differing, a.is_sampled) == (12, 6, True)
    with pytest.raises(ValueError, match="neither archive has a variable c; there are a, b"):
        compare(*stores, variables=["c"])


def test_memory_is_bounded_whatever_the_chunks(tmp_path, monkeypatch):
    """No block is larger than the limit, and together they are all values, each once."""
    monkeypatch.setattr(comparing, "BLOCK", 10)
    sizes: list[int] = []
    look = comparing._compare_block

    def and_note(name, a, b):
        sizes.append(a.size)
        return look(name, a, b)

    monkeypatch.setattr(comparing, "_compare_block", and_note)
    found = compared(tmp_path)
    assert found.is_same
    assert max(sizes) <= 10
    assert sum(sizes) == 120


def test_cost_is_that_of_the_layout(tmp_path):
    """Requests of a point series and a map, by how each archive is cut."""
    cut = {"chunks": (2, 1, 3), "shards": (10, 2, 3)}
    write(str(tmp_path / "a.zarr"), steps=())
    write(str(tmp_path / "b.zarr"), steps=(), encoding=dict.fromkeys(NAMES, cut))
    found = compare(*(open_store(str(tmp_path / f"{name}.zarr"), "") for name in "ab"))
    requests = [[c.requests for c in side.costs["a"]] for side in (found.a, found.b)]
    assert requests == [[1, 1], [6, 3]]


def test_the_command_says_it_and_its_exit_code(tmp_path, s3_server: S3Server):
    """0 where readers see the same, 1 where not, 2 where there is nothing; also in a bucket."""
    bucket = f"compare-{uuid.uuid4().hex[:8]}"
    s3_server.create_bucket(bucket)
    options = dict(s3_server.storage_options)
    url, local = f"s3://{bucket}/b.zarr", str(tmp_path / "a.zarr")
    write(local)
    write(url, options=options)
    given = [part for k, v in options.items() for part in ("--b-option", f"{k}={json.dumps(v)}")]
    same = CliRunner().invoke(cli, ["compare", local, url, *given])
    assert (same.exit_code, "readers see the same" in same.output) == (0, True), same.output
    write(str(tmp_path / "c.zarr"), made(8))
    differs = CliRunner().invoke(cli, ["compare", local, str(tmp_path / "c.zarr"), "--json"])
    assert differs.exit_code == ExitCode.FAILED
    content = json.loads(differs.stdout)
    assert content["extent"][0].startswith("time: 2 labels only in A")
    assert content["a"]["costs"]["a"][0]["read"] == "point series"
    shown = CliRunner().invoke(cli, ["compare", local, str(tmp_path / "c.zarr")])
    assert "✗ readers see differences" in shown.output
    nothing = CliRunner().invoke(cli, ["compare", local, str(tmp_path / "d.zarr")])
    assert nothing.exit_code == ExitCode.WRONG_INPUT
