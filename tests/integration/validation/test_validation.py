"""Damage is found, named and repaired; a clean archive gives no finding."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import pandas as pd
import pytest
import zarr
from click.testing import CliRunner, Result

from gridmill.cli import ExitCode, cli
from gridmill.dataset import DynamicalDataset
from gridmill.demo.archive import build_hadgem2_archive, build_ostia_archive
from gridmill.operations.accept import accept_files
from gridmill.registry import find_dataset
from gridmill.stores.objects.opening import open_objects
from gridmill.stores.objects.protocol import Objects
from gridmill.testing import S3Server
from gridmill.validation import (
    CfConventions,
    CheckResult,
    Context,
    Current,
    Finding,
    LevelShift,
    NoConstantField,
    ObjectsIntact,
    Opens,
    ReplicasEqual,
    SourcesAgree,
    validate,
)
from weather import DAYS, SHAPE, Narrow, Provider, Weather, hours, until

NOW = until(DAYS)


@dataclass(frozen=True)
class Site:
    """A provider's files, and an archive made from them beside these or on a server."""

    root: Path
    format: str
    server: S3Server | None = None

    @property
    def store(self) -> Path:
        return self.root / f"a.{self.format}"

    @property
    def url(self) -> str:
        return str(self.store) if self.server is None else f"s3://public{self.store}"

    @property
    def options(self) -> Mapping[str, Any]:
        return {} if self.server is None else self.server.storage_options

    @property
    def objects(self) -> Objects:
        return self.objects_of("")

    def objects_of(self, beside: str) -> Objects:
        return open_objects(f"{self.url}{beside}", storage_options=self.options)

    @property
    def invocation(self) -> Sequence[str]:
        """What the command line is told; credentials come from the environment."""
        base = ["--source-base", str(self.root / "source"), "--format", self.format]
        return ["weather:Weather", "--store", self.url, *base]

    def dataset(self, kind: type[DynamicalDataset] = Weather) -> DynamicalDataset:
        base = str(self.root / "source")
        options = self.options or None
        return kind(self.url, source_base=base, format=self.format, storage_options=options)

    def run(self, command: str, *args: str) -> Result:
        """Call the command line on the archive, in this process."""
        return self.call([command, *self.invocation, *args])

    def call(self, words: Sequence[str]) -> Result:
        """Call the command line, in this process."""
        given = [f"{k}={json.dumps(v, separators=(',', ':'))}" for k, v in self.options.items()]
        return CliRunner(env={"GRIDMILL_STORE_OPTION": " ".join(given)}).invoke(cli, list(words))

    def copy(self, root: Path) -> Site:
        """Copy source files, archive and records."""
        shutil.copytree(self.root, root)
        copied = Site(root, self.format, self.server)
        for beside in ["", ".gridmill"] if self.server else []:
            copy_objects(self.objects_of(beside), copied.objects_of(beside))
        return copied


def copy_objects(ours: Objects, theirs: Objects) -> None:
    """Copy all objects, several at once."""

    def copy(key: str) -> None:
        theirs.put(key, ours.get(key) or b"")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(copy, list(ours.keys(""))))


@pytest.fixture(scope="module", params=["zarr", "icechunk"])
def clean(client, tmp_path_factory, request) -> Site:
    """Four days of weather, built by real workers."""
    format_, _, where = request.param.partition(" on ")
    server = request.getfixturevalue("s3_server") if where else None
    site = Site(tmp_path_factory.mktemp("clean"), format_, server)
    Provider(site.root / "source").publish(hours(0, 24 * DAYS))
    assert site.dataset().backfill(NOW, client=client, now=NOW).succeeded
    return site


@pytest.fixture
def site(clean, tmp_path) -> Site:
    """A copy, to be damaged."""
    return clean.copy(tmp_path / "copy")


def findings_of(site: Site) -> dict[str, tuple[Finding, ...]]:
    """Validate, and give what each validator found."""
    dataset = site.dataset()
    look = dataset.validators()
    return validate(dataset, look, now=NOW, invocation=site.invocation).found_by


# -- clean ------------------------------------------------------------------------------------


def test_a_clean_archive_gives_no_finding(clean):
    """Every default validator looked at something and has nothing to say."""
    validation = clean.dataset().validate(now=NOW)
    assert validation.findings == ()
    assert validation.succeeded
    assert len(validation.results) > 10
    assert all(result.examined for result in validation.results)


def test_a_clean_archive_of_which_a_part_is_looked_at_gives_no_finding(clean):
    """A selection looks at less, and judges the same."""
    dataset = clean.dataset()
    part = dataset.validate(start=until(1.25), end=until(3.5), variables=["rain"], now=NOW)
    assert part.findings == ()
    assert "1 variable at 54 positions" in {result.examined for result in part.results}
    with pytest.raises(ValueError, match="no position is selected: readers see 2020-01-01"):
        dataset.validate(start=until(9))
    with pytest.raises(ValueError, match="unknown variables"):
        dataset.validate(variables=["snow"])


def test_an_archive_that_is_not_there_is_an_error(tmp_path):
    """A mistyped address is no clean archive."""
    with pytest.raises(ValueError, match="there is no archive at"):
        Weather(tmp_path / "nowhere").validate()


# -- damaged objects --------------------------------------------------------------------------


def chunk_keys(site: Site, name: str = "rain") -> list[str]:
    """Give the keys of a variable's objects, the first days' first."""
    if site.format == "zarr":
        return [f"{name}/c/{day}/0/0" for day in range(DAYS)]
    sizes = {r.nbytes for r in receipts(site, name)}
    return [key for key in site.objects.keys("chunks") if site.objects.nbytes(key) in sizes]


def receipts(site: Site, name: str) -> list:
    """Give what the records say was uploaded of a variable."""
    return [r for record in site.dataset().store.progress() for r in record.variables[name].objects]


def delete(site: Site) -> None:
    """Delete an object."""
    site.objects.delete(chunk_keys(site)[1])


def truncate(site: Site) -> None:
    """Cut an object off."""
    change_object(site, lambda content: content[:-40])


def empty(site: Site) -> None:
    """Leave nothing of an object."""
    change_object(site, lambda content: b"")


def flip(site: Site) -> None:
    """Let one byte of an object rot."""
    change_object(site, lambda old: old[:70] + bytes([old[70] ^ 0xFF]) + old[71:])


def change_object(site: Site, change: Callable[[bytes], bytes]) -> None:
    """Change the content of an object of the second day, or of any where no key says the day."""
    key = chunk_keys(site)[1]
    content = site.objects.get(key)
    assert content is not None
    site.objects.put(key, change(content))


def swap(site: Site) -> None:
    """Let two objects change places."""
    if site.format == "zarr":
        a, b = chunk_keys(site)[1:3]
    else:
        every = [*chunk_keys(site), *chunk_keys(site, "temperature")]
        a, b = sorted(every, key=lambda key: site.objects.nbytes(key) or 0)[:2]
    first, second = site.objects.get(a), site.objects.get(b)
    assert first != second
    site.objects.put(a, second or b"")
    site.objects.put(b, first or b"")


def write_by_hand(site: Site) -> None:
    """Write other values with zarr, as anybody may who has the rights."""

    def change(store) -> None:
        array = zarr.open_array(store, path="rain", mode="r+", zarr_format=3)
        array[30:33] = 5e-5

    edit(site, change)


def edit(site: Site, change: Callable) -> None:
    """Let somebody change the store through zarr; on Icechunk that is a commit."""
    if site.format == "zarr":
        if site.server is None:
            change(zarr.storage.LocalStore(site.store))
        else:
            change(zarr.storage.FsspecStore.from_url(site.url, storage_options=site.options))
        return
    if site.server is None:
        storage = icechunk.local_filesystem_storage(site.url)
    else:
        storage = icechunk.s3_storage(
            bucket="public",
            prefix=str(site.store).strip("/"),
            region=site.server.region,
            endpoint_url=site.server.endpoint_url,
            access_key_id=site.server.access_key,
            secret_access_key=site.server.secret_key,
            allow_http=True,
            force_path_style=True,
        )
    session = icechunk.Repository.open(storage).writable_session("main")
    change(session.store)
    if session.has_uncommitted_changes:
        session.commit("by hand")


OBJECT_DAMAGES = [delete, truncate, empty, swap, flip, write_by_hand]
PLACES: Mapping[str, Sequence[Callable[[Site], None]]] = {
    "zarr": OBJECT_DAMAGES,
    "icechunk": OBJECT_DAMAGES,
    "zarr on S3": [delete, truncate, swap, write_by_hand],
    "icechunk on S3": [delete, write_by_hand],
}


@pytest.mark.parametrize(
    ("clean", "damage"),
    [(place, damage) for place, damages in PLACES.items() for damage in damages],
    indirect=["clean"],
)
def test_damaged_objects_are_found_and_repaired(site, damage, client):
    """By name, and the command that the finding gives makes the archive clean again."""
    damage(site)
    found = findings_of(site)
    assert "objects" in found
    assert all("--redo" in finding.repair for finding in found["objects"])
    assert all(finding.first for finding in found["objects"])
    if site.format == "zarr":
        assert found["objects"][0].message.startswith("rain/c/1/0/0 ")
        assert found["objects"][0].place == "rain, 2020-01-02 … 2020-01-02T23:00"
    repair(site, found, client)
    assert findings_of(site) == {}


def repair(site: Site, found: Mapping[str, Sequence[Finding]], client) -> None:
    """Call what the findings say, in their order, as printed, with the cluster of these tests."""
    for command in dict.fromkeys(f.repair for findings in found.values() for f in findings):
        program, name, *rest = shlex.split(command)
        assert program == "gridmill"
        more = ["--yes"] if name.endswith("metadata") else ["--cluster", client.scheduler.address]
        done = site.call([name, *rest, *more, "--now", NOW])
        assert done.exit_code in (ExitCode.SUCCESS, ExitCode.NOTHING_NEW), done.output


def test_sizes_alone_find_what_is_gone(site):
    """The quick look reads no object."""
    delete(site)
    look = ObjectsIntact(contents=False)
    _, result = validate(site.dataset(), [look], now=NOW).results
    assert "is gone or has another size" in result.findings[0].message


# -- damaged metadata -------------------------------------------------------------------------


def edit_json(site: Site, key: str, change: Callable) -> None:
    """Change a metadata object in place."""

    async def read_and_write(store) -> None:
        from zarr.core.buffer import cpu, default_buffer_prototype

        content = json.loads((await store.get(key, default_buffer_prototype())).to_bytes())
        change(content)
        await store.set(key, cpu.Buffer.from_bytes(json.dumps(content).encode()))

    edit(site, lambda store: zarr.core.sync.sync(read_and_write(store)))


def change_title(site: Site) -> str:
    """Let the root have another title."""
    edit_json(site, "zarr.json", lambda root: root["attributes"].update(title="Wetter"))
    return "migrate-metadata"


def change_units(site: Site) -> str:
    """Let a variable have other units, wherever they are read."""

    def change(content) -> None:
        metadata = content.get("consolidated_metadata") or {}
        for node in [content, *(metadata.get("metadata") or {}).values()]:
            if node["attributes"].get("units") == "K":
                node["attributes"]["units"] = "degC"

    for key in ["temperature/zarr.json", "zarr.json"]:
        edit_json(site, key, change)
    return "migrate-metadata"


def change_fill_value(site: Site) -> str:
    """Let what is missing read as 0, in the array's own metadata."""
    edit_json(site, "rain/zarr.json", lambda array: array.update(fill_value=0.0))
    return "restore-metadata"


def shift_latitudes(site: Site) -> str:
    """Move the grid by half a degree."""

    def change(store) -> None:
        array = zarr.open_array(store, path="latitude", mode="r+", zarr_format=3)
        array[:] = array[:] + 0.5

    edit(site, change)
    return "restore-metadata"


def shift_times(site: Site) -> str:
    """Move the append dim by an hour."""

    def change(store) -> None:
        array = zarr.open_array(store, path="time", mode="r+", zarr_format=3)
        array[: 24 * DAYS] = array[: 24 * DAYS] + 3600

    edit(site, change)
    return "restore-metadata"


@pytest.mark.parametrize("clean", ["zarr", "icechunk", "zarr on S3"], indirect=True)
@pytest.mark.parametrize(
    ("damage", "validator", "variables"),
    [
        (change_title, "metadata", ()),
        (change_units, "metadata", ("temperature",)),
        (change_fill_value, "metadata", ("rain",)),
        (shift_latitudes, "coordinates", ("latitude",)),
        (shift_times, "coordinates", ("time",)),
    ],
)
def test_damaged_metadata_is_found_and_repaired(site, damage, validator, variables, client):
    """The finding says what and where, and its command puts it back."""
    command = damage(site)
    found = findings_of(site)
    assert found[validator][0].variables == variables
    assert f"gridmill {command}" in found[validator][0].repair
    assert set(found) == {validator}
    repair(site, found, client)
    assert findings_of(site) == {}


def test_an_axis_that_steps_back_is_told(site):
    """The append dim's finding says where it does not go on."""

    def change(store) -> None:
        array = zarr.open_array(store, path="time", mode="r+", zarr_format=3)
        values = array[:]
        values[50] = values[48]
        array[:] = values

    edit(site, change)
    (finding,) = findings_of(site)["coordinates"]
    assert "1 of 96 values differ" in finding.message
    assert "2020-01-03 is there twice" in finding.message
    assert "goes back after 2020-01-03T01:00" in finding.message


@pytest.mark.parametrize("clean", ["zarr", "zarr on S3"], indirect=True)
def test_an_archive_that_does_not_open_is_one_finding(site, client):
    """Nothing else is asked, and the root can be put back from what is recorded."""
    whole = site.objects.get("zarr.json")
    assert whole is not None
    for left in (None, whole[:300]):
        if left is None:
            site.objects.delete("zarr.json")
        else:
            site.objects.put("zarr.json", left)
        found = findings_of(site)
        assert list(found) == ["opens"]
        assert "does not open" in found["opens"][0].message
        repair(site, found, client)
        assert findings_of(site) == {}


def test_what_was_made_otherwise_is_not_overwritten_unasked(site):
    """Metadata are put back only where the records prove that they were so."""
    record = site.dataset().store.progress()[0]
    path = Path(f"{site.store}.gridmill") / "regions" / "0000000000.json"
    made_of = record.variables["rain"].fingerprint["array"]
    path.write_text(path.read_text().replace(made_of, "0" * 16))
    refused = site.run("restore-metadata", "--yes", "--now", NOW)
    assert refused.exit_code == ExitCode.WRONG_INPUT
    assert "do not prove" in refused.stderr
    assert site.run("restore-metadata", "--yes", "--force", "--now", NOW).exit_code == 0


# -- wrong values -----------------------------------------------------------------------------


@pytest.fixture
def fresh(client, tmp_path) -> Callable[..., dict[str, tuple[Finding, ...]]]:
    """Build an archive from files of which some are wrong, and validate it."""

    def build(*changes, kind: type[DynamicalDataset] = Weather, present: str = NOW):
        provider = Provider(tmp_path / "source")
        provider.publish(hours(0, 24 * DAYS))
        for labels, name, change in changes:
            provider.change(labels, name, change)
        site = Site(tmp_path, "zarr")
        site.dataset(kind).backfill(NOW, client=client, now=NOW)
        return site.dataset(kind).validate(now=present).found_by

    return build


def test_a_day_without_a_value_is_found(fresh):
    """Its files arrived and could be read, and held nothing."""
    found = fresh((hours(24, 48), "temperature", lambda field: field * np.nan))
    (finding,) = found.pop("missing values")
    assert found == {}
    assert finding.place == "temperature, 2020-01-02 … 2020-01-02T23:00"
    assert "up to 100% of a field is missing, usual is 0%" in finding.message
    assert "--start 2020-01-02 --end 2020-01-03 --variables temperature --redo" in finding.repair


def test_other_units_from_some_day_on_are_found_by_what_is_possible(fresh):
    """Degrees Celsius under kelvin are no temperature of the air."""
    found = fresh((hours(60, 96), "temperature", lambda field: field - 273.15))
    (finding,) = found["physical range"]
    assert (finding.first, finding.last) == ("2020-01-03T12:00", "2020-01-04T23:00")
    assert "outside of [150, 350]" in finding.message
    assert found["level shifts"][0].first == "2020-01-03T12:00"


def test_other_units_from_some_day_on_are_found_by_the_jump(fresh):
    """Rain in mm an hour may be possible in kg m-2 s-1, and not after days of the latter."""
    found = fresh((hours(48, 96), "rain", lambda field: field * 3600))
    assert set(found) == {"level shifts"}
    assert {finding.first for finding in found["level shifts"]} == {"2020-01-03"}
    assert "other units from here on?" in found["level shifts"][0].message


def test_fields_that_repeat_or_stand_still_are_found(fresh):
    """A file that was delivered twice, and one that holds one number."""
    first = {}

    def repeat(field):
        return first.setdefault("field", field)

    found = fresh(
        (hours(30, 32), "rain", repeat),
        (hours(70, 71), "temperature", lambda field: np.full_like(field, 277.5)),
    )
    (repeated,), (constant,) = found.pop("repeated fields"), found.pop("constant fields")
    assert found == {}
    assert repeated.place == "rain, 2020-01-02T07:00"
    assert constant.place == "temperature, 2020-01-03T22:00"
    assert "277.5 K everywhere" in constant.message


def test_infinite_values_are_found_whatever_the_quantity(fresh):
    """Rain has no known range here, but infinite it is not."""
    found = fresh((hours(5, 6), "rain", lambda field: np.where(field > 1e-5, np.inf, field)))
    assert found["physical range"][0].place == "rain, 2020-01-01T05:00"


def test_an_author_knows_the_range_better(fresh):
    """A range that the dataset declares goes before that of the table."""
    found = fresh(kind=Narrow)
    assert "outside of [250, 280]" in found["physical range"][0].message


def test_a_fraction_may_be_missing_of_what_is_new(fresh):
    """Tiers: what is younger than a day may lack more than what is old."""

    def lack(field):
        field = field.copy()
        field[0, :4] = np.nan  # 13 %
        return field

    labels = [*hours(10, 11), *hours(90, 91)]
    found = fresh((labels, "rain", lack))
    assert [f.first for f in found["missing values"]] == ["2020-01-01T10:00"]


# -- what is not there ------------------------------------------------------------------------


def test_source_files_that_did_not_come_are_found(client, tmp_path):
    """With the variables and positions they left, and whether trying again may help."""
    provider = Provider(tmp_path / "source")
    provider.publish(hours(0, 96))
    for label in hours(30, 33):
        provider.path(label).unlink()
    site = Site(tmp_path, "zarr")
    site.dataset().backfill(NOW, client=client, now=NOW)
    validation = site.dataset().validate(now=NOW)
    (finding,) = validation.findings
    assert validation.succeeded
    assert finding.severity == "warning"
    assert finding.message == "3 source files from 20200102T06.npy on: never came"
    assert finding.place == "rain, temperature, 2020-01-02T06:00 … 2020-01-02T08:00"
    provider.publish(hours(30, 33))
    repair(site, findings_of(site), client)
    assert findings_of(site) == {}


def test_a_record_that_is_gone_is_found(site, client):
    """Nothing says any more what the region was made from."""
    (Path(f"{site.store}.gridmill") / "regions" / "0000000024.json").unlink()
    found = findings_of(site)
    (finding,) = found["complete"]
    assert "24 source files from 20200102T00.npy on: not recorded" in finding.message
    repair(site, found, client)
    assert findings_of(site) == {}


def test_what_is_due_is_found(clean):
    """By what the dataset says of its files, or by the age of what is newest."""

    def found(validator: Current, now: str) -> list[str]:
        return [f.message for f in clean.dataset().validate([validator], now=now).findings]

    assert found(Current(), until(DAYS)) == []
    (late,) = found(Current(), until(DAYS + 0.25))
    assert late.startswith("readers see up to 2020-01-04 23:00:00; due: 5 more positions")
    aged = Current(grace=timedelta(days=9), max_age=timedelta(hours=2))
    assert found(aged, until(DAYS)) == []
    assert "over 2 h 00 min ago" in found(aged, until(DAYS + 1))[0]


def test_an_archive_that_shows_less_than_it_did_is_found(site):
    """Somebody put an old root back."""
    if site.format != "zarr":
        pytest.skip("an old root of Icechunk is a reset of its branch")
    content = json.loads((site.store / "zarr.json").read_text())
    for array in content["consolidated_metadata"]["metadata"].values():
        if array["dimension_names"][:1] == ["time"]:
            array["shape"][0] = 60
    (site.store / "zarr.json").write_text(json.dumps(content))
    found = site.dataset().validate(now=until(2.5)).found_by
    assert "the last run showed 96 positions, readers see 60" in found["current"][0].message


def test_gaps_are_listed_with_what_tries_again(client, tmp_path):
    """Grouped by cause, the open ones first, and the command of a group fills it."""
    provider = Provider(tmp_path / "source")
    provider.publish(hours(0, 96))
    for label in [*hours(30, 33), *hours(80, 81)]:
        provider.path(label).unlink()
    broken = hours(40, 41)[0]
    provider.path(broken).write_bytes(b"<html>sorry</html>")
    site = Site(tmp_path, "zarr")
    site.dataset().backfill(NOW, client=client, now=NOW)
    accept_files(site.dataset(), [broken.strftime("%Y%m%dT%H.npy")], who="me", why="lost", now=NOW)
    shown = site.run("gaps", "--now", NOW)
    assert shown.exit_code == ExitCode.SUCCESS
    assert "5 source files missing in 3 groups" in shown.stdout
    content = json.loads(site.run("gaps", "--now", NOW, "--json").stdout)
    # What readers lack comes before what somebody accepted.
    first, third, second = content["groups"]
    assert [gap["url"] for gap in first["gaps"]] == [f"20200102T{h:02d}.npy" for h in (6, 7, 8)]
    assert (first["first"], first["last"]) == ("2020-01-02T06:00", "2020-01-02T08:00")
    assert (second["gaps"][0]["status"], second["gaps"][0]["settled"]) == ("download failed", True)
    assert third["gaps"][0]["variables"] == ["rain", "temperature"]
    part = json.loads(site.run("gaps", "--now", NOW, "--start", until(3), "--json").stdout)
    assert len(part["groups"]) == 1
    provider.publish([*hours(30, 33), *hours(80, 81), broken])
    for group in content["groups"]:
        words = shlex.split(group["repair"])[1:]
        done = site.call([*words, "--cluster", client.scheduler.address, "--now", NOW])
        assert done.exit_code == ExitCode.SUCCESS
    assert "✓ nothing is missing" in site.run("gaps", "--now", NOW).stdout


# -- other stores, the sources, the conventions -------------------------------------------------


def test_a_replica_is_compared_with_the_primary(clean, tmp_path):
    """Object by object, and what its readers see of metadata and coordinates."""
    replica = Site(tmp_path, clean.format)
    shutil.copytree(clean.store, replica.store)

    def found(url: Path, *, contents: bool = True) -> list[str]:
        dataset = Weather(clean.store, format=clean.format, replicas=[str(url)])
        look = ReplicasEqual(contents=contents)
        return [f.message for f in dataset.validate([look], now=NOW).findings]

    assert found(replica.store) == []
    assert found(replica.store, contents=False) == []
    write_by_hand(replica)
    change_title(replica)
    shift_latitudes(replica)
    title, latitude, changed = found(replica.store)
    assert 'attribute title is "Weather" in the primary and "Wetter" in the replica' in title
    assert latitude.endswith("values of coordinate latitude differ")
    assert "rain/c/1/0/0 has " in changed
    nowhere = tmp_path / f"nowhere.{clean.format}"
    assert found(nowhere) == [f"there is no archive at {nowhere}"]


@pytest.mark.parametrize(
    ("clean", "damages"),
    [
        ("icechunk", [flip, change_fill_value, shift_latitudes]),
        ("zarr", [write_by_hand, change_title, shift_times]),
    ],
    indirect=["clean"],
)
def test_what_is_wrong_with_a_replica_is_repaired_as_printed(site, damages, client):
    """A replica that is new, and one that somebody damaged, in the primary's other format."""
    replica = Site(site.root, "icechunk" if site.format == "zarr" else "zarr")
    base = str(site.root / "source")
    dataset = Weather(site.url, source_base=base, format=site.format, replicas=[replica.url])
    invocation = [*site.invocation, "--replica", replica.url]

    def found() -> Mapping[str, Sequence[Finding]]:
        return validate(dataset, dataset.validators(), now=NOW, invocation=invocation).found_by

    absent = found()
    assert [f.message for f in absent["replicas"]] == [f"there is no archive at {replica.url}"]
    repair(site, absent, client)
    assert found() == {}
    for damage in damages:
        damage(replica)
    wrong = found()
    assert list(wrong) == ["replicas"]
    assert len(wrong["replicas"]) == len(damages)
    repair(site, wrong, client)
    assert found() == {}


def test_a_sample_is_made_again_from_the_sources(clean, tmp_path):
    """The archive equals what its files give; what they give otherwise now is told with a value."""
    shutil.copytree(clean.root, tmp_path / "copy")
    site = Site(tmp_path / "copy", clean.format)
    look = SourcesAgree(size=2 * DAYS)
    result = site.dataset().validate([look], now=NOW).results[-1]
    assert result.findings == ()
    assert result.examined.count("24 of 24 source files read again") == 2 * DAYS
    provider = Provider(site.root / "source")
    provider.change(hours(70, 71), "temperature", lambda field: field + 1)
    for label in hours(24, 48):
        provider.path(label).unlink()
    result = site.dataset().validate([look], now=NOW).results[-1]
    (finding,) = result.findings
    assert finding.place == "temperature, 2020-01-03 … 2020-01-03T23:00"
    assert finding.message.startswith("30 values differ from what the source files give now, first")
    assert "(at time 70, latitude 0, longitude 0)" in finding.message
    assert "rain 2020-01-02: 0 of 24 source files read again" in result.examined


def test_a_sample_is_the_same_for_a_seed_and_another_every_day():
    """So that days of sampling see all of an archive."""

    class Day:
        def __init__(self, now: str) -> None:
            self.now = pd.Timestamp(now)

    def chosen(day: int, seed: int | None = None) -> tuple[int, ...]:
        look = SourcesAgree(size=3, seed=seed)
        return tuple(look._chosen(Day(f"2020-01-{day:02d}T07:00"), 40))

    assert chosen(1) == chosen(1)
    assert chosen(1, seed=5) == chosen(2, seed=5)
    assert len({at for day in range(1, 29) for at in chosen(day)}) > 25


def test_metadata_against_the_cf_conventions(site):
    """What the conventions require and is not so, as the checker says it."""
    assert site.dataset().validate([CfConventions()], now=NOW).findings == ()
    advised = site.dataset().validate([CfConventions(recommendations=True)], now=NOW)
    assert {f.severity for f in advised.findings} == {"warning"}
    change_units(site)
    edit_json(site, "rain/zarr.json", lambda array: array["attributes"].update(units="buckets"))

    def change(root) -> None:
        arrays = (root.get("consolidated_metadata") or {}).get("metadata") or {}
        if "rain" in arrays:
            arrays["rain"]["attributes"]["units"] = "buckets"

    edit_json(site, "zarr.json", change)
    found = site.dataset().validate([CfConventions()], now=NOW).findings
    assert {f.severity for f in found} == {"error"}
    assert any("buckets" in f.message for f in found)


def test_without_the_checker_its_installation_is_told(clean, monkeypatch):
    """Not checked is not passed."""
    monkeypatch.setattr("gridmill.validation.checks.cf_conventions.which", lambda *_, **__: None)
    (finding,) = clean.dataset().validate([CfConventions()], now=NOW).findings
    assert "pip install 'gridmill[validate]'" in finding.message


# -- validators of one's own, and the command -------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class NeverRains:
    """A validator of a user's own."""

    name: str = "never rains"

    def check(self, context: Context) -> CheckResult:
        """Look for rain."""
        most = float(context.ds["rain"].max())
        finding = context.finding(f"it rains up to {most:g}", slice(0, 1), ["rain"])
        return CheckResult(validator=self.name, findings=(finding,))


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A validator with a mistake."""

    name: str = "broken"

    def check(self, context: Context) -> CheckResult:
        """Fail."""
        raise KeyError("mistake")


def test_a_validator_of_ones_own_is_a_frozen_value(clean):
    """It gets the same context, and its mistakes are findings, not silence."""
    validation = clean.dataset().validate([NeverRains(), Broken()], now=NOW)
    assert [f.place for f in validation.found_by["never rains"]] == ["rain, 2020-01-01"]
    assert "could not be checked: KeyError: 'mistake'" in validation.found_by["broken"][0].message
    assert not validation.succeeded
    assert NeverRains() == NeverRains()
    assert hash(LevelShift(window=3)) == hash(LevelShift(window=3))
    assert Opens() != NoConstantField()


def test_the_command_tells_in_its_exit_code_and_in_json(site):
    """A scheduler asks the code, a program the JSON, a person reads a line a finding."""
    well = site.run("validate", "--now", NOW, "--cluster", "none")
    assert well.exit_code == ExitCode.SUCCESS, well.output
    assert "✓ weather: nothing found" in well.stdout
    delete(site)
    quick = site.run("validate", "--now", NOW, "--quick")
    assert quick.exit_code == ExitCode.FAILED
    (line,) = [line for line in quick.stdout.splitlines() if "error: " in line]
    assert "→ gridmill backfill weather:Weather --store" in line
    told = json.loads(site.run("validate", "--now", NOW, "--quick", "--json").stdout)
    assert told["succeeded"] is False
    found = [f for result in told["results"] for f in result["findings"]]
    assert found[0]["severity"] == "error"
    only = site.run("validate", "--now", NOW, "--only", "coordinates", "--cluster", "none")
    assert only.exit_code == ExitCode.SUCCESS
    assert site.run("validate", "--only", "spelling").exit_code == ExitCode.WRONG_INPUT


def test_an_update_may_look_at_what_it_did(site, client):
    """At the positions that it could change; what is wrong there fails the command."""
    provider = Provider(site.root / "source")
    options = ["--validate", "--cluster", client.scheduler.address, "--now"]
    provider.publish(hours(96, 120))
    well = site.run("update", *options, until(5), "--json")
    assert well.exit_code == ExitCode.SUCCESS, well.output
    told = json.loads(well.stdout)
    assert told["validation"]["succeeded"] is True
    assert told["validation"]["selection"] == f"from {until(3).removesuffix('T00:00:00')}"
    provider.publish(hours(120, 144))
    provider.change(hours(130, 144), "temperature", lambda field: field * np.nan)
    wrong = site.run("update", *options, until(6))
    assert wrong.exit_code == ExitCode.FAILED
    assert "error: temperature, 2020-01-06T10:00 … 2020-01-06T23:00: up to 100%" in wrong.stdout


def test_values_are_read_in_bounded_blocks(clean, monkeypatch):
    """However large the archive is against a block, statistics are those of the whole fields."""
    from gridmill.validation.statistics import profiles as statistics

    dataset = clean.dataset()
    context = Context(dataset, now=NOW)
    (temperature, _) = context.variables
    whole = context.statistics(temperature)
    monkeypatch.setattr(statistics, "BLOCK_NBYTES", 4 * 12 * SHAPE[1])
    parts = Context(dataset, now=NOW).statistics(temperature)
    truth = dataset.store.open_dataset()["temperature"].astype(float)
    np.testing.assert_allclose(whole.fields["mean"], truth.mean(("latitude", "longitude")))
    np.testing.assert_allclose(whole.fields["std"], truth.std(("latitude", "longitude")), rtol=1e-5)
    np.testing.assert_array_equal(parts.fields["maximum"], truth.max(("latitude", "longitude")))
    assert parts.fields["mean"].equals(whole.fields["mean"])


# -- archives of real fields ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ostia-sst-monthly", "hadgem2-north-america"])
def test_clean_archives_of_the_demo_give_no_finding(name, client, tmp_path):
    """Land, months, a 360-day calendar, two scenarios: none of it is damage."""
    if name.startswith("ostia"):
        build_ostia_archive(tmp_path / "source")
    else:
        build_hadgem2_archive(tmp_path / "source")
    dataset = find_dataset(name)(tmp_path / "a.zarr", source_base=str(tmp_path / "source"))
    end = {"ostia-sst-monthly": "2010-10-01", "hadgem2-north-america": "2100-01-01"}[name]
    assert dataset.backfill(end, client=client).published_anything
    assert dataset.validate(now=end).findings == ()
