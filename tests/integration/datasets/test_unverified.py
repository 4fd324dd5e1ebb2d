"""What was never compared with files of the provider says so where one meets it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from rich.console import Console

from generated import Generated, build_archive
from gridmill.cli import cli
from gridmill.display.terminal.datasets import entry_content, show_entries
from gridmill.registry import DatasetEntry, dataset_names, find_dataset


class Unverified(Generated):
    """Never compared."""

    verified = None


class Verified(Generated):
    """Compared."""

    verified = "three files of 2024-01-02"


def notes_of(report) -> list[str]:
    """Return what a run says of it."""
    return [note for note in report.notes if "unverified" in note]


@pytest.mark.parametrize(("dataset", "many"), [(Unverified, 1), (Verified, 0), (Generated, 0)])
def test_the_first_run_of_an_unverified_dataset_says_so_once(tmp_path, dataset, many):
    """Its report has the note and says what to do; those after it are not disturbed."""
    source = build_archive(tmp_path / "source", 3)
    made = dataset(tmp_path / "a.zarr", source_base=str(source))
    first = made.backfill("2020-01-02", client="none", now="2020-01-09")
    assert len(notes_of(first)) == many
    assert all("compare" in note for note in notes_of(first))
    second = made.backfill("2020-01-03", client="none", now="2020-01-09")
    assert second.positions_after > first.positions_after
    assert notes_of(second) == []


@pytest.mark.parametrize(("name", "says"), [("Unverified", True), ("Verified", False)])
def test_the_list_with_details_says_what_is_unverified(name, says):
    """A row says it; as JSON it is `verified`: null."""
    entry = DatasetEntry("some", f"{__name__}:{name}", "package 1.0")
    content = entry_content(entry, details=True)
    assert (content["verified"] is None) == says
    console = Console(width=120)
    with console.capture() as shown:
        console.print(show_entries([content]))
    assert ("unverified" in shown.get()) == says


def test_every_built_in_dataset_says_what_it_was_compared_with():
    """Nothing that comes with gridmill is silent about it."""
    done = CliRunner().invoke(cli, ["list", "--details", "--json"])
    rows = {row["name"]: row["verified"] for row in json.loads(done.stdout)}
    silent = [name for name in dataset_names() if not (rows[name] or rows[name] is None)]
    assert silent == []


def test_the_page_of_a_dataset_says_what_it_was_compared_with(monkeypatch):
    """One table of facts for both kinds."""
    from repository import ROOT

    monkeypatch.syspath_prepend(ROOT / "docs" / "_ext")
    from catalogue_pages import page_of

    for name in dataset_names():
        dataset = find_dataset(name)
        page = page_of(name, dataset)
        assert (dataset.verified or "**unverified**") in page
