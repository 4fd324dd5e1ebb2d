"""Submits chains of tasks: one download a source group, one compress and upload a variable.

Or, for small regions, one of each for several regions: a batch.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import dask
from distributed import (
    Client,
    Future,
)

from gridmill.authoring.region_job import RegionJob
from gridmill.model.region import position_key
from gridmill.pipeline.values import RunContext
from gridmill.publishing.copies import Copy
from gridmill.runs.dask.plugin.executors import executor_of
from gridmill.runs.dask.tasks import (
    compress,
    compress_each,
    download,
    download_each,
    hold_context,
    make_copy,
    upload,
    upload_each,
)
from gridmill.runs.workplaces import pace
from gridmill.runs.workplaces.batches import BatchedWork, GroupFiles
from gridmill.runs.workplaces.workplace import (
    Batch,
    BatchTasks,
    GroupWork,
    RegionTasks,
    for_attempt,
    group_key,
    groups_of,
    region_key,
)
from gridmill.stores.final_store import Uploaded

__all__ = [
    "copy_all",
    "seconds_of_batch",
    "send_context",
    "submit_batch",
    "submit_region",
]

# Later stages first: what is started is finished before more disk is taken.
PRIORITY_IN_REGION = {"download": 0, "compress": 1, "upload": 2}
# More than any region's position takes away: all of an update goes before all backfills.
PRIORITY_OF_UPDATES = 10**15


def seconds_of_batch() -> float:
    """Return how long a batch may take, as Dask's configuration says; 0 means no limit."""
    return float(dask.config.get("gridmill.batch-seconds", pace.BATCH_SECONDS))


def send_context(client: Client, context: RunContext, *, goes_first: bool = False) -> Future[Any]:
    """Make a run's context available to its tasks; it survives the loss of any worker."""
    return client.submit(
        hold_context,
        context,
        key=f"context-0-{context.run}",
        pure=False,
        priority=_highest_of(goes_first),
    )


def submit_region(
    client: Client,
    context: Future[Any],
    job: RegionJob[Any, Any],
    groups: Sequence[GroupWork],
    suffix: str,
    *,
    goes_first: bool = False,
) -> RegionTasks:
    """Submit the chains of one region job.

    Parameters
    ----------
    client
        The Dask client.
    context
        See `send_context`.
    job
        The region job.
    groups
        What to process of it.
    suffix
        Makes the keys unique among runs and attempts.
    goes_first
        Whether its tasks go before all those, of any run on the scheduler, that do not.
    """
    key, first = region_key(job), _priority(job, goes_first)
    downloads: dict[int, Future[Any]] = {}
    uploads: dict[str, Future[Any]] = {}
    for group in groups:
        submit = _Submission(client, first, suffix, goes_first)
        small = for_attempt(job, group, suffix)
        source = submit.one("download", download, group_key(job, group), small, group.files)
        names = list(group.works)
        keys = [f"{key}-{name}" for name in names]
        works = list(group.works.values())
        shards = submit.many("compress", compress, keys, works, context=context, source=source)
        receipts = submit.many("upload", upload, keys, shards, context=context)
        downloads[group.index] = source
        uploads.update(zip(names, receipts, strict=True))
    return RegionTasks(downloads, uploads)


def submit_batch(
    client: Client,
    context: Future[Any],
    regions: Batch,
    suffix: str,
    *,
    goes_first: bool = False,
) -> BatchTasks:
    """Submit several region jobs together: one task of each stage. See `submit_region`."""
    first, last = regions[0][0], regions[-1][0]
    key = f"{position_key(first.region.start)}-to-{position_key(last.region.start)}"
    groups = list(groups_of(regions))
    files = tuple(GroupFiles(for_attempt(job, group, suffix), group.files) for job, group in groups)
    works = tuple(
        BatchedWork(work, number)
        for number, (_, group) in enumerate(groups)
        for work in group.works.values()
    )
    submit = _Submission(client, _priority(first, goes_first), suffix, goes_first)
    sources = submit.one("download", download_each, key, files)
    shards = submit.one("compress", compress_each, key, works, context, sources)
    return BatchTasks(sources, submit.one("upload", upload_each, key, shards, context))


def copy_all(
    client: Client, copies: Sequence[Copy], run: str, *, goes_first: bool = False
) -> list[Uploaded | str]:
    """Make copies on the cluster; see `gridmill.publishing.copies.copy_objects`.

    Raises
    ------
    Exception
        What a copy raised.
    """
    if not copies:
        return []
    executor = executor_of("upload", goes_first=goes_first)
    with dask.annotate(executor=executor):  # type: ignore[attr-defined]
        futures = client.map(
            make_copy,
            copies,
            key=[f"replicate-{copy.name}-{run}-{uuid.uuid4().hex[:6]}" for copy in copies],
            pure=False,
            priority=_highest_of(goes_first),
        )
    made: list[Uploaded | str] = client.gather(futures)  # type: ignore[no-untyped-call]
    return made


def _priority(job: RegionJob[Any, Any], goes_first: bool) -> int:
    return _highest_of(goes_first) - int(10 * job.region.start)


def _highest_of(goes_first: bool) -> int:
    """Return the priority of what belongs to no region, and of the first region's downloads."""
    return PRIORITY_OF_UPDATES if goes_first else 0


@dataclass(frozen=True)
class _Submission:
    client: Client
    first: int
    suffix: str
    goes_first: bool

    def one(self, stage: str, function: Any, key: str, *args: Any) -> Future[Any]:
        with self._on(stage):
            return self.client.submit(
                function,
                *args,
                key=f"{stage}-{key}-{self.suffix}",
                pure=False,
                priority=self.first + PRIORITY_IN_REGION[stage],
            )

    def many(
        self, stage: str, function: Any, keys: Sequence[str], items: Sequence[Any], **shared: Any
    ) -> list[Future[Any]]:
        with self._on(stage):
            return self.client.map(
                function,
                items,
                key=[f"{stage}-{key}-{self.suffix}" for key in keys],
                pure=False,
                priority=self.first + PRIORITY_IN_REGION[stage],
                **shared,
            )

    def _on(self, stage: str) -> AbstractContextManager[Any]:
        executor = executor_of(stage, goes_first=self.goes_first)
        annotated = dask.annotate  # type: ignore[attr-defined]
        where: AbstractContextManager[Any] = annotated(executor=executor)
        return where
