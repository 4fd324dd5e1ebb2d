"""Workers serve what the stages did, beside Dask's own metrics."""

from __future__ import annotations

import re
import urllib.request

from clusters import local_client
from tiny import Provider, Tiny, hours, until


def test_stages_are_counted_where_dask_serves_metrics(tmp_path):
    """Runs, seconds and bytes by stage, each stage once though its spans travel with results."""
    Provider(tmp_path / "source").publish(hours(8))
    dataset = Tiny(tmp_path / "a", source_base=str(tmp_path / "source"))
    with local_client(1, worker_dashboard_address="127.0.0.1:0") as client:
        report = dataset.backfill(until(8), client=client)
        (port,) = client.run(lambda dask_worker: dask_worker.http_server.port).values()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
    found = {
        (name, stage): float(value)
        for name, stage, value in re.findall(
            r'^gridmill_stage_(\w+)_total\{stage="(\w+)"\} (\S+)$', text, re.MULTILINE
        )
    }
    assert found["runs", "download"] == 2
    assert found["runs", "compress"] == found["runs", "upload"] == 4
    assert found["bytes", "download"] == report.nbytes_downloaded
    assert found["bytes", "upload"] == report.nbytes_uploaded
    assert found["seconds", "compress"] > 0
    assert "dask_worker_tasks" in text
