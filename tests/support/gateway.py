"""A real dask-gateway server on loopback, whose clusters are processes of this machine."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NEEDED = ("dask_gateway", "dask_gateway_server", "sqlalchemy")
READY_TIMEOUT_S = 60.0

CONFIG = """\
c.DaskGateway.address = "127.0.0.1:{api}"
c.DaskGateway.backend_class = "dask_gateway_server.backends.local.UnsafeLocalBackend"
c.Proxy.address = "127.0.0.1:{proxy}"
c.UnsafeLocalBackend.clusters_directory = "{folder}/clusters"
c.UnsafeLocalBackend.inherited_environment = ["PATH", "PYTHONPATH"]
c.UnsafeLocalBackend.cluster_heartbeat_period = 1
c.UnsafeLocalBackend.cluster_heartbeat_timeout = 120
c.UnsafeLocalBackend.worker_start_timeout = 120
c.UnsafeLocalBackend.cluster_start_timeout = 120
c.ClusterConfig.scheduler_cmd = ["{python}", "-m", "distributed.cli.dask_scheduler"]
worker = ["{python}", "-m", "distributed.cli.dask_worker", "--host", "127.0.0.1"]
c.ClusterConfig.worker_cmd = worker
c.ClusterConfig.worker_cores = 1
c.ClusterConfig.worker_threads = 5
c.ClusterConfig.adaptive_period = 1
"""


def why_not() -> str:
    """Say why no server can be started here; empty if one can."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    return f"{', '.join(missing)} are not installed: pip install 'gridmill[test]'" * bool(missing)


@contextmanager
def gateway(python_path: str) -> Iterator[tuple[str, Path]]:
    """Start a server whose workers import from there; gives its address, and its folder."""
    with tempfile.TemporaryDirectory(prefix="gridmill-gateway-") as name:
        folder = Path(name)
        (folder / "clusters").mkdir()
        api, proxy = _free_ports(2)
        text = CONFIG.format(folder=folder, python=sys.executable, api=api, proxy=proxy)
        (folder / "config.py").write_text(text)
        command = [sys.executable, "-m", "dask_gateway_server", "-f", str(folder / "config.py")]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": python_path},
                stdout=log,
                stderr=log,
            )
        try:
            _wait_for(f"http://127.0.0.1:{proxy}/api/health", folder / "log")
            yield f"http://127.0.0.1:{proxy}", folder
        finally:
            server.terminate()  # it stops its clusters and its proxy
            server.wait(30)


def _wait_for(url: str, log: Path) -> None:
    end = time.monotonic() + READY_TIMEOUT_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            if time.monotonic() > end:
                raise RuntimeError(f"no gateway: {log.read_text()[-2000:]}") from None
            time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports
