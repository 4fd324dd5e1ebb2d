"""What is written stays within the budget, whatever comes when, and the last of it always is."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gridmill.authoring.source_file import SourceFileCoord
from gridmill.model.variables import DataVar, Encoding
from gridmill.pipeline.values import SourceFile
from gridmill.planning.source_files.rhythm import Rhythm, _joined


def rhythm_of(leads: int, shard: int, budget: float, members: int = 1) -> Rhythm:
    """Give that of a file a lead and member, in shards of some leads and all members."""
    encoding = Encoding(chunks=(1, 1, 1, 2), shards=(1, shard, members, 2))
    dims = ("init", "lead", "member", "x")
    var = DataVar(name="a", encoding=encoding, attrs={"long_name": "a", "units": "1"}, dims=dims)
    files = [
        SourceFile(SourceFileCoord(), {"init": 0, "lead": lead, "member": member})
        for lead in range(leads)
        for member in range(members)
    ]
    job: Any = SimpleNamespace(write_budget=budget)
    return Rhythm(job, [var], files, {"init": 1, "lead": leads, "member": members, "x": 2})


ARRIVALS = st.integers(1, 30).flatmap(
    lambda n: st.tuples(
        st.just(n),
        st.permutations(range(n)),
        st.lists(st.integers(1, n), min_size=1, max_size=n),
    )
)


@given(
    ARRIVALS,
    st.integers(1, 30),
    st.sampled_from([1.0, 1.5, 2.0, 3.0, 5.0]),
    st.sets(st.integers(0, 29)),
)
def test_the_budget_is_kept(arrivals, shard, budget, lost):
    """In any order, in batches of any size, with files that never come."""
    leads, order, batches = arrivals
    rhythm = rhythm_of(leads, shard, budget)
    lost = {at for at in lost if at < leads}
    stored: set[int] = set()
    there: set[int] = set()
    spent = None
    rest = [at for at in order if at not in lost]
    while rest:
        size = batches[len(rest) % len(batches)]
        there |= set(rest[:size])
        rest = rest[size:]
        choice = rhythm.choose(stored, there - stored, set(), spent)
        assert not choice.waits & stored
        stored, spent = there - choice.waits, choice.spent
    # The deadline of what is lost: what waited for it is stored.
    choice = rhythm.choose(stored, there - stored, lost, spent)
    assert not choice.waits
    total = sum(sum(cell.values()) for cell in rhythm.cells)
    assert sum(choice.spent) <= budget * total
    assert sum(choice.spent) <= rhythm.worst() * total + 1e-9
    assert rhythm.worst() <= budget


@given(st.lists(st.sets(st.integers(0, 9), max_size=3), max_size=12))
def test_cells_are_what_files_fill_together(filled):
    """Each file is of one cell; accounts rest on their order, that of the last file of each."""
    cells = _joined([{(one,): 1 for one in objects} for objects in filled])
    assert sorted(index for cell in cells for index in cell) == list(range(len(filled)))
    where = {index: number for number, cell in enumerate(cells) for index in cell}
    expected = list(range(len(filled)))
    for _ in filled:
        for a, ours in enumerate(filled):
            for b, theirs in enumerate(filled):
                if ours & theirs:
                    expected[a] = expected[b] = min(expected[a], expected[b])
    for a, b in product(range(len(filled)), repeat=2):
        assert (where[a] == where[b]) == (expected[a] == expected[b])
    assert [max(cell) for cell in cells] == sorted(max(cell) for cell in cells)
    assert all(
        cell[at] == len(filled[at]) and list(cell) == sorted(cell) for cell in cells for at in cell
    )


def test_a_shard_a_lead_fits_every_rhythm():
    """Each lead is stored as it comes, and written once."""
    rhythm = rhythm_of(24, 1, 1.0)
    assert (rhythm.worst(), rhythm.steps()) == (1.0, (24, 24))


def test_many_leads_in_a_shard_are_stored_by_growing_steps():
    """Within the budget the first leads are seen one by one, later ones several at a time."""
    rhythm = rhythm_of(24, 24, 3.0)
    written, files = rhythm.steps()
    assert files == 24
    assert 4 <= written < 24
    assert rhythm.worst() <= 3.0


def test_members_of_a_lead_share_its_shard():
    """A lead's shard is whole with its last member."""
    rhythm = rhythm_of(2, 1, 1.0, members=3)
    assert rhythm.choose(set(), {0, 1}, set(), None).waits == {0, 1}
    assert not rhythm.choose(set(), {0, 1, 2}, set(), None).waits
