"""Pairs of faults: after each the archive is what an uninterrupted run gives, and readers saw
nothing else on the way. `make chaos` plays the full product."""

from __future__ import annotations

from itertools import cycle, zip_longest

import pytest

from trust_catalogue import CATALOGUE, Scenario, play
from trust_harness import Lab, Run


def pairs() -> list[Scenario]:
    """Give every fault once: with one that ends a driver, or with another; moments in turn."""
    here = [name for name in CATALOGUE if "local" in CATALOGUE[name]().kinds]
    deaths = [name for name in here if CATALOGUE[name]().sets_death]
    others = [name for name in here if name not in deaths]
    alone = others[len(deaths) :]
    couples = [*zip(deaths, others, strict=False), *zip_longest(alone[::2], alone[1::2])]
    moments = cycle(("backfill", "update", "heal"))
    scenarios = []
    for number, couple in enumerate(couples):
        names = tuple(name for name in couple if name is not None)
        possible = set.intersection(*(set(CATALOGUE[name]().moments) for name in names))
        moment = next(moment for moment in moments if moment in possible)
        scenarios.append(Scenario(names, moment, seed=number))
    return scenarios


# On other stores what is most likely to go wrong there, and every fault of the store itself.
ELSEWHERE = [
    Scenario(("store's server killed", "revised file"), "heal", 1, "s3"),
    Scenario(("store throttles", "driver killed before the root"), "update", 2, "s3"),
    Scenario(("store resets connections", "worker killed in put"), "backfill", 3, "s3"),
    Scenario(("driver killed after the root", "worker killed after put"), "heal", 4, "icechunk"),
    Scenario(("store's server killed",), "update", 5, "s3-icechunk"),
    Scenario(("store's answers get lost", "worker killed before put"), "heal", 6, "s3-icechunk"),
    Scenario(("store's network slow", "driver killed at an upload"), "update", 7, "s3-icechunk"),
]


@pytest.mark.parametrize("scenario", [*pairs(), *ELSEWHERE], ids=lambda scenario: scenario.name)
def test_nothing_is_lost(scenario: Scenario, lab: Lab) -> None:
    """Both faults strike; reruns give the same bytes, redo nothing, and readers never noticed."""
    outcome = play(lab, scenario)
    assert set(outcome.injected) == set(scenario.faults)


def test_what_never_changes_is_never_seen_empty(lab: Lab) -> None:
    """Readers of Icechunk see a static variable with its values, or not at all."""
    with Run(lab, "backfill", 8, kind="icechunk") as run:
        run.switchboard.lay("put", "slow", "store:orography/c/*")
        run.drive()
        run.prove()


def test_every_fault_is_played() -> None:
    """No fault of the catalogue is left out of the short suite."""
    played = {name for scenario in [*pairs(), *ELSEWHERE] for name in scenario.faults}
    assert played == set(CATALOGUE)
