"""Every difference between a template and a store is named."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridmill.stores.structure import StructureMismatch, structure_differences
from nested import at, leaves
from stored_structure import ROOT, root_metadata
from tiny import until

LONGER = root_metadata(until(11))


COMPARED = ("attributes", "consolidated_metadata")
LEAVES = [
    path
    for path in leaves(ROOT)
    if path[0] in COMPARED
    and path[:2] not in [("consolidated_metadata", k) for k in ("kind", "must_understand")]
    # The append dim's length is what may differ.
    and not (path[-2:] == ("shape", 0) and "time" in at(ROOT, path[:3])["dimension_names"][:1])
]


def test_archives_of_any_length_have_one_structure():
    """Only the append dim's length may differ, and that is no difference."""
    assert structure_differences(ROOT, copy.deepcopy(ROOT), "time") == []
    assert structure_differences(ROOT, LONGER, "time") == []


@given(st.sampled_from(LEAVES))
def test_any_single_change_is_found(path):
    """Whatever value of the metadata changes in the store, it is reported, with its array."""
    stored = copy.deepcopy(LONGER)
    at(stored, path[:-1])[path[-1]] = "changed"
    differences = structure_differences(ROOT, stored, "time")
    array = path[2] if path[0] == "consolidated_metadata" else "attribute"
    assert any(array in line and "changed" in line for line in differences)
    # Without the append dim's name its length counts too; nothing else is reported twice.
    renamed = path[-2:] == ("dimension_names", 0) and at(ROOT, path) == "time"
    assert len(differences) == 1 + renamed


def test_all_differences_are_listed():
    """Arrays and attributes that one side lacks are named, all of them."""
    stored = copy.deepcopy(ROOT)
    arrays = stored["consolidated_metadata"]["metadata"]
    arrays["extra"] = arrays.pop("b")
    arrays["a"]["attributes"].pop("units")
    stored["attributes"]["more"] = 1
    assert structure_differences(ROOT, stored, "time") == [
        "attribute more is null in the template and 1 in the store",
        'a: attribute units is "1" in the template and null in the store',
        "b is not in the store",
        "extra is not in the template",
    ]


def test_the_other_dims_lengths_count():
    """Another grid is another structure."""
    stored = copy.deepcopy(ROOT)
    stored["consolidated_metadata"]["metadata"]["a"]["shape"][2] = 4
    assert "a: shape" in structure_differences(ROOT, stored, "time")[0]


def test_a_store_without_consolidated_metadata_is_not_ours():
    """A root that another program wrote is one difference, said plainly."""
    for root in ({"attributes": {}, "node_type": "array"}, {**ROOT, "consolidated_metadata": None}):
        (line,) = structure_differences(ROOT, root, "time")
        assert "no consolidated metadata" in line


def test_the_mismatch_pickles_with_its_differences():
    """The error survives the way from another process."""
    error = pickle.loads(pickle.dumps(StructureMismatch("/store", ["one", "two"])))
    assert error.differences == ["one", "two"]
    assert "one; two" in str(error)


@pytest.mark.parametrize("foreign", ["no names", "a group"])
def test_what_another_program_wrote_is_a_difference(foreign):
    """Arrays without dimension names, and groups, differ; they do not crash the comparison."""
    stored = copy.deepcopy(ROOT)
    arrays = stored["consolidated_metadata"]["metadata"]
    if foreign == "no names":
        arrays["a"]["dimension_names"] = None
    else:
        arrays["a"] = {"node_type": "group", "attributes": {}, "zarr_format": 3}
    assert any(line.startswith("a: ") for line in structure_differences(ROOT, stored, "time"))
