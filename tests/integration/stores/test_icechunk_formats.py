"""Icechunk's formats, manifests and places: chosen, recorded, and told where they differ."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import click
import icechunk
import pytest
import xarray as xr
from click.testing import CliRunner, Result
from distributed import Client

from generated import Generated, build_archive
from gridmill.cli import cli
from gridmill.stores.icechunk.settings import manifests
from gridmill.stores.icechunk.settings.formats import RepositoryTooNew, newest_format
from gridmill.stores.icechunk.settings.storage import storage_at
from gridmill.stores.icechunk.store import IcechunkStore
from gridmill.stores.icechunk.uploads import merged_in
from gridmill.stores.opening import open_store
from gridmill.stores.state.claims import UPKEEP
from gridmill.stores.state.leases import Lease

SPEC = "generated:Generated"
# Commands that look at an archive, each in its own way.
COMMANDS = {
    "status": [],
    "gaps": [],
    "plan": ["--until", "2020-01-03"],
    "backfill": ["--until", "2020-01-03"],
    "update": ["--now", "2020-01-03"],
    "validate": [],
    "upkeep": ["--older-than", "1d"],
    "upkeep --dry-run": ["--older-than", "1d"],
    "upkeep --split-manifests": [],
    "truncate --yes": ["--end", "2020-01-01T12:00"],
    "migrate-metadata": [],
    "rebuild-records --yes": [],
    "accept --why lost": ["x"],
    "release --why found": ["x"],
    "reject --why wrong": ["x"],
    "withdraw --yes": [
        *("--start", "2020-01-01", "--end", "2020-01-01T12:00"),
        *("--variables", "temperature", "--why", "wrong"),
    ],
    "remove-variable --yes": ["temperature"],
    "restore-metadata --yes": [],
    "grow --yes": [],
    "reindex --yes": [],
    "retain --yes": ["--retention", "1d"],
    "promote --yes": [],
    "tag": ["first"],
    "headers": [],
    "history --feed": [],
    "history": ["--at", "2020-01-01T00"],
    "prove": [],
    "statistics": [],
    "catalog": ["--output", "catalog"],
    "copy": ["--to", "copy.zarr"],
    "run-one": ["2020-01-01", "temperature"],
}
# What shows records, declarations or samples, and opens no archive that is there; `adopt` is told
# first that a declaration lies beside it, and `compare` takes addresses.
ASK_NO_ARCHIVE = {"report", "adopt", "compare", "demo", "layout", "list", "new", "template"}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The provider's files."""
    return str(build_archive(tmp_path_factory.mktemp("provider"), 8))


def store_of(dataset: Generated) -> IcechunkStore:
    """Give a dataset's store."""
    assert isinstance(dataset.store, IcechunkStore)
    return dataset.store


def header(version: int) -> bytes:
    """Give what an object of a later format begins with, by Icechunk's specification."""
    return "ICE🧊CHUNK".encode() + b"ic-99.0".ljust(24) + bytes([version, 6, 1])


def run(command: str, *options: str) -> Result:
    """Run a command."""
    name, *more = command.split(" ", 1)
    return CliRunner().invoke(cli, [name, SPEC, *" ".join(more).split(), *options])


# -- formats ----------------------------------------------------------------------------------


def test_every_command_is_asked_of_a_newer_format() -> None:
    """A new one is added above."""
    asked = {command.split(" ")[0] for command in COMMANDS}
    assert asked | ASK_NO_ARCHIVE == set(cli.list_commands(click.Context(cli)))
    assert not asked & ASK_NO_ARCHIVE


def test_a_repository_in_a_newer_format_is_told_alike_by_every_command(
    archive: str, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line with both formats and the remedy, exit code 7, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    dataset = Generated(tmp_path / "a.icechunk", source_base=archive)
    dataset.backfill("2020-01-02", client=client)
    url = store_of(dataset).url
    (Path(url) / "repo").write_bytes(header(9))
    store_of(dataset).repository.forget()
    kept = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    lines = set()
    for command, options in COMMANDS.items():
        result = run(command, *options, "--store", url, "--source-base", archive)
        assert result.exit_code == 7, (command, result.output)
        lines.add(result.stderr.strip())
    assert len(lines) == 1, lines
    line = lines.pop()
    assert f"{url} is an Icechunk repository in format 9" in line
    assert f"reads up to format {newest_format()}" in line
    assert "pip install 'icechunk>=9'" in line
    assert "\n" not in line
    for place in ((url, url), (url, str(tmp_path / "b.zarr"))):
        compared = CliRunner().invoke(cli, ["compare", *place])
        assert (compared.exit_code, compared.stderr.strip()) == (7, line)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == kept


@pytest.mark.skipif(newest_format() > 1, reason="this Icechunk reads format 2")
def test_a_repository_of_icechunk_2_is_no_empty_place(tmp_path: Path) -> None:
    """Of a format that this Icechunk says is no repository, nobody makes another one over it."""
    url = tmp_path / "a.icechunk"
    (url / "snapshots").mkdir(parents=True)
    (url / "repo").write_bytes(header(2) + b"what this Icechunk cannot read")
    store = open_store(str(url), "generated")
    with pytest.raises(RepositoryTooNew, match=r"in format 2, .* up to format 1") as refused:
        store.metadata()
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


def test_a_new_archive_is_in_the_format_that_every_icechunk_opens(
    archive: str, client: Client, tmp_path: Path
) -> None:
    """Format 1 by default, whatever the library's; its declaration says so."""
    dataset = Generated(tmp_path / "a.icechunk", source_base=archive)
    dataset.backfill("2020-01-02", client=client)
    declared = store_of(dataset).tracker.read_declaration() or {}
    assert (declared["format"], declared["format_version"]) == ("icechunk", 1)
    assert not (tmp_path / "a.icechunk" / "repo").exists()


@pytest.mark.skipif(newest_format() < 2, reason="this Icechunk knows one format")
def test_the_format_is_chosen_once(archive: str, client: Client, tmp_path: Path) -> None:
    """Asked for, it is made and recorded; a run that asks nothing goes on, another choice stops."""
    url = tmp_path / "a.icechunk"
    dataset = Generated(url, source_base=archive, format_version=2)
    dataset.backfill("2020-01-02", client=client)
    assert (url / "repo").exists()
    declared = store_of(dataset).tracker.read_declaration() or {}
    assert declared["format_version"] == 2
    assert Generated(url, source_base=archive).backfill("2020-01-03", client=client).succeeded
    other = Generated(url, source_base=archive, format_version=1)
    with pytest.raises(ValueError, match="in format 2, not 1: leave the format version out"):
        other.backfill("2020-01-03", client=client)


@pytest.mark.skipif(newest_format() < 2, reason="this Icechunk knows one format")
def test_what_commits_say_in_format_2_does_not_grow(
    archive: str, client: Client, tmp_path: Path
) -> None:
    """Each names its own regions; together, and after the earlier ones expired, they name all."""
    dataset = Generated(tmp_path / "a.icechunk", source_base=archive, format_version=2)
    for number in (3, 5, 7):
        dataset.backfill(f"2020-01-0{number}", client=client)
    repository = store_of(dataset).repository.open()
    said = [len(json.dumps(one.metadata)) for one in repository.ancestry(branch="main")]
    assert max(said) < 200, said
    merged = merged_in(repository)
    assert len(merged) >= 3
    assert run("upkeep", "--older-than", "0s", "--store", store_of(dataset).url).exit_code == 0
    store_of(dataset).repository.forget()
    assert merged_in(store_of(dataset).repository.open()) == merged
    assert dataset.backfill("2020-01-07", client=client).variables_done == 0


def test_a_format_that_this_icechunk_does_not_make_is_refused(tmp_path: Path) -> None:
    """Before anything is touched, with what it makes; and so is one for a format without."""
    with pytest.raises(ValueError, match="makes repositories in format 1 to"):
        open_store(str(tmp_path / "a.icechunk"), "generated", format_version=9)
    with pytest.raises(ValueError, match="only Icechunk archives have a choice"):
        open_store(str(tmp_path / "a.zarr"), "generated", format_version=2)
    result = run("backfill --format-version 9", "--store", str(tmp_path / "a.icechunk"))
    assert result.exit_code == 2
    assert not list(tmp_path.iterdir())


# -- manifests --------------------------------------------------------------------------------


def splitting(dataset: Generated) -> Any:
    """Give how anybody who opens the repository splits its manifests."""
    config = icechunk.Repository.fetch_config(storage_at(store_of(dataset).url, {}))
    return None if config is None or config.manifest is None else config.manifest.splitting


def references_written(dataset: Generated, until: str, client: Client) -> int:
    """Count the bytes of manifests that a backfill writes."""
    folder = Path(store_of(dataset).url, "manifests")
    before = set(folder.glob("*"))
    assert dataset.backfill(until, client=client).succeeded
    return sum(path.stat().st_size for path in set(folder.iterdir()) - before)


def test_new_archives_split_their_manifests(archive: str, client: Client, tmp_path: Path) -> None:
    """The repository says so to every writer, by array, along the append dim."""
    dataset = Generated(tmp_path / "a.icechunk", source_base=archive)
    dataset.backfill("2020-01-02", client=client)
    told = str(splitting(dataset))
    assert "time" in told
    assert "temperature" in told


def test_an_archive_keeps_its_manifests_until_it_is_told(
    archive: str, client: Client, tmp_path: Path
) -> None:
    """Updates leave them whole; `upkeep --split-manifests` splits them, readers see the same."""
    dataset = Generated(tmp_path / "a.icechunk", source_base=archive)
    store_of(dataset).repository.create(None, {}, 1)  # as gridmill 0.1.0 did
    dataset.backfill("2020-01-03", client=client)
    assert splitting(dataset) is None
    url = store_of(dataset).url
    with dataset.store.open_dataset() as ds:
        before = ds.load()
    result = run("upkeep --split-manifests", "--store", url, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["notes"] == ["manifests split along time"]
    assert "time" in str(splitting(dataset))
    with dataset.store.open_dataset() as ds:
        xr.testing.assert_identical(ds.load(), before)
    assert dataset.backfill("2020-01-03", client=client).variables_done == 0
    assert dataset.backfill("2020-01-04", client=client).succeeded


def test_a_commit_writes_the_manifests_of_its_own_positions(
    archive: str, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later update writes as much as an earlier one; it grows only where nothing is split."""
    monkeypatch.setattr(manifests, "REFERENCES", 1)
    split = Generated(tmp_path / "split.icechunk", source_base=archive)
    whole = Generated(tmp_path / "whole.icechunk", source_base=archive)
    store_of(whole).repository.create(None, {}, 1)
    written = {}
    for name, dataset in {"split": split, "whole": whole}.items():
        of = [references_written(dataset, f"2020-01-{n:02}", client) for n in (3, 5, 7, 9)]
        written[name] = of[-1] - of[1]
    assert written["split"] < written["whole"] / 2, written


def test_arrays_are_split_by_their_objects() -> None:
    """About as many references in each manifest, whatever lies across the append dim."""

    def array(dims: list[str], shape: list[int], chunk: list[int]) -> dict[str, Any]:
        grid = {"configuration": {"chunk_shape": chunk}}
        return {"dimension_names": dims, "shape": shape, "chunk_grid": grid}

    arrays = {
        "small": array(["time", "x"], [0, 8], [4, 8]),
        "large": array(["time", "y", "x"], [0, 1000, 1000], [4, 10, 10]),
        "static": array(["y"], [1000], [1]),
    }
    told = str(manifests.splitting_along("time", arrays)).lower()
    assert "small" in told
    assert str(manifests.REFERENCES) in told
    assert "static" not in told


# -- upkeep -----------------------------------------------------------------------------------


def test_upkeep_is_kept_in_the_records(archive: str, client: Client, tmp_path: Path) -> None:
    """Who, when and what; a second upkeep at the same time is told who is at work."""
    dataset = Generated(tmp_path / "a.icechunk", source_base=archive)
    dataset.backfill("2020-01-02", client=client)
    url = store_of(dataset).url
    assert run("upkeep", "--older-than", "0s", "--store", url).exit_code == 0
    last = dataset.store.tracker.reports.last() or {}
    assert last["kind"] == "upkeep"
    assert "snapshots expired" in last["notes"][0]
    held = Lease(dataset.store.state, run="other", kind="upkeep", positions=[UPKEEP])
    with held:
        refused = run("upkeep", "--older-than", "0s", "--store", url)
        assert dataset.backfill("2020-01-03", client=client).succeeded
    assert refused.exit_code == 4
    assert "held by the upkeep other" in refused.stderr


# -- places -----------------------------------------------------------------------------------

KEYS = {"key": "a", "secret": "b"}


def shown(url: str, **options: Any) -> str:
    """Give what Icechunk says of how a repository is reached, whatever its version."""
    return str(storage_at(url, {**KEYS, **options})).replace("=", ": ").lower()


def test_services_are_reached_through_icechunks_own_kinds() -> None:
    """Path style only where there is no host for a bucket, or where it is asked for."""
    assert "force_path_style: true" not in shown("s3://b/p")
    path = {"s3": {"addressing_style": "path"}}
    assert "force_path_style: true" in shown("s3://b/p", config_kwargs=path)
    # As for the records beside, by botocore's rule.
    there = "http://127.0.0.1:9000"
    assert "force_path_style: true" in shown("s3://b/p", endpoint_url=there)
    host = {"s3": {"addressing_style": "virtual"}}
    assert "force_path_style: true" not in shown(
        "s3a://b/p", endpoint_url=there, config_kwargs=host
    )
    assert "region: auto" in shown("s3://b/p", endpoint_url="https://x.r2.cloudflarestorage.com")
    tigris = {"endpoint_url": "https://t3.storage.dev"}
    at = shown("s3://b/p", **tigris, client_kwargs={"region_name": "iad"})
    assert "region: iad" in at
    assert "force_path_style: true" not in at
    with pytest.raises(ValueError, match="unless the bucket's region is named"):
        storage_at("s3://b/p", {**KEYS, **tigris})


def test_one_client_serves_a_process(tmp_path: Path) -> None:
    """However many stores are opened of one repository, and whoever unpickles them, it is one."""
    store = open_store(str(tmp_path / "a.icechunk"), "generated")
    assert isinstance(store, IcechunkStore)
    store.repository.create(None, {}, 1)
    others = [open_store(store.url, "generated"), pickle.loads(pickle.dumps(store))]
    assert {id(one.repository.open()) for one in [store, *others]} == {  # type: ignore[attr-defined]
        id(store.repository.open())
    }
