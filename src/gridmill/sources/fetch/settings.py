"""How hard a download tries, and what counts as a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

__all__ = ["DEFAULT_SETTINGS", "DownloadSettings", "FileFormat"]

FileFormat: TypeAlias = Literal["netcdf", "grib"]

_COUNTS = ("attempts", "min_nbytes", "most_unpacked_nbytes")
_LIMITS = ("most_at_host", "most_a_minute")
_SECONDS = ("deadline_s", "connect_timeout_s", "read_timeout_s", "wait_initial_s", "wait_max_s")


@dataclass(frozen=True, kw_only=True)
class DownloadSettings:
    """How hard to try, and what counts as a file.

    Parameters
    ----------
    attempts
        Requests for the same bytes, the first included.
    deadline_s
        Seconds for the whole fetch: all attempts, the waits between them and the body.
    connect_timeout_s
        Seconds to connect.
    read_timeout_s
        Seconds of silence in which no byte arrives; a slow body that keeps moving is only bounded
        by the deadline.
    wait_initial_s
        Least wait before the second attempt. It doubles with each attempt and carries as much
        jitter again.
    wait_max_s
        Longest wait between two attempts, unless the server's Retry-After asks for more.
    most_at_host
        Fetches that may be under way at one host, of all runs on a Dask scheduler together: their
        workers' and what their drivers ask. Where runs say different numbers the smallest holds
        for all of them. None for no limit. One that was told to slow down keeps its place while it
        waits, so that the more of them a host refuses, the fewer it gets. Where there is no
        cluster it holds for the process.
    most_a_minute
        Requests to one host in any 60 seconds, counted like `most_at_host`: attempts, ranges and
        inventories are one each. None for no limit. One that was told to slow down keeps its turn
        while it waits. The deadline does not count the wait for a turn.
    min_nbytes
        A destination with fewer bytes is not a file.
    forbidden_means_absent
        Whether HTTP 403 means that the provider does not have the file.
    expect
        Format that the whole destination must be in, told by its first (and GRIB's last) bytes.
        Byte ranges of GRIB pass if they are whole messages.
    most_unpacked_nbytes
        A file that comes compressed, or in a zip or tar, is not one if it has more bytes unpacked.
    headers
        Sent with each HTTP request; hidden in `repr`, because they may hold credentials.
    s3_options
        Keyword arguments of `s3fs.S3FileSystem`, such as `anon`, `key`, `secret` and
        `endpoint_url`; hidden in `repr`. Without them the usual AWS settings hold
        (`AWS_ENDPOINT_URL` too), and requests are anonymous where there are no credentials.
    filesystem_options
        Keyword arguments of fsspec's FTP or SFTP file system, such as `key_filename`; hidden in
        `repr`. A user and a password may also stand in the URL.

    Raises
    ------
    ValueError
        A value is out of its range.
    """

    # Waits of 1, 2, 4, 8 and 16 s: as long as a provider's load balancer takes to drop a dead host.
    attempts: int = 6
    # 1 GB at 1.1 MB/s, and a quarter of the period of an hourly update: a stuck source never makes
    # an update meet its successor.
    deadline_s: float = 900.0
    # Three SYN retransmissions (1, 2 and 4 s) fit.
    connect_timeout_s: float = 10.0
    # Object stores and NOMADS send the first byte within seconds; a minute is a dead connection.
    read_timeout_s: float = 60.0
    # Below a second a fleet of workers would only add to what overloaded the server.
    wait_initial_s: float = 1.0
    # Longer waits would spend the deadline on few attempts.
    wait_max_s: float = 30.0
    # As many as S3 answers from one bucket without slowing them down, and more than an agency's
    # server likes: there, set it to what its terms of use say.
    most_at_host: int | None = 256
    # Few providers have such terms; NOMADS allows 120.
    most_a_minute: int | None = None
    # An empty body is never a file; a constant GRIB message has about 200 bytes, an index fewer.
    min_nbytes: int = 1
    # 403 also means bad credentials; taken for absence it would turn those into missing data.
    # S3 answers 403 for an absent key where the reader may not list the bucket.
    forbidden_means_absent: bool = False
    # Index files have no magic bytes.
    expect: FileFormat | None = None
    # More than any field archive's file is known to have, and less than a worker's disk: what a few
    # bytes of a damaged or hostile file unpack to may be without end.
    most_unpacked_nbytes: int = 16 << 30
    # Public providers need none.
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    s3_options: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)
    filesystem_options: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)

    def __post_init__(self) -> None:
        for name in _COUNTS:
            _check_positive(name, getattr(self, name), int, "a whole number of at least 1")
        for name in _LIMITS:
            if (limit := getattr(self, name)) is not None:
                _check_positive(name, limit, int, "a whole number of at least 1, or None")
        for name in _SECONDS:
            _check_positive(name, getattr(self, name), int | float, "a number of seconds above 0")
        if self.expect is not None and self.expect not in get_args(FileFormat):
            raise ValueError(
                f"expect={self.expect!r} is not a known format; give one of "
                f"{', '.join(map(repr, get_args(FileFormat)))} or None"
            )


def _check_positive(name: str, value: Any, kind: Any, rule: str) -> None:
    if isinstance(value, bool) or not isinstance(value, kind) or not value > 0:
        raise ValueError(f"{name}={value!r} must be {rule}; correct it in DownloadSettings")


DEFAULT_SETTINGS = DownloadSettings()
