"""Pairs of faults: after each the archive is what an uninterrupted run gives, and readers saw
nothing else on the way. `make chaos` plays the full product."""

from __future__ import annotations

from itertools import cycle, zip_longest

import pytest

from trust_catalogue import CATALOGUE, Scenario, play
from trust_harness import Lab


def pairs() -> list[Scenario]:
    """Give every fault once: with one that ends a driver, or with another; moments in turn."""
    deaths = [name for name in CATALOGUE if CATALOGUE[name]().sets_death]
    others = [name for name in CATALOGUE if name not in deaths]
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


@pytest.mark.parametrize("scenario", pairs(), ids=lambda scenario: scenario.name)
def test_nothing_is_lost(scenario: Scenario, lab: Lab) -> None:
    """Both faults strike; reruns give the same bytes, redo nothing, and readers never noticed."""
    outcome = play(lab, scenario)
    assert set(outcome.injected) == set(scenario.faults)


def test_every_fault_is_played() -> None:
    """No fault of the catalogue is left out of the short suite."""
    assert {name for scenario in pairs() for name in scenario.faults} == set(CATALOGUE)
