"""Regions that are prepared, and what is recorded of them, without any run."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from gridmill.model.records import ObjectReceipt, ProgressRecord
from gridmill.model.settled import SourceFileStatus
from gridmill.pipeline.values import Receipt
from gridmill.planning.prepare import prepare_region
from gridmill.planning.recording import RegionOutcome, record_outcome
from stored_structure import ROOT
from tiny import HOUR, START, TinyJob, TinyTemplate, until

OK = SourceFileStatus.SUCCEEDED
ABSENT = SourceFileStatus.NOT_YET_AVAILABLE
ARRAYS = ROOT["consolidated_metadata"]["metadata"]
CONFIG = TinyTemplate()


class Job(TinyJob):
    """Its files are two hours late."""

    publication_delay = timedelta(hours=2)


def prepared_of(record=None, job_class=Job, n=4, ask=None, now=None, data_vars=CONFIG.data_vars):
    """Give a region of `n` positions as a run prepares it."""
    job = job_class(
        template_ds=CONFIG.get_template(until(n)),
        data_vars=data_vars,
        append_dim="time",
        region=slice(0, n),
    )
    return prepare_region(job, record, ARRAYS, lambda *_: [], ask, now)


def files_of(prepared, *statuses, etag="e"):
    """Give the group's files with what became of each."""
    (group,) = prepared.groups
    return tuple(
        replace(
            file,
            coord=replace(file.coord, status=s, settled=s is OK, nbytes=1, etag=etag),
        )
        for file, s in zip(group.files, statuses, strict=True)
    )


def receipt(name, files, unread=None, n_objects=1):
    """Give what a chain hands back of one variable."""
    objects = tuple(ObjectReceipt(f"{name}/{n}", 1, 2) for n in range(n_objects))
    return Receipt(name, objects, files, unread or {})


def recorded(prepared, now_h=0, failures=None, files=None, **receipts):
    """Give the record of a region after a run."""
    outcome = RegionOutcome(prepared, {} if files is None else {0: files}, receipts, failures or {})
    return record_outcome(outcome, dataset_id="tiny", run="r", now=START + HOUR * now_h)


def statuses(record, name):
    """Give what became of each file of a variable."""
    return [fill.status for fill in record.fills(name)]


def next_try(record: ProgressRecord) -> str | None:
    """Return when the first pending place is tried again; None if none is.

    Empty if no record says when one was tried: then it is due.
    """
    tries = (record.variables[name].tries.get(index) for name, index in record.pending())
    return min((known.due if known else "" for known in tries), default=None)
