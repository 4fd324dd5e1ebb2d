"""The last stage of a chain: compressed objects into the final store and its replicas.

It runs on whatever worker it is put on. Where the objects are not on this worker's disk, or vanish
under it, it makes them here again ("heals"). Idempotent, and safe in several threads of one
process.
"""

from __future__ import annotations

from gridmill.model.records import ObjectReceipt
from gridmill.pipeline.compress import compress
from gridmill.pipeline.slabs.keep_published import is_published
from gridmill.pipeline.timing import recorded
from gridmill.pipeline.values import Bench, LocalShards, Receipt, RunContext
from gridmill.pipeline.workspace import TmpFolderLost
from gridmill.stores.final_store import Uploaded
from gridmill.stores.state.leases import LeaseLost

__all__ = ["upload"]


def upload(bench: Bench, context: RunContext, shards: LocalShards) -> Receipt:
    """Put the objects of one variable of one region into the final store.

    Raises
    ------
    OSError
        The final store refuses.
    LeaseLost
        The run's driver is gone, or another run writes here now.
    """
    if bench.space.has(shards.folder):
        try:
            return _upload_here(bench, context, shards)
        except TmpFolderLost:
            pass
    context.proof.check()
    here = compress(bench, context, shards.work, shards.source)
    try:
        return _upload_here(bench, context, here)
    finally:
        bench.space.discard(here.folder)


def _upload_here(bench: Bench, context: RunContext, shards: LocalShards) -> Receipt:
    with recorded("upload", bench.space.key, bench.worker) as span:
        replicated = _replicate(bench, context, shards)
        try:
            same = _there_already(context, shards) if shards.work.skips_same else {}
            uploaded = context.store.upload(
                shards.folder,
                [key for key in shards.keys if key not in same],
                context.proof,
                replaces=is_published(context, shards.work),
            )
        except FileNotFoundError as error:
            if _is_whole(bench, shards):
                raise
            raise TmpFolderLost(str(shards.folder)) from error
        put_nbytes = sum(receipt.nbytes for receipt in uploaded.objects)
        span.append(put_nbytes)
    objects = {receipt.key: receipt for receipt in uploaded.objects} | same
    name = shards.work.data_var.name
    files = shards.source.files if shards.healed is None else shards.healed
    return Receipt(
        variable=name,
        objects=tuple(objects[key] for key in shards.keys),
        files=files,
        unread=shards.unread,
        healed=shards.healed,
        spans=(*shards.spans, *span),
        token=uploaded.token,
        replicated=replicated,
        epochs=shards.epochs,
        remarks=shards.remarks,
        lost=shards.lost,
        statistics=shards.statistics,
        holes=shards.holes,
        put_nbytes=put_nbytes,
    )


def _there_already(context: RunContext, shards: LocalShards) -> dict[str, ObjectReceipt]:
    """Return by key those objects that readers see as they are here."""
    known = context.store.published_nbytes(shards.keys)
    same = {}
    for key in shards.keys:
        content = (shards.folder / key).read_bytes()
        if known.get(key) == len(content) and context.store.read_object(key) == content:
            same[key] = ObjectReceipt.of(key, content)
    if len(same) == len(shards.keys) > 0 and not context.store.shows_uploads:
        # What an upload returned names it: one of nothing would be of no region.
        del same[min(same, key=lambda key: same[key].nbytes)]
    return same


# Replicas that failed in this process, by run: their patience is lost once, not for each object.
_left_alone: set[tuple[str, str]] = set()


def _replicate(bench: Bench, context: RunContext, shards: LocalShards) -> dict[str, Uploaded]:
    """Put the objects into every replica that takes them; the others are caught up later.

    A replica may still have what the final store lost.
    """
    made = {}
    keys = [key for key in shards.keys if key not in shards.holes]
    for store in context.replicas if keys else ():
        if (context.run, store.url) in _left_alone:
            continue
        try:
            made[store.url] = store.upload(
                shards.folder,
                keys,
                context.proof,
                replaces=is_published(context, shards.work),
            )
        except LeaseLost:
            raise
        except Exception as error:
            if not _is_whole(bench, shards):
                raise TmpFolderLost(str(shards.folder)) from error
            _left_alone.add((context.run, store.url))
    return made


def _is_whole(bench: Bench, shards: LocalShards) -> bool:
    """Whether all objects can be read from here: a folder that is being deleted has some."""
    folder = shards.folder
    return bench.space.has(folder) and all((folder / key).exists() for key in shards.keys)
