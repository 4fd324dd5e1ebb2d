"""What this process knows of secrets, so that no text that it shows holds one."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from gridmill.model.urls import mask_text

__all__ = ["hide", "keep_hidden"]

# Shorter ones would be found in innocent words.
LEAST_LENGTH = 6
# They log URLs with their queries, or headers, where somebody asks them to say everything.
TALKATIVE = (
    "urllib3.connectionpool",
    "urllib3.util.retry",
    "urllib3.connection",
    "botocore.auth",
    "botocore.credentials",
    "botocore.endpoint",
    "botocore.httpsession",
    "botocore.hooks",
    "botocore.parsers",
    "botocore.utils",
    "aiobotocore.httpsession",
)

_hidden: set[str] = set()


def keep_hidden(parts: Iterable[str]) -> None:
    """Remember what must not be shown, for as long as this process lives."""
    new = {part for part in parts if len(part) >= LEAST_LENGTH} - _hidden
    if new:
        _hidden.update(new)
        for name in TALKATIVE:
            logging.getLogger(name).addFilter(_without_secrets)


def hide(text: str) -> str:
    """Replace every secret that this process knows by `***`.

    Examples
    --------
    >>> keep_hidden(["open-sesame"])
    >>> hide("GET /a?key=open-sesame")
    'GET /a?key=***'
    """
    for part in sorted(_hidden, key=len, reverse=True):
        text = text.replace(part, "***")
    return text


def _without_secrets(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    # A login's hosts send each other one-time codes that no rule names.
    hidden = mask_text(hide(message), every_value=True)
    if hidden != message:
        record.msg, record.args = hidden, ()
    return True
