"""Clusters of clouds are called as they want to be: their classes, without their accounts.

Run with the newest of both by ``.ci/versions clouds``.
"""

from __future__ import annotations

import inspect
import re
import shlex

import pytest
from click.testing import CliRunner
from distributed import LocalCluster

from gridmill.runs.dask.clusters import connect
from pages import COMMANDS
from repository import README
from tiny import Provider, until

# -- Coiled -----------------------------------------------------------------------------------


@pytest.fixture
def coiled_calls(monkeypatch) -> list[dict]:
    """What `coiled.Cluster` is called with, checked against its signature; a local one starts."""
    coiled = pytest.importorskip("coiled")
    signature = inspect.signature(coiled.Cluster.__init__)
    calls = []

    def start(**options):
        signature.bind(None, **options)
        calls.append(options)
        return LocalCluster(
            n_workers=1,
            threads_per_worker=options["worker_options"]["nthreads"],
            processes=False,
            dashboard_address="127.0.0.1:0",
            silence_logs=50,
        )

    monkeypatch.setattr(coiled, "Cluster", start)
    return calls


def test_coiled_is_called_as_it_wants_to_be(coiled_calls):
    """Its signature takes every argument that gridmill gives by itself, and those one adds."""
    with connect("coiled", workers=3, region="us-east-1", tags={"a": "b"}) as client:
        assert list(client.nthreads().values()) == [5]
    assert coiled_calls == [
        {
            "n_workers": 3,
            "worker_options": {"nthreads": 5},
            "region": "us-east-1",
            "tags": {"a": "b"},
        }
    ]
    with pytest.raises(TypeError, match="no_such"), connect("coiled", no_such=1):
        pass


def test_the_coiled_command_of_the_readme_runs(coiled_calls, tmp_path):
    """As it stands there, with another dataset: Coiled's call takes each of its options."""
    from gridmill.cli import cli

    text = re.sub(r"\\\n\s*", " ", README.read_text())
    (command,) = re.findall(r"^gridmill (backfill .*--cluster coiled .*)$", text, re.MULTILINE)
    words = shlex.split(command)
    Provider(tmp_path / "source").publish(hours(4))
    replaced = {"my-forecast": "tiny:Tiny", "s3://my-bucket/my-forecast.zarr": str(tmp_path / "a")}
    words = [replaced.get(word, word) for word in words]
    words[words.index("--until") + 1] = until(4)
    done = CliRunner().invoke(cli, [*words, "--source-base", str(tmp_path / "source")])
    assert done.exit_code == 0, done.output
    (options,) = coiled_calls
    assert options["n_workers"] == 20
    assert options["spot_policy"] == "spot_with_fallback"


