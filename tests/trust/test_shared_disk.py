"""Workers that read each other's disk and lose each other's folders, as on a LocalCluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from trust_catalogue import Scenario, play
from trust_harness import Lab

SCENARIOS = [
    Scenario(("worker killed in download", "worker retired"), "backfill", 1),
    Scenario(("worker killed in compress", "driver killed before a record"), "update", 2),
    Scenario(("worker killed in put", "worker restarted by nanny"), "heal", 3),
    Scenario(("worker stopped in compress", "worker killed after put"), "backfill", 4),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Where variables go to whichever worker is free."""
    with Lab(tmp_path_factory.mktemp("one-disk"), workers_share_disk=True) as lab:
        yield lab


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_nothing_is_lost_on_one_disk(scenario: Scenario, lab: Lab) -> None:
    """Whose folder a stage reads may vanish with its worker: the archive is the same."""
    outcome = play(lab, scenario)
    assert set(outcome.injected) == set(scenario.faults)
    assert lab.cluster.share_a_disk()
