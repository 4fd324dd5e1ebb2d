"""Answers to other questions than for a file, read into memory with the retries of downloads."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

from gridmill.sources.fetch.download import Transfer
from gridmill.sources.fetch.failures import PermanentError
from gridmill.sources.fetch.hosts import place_at
from gridmill.sources.fetch.responses import OpenBody
from gridmill.sources.fetch.settings import DownloadSettings

__all__ = ["read_answer"]


def read_answer(
    url: str, open_body: OpenBody, *, settings: DownloadSettings, most_nbytes: int
) -> bytes:
    """Read what a source answers.

    Parameters
    ----------
    url
        Whom to ask; its host's limits hold.
    open_body
        Asks.
    settings
        How hard to try; `min_nbytes` and `expect` do not apply.
    most_nbytes
        A longer answer is a failure.

    Raises
    ------
    NotAvailable, DownloadFailed
        As by `gridmill.fetch`.
    """
    settings = replace(settings, expect=None, min_nbytes=1)
    answer = _Bounded(most_nbytes)
    with place_at(url, settings.most_at_host):
        Transfer(url, open_body, [None], answer, settings).run()
    return answer.getvalue()


class _Bounded(io.BytesIO):
    """Memory that takes so many bytes, and refuses more."""

    def __init__(self, most_nbytes: int) -> None:
        super().__init__()
        self._most_nbytes = most_nbytes

    def write(self, content: Any) -> int:
        if self.tell() + len(content) > self._most_nbytes:
            raise PermanentError(f"the answer is longer than {self._most_nbytes} bytes")
        return super().write(content)
