"""Any spec of a cluster gives a client, or one clear error."""

from __future__ import annotations

import pytest
from distributed import Client

from clusters import local_client
from gridmill.clusters import connect


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
        ("no_such_package:Cluster", "cannot be used"),
        ("distributed:NoSuchCluster", "cannot be used"),
        ("/nowhere/scheduler.json", "no scheduler file"),
    ],
)
def test_a_spec_that_means_nothing_is_one_error(spec, message):
    """The error says what is wrong with it."""
    with pytest.raises(ValueError, match=message), connect(spec):
        pass


@pytest.mark.parametrize("options", [{"workers": 2}, {"anything": 1}])
def test_options_for_a_cluster_that_is_there_are_refused(options):
    """They would have no effect."""
    with pytest.raises(ValueError, match="already there"), connect("tcp://127.0.0.1:1", **options):
        pass
