"""What every final store must do: a suite for pytest to run.

Subclass it, say how a store is made, and let pytest collect the subclass; see `StoreContract`.
Needs nothing of pytest but its fixtures.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import google_crc32c
import numpy as np

from gridmill.stores.copied import ObjectReplaced
from gridmill.stores.final_store import (
    CoordinateValues,
    FinalStore,
    IntendedWork,
)
from gridmill.stores.state.leases import LeaseLost, LeaseProof
from gridmill.testing.contract_archive import (
    DIM,
    LARGE,
    REGION,
    SHARE,
    SMALL,
    ContractArchive,
    CountedProof,
    other_process,
    token_of,
    values_of,
)

__all__ = ["StoreContract"]


class StoreContract:
    """What a final store promises, run over any; subclass it and define `make_store`.

    Attributes
    ----------
    secrets : sequence of str
        What must not show in a `repr`, a token or anything that the store writes.

    Examples
    --------
    In a store author's test module::

        from gridmill.testing import StoreContract

        class TestMyStore(StoreContract):
            def make_store(self, tmp_path):
                return MyStore(str(tmp_path / "archive"), "contract")
    """

    secrets: Sequence[str] = ()

    def make_store(self, tmp_path: Path) -> FinalStore:
        """Return a store where nothing is yet, a new one for every `tmp_path`."""
        raise NotImplementedError(f"{type(self).__name__} must define make_store()")

    # -- nothing is visible before it is published ---------------------------------------------

    def test_a_store_that_is_not_there_says_so(self, tmp_path: Path) -> None:
        """Before the first publication there is no metadata, no length and no record."""
        store = self.make_store(tmp_path)
        assert store.metadata() is None
        assert store.published_length(DIM) is None
        assert store.progress() == []

    def test_the_check_before_a_run_leaves_nothing(self, tmp_path: Path) -> None:
        """`check_writable` writes, and leaves no trace that a reader or a record shows."""
        store = self.make_store(tmp_path)
        store.check_writable()
        assert store.metadata() is None
        assert list(store.state.keys()) == []

    def test_uploads_are_not_visible(self, tmp_path: Path) -> None:
        """What is uploaded and not published changes nothing that a reader sees."""
        archive = ContractArchive(self.make_store(tmp_path), tmp_path)
        archive.upload(0)
        assert not archive.store.published_length(DIM)
        archive.publish(REGION)
        seen = archive.values(SMALL)
        archive.upload(1)
        assert archive.store.published_length(DIM) == REGION
        np.testing.assert_array_equal(archive.values(SMALL), seen)

    def test_receipts_name_every_object(self, tmp_path: Path) -> None:
        """An upload's receipts are the keys, sizes and checksums of what was to be uploaded."""
        archive = ContractArchive(self.make_store(tmp_path), tmp_path)
        for name in (SMALL, LARGE):
            folder, keys = archive.region_folder(name, 0)
            receipts = archive.store.upload(folder, keys, archive.proof).objects
            contents = {key: (folder / key).read_bytes() for key in keys}
            assert {r.key: r.nbytes for r in receipts} == {k: len(c) for k, c in contents.items()}
            sums = {key: google_crc32c.value(content) for key, content in contents.items()}
            assert {r.key: r.crc32c for r in receipts} == sums
            assert len(keys) == (2 if name == SMALL else 1)

    # -- publications ---------------------------------------------------------------------------

    def test_what_is_published_is_what_was_uploaded(self, tmp_path: Path) -> None:
        """Readers see the values, coordinates and attributes of every region, static ones too."""
        archive = ContractArchive(self.make_store(tmp_path), tmp_path)
        for number in range(3):
            archive.upload(number)
        archive.publish(3 * REGION)
        archive.check(3 * REGION)

    def test_the_archive_grows_region_by_region(self, tmp_path: Path) -> None:
        """Each publication shows the regions up to its end, in whatever order they came."""
        archive = ContractArchive(self.make_store(tmp_path), tmp_path)
        for number in (2, 0, 1):
            archive.upload(number)
        for number in range(3):
            archive.publish((number + 1) * REGION, upto=number)
            archive.check((number + 1) * REGION)

    def test_a_region_may_be_visible_in_part(self, tmp_path: Path) -> None:
        """A publication may end inside a region and inside a shard, and a later one continue."""
        archive = ContractArchive(self.make_store(tmp_path), tmp_path)
        archive.upload(0)
        archive.upload(1)
        for length in (1, 3, 4, 5, 7, 8):
            archive.publish(length)
            archive.check(length)

    def test_publishing_again_changes_nothing(self, tmp_path: Path) -> None:
        """The same publication twice says the second time that it changed nothing."""
        archive = ContractArchive(self.make_store(tmp_path), tmp_path)
        archive.upload(0)
        assert archive.publish(REGION)
        assert not archive.publish(REGION)
        archive.check(REGION)

    def test_a_published_region_is_replaced(self, tmp_path: Path) -> None:
        """A region that is uploaded again has its new values after the next publication."""
        archive = ContractArchive(self.make_store(tmp_path), tmp_path)
        for number in range(3):
            archive.upload(number)
        archive.publish(3 * REGION)
        archive.upload(1, version=1)
        archive.publish(3 * REGION)
        archive.check(3 * REGION)

    def test_a_region_replaced_while_the_archive_grew(self, tmp_path: Path) -> None:
        """An upload from before others were published replaces its region, and only that."""
        archive = ContractArchive(self.make_store(tmp_path), tmp_path)
        for number in range(2):
            archive.upload(number)
        archive.publish(2 * REGION)
        archive.upload(0, version=1)
        for number in (2, 3):
            archive.upload(number)
            archive.publish((number + 1) * REGION, without=[0])
            archive.check((number + 1) * REGION)
        archive.publish(4 * REGION)
        archive.check(4 * REGION)

    def test_any_order_of_uploads_and_publications_is_right(self, tmp_path: Path) -> None:
        """Regions are uploaded, again and ahead, and published whole or in part, in any order."""
        for seed in range(2):
            folder = tmp_path / str(seed)
            folder.mkdir()
            archive = ContractArchive(self.make_store(folder), folder)
            archive.act_at_random(np.random.default_rng(seed), steps=16)

    def test_attributes_may_change_without_data(self, tmp_path: Path) -> None:
        """A publication of metadata alone changes what readers see of it, and no value."""
        archive = ContractArchive(self.make_store(tmp_path), tmp_path)
        archive.upload(0)
        archive.publish(REGION)
        archive.title = "Another title"
        assert archive.publish(REGION)
        archive.check(REGION)

    def test_values_of_a_coordinate_come_with_the_data(self, tmp_path: Path) -> None:
        """Those that are given change, the others stay; the same again change nothing."""
        archive = ContractArchive(self.make_store(tmp_path), tmp_path)

        def show(length: int, start: int, *values: float) -> bool:
            given = CoordinateValues(SHARE, start, np.array(values, "float32"))
            return archive.publish(length, values=[given])

        for number in range(2):
            archive.upload(number)
        archive.publish(REGION)
        assert archive.values(SHARE).tolist() == [0, 0, 0, 0]
        assert show(2 * REGION, 4, 1, 0.5, 1, 1)
        assert archive.values(SHARE).tolist() == [0, 0, 0, 0, 1, 0.5, 1, 1]
        assert not show(2 * REGION, 4, 1, 0.5, 1, 1)
        assert show(2 * REGION, 3, 0.25, 0, 1)
        assert archive.values(SHARE).tolist() == [0, 0, 0, 0.25, 0, 1, 1, 1]
        archive.upload(2)
        archive.publish(3 * REGION)
        assert archive.values(SHARE).tolist() == [0, 0, 0, 0.25, 0, 1, 1, 1, 0, 0, 0, 0]
        assert show(3 * REGION, 4, 0, 0, 0, 0)
        assert archive.values(SHARE).tolist() == [0, 0, 0, 0.25, *[0] * 8]
        archive.check(3 * REGION)

    def test_a_truncated_archive_shows_less_and_grows_again(self, tmp_path: Path) -> None:
        """It ends inside a region; what is left stays, and what is uploaded again is published."""
        archive = ContractArchive(self.make_store(tmp_path), tmp_path)
        for number in range(4):
            archive.upload(number)
        archive.publish(4 * REGION)
        assert archive.truncate(REGION + 1) > 0
        archive.check(REGION + 1)
        for number in (1, 2):
            archive.upload(number, version=1)
        archive.publish(3 * REGION, upto=2)
        archive.check(3 * REGION)

    # -- what workers rely on --------------------------------------------------------------------

    def test_published_values_are_read_back(self, tmp_path: Path) -> None:
        """`read` gives published values of a selection, in the stored dtype."""
        archive = ContractArchive(self.make_store(tmp_path), tmp_path)
        archive.upload(0)
        archive.upload(1)
        archive.publish(2 * REGION - 1)
        found = archive.store.read(SMALL, (slice(3, 7), slice(1, 3)))
        np.testing.assert_array_equal(found, archive.truth(SMALL)[3:7, 1:3])
        assert found.dtype == np.dtype("float32")

    def test_uploaded_values_are_read_back_before_they_are_published(self, tmp_path: Path) -> None:
        """`read_uploaded` gives what an upload made durable, and not what one before it did."""
        archive = ContractArchive(self.make_store(tmp_path), tmp_path)
        archive.upload(0)
        archive.publish(REGION)
        selection = (slice(REGION + 1, 2 * REGION), slice(1, 3))
        for version in (0, 1):
            archive.upload(1, version=version)
            uploaded = archive.uploaded[SMALL, 1]
            folder = tmp_path / f"shards-{SMALL}-1-{version}"
            metadata = json.loads((folder / SMALL / "zarr.json").read_text())
            found = archive.store.read_uploaded(SMALL, selection, metadata, uploaded.token)
            np.testing.assert_array_equal(found, values_of(SMALL, 1, version)[1:, 1:3])
            assert found.dtype == np.dtype("float32")
        archive.check(REGION)

    def test_uploads_run_at_once(self, tmp_path: Path) -> None:
        """Uploads from several threads do not disturb each other."""
        archive = ContractArchive(self.make_store(tmp_path), tmp_path)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(archive.upload, range(4)))
        archive.publish(4 * REGION)
        archive.check(4 * REGION)

    def test_uploads_come_from_other_processes(self, tmp_path: Path) -> None:
        """A pickled store is small and uploads from a process that was spawned."""
        archive = ContractArchive(self.make_store(tmp_path), tmp_path)
        assert len(pickle.dumps(archive.store)) < 5_000
        tasks = [(n, *archive.region_folder(n, 0)) for n in (SMALL, LARGE)]
        for name, folder, keys in tasks:
            task = other_process().submit(archive.store.upload, folder, keys, archive.proof)
            archive.keep(name, 0, task.result())
        archive.upload_static()
        archive.publish(REGION)
        archive.check(REGION)

    def test_tokens_outlive_the_process(self, tmp_path: Path) -> None:
        """What was uploaded is published by a store that was reopened, from the tokens."""
        first = self.make_store(tmp_path)
        archive = ContractArchive(first, tmp_path)
        archive.upload(0)
        archive.store = pickle.loads(pickle.dumps(first))
        archive.publish(REGION)
        archive.check(REGION)

    def test_an_upload_stops_when_the_lease_is_lost(self, tmp_path: Path) -> None:
        """No object follows after the lease is lost, and nothing of it is visible."""
        archive = ContractArchive(self.make_store(tmp_path), tmp_path)
        folder, keys = archive.region_folder(SMALL, 0)
        lost = cast(LeaseProof, CountedProof(checks=0))
        try:
            archive.store.upload(folder, keys, lost)
        except LeaseLost:
            pass
        else:
            raise AssertionError("the upload went on")
        assert not archive.store.published_length(DIM)

    def test_a_vanished_folder_is_told_from_other_errors(self, tmp_path: Path) -> None:
        """A local folder that is gone raises FileNotFoundError, so that it is recreated."""
        archive = ContractArchive(self.make_store(tmp_path), tmp_path)
        folder, keys = archive.region_folder(SMALL, 0)
        (folder / keys[-1]).unlink()
        try:
            archive.store.upload(folder, keys, archive.proof)
        except FileNotFoundError:
            return
        raise AssertionError("the upload found what is not there")

    # -- what resuming relies on ------------------------------------------------------------------

    def test_what_is_there_is_not_missing(self, tmp_path: Path) -> None:
        """No upload is missing, before it is published, after, and after a later one."""
        archive = ContractArchive(self.make_store(tmp_path), tmp_path)
        for number in range(2):
            archive.upload(number)
            assert archive.missing() == []
            archive.publish((number + 1) * REGION)
            assert archive.missing() == []

    def test_what_is_gone_or_short_is_missing(self, tmp_path: Path) -> None:
        """An object that was never written, or is shorter than its receipt, is missing."""
        archive = ContractArchive(self.make_store(tmp_path), tmp_path)
        archive.upload(0)
        archive.publish(REGION)
        uploaded = archive.uploaded[SMALL, 0]
        known = uploaded.objects[0]
        never = type(known)(f"{SMALL}/c/9/0", 10, 0)
        longer = type(known)(known.key, known.nbytes + 1, known.crc32c)
        missing = archive.store.missing([known, never, longer], *token_of(uploaded))
        assert missing == [never.key, longer.key]

    def test_what_was_uploaded_is_downloaded(self, tmp_path: Path) -> None:
        """Objects come back byte by byte, published or not; one that is another is refused."""
        archive = ContractArchive(self.make_store(tmp_path), tmp_path)
        archive.upload(0)
        for number in range(2):
            uploaded = archive.uploaded[SMALL, 0]
            here = tmp_path / f"downloaded-{number}"
            archive.store.download(here, uploaded.objects, *token_of(uploaded))
            for receipt in uploaded.objects:
                content = (here / receipt.key).read_bytes()
                assert (len(content), google_crc32c.value(content)) == (
                    receipt.nbytes,
                    receipt.crc32c,
                )
            archive.publish(REGION)
        crc32c = uploaded.objects[0].crc32c
        assert crc32c is not None
        other = replace(uploaded.objects[0], crc32c=crc32c ^ 1)
        try:
            archive.store.download(tmp_path / "refused", [other], *token_of(uploaded))
        except ObjectReplaced:
            return
        raise AssertionError("an object with another checksum was downloaded")

    # -- what a store says of itself ---------------------------------------------------------------

    def test_uploads_over_published_objects_show_when_the_store_says(self, tmp_path: Path) -> None:
        """At once where `shows_uploads`, else with the publication; after it in any case."""
        archive = ContractArchive(self.make_store(tmp_path), tmp_path)
        archive.upload(0)
        archive.publish(REGION)
        archive.upload(0, version=1)
        shown = values_of(SMALL, 0, 1 if archive.store.shows_uploads else 0)
        np.testing.assert_array_equal(archive.values(SMALL), shown)
        archive.publish(REGION)
        np.testing.assert_array_equal(archive.values(SMALL), values_of(SMALL, 0, 1))

    def test_of_no_work_there_is_nothing_to_warn(self, tmp_path: Path) -> None:
        """What a store warns of is a line each, and it warns of nothing where nothing is done."""
        store = self.make_store(tmp_path)
        assert store.warn_of(IntendedWork(0, 0, is_partial=False)) == []
        said = store.warn_of(IntendedWork(10_000, 10, is_partial=True))
        assert all(line and "\n" not in line for line in said)
        if store.shows_uploads:
            assert store.warn_of(IntendedWork(1, 1, is_partial=False))

    def test_earlier_versions_are_forgotten_or_there_are_none(self, tmp_path: Path) -> None:
        """What readers see stays; a store that keeps no versions says so, with its address."""
        archive = ContractArchive(self.make_store(tmp_path), tmp_path)
        for number in range(2):
            archive.upload(number)
            archive.publish((number + 1) * REGION)
        later = datetime.now(UTC) + timedelta(hours=2)
        refused, would_go, went = "", {}, {}
        try:
            would_go = archive.store.forget_versions(later, dry_run=True)
            went = archive.store.forget_versions(later)
        except ValueError as error:
            refused = str(error)
        if refused:
            assert archive.store.url in refused
        else:
            assert would_go["snapshots_expired"] >= went["snapshots_expired"] > 0
        archive.check(2 * REGION)

    # -- secrecy ----------------------------------------------------------------------------------

    def test_no_secret_is_shown_or_written(self, tmp_path: Path) -> None:
        """Neither a `repr`, nor a token, nor an object of the records holds a credential."""
        store = self.make_store(tmp_path)
        archive = ContractArchive(store, tmp_path)
        archive.upload(0)
        archive.publish(REGION)
        tokens = [uploaded.token or "" for uploaded in archive.uploaded.values()]
        decoded = [str(_unpacked(token)) for token in tokens if token]
        beside = [str(store.state.get(key)) for key in store.state.keys()]  # noqa: SIM118
        for shown in (repr(store), repr(store.state), *tokens, *decoded, *beside):
            assert not [secret for secret in self.secrets if secret in shown]


def _unpacked(token: str) -> Iterable[object]:
    """Return a token's parts, decoded as far as their form is known."""
    import base64

    parts: list[object] = [token]
    try:
        content = json.loads(token)
    except ValueError:
        return parts
    for value in content.values() if isinstance(content, dict) else ():
        for decode in (base64.b85decode, base64.b64decode):
            try:
                parts.append(decode(value))
            except (ValueError, TypeError):
                continue
    return parts
