"""Any spec of a cluster gives a client, or one clear error."""

from __future__ import annotations

import ipaddress
import re

import dask
import numpy as np
import psutil
import pytest
from distributed import Client, LocalCluster
from distributed.security import Security

from clusters import local_client
from gridmill.runs.dask.clusters import SCHEDULER_CONFIG, connect
from tiny import Provider, Tiny, hours, truth, until


def test_what_is_there_is_used_and_left():
    """A client, its cluster or its address is connected to, and runs on afterwards."""
    with local_client(n_workers=1, processes=False) as client:
        for spec in (client, client.cluster):
            with connect(spec) as connected:
                assert connected.submit(lambda: 1).result() == 1
        assert client.submit(lambda: 2, pure=False).result() == 2


def test_a_local_cluster_is_started_and_stopped():
    """Workers and threads are as asked, and nothing is left."""
    with connect(
        "local", workers=2, threads_per_worker=3, processes=False, silence_logs=50
    ) as client:
        assert sorted(client.nthreads().values()) == [3, 3]
        cluster = client.cluster
    assert cluster.status.name == "closed"


def test_a_cluster_class_is_named():
    """package.module:ClusterClass is imported and made, with its options."""
    with connect(
        "distributed:LocalCluster",
        workers=1,
        processes=False,
        threads_per_worker=2,
        silence_logs=50,
        dashboard_address="127.0.0.1:0",
    ) as client:
        assert isinstance(client, Client)
        assert len(client.nthreads()) == 1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nonsense", "is no cluster"),
        ("127.0.0.1:8786", "is it the address tcp://127.0.0.1:8786?"),
        ("no_such_package:Cluster", "cannot be used"),
        ("distributed:NoSuchCluster", "cannot be used"),
        ("/nowhere/scheduler.json", "no scheduler file"),
    ],
)
def test_a_spec_that_means_nothing_is_one_error(spec, message):
    """The error says what is wrong with it."""
    with pytest.raises(ValueError, match=re.escape(message)), connect(spec):
        pass


@pytest.mark.parametrize("options", [{"workers": 2}, {"adapt": (0, 2)}, {"anything": 1}])
def test_options_for_a_cluster_that_is_there_are_refused(options):
    """They would have no effect."""
    with pytest.raises(ValueError, match="already there"), connect("tcp://127.0.0.1:1", **options):
        pass


# -- what is started --------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["local", "distributed:LocalCluster"])
def test_what_is_started_listens_on_loopback_only(spec):
    """Scheduler, workers, nannies and dashboard: nothing of a local cluster can be reached."""
    with connect(spec, workers=1, threads_per_worker=5, silence_logs=50) as client:
        client.wait_for_workers(1)
        this = psutil.Process()
        listening = [
            connection.laddr.ip
            for process in (this, *this.children(recursive=True))
            for connection in process.net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        ]
    assert len(listening) >= 3
    assert [ip for ip in listening if not ipaddress.ip_address(ip).is_loopback] == []


def test_a_scheduler_with_tls_is_reached_with_dasks_own_settings(tmp_path):
    """The page's settings lead to tls://; without them nothing is said to such a scheduler."""
    pytest.importorskip("cryptography")
    made = Security.temporary()
    settings = {"ca-file": str(tmp_path / "ca.pem")}
    (tmp_path / "ca.pem").write_text(made.tls_ca_file)
    for role in ("client", "scheduler", "worker"):
        for part in ("cert", "key"):
            path = tmp_path / f"{role}-{part}.pem"
            path.write_text(getattr(made, f"tls_{role}_{part}"))
            settings[f"{role}.{part}"] = str(path)
    tls = {f"distributed.comm.tls.{key}": value for key, value in settings.items()}
    with (
        dask.config.set({**tls, "distributed.comm.require-encryption": True}),
        LocalCluster(
            n_workers=1,
            processes=False,
            protocol="tls://",
            security=Security(),
            dashboard_address=None,
            silence_logs=50,
        ) as cluster,
        connect(cluster.scheduler_address) as client,
    ):
        assert cluster.scheduler_address.startswith("tls://127.0.0.1")
        assert client.submit(lambda: 1).result() == 1


def test_workers_that_come_and_go_by_themselves_do_no_harm(tmp_path):
    """An adaptive cluster grows from one worker and shrinks again while a run goes on."""
    Provider(tmp_path / "source").publish(hours(40))
    dataset = Tiny(tmp_path / "a", source_base=str(tmp_path / "source"))
    with local_client(n_workers=1, processes=False) as client:
        client.cluster.adapt(minimum=1, maximum=3, interval="50ms", wait_count=1)
        report = dataset.backfill(until(40), client=client)
    assert report.failures == []
    np.testing.assert_array_equal(dataset.store.open_dataset().a.values, truth(hours(40)))


def test_a_cluster_is_adapted_from_none_on(tmp_path):
    """`adapt` starts workers for what waits, as many as it may; the run completes."""
    Provider(tmp_path / "source").publish(hours(40))
    dataset = Tiny(tmp_path / "a", source_base=str(tmp_path / "source"))
    options = {"processes": False, "silence_logs": 50, "dashboard_address": "127.0.0.1:0"}
    with connect("distributed:LocalCluster", adapt=(0, 2), n_workers=0, **options) as client:
        assert client.cluster._adaptive.maximum == 2
        assert not client.nthreads()
        report = dataset.backfill(until(40), client=client)
    assert report.failures == []
    np.testing.assert_array_equal(dataset.store.open_dataset().a.values, truth(hours(40)))


@pytest.mark.parametrize("kind", ["object", "class"])
def test_another_cluster_keeps_dasks_patience_with_lost_workers(kind):
    """A day, as a local cluster needs it, would keep others from ever replacing a worker."""
    patience, failures = (
        "distributed.deploy.lost-worker-timeout",
        "distributed.scheduler.allowed-failures",
    )
    options = {"n_workers": 1, "processes": False, "silence_logs": 50, "dashboard_address": None}
    with dask.config.set({patience: "17s", failures: 3}):
        if kind == "class":
            with connect("distributed:LocalCluster", **options):
                assert dask.config.get(patience) == "17s"
                assert dask.config.get(failures) == SCHEDULER_CONFIG[failures]
            return
        with LocalCluster(**options) as cluster, connect(cluster):
            assert dask.config.get(patience) == "17s"
            assert dask.config.get(failures) == 3
        with connect("local", workers=1, processes=False, silence_logs=50):
            assert dask.config.get(patience) != "17s"


# -- queues -----------------------------------------------------------------------------------


def test_a_job_of_a_queue_has_a_process_a_core_with_the_stages_threads():
    """dask-jobqueue's own division of a job, few processes of many threads, is replaced."""
    jobqueue = pytest.importorskip("dask_jobqueue")
    options = {"cores": 4, "memory": "8GB", "interface": "lo", "walltime": "00:10:00"}
    with connect("dask_jobqueue:SLURMCluster", **options) as client:
        assert isinstance(client.cluster, jobqueue.SLURMCluster)
        script = client.cluster.job_script()
    assert "--nworkers 4" in script
    assert re.findall(r"--nthreads (\d+)", script)[-1] == "5"
    # Of ten minutes, one for each of its ends, and workers leave at their own times.
    assert "--lifetime 540s --lifetime-stagger 30s" in script
    extra = ["--nthreads", "3", "--lifetime", "5m"]
    given = {**options, "processes": 2, "worker_extra_args": extra}
    with connect("dask_jobqueue:SLURMCluster", **given) as client:
        script = client.cluster.job_script()
    assert "540s" not in script
    assert "--nworkers 2" in script
    assert re.findall(r"--nthreads (\d+)", script)[-1] == "3"


def test_a_job_of_pbs_is_as_the_page_says():
    """The script of the page's options, where no PBS is: its queue is not asked."""
    pytest.importorskip("dask_jobqueue")
    options = {"cores": 4, "memory": "16GB", "walltime": "02:00:00", "interface": "lo"}
    given = {"queue": "normal", "account": "my-project", "local_directory": "$TMPDIR"}
    with connect("dask_jobqueue:PBSCluster", **options, **given) as client:
        script = client.cluster.job_script()
    for line in ("#PBS -q normal", "#PBS -A my-project", "#PBS -l walltime=02:00:00"):
        assert line in script
    assert "--local-directory $TMPDIR" in script
    assert "--lifetime 6600s --lifetime-stagger 300s" in script


def test_nothing_that_is_started_listens_beyond_this_machine():
    """Not the scheduler, no worker, no dashboard, by IPv4 or IPv6."""
    with connect("local"):
        ours = [psutil.Process(), *psutil.Process().children(recursive=True)]
        listening = {
            connection.laddr.ip
            for process in ours
            for connection in process.net_connections(kind="tcp")
            if connection.status == psutil.CONN_LISTEN
        }
    assert listening <= {"127.0.0.1", "::1"}
