"""Test modules have names of their own."""

from __future__ import annotations

from collections import Counter

from repository import ROOT


def test_no_two_test_modules_have_one_name():
    """Pytest imports each by its name alone: of two, a run of everything collects none."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, many in names.items() if many > 1] == []
