"""Takes what tasks returned: into the outcome of its region, or for another attempt."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from gridmill.authoring.source_file import url_of
from gridmill.model.files.versions import is_other
from gridmill.model.wording import count_of
from gridmill.pipeline.faults import NotTransformed, is_disk_full
from gridmill.pipeline.values import LocalFiles, Receipt
from gridmill.publishing.extent import Extent
from gridmill.publishing.replicas import Replicas
from gridmill.runs.in_flight import Output, RegionInFlight, Window
from gridmill.runs.ledger import Ledger
from gridmill.runs.narration import Narrator
from gridmill.runs.workplaces.workplace import NotMade, SchedulerLost, Task
from gridmill.runs.works import Works
from gridmill.sources.fetch.download import mask_url

__all__ = ["Intake"]

log = logging.getLogger(__name__)

# A task that kills workers takes others with it: more attempts would only kill more.
ATTEMPTS = 3
# Files that one worker could not read and the next one could: the first is not to be trusted.
SUSPICIOUS_READS = 3
# Where that many readings of a variable elsewhere were in vain, too, it is not the workers.
READS_IN_VAIN = 3


class Intake:
    """Takes what one task after the other returned.

    Parameters
    ----------
    window
        Where the tasks are, and further attempts go.
    works
        Says what another attempt needs.
    extent
        Judges each region that is recorded.
    replicas
        Keep what a worker put into them.
    ledger
        Writes the records.
    narrator
        Is told of everything.
    """

    def __init__(
        self,
        window: Window,
        works: Works,
        extent: Extent,
        replicas: Replicas,
        ledger: Ledger,
        narrator: Narrator,
    ) -> None:
        self.window = window
        self.works = works
        self.extent = extent
        self.replicas = replicas
        self.ledger = ledger
        self.narrator = narrator
        self._suspects: Counter[str] = Counter()
        self._in_vain: Counter[str] = Counter()

    def take(self, task: Task, result: Any) -> None:
        """Take what one task returned; record each region of which that was the last.

        Raises
        ------
        SchedulerLost
            The cluster is gone.
        """
        outputs = self.window.pop(task)
        status = task.status
        task.release()
        if status == "cancelled":
            raise SchedulerLost(
                f"Dask cancelled {task.key}: its scheduler is gone. Recorded work is safe: "
                "rerun to resume"
            )
        is_batch = len(outputs) > 1
        if status == "error":
            made: Sequence[Any] = [result[1]] * len(outputs)
        else:
            made = result if is_batch else [result]
        for output, one in zip(outputs, made, strict=True):
            self._take_one(output, one, is_batch)
        for region in dict.fromkeys(output.region for output in outputs):
            region.waiting.discard(task.key)
            if not region.waiting and not self._read_again(region):
                self._finish(region)

    def _take_one(self, output: Output, made: Any, is_batch: bool) -> None:
        if isinstance(made, LocalFiles):
            output.region.outcome.files[output.group] = made.files
            self.narrator.note_downloaded(output.region, made)
        elif isinstance(made, Receipt):
            self._take_receipt(output, made)
        elif output.variable is None:
            return  # the uploads of the group report the same error
        elif is_batch:
            cause = made.cause if isinstance(made, NotMade) else _cause(made)
            self._try_alone(output.region, output.group, output.variable, cause)
        else:
            self._take_error(output.region, output.group, output.variable, made)

    def _take_receipt(self, output: Output, receipt: Receipt) -> None:
        first = output.region.first_reads.get(receipt.variable)
        is_doubtful = self._in_vain[receipt.variable] < READS_IN_VAIN
        if first is None and is_doubtful and _is_news(output, receipt):
            output.region.to_read_again[output.group, receipt.reader].append(receipt)
            return
        if first is not None:
            self._compare(first, receipt)
        outcome = output.region.outcome
        known = outcome.files.get(output.group)
        if known == receipt.files:  # one copy for all variables of the group
            receipt = replace(receipt, files=known)
        outcome.receipts[receipt.variable] = receipt
        region = output.region.job.region
        self.replicas.keep(region, receipt.variable, receipt.replicated)
        self.ledger.unrecorded.add(output.region)
        self.narrator.note_uploaded(output.region, receipt)

    def _read_again(self, region: RegionInFlight) -> bool:
        """Send what workers could not read to others, which refetch it; whether any.

        Once all else of the region is done, so that one download serves the group's variables.
        """
        again = list(region.to_read_again.items())
        region.to_read_again.clear()
        for (group, reader), receipts in again:
            names = [receipt.variable for receipt in receipts]
            log.warning(
                "region %s: %s could not be read for %s; fetching and reading it again elsewhere",
                region.name,
                count_of(len({at for one in receipts for at in one.not_read}), "source file"),
                ", ".join(names),
            )
            region.first_reads.update(zip(names, receipts, strict=True))
            region.attempts.update(names)
            doubtful = {
                at: str(one.files[at].coord.fetched_from) for one in receipts for at in one.not_read
            }
            self._try_again(region, group, names, elsewhere_than=reader, doubtful=doubtful)
        return bool(again)

    def _compare(self, first: Receipt, second: Receipt) -> None:
        """Quarantine a worker that alone could not read several files.

        One that arrived with other content says nothing about the worker.
        """
        read = {
            at
            for at in first.not_read.keys() - second.not_read.keys()
            if not is_other(first.files[at].coord.checksum, second.files[at].coord.checksum)
        }
        if first.not_read.keys() - second.not_read.keys():
            del self._in_vain[second.variable]
        else:
            self._in_vain[second.variable] += 1
        if not read or first.reader == second.reader:
            return
        self._suspects[first.reader] += len(read)
        if self._suspects[first.reader] >= SUSPICIOUS_READS and self.window.retire(first.reader):
            del self._suspects[first.reader]
            self.narrator.note_quarantined(first.reader, first.not_read[min(read)])

    def _take_error(
        self, region: RegionInFlight, group: int, name: str, error: BaseException
    ) -> None:
        """Try again what another worker may do better; else the variable fails, and only it."""
        region.attempts[name] += 1
        if _is_worth_another_try(error) and region.attempts[name] < ATTEMPTS:
            log.warning("region %s, %s: %s; trying again", region.name, name, _cause(error))
            self._try_again(region, group, [name])
            return
        region.outcome.failures[name] = _cause(error)
        self.narrator.note_failed(region, name, _cause(error))

    def _try_alone(self, region: RegionInFlight, group: int, name: str, cause: str) -> None:
        """Let what failed in a batch succeed, or fail, in tasks of its own."""
        log.info("region %s, %s: %s; trying it alone", region.name, name, cause)
        self.window.pace.forget()
        self._try_again(region, group, [name])

    def _try_again(
        self,
        region: RegionInFlight,
        group: int,
        names: Sequence[str],
        elsewhere_than: str = "",
        doubtful: Mapping[int, str] = MappingProxyType({}),
    ) -> None:
        self.narrator.report.chains_retried += len(names)
        work = self.works.once_more(region, group, names, doubtful)
        attempt = f"a{region.attempts[names[0]]}{names[0]}"
        self.window.submit([(region, [work])], attempt, elsewhere_than=elsewhere_than)

    def _finish(self, region: RegionInFlight) -> None:
        """Write the region's record, and let go of it."""
        self.window.close(region)
        record = self.ledger.record(region)
        self.extent.judge(record, region.outcome.prepared)
        self.narrator.note_finished(region, record)


def _is_news(output: Output, receipt: Receipt) -> bool:
    """Whether a receipt tells of files that cannot be read, and no earlier run knew.

    One that holds something else than what an earlier run could not read is another one.
    """
    if not receipt.not_read:
        return False
    record = output.region.outcome.prepared.record
    known = None if record is None else record.variables.get(receipt.variable)
    if record is None or known is None:
        return True
    files = [record.groups[known.group][index] for index in known.unread]
    checksums = {file.url: file.checksum for file in files}
    coords = [receipt.files[at].coord for at in receipt.not_read]
    found = {mask_url(url_of(coord)): coord.checksum for coord in coords}
    return any(
        url not in checksums or is_other(checksums[url], checksum)
        for url, checksum in found.items()
    )


def _cause(error: BaseException) -> str:
    """Name an error; that of an author's code is named already."""
    return str(error) if isinstance(error, NotTransformed) else f"{type(error).__name__}: {error}"


def _is_worth_another_try(error: BaseException) -> bool:
    # distributed's class by its name: where it was not imported, no worker was killed.
    return type(error).__name__ == "KilledWorker" or is_disk_full(error)
