"""Real servers on loopback for tests and demonstrations.

`ArchiveServer` is a provider's server whose files appear when they are released and whose
answers go wrong on demand; `S3Server` is a SeaweedFS process, and `FaultProxy` makes what lies
between it and a client go wrong. `StoreContract` and `ObjectsContract` are suites that any store
can be held against, `DatasetContract` one for any dataset; `write_from_samples` makes source files
of a provider's samples for it.
"""

from gridmill.testing.archive_server import ArchiveServer, Request
from gridmill.testing.dataset_contract import DatasetContract
from gridmill.testing.dated.from_samples import write_from_samples
from gridmill.testing.fault_proxy import FaultProxy, Forwarded
from gridmill.testing.faults import (
    DamagedBody,
    EmptyBody,
    Fault,
    Hang,
    HtmlBody,
    IgnoredRange,
    Latency,
    LostAnswer,
    Reset,
    Slow,
    Status,
    Truncated,
    WrongContentRange,
)
from gridmill.testing.objects_contract import ObjectsContract
from gridmill.testing.s3_server import S3Server, S3ServerMissing
from gridmill.testing.store_contract import StoreContract

__all__ = [
    "ArchiveServer",
    "DamagedBody",
    "DatasetContract",
    "EmptyBody",
    "Fault",
    "FaultProxy",
    "Forwarded",
    "Hang",
    "HtmlBody",
    "IgnoredRange",
    "Latency",
    "LostAnswer",
    "ObjectsContract",
    "Request",
    "Reset",
    "S3Server",
    "S3ServerMissing",
    "Slow",
    "Status",
    "StoreContract",
    "Truncated",
    "WrongContentRange",
    "write_from_samples",
]
