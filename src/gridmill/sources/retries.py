"""Says retries of requests in words, in processes that are ours and in runs that are not.

stamina logs the line "stamina.retry_scheduled", a warning, also where nobody set logging up. Its
hooks would do, but only where it is imported, which the command line does late.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from gridmill.model.urls import mask_text

__all__ = ["retries_in_words", "say_retries_in_words"]


def say_retries_in_words() -> None:
    """Do so in this process for good."""
    logging.getLogger("stamina").addFilter(_word_retry)


@contextmanager
def retries_in_words() -> Iterator[None]:
    """Do so for the time of a `with`; who did so before goes on."""
    logger = logging.getLogger("stamina")
    was_so = _word_retry in logger.filters
    say_retries_in_words()
    try:
        yield
    finally:
        if not was_so:
            logger.removeFilter(_word_retry)


def _word_retry(record: logging.LogRecord) -> bool:
    """Say in words what stamina logs of a retry, as information; a filter of its logger.

    Examples
    --------
    >>> record = logging.makeLogRecord({"msg": "stamina.retry_scheduled", "levelno": 30})
    >>> told = {"retry_num": 2, "wait_for": 1.6, "caused_by": "OSError('HTTP 503')"}
    >>> record.__dict__.update({f"stamina.{key}": value for key, value in told.items()})
    >>> _word_retry(record), record.levelname, record.getMessage()
    (True, 'INFO', 'retry 2 in 1.6 s: HTTP 503')
    """
    fields = vars(record)
    if "stamina.retry_num" in fields:
        cause = str(fields["stamina.caused_by"])
        cause = re.sub(r"""^\w+\((['"])(.*)\1\)$""", r"\2", cause, flags=re.DOTALL)
        number, wait_s = fields["stamina.retry_num"], fields["stamina.wait_for"]
        record.msg, record.args = "retry %d in %.1f s: %s", (number, wait_s, mask_text(cause))
        record.levelno, record.levelname = logging.INFO, "INFO"
    return True
