"""Real servers on loopback for tests and demonstrations.

`ArchiveServer` is a provider's archive whose files appear when they are released and whose
answers go wrong on demand; `S3Server` is a SeaweedFS process, and `FaultProxy` makes what lies
between it and a client go wrong.
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
from gridmill.testing.fault_proxy import DamagedBody, FaultProxy, Forwarded, LostAnswer
from gridmill.testing.s3_server import S3Server

__all__ = [
    "ArchiveServer",
    "DamagedBody",
    "EmptyBody",
    "Fault",
    "FaultProxy",
    "Forwarded",
    "Hang",
    "HtmlBody",
    "IgnoredRange",
    "Latency",
    "LostAnswer",
    "Request",
    "Reset",
    "S3Server",
    "Slow",
    "Status",
    "Truncated",
    "WrongContentRange",
]
