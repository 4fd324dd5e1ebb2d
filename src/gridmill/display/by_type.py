"""The card of each type of value: what `gridmill.model.display_hook` looks up.

Who shows a value in a notebook has imported its module, and so whatever that needs.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import singledispatch
from typing import Any

from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.source_file import url_of
from gridmill.display.cards import job_card, record_card, status_card, validation_card
from gridmill.display.plan_page import plan_card
from gridmill.display.run_page import report_card
from gridmill.model.records import ProgressRecord
from gridmill.model.reports.run_report import RunReport
from gridmill.model.urls import mask_url
from gridmill.operations.status import ArchiveStatus
from gridmill.planning.source_files.grouping import files_of, source_groups
from gridmill.planning.source_files.places import Places
from gridmill.runs.plan import Plan
from gridmill.validation.findings import Validation

__all__ = ["card_of"]


@singledispatch
def card_of(value: object) -> str:
    """Return what a notebook shows of a value.

    Raises
    ------
    TypeError
        There is no card of its type.
    """
    raise TypeError(f"there is no card of {type(value).__name__}: register one with card_of")


card_of.register(ProgressRecord, record_card)
card_of.register(RunReport, report_card)


@card_of.register
def _of_plan(plan: Plan) -> str:
    return plan_card(plan.describe())


@card_of.register
def _of_status(status: ArchiveStatus) -> str:
    return status_card({**asdict(status), "store": mask_url(status.store)})


@card_of.register
def _of_validation(validation: Validation) -> str:
    return validation_card(validation.to_dict())


@card_of.register(RegionJob)
def _of_job(job: RegionJob[Any, Any]) -> str:
    ds = job.processing_region_ds()
    index = job.template_ds.get_index(job.append_dim)
    ends = () if job.is_static else (job.region.start, job.region.stop - 1)
    places = Places({str(dim): ds.get_index(dim) for dim in ds.dims})
    groups = [
        (
            [var.name for var in group.variables],
            [mask_url(url_of(file.coord)) for file in files_of(job, ds, places, group)],
        )
        for group in source_groups(job)
    ]
    return job_card(type(job).__name__, [str(index[at]) for at in ends], job.region, groups)
