"""Clusters of clouds are called as they want to be: their classes, without their accounts.

Run with the newest of both by ``.ci/versions clouds``.
"""

from __future__ import annotations

import inspect
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from distributed import LocalCluster

from gridmill.runs.dask.clusters import connect
from pages import COMMANDS
from tiny import Provider, hours, until


def commands_with(what: str) -> list[str]:
    """Give the commands of all pages that hold this."""
    return sorted({command for _, command in COMMANDS if what in command})


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


COILED, KUBERNETES = commands_with("--cluster coiled"), commands_with(":KubeCluster")


@pytest.mark.parametrize("command", COILED)
def test_a_coiled_command_that_is_shown_runs(coiled_calls, tmp_path, command):
    """As it stands there, with another dataset: Coiled's call takes each of its options."""
    ran = run_shown(command, tmp_path)
    (options,) = coiled_calls
    assert options["n_workers"] == int(ran[ran.index("--workers") + 1])


@pytest.fixture
def kube_calls(monkeypatch) -> list[dict]:
    """What `KubeCluster` is called with, checked against its signatures; a local one starts."""
    operator = pytest.importorskip("dask_kubernetes.operator")
    real = operator.KubeCluster
    calls = []

    class Pods(LocalCluster):
        """Takes what a `KubeCluster` takes."""

        def __init__(self, **options) -> None:
            inspect.signature(real.__init__).bind(self, **options)
            assert set(options) <= set(inspect.signature(real.__init__).parameters)
            calls.append(options)
            super().__init__(
                n_workers=0,
                threads_per_worker=5,
                processes=False,
                dashboard_address="127.0.0.1:0",
                silence_logs=50,
            )

        def scale(self, *args, **options):
            inspect.signature(real.scale).bind(self, *args, **options)
            return super().scale(min(2, *args))

        def adapt(self, *args, **options):
            inspect.signature(real.adapt).bind(self, *args, **options)
            return super().adapt(*args, **options)

    Pods.__init__.__signature__ = inspect.signature(real.__init__)
    monkeypatch.setattr(operator, "KubeCluster", Pods)
    return calls


@pytest.mark.parametrize("command", KUBERNETES)
def test_a_kubernetes_command_that_is_shown_runs(kube_calls, tmp_path, command):
    """Each option is one of dask-kubernetes, and the image is one that holds gridmill."""
    run_shown(command, tmp_path)
    (options,) = kube_calls
    assert options["image"].startswith("my-registry/")
    assert [*options["worker_command"][-2:]] == ["--nthreads", "5"]


def test_a_kubernetes_cluster_is_adapted_as_it_wants_to_be(kube_calls):
    """Its `adapt` takes a minimum and a maximum, and nothing else."""
    with connect("dask_kubernetes.operator:KubeCluster", adapt=(0, 2), name="a") as client:
        assert client.submit(lambda: 1).result() == 1
    assert kube_calls == [{"name": "a"}]


def run_shown(command: str, tmp_path: Path) -> list[str]:
    """Run a command of a page on another dataset and store; gives it as it ran."""
    from gridmill.cli import cli

    words = shlex.split(command)[1:]
    Provider(tmp_path / "source").publish(hours(4))
    replaced = {"my-forecast": "tiny:Tiny", "s3://my-bucket/my-forecast.zarr": str(tmp_path / "a")}
    words = [replaced.get(word, word) for word in words]
    if words[0] == "backfill":
        words[words.index("--until") + 1] = until(4)
    else:
        words += ["--store", str(tmp_path / "a"), "--now", until(4)]
    done = CliRunner().invoke(cli, [*words, "--source-base", str(tmp_path / "source")])
    assert done.exit_code == 0, done.output
    return words
