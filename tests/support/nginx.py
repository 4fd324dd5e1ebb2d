"""nginx on loopback as a cache in front of a bucket, from the package nginx-light."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["cache_in_front_of", "nginx_missing"]

READY_TIMEOUT_S = 30.0
# It keeps whatever it may, answers of absent objects too, and a shard whole when a part is asked.
CONFIG = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/temp;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    proxy_cache_path {folder}/cache keys_zone=objects:4m inactive=1h;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass {target};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_cache objects;
            proxy_cache_valid 200 404 1h;
            proxy_ignore_headers Vary;
            proxy_force_ranges on;
        }}
    }}
}}
"""


def nginx_missing() -> str:
    """Say why there is no cache; empty where there is one."""
    if _binary() is None:
        return "nginx is not installed: apt-get install nginx-light"
    return ""


@contextmanager
def cache_in_front_of(target: str) -> Iterator[str]:
    """Give the address of a cache with nothing in it."""
    with tempfile.TemporaryDirectory(prefix="gridmill-nginx-") as name, socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port, folder = held.getsockname()[1], Path(name)
        (folder / "conf").write_text(CONFIG.format(folder=folder, port=port, target=target))
        held.close()
        command = [str(_binary()), "-p", name, "-c", str(folder / "conf")]
        process = subprocess.Popen([*command, "-e", str(folder / "error.log")])
        try:
            _wait_until_ready(port, process, folder / "error.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def _binary() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + READY_TIMEOUT_S
    while True:
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"nginx is not ready: {log.read_text(errors='replace')[-1000:]}")
        time.sleep(0.05)
