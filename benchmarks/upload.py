"""Is s3fs fast enough? Its puts, and a whole job with them, against obstore's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Any

from obstore.store import S3Store

from benchmarks.backfills import backfill
from benchmarks.dataset import BenchmarkGrid, end_of
from benchmarks.fields import write_archive
from benchmarks.measures import Measure, compare
from benchmarks.sizes import Size
from benchmarks.whole import BUCKET, servers
from gridmill.runs.dask.clusters import connect
from gridmill.stores.lookahead import NBYTES_IN_FLIGHT
from gridmill.stores.objects.s3.objects import S3Objects
from gridmill.stores.zarr_store import ZarrStore

__all__ = ["upload"]

# Bytes of a shard, and how many shards are put for each source file that other benchmarks have.
SHARDS = ((200_000, 8.0), (4_000_000, 1.5), (50_000_000, 0.2))
# s3fs stays unless the whole job takes this much longer with it.
WORTH_A_CHANGE = 1.3

_names = count()


def upload(folder: Path, size: Size) -> Iterator[Measure]:
    """Put shards to a distant S3 server as an upload does, then do a whole job with either."""
    archive = folder / "archive"
    archive.mkdir()
    write_archive(archive, size.steps)
    with servers(archive, size.latency_s) as (pid, source, options):
        for nbytes, per_step in SHARDS:
            number, content = max(1, int(per_step * size.steps)), os.urandom(nbytes)
            yield from compare(
                f"upload {number} × {nbytes / 1e6:g} MB: s3fs / obstore",
                partial(_put_all, S3Objects, options, content, number),
                partial(_put_all, ObstoreObjects, options, content, number),
                pairs=size.pairs,
                not_ours=(pid,),
            )
        with connect("local", silence_logs=50) as client:

            def job(kind: type[S3Objects]) -> Callable[[], object]:
                made = partial(_dataset, kind, source, options)
                until = end_of(size.steps)
                return lambda: backfill(made, folder / "nothing", until, client)

            yield from compare(
                "whole job to S3: s3fs / obstore",
                job(S3Objects),
                job(ObstoreObjects),
                wall=WORTH_A_CHANGE,
                pairs=size.pairs,
                not_ours=(pid,),
            )


class ObstoreObjects(S3Objects):
    """Puts objects with obstore, and does all else as gridmill does."""

    def put(self, key: str, content: bytes) -> None:
        """Write an object, replacing the one that was there."""
        options = self.bucket.storage_options
        store = _obstore(
            self.bucket.name, options["endpoint_url"], options["key"], options["secret"]
        )
        store.put(f"{self.bucket.prefix}/{key}", content)


@cache
def _obstore(bucket: str, endpoint: str, key: str, secret: str) -> S3Store:
    return S3Store(
        bucket,
        endpoint=endpoint,
        region="us-east-1",
        access_key_id=key,
        secret_access_key=secret,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )


def _put_all(kind: type[S3Objects], options: dict[str, Any], content: bytes, number: int) -> None:
    """Put as many at once as `ZarrStore.upload` does."""
    objects = kind(f"s3://{BUCKET}/{next(_names)}", options)
    width = max(1, min(objects.at_once, NBYTES_IN_FLIGHT // len(content)))
    with ThreadPoolExecutor(width) as pool:
        for _ in pool.map(lambda n: objects.put(f"a/c/{n}", content), range(number)):
            pass


def _dataset(
    kind: type[S3Objects], source: str, options: dict[str, Any], store: Path
) -> BenchmarkGrid:
    url = f"s3://{BUCKET}/{next(_names)}.zarr"
    dataset = BenchmarkGrid(url, source_base=source, storage_options=options)
    assert isinstance(dataset.store, ZarrStore)
    dataset.store.objects = kind(url, options)
    return dataset
