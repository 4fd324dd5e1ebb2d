"""An update asks the store for some of what it looks back on, others each time; a doubt for all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gridmill.model.records import ProgressRecord
from gridmill.model.region import Region
from gridmill.planning.belief import OBJECTS_LOOKED_AT, OBJECTS_SAMPLED, Belief, Looks
from gridmill.planning.prepare import prepare_region
from recordings import ARRAYS, OK, files_of, prepared_of, receipt, recorded

N = 4
# Hours of a week, each a region; and what a week of forecasts has.
HOURS = [Region(hour, hour + 1) for hour in range(168)]


@pytest.fixture(scope="module")
def record() -> ProgressRecord:
    prepared = prepared_of(n=N)
    files = files_of(prepared, *[OK] * N)
    return recorded(prepared, a=receipt("a", files), b=receipt("b", files), files=files)


def looked_at(record: ProgressRecord, belief: Belief, gone: tuple[str, ...] = ()) -> list[str]:
    """Return the keys that the store is asked for as a region is prepared."""
    asked: list[str] = []

    def missing(receipts: Any, token: str | None = None) -> list[str]:
        asked.extend(one.key for one in receipts)
        return [one.key for one in receipts if one.key in gone]

    job = prepared_of(n=N).job
    prepare_region(job, record, ARRAYS, missing, stored=lambda: ARRAYS, belief=belief)
    return asked


def looks_at(turn: object, one_in: int = 50, seen: int = len(HOURS)) -> Looks:
    return Looks(one_in, str(turn), lambda: seen)


def not_its_turn() -> Looks:
    region = prepared_of(n=N).job.region
    return next(looks for looks in map(looks_at, range(50)) if not looks.take(region))


def test_of_few_objects_all_are_looked_at(record):
    """Whatever is asked for at once costs no time."""
    few = OBJECTS_LOOKED_AT // (2 * OBJECTS_SAMPLED)
    looks = Looks.of_update(few, 2, "now", lambda: len(HOURS))
    assert looks == Looks(one_in=1, turn="now")
    assert looked_at(record, Belief(looks=looks)) != []


def test_of_many_regions_others_are_looked_at_each_time():
    """About as many objects each time; in a week of hours none is left out but by great chance."""
    taken = [0] * len(HOURS)
    for hour in range(len(HOURS)):
        looks = Looks.of_update(len(HOURS), 6, hour, lambda: len(HOURS))
        which = [at for at, region in enumerate(HOURS) if looks.take(region)]
        assert len(which) * 6 * OBJECTS_SAMPLED < 4 * OBJECTS_LOOKED_AT
        for at in which:
            taken[at] += 1
    assert sum(taken) * 6 * OBJECTS_SAMPLED / len(HOURS) < 1.1 * OBJECTS_LOOKED_AT
    assert sum(times == 0 for times in taken) <= 1


def test_a_region_whose_turn_it_is_not_is_believed(record):
    """Without a request, also where an object is gone."""
    assert looked_at(record, Belief(looks=not_its_turn()), gone=("a/0",)) == []


def test_what_readers_do_not_see_yet_is_always_looked_at():
    """Nothing is shown to them that the store does not hold; static variables are few."""
    looks = looks_at("now", one_in=10**9, seen=100)
    taken = [region for region in [Region.STATIC, *HOURS] if looks.take(region)]
    assert taken == [Region.STATIC, *HOURS[100:]]


def test_whoever_believes_nothing_unseen_looks_at_all(record):
    """`revalidate` asks for every object of every region."""
    seen = looked_at(record, Belief(revalidate=True, looks=not_its_turn()))
    assert {key.partition("/")[0] for key in seen} == {"a", "b"}


def test_what_a_token_made_durable_is_always_asked_for(record):
    """No request is made for it: the repository's own lists know."""
    variables = {name: replace(var, token="t") for name, var in record.variables.items()}
    tokened = replace(record, variables=variables)
    assert looked_at(tokened, Belief(looks=not_its_turn())) != []


def test_one_that_is_gone_lets_all_others_be_looked_at(record):
    """A store that lost an object has lost others."""
    region = prepared_of(n=N).job.region
    looks = next(looks for looks in map(looks_at, range(5000)) if looks.take(region))
    assert not all(map(looks.take, HOURS))
    first = looked_at(record, Belief(looks=looks))[0]
    assert not all(map(looks.take, HOURS))
    looked_at(record, Belief(looks=looks), gone=(first,))
    assert all(map(looks.take, HOURS))
