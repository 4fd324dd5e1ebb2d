"""What is asked of a provider's queue, and how queues are asked that keep OGC API Processes.

Those of Copernicus (CDS, ADS) do: a job is made by a POST to ``processes/NAME/execution``, looked
at under ``jobs/ID``, and what it made is named under ``jobs/ID/results`` (OGC 18-062r2, 7.11 to
7.13).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, Protocol, TypeAlias
from urllib.parse import quote, urljoin

from gridmill.model.urls import split_url
from gridmill.sources.fetch.failures import DownloadFailed, NotAvailable
from gridmill.sources.fetch.http import open_http
from gridmill.sources.fetch.settings import DownloadSettings
from gridmill.sources.listings.answers import read_answer

__all__ = ["JobState", "OgcQueue", "Queue", "Stage"]

Stage: TypeAlias = Literal["waiting", "ready", "failed", "gone"]
Request: TypeAlias = Mapping[str, Any]

# A description of a job, or of a page of them.
MOST_NBYTES = 16 << 20
# How many of the latest jobs are looked through for one of which nobody kept the name.
JOBS_LOOKED_AT = 100
# Where results may be.
SCHEMES = ("http", "https", "s3", "gs", "ftp", "sftp")


@dataclass(frozen=True, kw_only=True)
class JobState:
    """What became of a job.

    Parameters
    ----------
    stage
        "waiting" in the queue or at work, "ready" to be fetched, "failed", or "gone": the provider
        does not know it, or threw away what it made.
    url
        Where what it made is; only of one that is ready.
    told
        What the provider says of it, in its words.
    """

    stage: Stage
    url: str | None = None
    told: str = ""


class Queue(Protocol):
    """A provider's queue: what an author implements for one that speaks otherwise.

    An answer that it does not understand is a `DownloadFailed`; `NotAvailable` says that there is
    no such file.
    """

    @property
    def url(self) -> str:
        """Its address, whose host's limits hold."""

    def submit(self, request: Request, key: str, settings: DownloadSettings) -> str:
        """Ask for a request, and return the job's name.

        Parameters
        ----------
        request
            What is asked for.
        key
            The same for the same request: a queue that knows it returns the job that it has.
        settings
            How hard to try. Retry only where the queue knows keys.
        """

    def find(self, request: Request, key: str, settings: DownloadSettings) -> str | None:
        """Return the name of a job that was made for a request; None if there is none."""

    def look(self, job: str, settings: DownloadSettings) -> JobState:
        """Return what became of a job."""


@dataclass(frozen=True, kw_only=True)
class OgcQueue:
    """A queue that keeps OGC API Processes, as Copernicus' do.

    Parameters
    ----------
    url
        Up to before ``processes``: ``https://cds.climate.copernicus.eu/api/retrieve/v1``.
    process
        What to ask: the name of the collection.
    knows_keys
        Whether it heeds an ``Idempotency-Key``, and so never makes two jobs of one request.
        Copernicus' do not: a job of which nobody kept the name is looked for among the latest.
    """

    url: str
    process: str
    knows_keys: bool = False

    def submit(self, request: Request, key: str, settings: DownloadSettings) -> str:
        """Make a job; see `Queue`."""
        body = json.dumps({"inputs": dict(request)}).encode()
        headers = {**settings.headers, "Content-Type": "application/json", "Idempotency-Key": key}
        attempts = settings.attempts if self.knows_keys else 1
        settings = replace(settings, headers=headers, attempts=attempts)
        address = f"{self.url}/processes/{quote(self.process)}/execution"
        made = _answer_there(address, settings, posted=body)
        return _text(address, made, "jobID")

    def find(self, request: Request, key: str, settings: DownloadSettings) -> str | None:
        """Look for a job among the latest; see `Queue`."""
        if self.knows_keys:
            return None  # to submit it again is to find it
        address = f"{self.url}/jobs?limit={JOBS_LOOKED_AT}&sortby=-created"
        jobs = _answer_there(address, settings).get("jobs")
        if not isinstance(jobs, list):
            raise DownloadFailed(address, "the queue's answer has no list 'jobs'", 1)
        asked = json.loads(json.dumps(dict(request)))
        for job in jobs:
            name = _text(address, job, "jobID")
            if job.get("processID") in (None, self.process) and self._makes(name, asked, settings):
                return name
        return None

    def _makes(self, job: str, asked: dict[str, Any], settings: DownloadSettings) -> bool:
        """Whether a job makes, or made, what is asked for."""
        try:
            found = _answer(f"{self.url}/jobs/{quote(job)}?request=true", settings)
        except NotAvailable:  # it was deleted since it was listed
            return False
        is_alive = found.get("status") in ("accepted", "running", "successful")
        return is_alive and _at(found, "metadata", "request", "ids") == asked

    def look(self, job: str, settings: DownloadSettings) -> JobState:
        """Look at a job, and at what it made; see `Queue`."""
        address = f"{self.url}/jobs/{quote(job)}"
        try:
            found = _answer(address, settings)
            status = _text(address, found, "status")
            if status in ("accepted", "running"):
                return JobState(stage="waiting", told=status)
            if status != "successful":
                return JobState(stage="failed", told=f"{status}: {found.get('message') or ''}")
            results = _answer(f"{address}/results", settings)
        except NotAvailable as error:
            return JobState(stage="gone", told=error.cause)
        made = _text(f"{address}/results", results, "asset", "value", "href")
        if (url := _address(f"{self.url}/", made)) is None:
            told = f"the job's result is at {made!r}, which is no address"
            raise DownloadFailed(f"{address}/results", told, 1)
        return JobState(stage="ready", url=url)


def _answer_there(
    url: str, settings: DownloadSettings, posted: bytes | None = None
) -> dict[str, Any]:
    """Ask a queue what it always answers: that it has no such address is no absent file."""
    try:
        return _answer(url, settings, posted)
    except NotAvailable as error:
        told = f"{error.cause}; correct the queue's url and process unless the provider is down"
        raise DownloadFailed(url, told, 1) from None


def _answer(url: str, settings: DownloadSettings, posted: bytes | None = None) -> dict[str, Any]:
    """Ask a queue, and return what it says."""
    # What is forbidden is no absent job: to ask for it again would be to ask twice.
    settings = replace(settings, forbidden_means_absent=False)
    opened = partial(open_http, posted=posted)
    content = read_answer(url, opened, settings=settings, most_nbytes=MOST_NBYTES)
    try:
        told = json.loads(content)
        if not isinstance(told, dict):
            raise TypeError(type(told).__name__)
    except (ValueError, TypeError, RecursionError) as error:
        raise DownloadFailed(url, f"the queue's answer is no JSON object: {error}", 1) from None
    return told


def _at(told: Any, *keys: str) -> Any:
    """Return what an answer says below keys; None where it says nothing there."""
    for key in keys:
        told = told.get(key) if isinstance(told, dict) else None
    return told


def _text(url: str, told: Any, *keys: str) -> str:
    """Return a text of an answer that is needed; a number is one, too."""
    value = _at(told, *keys)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        told_instead = "nothing" if value is None else repr(value)[:80]
        cause = f"the queue's answer has {told_instead} as {'.'.join(keys)!r} where a text belongs"
        raise DownloadFailed(url, cause, 1)
    return str(value)


def _address(queue: str, href: str) -> str | None:
    """Return where a result is; None if that is no address, or a file of this machine."""
    try:
        address = urljoin(queue, href)
        parts = split_url(address)
        _ = parts.port  # raises where it is no number
    except ValueError:
        return None
    return address if parts.scheme in SCHEMES and parts.hostname else None
