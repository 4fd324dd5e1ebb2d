"""A STAC catalogue and its pages say what readers see, and no catalogue ever fails a run."""

from __future__ import annotations

import json
import logging
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import xarray as xr
from click.testing import CliRunner, Result
from pystac.validation import RegisteredValidator

from gridmill.cli import ExitCode, cli
from gridmill.cli.output.cataloguing import CatalogueOptions, Cataloguing
from gridmill.operations.catalogue.catalogue import Entry, write_entry
from gridmill.stores.objects.opening import open_objects
from gridmill.stores.objects.patience import Patience
from tiny import Provider, Tiny, hours, truth, until


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """Work in a folder of one's own, with the source files of eight hours."""
    monkeypatch.chdir(tmp_path)
    Provider(tmp_path / "source").publish(hours(8))
    root = logging.getLogger()
    handlers = list(root.handlers)
    yield tmp_path
    root.handlers[:] = handlers
    logging.captureWarnings(False)


def run(*args: str) -> Result:
    """Run the command line in this process, on the tiny dataset."""
    name, *rest = args
    base = ["tiny:Tiny", "--source-base", str(Path("source").absolute())]
    return CliRunner().invoke(cli, [name, *base, *rest])


def build(*args: str, upto: int = 4) -> Result:
    """Build the first positions, all of it in this process."""
    return run("backfill", "--until", until(upto), "--cluster", "none", *args)


def free_port() -> int:
    """Give a port of this machine on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


def collection_at(folder: Path) -> dict[str, Any]:
    """Read the entry's collection."""
    content: dict[str, Any] = json.loads((folder / "tiny" / "collection.json").read_bytes())
    return content


def opened(asset: dict[str, Any]) -> xr.Dataset:
    """Open an archive by what its asset says, and nothing else."""
    kwargs = asset["xarray:open_kwargs"]
    if asset["type"].endswith("icechunk"):
        scope: dict[str, Any] = {}
        code = asset["description"].partition("```python\n")[2].partition("\n```")[0]
        exec(code, scope)
        return scope["ds"]
    return xr.open_dataset(asset["href"], **kwargs)


def check_valid(folder: Path) -> None:
    """Validate root and collection by the schemas that come with pystac, and follow the links."""
    validator = RegisteredValidator.get_validator()
    root = pystac.Catalog.from_file(str(folder / "catalog.json"))
    (child,) = root.get_children()
    for item, kind in ((root, pystac.STACObjectType.CATALOG),
                       (child, pystac.STACObjectType.COLLECTION)):  # fmt: skip
        validator.validate_core(item.to_dict(), kind, "1.1.0")
    assert child.get_root() is root


@pytest.mark.parametrize("name", ["a.zarr", "a.icechunk"])
def test_a_collection_is_valid_and_opens_as_it_says(here, name):
    """By pystac's schemas, and by its own asset with the values of the archive."""
    assert build("--store", name).exit_code == 0
    done = run("catalog", "--store", name, "--output", "catalog")
    assert done.exit_code == 0, done.output
    check_valid(here / "catalog")
    collection = collection_at(here / "catalog")
    (asset,) = (a for a in collection["assets"].values() if "data" in a["roles"])
    np.testing.assert_array_equal(opened(asset)["a"], truth(hours(4)))
    assert collection["extent"]["temporal"]["interval"] == [
        ["2020-01-01T00:00:00Z", "2020-01-01T03:00:00Z"]
    ]
    assert set(collection["cube:variables"]) == {"a", "b"}
    assert collection["cube:dimensions"]["time"]["step"] == "PT1H"
    page = (here / "catalog" / "tiny" / "index.html").read_text()
    assert "Tiny" in page
    assert asset["href"] in page
    assert collection["assets"]["preview"]["href"] == "./preview.png"
    assert (here / "catalog" / "tiny" / "preview.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_that_is_dear_to_read_is_left_out(here, monkeypatch):
    """Where chunks are long in time, one field would take gigabytes; the entry does without."""
    monkeypatch.setattr("gridmill.display.catalogue.picture.MOST_NBYTES", 2 * 6 * 4 - 1)
    assert build("--store", "a.zarr", "--catalog", "catalog").exit_code == 0
    assert "preview" not in collection_at(here / "catalog")["assets"]
    assert "preview" not in (here / "catalog" / "tiny" / "index.html").read_text()


def test_an_update_rewrites_the_entry(here):
    """With the new extent; a call without news writes nothing and says so."""
    store = ("--store", "a.zarr", "--catalog", "catalog")
    assert build(*store).exit_code == 0
    before = collection_at(here / "catalog")
    done = run("update", *store, "--cluster", "none", "--now", until(8))
    assert done.exit_code == 0, done.output
    after = collection_at(here / "catalog")
    assert (before["gridmill:positions"], after["gridmill:positions"]) == (4, 8)
    assert after["extent"]["temporal"]["interval"][0][1] == "2020-01-01T07:00:00Z"
    files = {p: p.stat().st_mtime_ns for p in (here / "catalog").rglob("*") if p.is_file()}
    assert run("catalog", *store).exit_code == ExitCode.NOTHING_NEW
    assert files == {p: p.stat().st_mtime_ns for p in files}


def test_a_replica_is_another_way_in(here):
    """Of either format, under a name of its own."""
    replicas = ("--replica", "b.zarr", "--replica", "c.icechunk")
    assert build("--store", "a.zarr", *replicas, "--catalog", "catalog").exit_code == 0
    assets = collection_at(here / "catalog")["assets"]
    assert [name for name in assets if name != "preview"] == ["zarr", "zarr-2", "icechunk"]
    for name in ("zarr", "zarr-2", "icechunk"):
        np.testing.assert_array_equal(opened(assets[name])["b"], truth(hours(4), "b"))


def test_a_catalogue_that_cannot_be_written_is_noted_and_fails_no_run(here):
    """The archive is built, the exit code is a success's, and the report says why."""
    (here / "in-the-way").write_text("a file")
    done = build("--store", "a.zarr", "--catalog", "in-the-way/catalog", "--json")
    assert done.exit_code == 0, done.output
    (note,) = [note for note in json.loads(done.stdout)["notes"] if "catalogue" in note]
    assert "in-the-way" in note
    assert "gridmill catalog" in note


def test_a_catalogue_in_a_bucket_that_is_down_fails_no_run(here, monkeypatch):
    """Nobody listens there: the archive is built, and the report has a note."""
    for name, value in {"ACCESS_KEY_ID": "k", "SECRET_ACCESS_KEY": "s"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    done = build("--store", "a.zarr", "--catalog", "s3://bucket/catalog", "--json")
    assert done.exit_code == 0, done.output
    assert any("s3://bucket/catalog" in note for note in json.loads(done.stdout)["notes"])


def test_a_catalogue_that_hangs_holds_no_run_up(here, monkeypatch):
    """It is given up after a while, and left alone until it has ended."""
    assert build("--store", "a.zarr").exit_code == 0
    calls: list[int] = []
    gate = threading.Event()

    def hang(*args: Any, **kwargs: Any) -> int:
        calls.append(1)
        gate.wait(60)
        return 0

    monkeypatch.setattr("gridmill.cli.output.cataloguing.write_catalogue", hang)
    dataset = Tiny("a.zarr")
    cataloguing = Cataloguing(dataset, CatalogueOptions("catalog"), patience_s=0.05)
    assert "longer than" in str(cataloguing.published({}))
    assert "longer than" in str(cataloguing.published({}))
    assert calls == [1]
    gate.set()


def test_nothing_published_is_said(here):
    """A catalogue promises nothing that readers do not find."""
    done = run("catalog", "--store", "a.zarr", "--output", "catalog")
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert "nothing is published" in done.stderr
    assert not (here / "catalog").exists()


class Overtaken:
    """Objects of a folder whose root another archive writes in the moment before the first put."""

    def __init__(self, objects: Any, rival: Entry) -> None:
        self.objects = objects
        self.rivals = [rival]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.objects, name)

    def change(self, key: str, content: bytes) -> Any:
        """Look at an object, as the folder does, and let the rival come first."""
        change = self.objects.change(key, content)
        if key == "catalog.json" and self.rivals:
            write_entry(self.objects, self.rivals.pop(), str)
        return change


def test_archives_share_a_catalogue(here):
    """Each is listed, once and in order, also where another was written at the same moment."""
    objects = open_objects(str(here / "catalog"))
    entries = [Entry({"id": f"d{n}", "title": f"D {n}"}, {"index.html": b"p"}) for n in range(4)]
    for entry in (entries[3], entries[0], entries[3]):
        write_entry(objects, entry, str)
    overtaken: Any = Overtaken(objects, entries[1])
    write_entry(overtaken, entries[2], str)
    root = json.loads((here / "catalog" / "catalog.json").read_bytes())
    children = [link["href"] for link in root["links"] if link["rel"] == "child"]
    assert children == [f"./d{n}/collection.json" for n in range(4)]


def test_a_root_that_is_always_overwritten_ends_in_an_error(here, monkeypatch):
    """After a few attempts, with waits between them, and it says what to do."""
    few = Patience(attempts=3, wait_initial_s=0.01, wait_max_s=0.02)
    monkeypatch.setattr("gridmill.operations.catalogue.catalogue.PATIENCE", few)
    objects = open_objects(str(here / "catalog"))
    numbers = iter(range(100))

    class Busy(Overtaken):
        def change(self, key: str, content: bytes) -> Any:
            """Look at an object, and let another archive be listed first, each time."""
            if key == "catalog.json":
                number = next(numbers)
                other = {"id": f"other-{number}", "title": "Other"}
                self.rivals = [Entry(other, {})]
            return super().change(key, content)

    busy: Any = Busy(objects, Entry({"id": "other", "title": "Other"}, {}))
    waits = Waits(monkeypatch)
    with pytest.raises(
        OSError, match=r"catalog.json was overwritten by others 3 times, .*run again"
    ):
        write_entry(busy, Entry({"id": "ours", "title": "Ours"}, {}), str)
    assert next(numbers) == 3
    assert len(waits.seconds) == 2


class Waits:
    """The waits between attempts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds: list[float] = []
        monkeypatch.setattr("tenacity.nap.time.sleep", self.seconds.append)


def test_what_is_no_catalogue_is_not_overwritten(here):
    """Somebody else's catalog.json stays as it is."""
    (here / "catalog").mkdir()
    (here / "catalog" / "catalog.json").write_text('{"type": "Menu"}')
    assert build("--store", "a.zarr").exit_code == 0
    done = run("catalog", "--store", "a.zarr", "--output", "catalog")
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert "no STAC catalogue" in done.stderr
    assert (here / "catalog" / "catalog.json").read_text() == '{"type": "Menu"}'


def test_no_credential_gets_into_a_catalogue():
    """Only what tells how a store is reached is handed on."""
    from gridmill.operations.catalogue.opening import reader_options

    given = {"key": "k", "secret": "s", "token": "t", "endpoint_url": "https://s3.example.org",
             "client_kwargs": {"region_name": "eu-west-1", "aws_access_key_id": "k"}}  # fmt: skip
    assert reader_options(given) == {
        "endpoint_url": "https://s3.example.org",
        "client_kwargs": {"region_name": "eu-west-1"},
    }
    elsewhere = {"client_kwargs": {"endpoint_url": "https://s3.example.org", "verify": False}}
    assert reader_options(elsewhere) == {"endpoint_url": "https://s3.example.org"}
