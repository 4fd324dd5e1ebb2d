"""What can go wrong with an answer, to be injected into a server of this folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "DamagedBody",
    "EmptyBody",
    "Fault",
    "Hang",
    "HtmlBody",
    "IgnoredRange",
    "Latency",
    "LostAnswer",
    "Reset",
    "Slow",
    "Status",
    "StoreFault",
    "Truncated",
    "WrongContentRange",
]


@dataclass(frozen=True, kw_only=True)
class Status:
    """Answer with this status and no file; with Retry-After if `retry_after_s` is given."""

    status: int = 503
    retry_after_s: int | None = None


@dataclass(frozen=True, kw_only=True)
class Slow:
    """Send the body at this many bytes per second."""

    nbytes_per_s: int


@dataclass(frozen=True, kw_only=True)
class Hang:
    """Send nothing for `timeout_s` or until `ArchiveServer.end_hangs`, then close."""

    timeout_s: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Truncated:
    """Promise the whole body, send its first `nbytes` and close."""

    nbytes: int


@dataclass(frozen=True, kw_only=True)
class EmptyBody:
    """Answer 200 with no byte."""


@dataclass(frozen=True, kw_only=True)
class HtmlBody:
    """Answer 200 with an HTML page instead of the file."""

    content_type: str = "text/html; charset=utf-8"


@dataclass(frozen=True, kw_only=True)
class Reset:
    """Reset the TCP connection instead of answering."""


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Wait this long, then answer as usual."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class IgnoredRange:
    """Answer a Range request with 200 and the whole file."""


@dataclass(frozen=True, kw_only=True)
class WrongContentRange:
    """Answer a Range request with the bytes, and say, of bytes, that begin `shift` later."""

    shift: int = 1


@dataclass(frozen=True, kw_only=True)
class LostAnswer:
    """Forward the request, then reset the connection instead of giving the answer."""


@dataclass(frozen=True, kw_only=True)
class DamagedBody:
    """Flip a bit of the request's body on its way."""


# Of a provider's server.
Fault: TypeAlias = (
    Status
    | Slow
    | Hang
    | Truncated
    | EmptyBody
    | HtmlBody
    | Reset
    | Latency
    | IgnoredRange
    | WrongContentRange
)

# Of a store.
StoreFault: TypeAlias = Status | Reset | Latency | LostAnswer | DamagedBody
