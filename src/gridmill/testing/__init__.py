"""Real servers on loopback for tests and demonstrations.

`ArchiveServer` is a provider's archive whose files appear when they are released and whose
answers go wrong on demand; `S3Server` is a SeaweedFS process.
"""

from gridmill.testing.archive_server import (
    ArchiveServer,
    EmptyBody,
    Fault,
    Hang,
    HtmlBody,
    IgnoredRange,
    Latency,
    Request,
    Reset,
    Slow,
    Status,
    Truncated,
    WrongContentRange,
)
from gridmill.testing.s3_server import S3Server

__all__ = [
    "ArchiveServer",
    "EmptyBody",
    "Fault",
    "Hang",
    "HtmlBody",
    "IgnoredRange",
    "Latency",
    "Request",
    "Reset",
    "S3Server",
    "Slow",
    "Status",
    "Truncated",
    "WrongContentRange",
]
