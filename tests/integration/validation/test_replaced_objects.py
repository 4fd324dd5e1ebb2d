"""An object that is whole, and another one's, is found."""

from __future__ import annotations

import google_crc32c
import pytest

from clusters import local_client
from gridmill.stores.copied import ObjectReplaced
from tiny import Provider, Tiny, hours, until


def test_an_object_that_is_another_whole_one_is_found(tmp_path):
    """Every part of a shard ends with its crc32c: those of two shards as a whole are the same."""
    Provider(tmp_path / "source").publish(hours(8))
    dataset = Tiny(tmp_path / "a", source_base=str(tmp_path / "source"))
    with local_client(n_workers=1, processes=False) as client:
        dataset.backfill(until(8), client=client)
    assert dataset.validate(now=until(8)).succeeded
    first, second = (tmp_path / "a" / "a" / "c" / n / "0" / "0" for n in "01")
    contents = [path.read_bytes() for path in (first, second)]
    assert len({google_crc32c.value(content) for content in contents}) == 1
    first.write_bytes(contents[1])
    found = dataset.validate(now=until(8)).findings
    assert any("a/c/0/0/0 has other content than was uploaded" in one.message for one in found)
    receipts = [r for record in dataset.store.progress() for r in record.variables["a"].objects]
    with pytest.raises(ObjectReplaced, match="was replaced since it was recorded"):
        dataset.store.download(tmp_path / "copy", receipts)
