"""Objects show themselves in a notebook: true, escaped, and without asking anybody."""

from __future__ import annotations

import pytest

from generated import Generated
from gridmill.display.progress import ProgressDisplay
from gridmill.model.display_hook import card_of
from shown_html import Text
from tiny import Provider, Tiny, TinyTemplate, dataset_of, hours, tiny_var, until


def shown(thing: object) -> Text:
    """Parse what a notebook shows; every element is closed."""
    return Text(thing._repr_html_())


@pytest.fixture
def provider(tmp_path) -> Provider:
    """A provider with six files."""
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(6))
    return provider


def test_a_dataset_shows_what_it_declares_without_asking(tmp_path):
    """Variables, static ones marked, and no credential; neither store nor provider is touched."""
    dataset = Generated(tmp_path / "a.zarr", source_base="http://user:secret@127.0.0.1:1/")
    text = shown(dataset).text
    for said in ("generated", "a.zarr (zarr)", "temperature", "Orography (latitude, longitude)"):
        assert said in text
    assert "secret" not in text
    assert list(tmp_path.iterdir()) == []


def test_what_an_author_writes_is_escaped(tmp_path):
    """A name is no markup."""

    class Odd(TinyTemplate):
        dataset_attributes = {"dataset_id": "tiny", "title": "<b>Tiny</b>"}
        data_vars = (tiny_var("a", attrs={"long_name": "<i>a</i>", "units": "1"}),)

    found = shown(dataset_of(template=Odd)(tmp_path / "a"))
    assert "<b>Tiny</b>" in found.text
    assert "<i>a</i>" in found.text
    assert {"b", "i"} & set(found.counts) == set()


def test_a_region_job_shows_its_source_files(tmp_path, provider):
    """Its place, its variables and what fills it."""
    dataset = Tiny(tmp_path / "a.zarr", source_base=str(provider.root))
    text = shown(dataset.plan(until(6)).jobs[1]).text
    for said in ("2020-01-01 04:00 … 2020-01-01 05:00", "4 to 5", "a, b", "2020/20200101T04.npy"):
        assert said in text


def test_status_record_and_report_show_themselves(tmp_path, provider, client):
    """After a run whose last files are not there yet."""
    dataset = Tiny(tmp_path / "a.zarr", source_base=str(provider.root))
    report = dataset.backfill(until(8), client=client)
    status = shown(dataset.status(now=until(8))).text
    for said in ("(6 positions)", "2 regions recorded, 1 settled", "2020/20200101T06.npy"):
        assert said in status
    record = shown(dataset.store.progress()[1]).text
    for said in ("positions 4 to 7", "may still change", "2 succeeded · 2 not yet available"):
        assert said in record
    assert "backfill of tiny" in shown(report).text


def test_progress_is_made_of_a_plan(tmp_path, provider):
    """Its title, and how many regions there are."""
    dataset = Tiny(tmp_path / "a.zarr", source_base=str(provider.root))
    text = shown(ProgressDisplay.of(dataset.plan(until(6)))).text
    assert "backfill tiny → " in text
    assert "0 of 2 regions" in text


def test_a_value_without_a_card_says_what_is_missing():
    """The hook finds cards by type, and names a type that has none."""
    with pytest.raises(TypeError, match="no card of int"):
        card_of(1)


def test_a_validation_shows_itself(tmp_path, provider):
    """Verdict, findings with what repairs them, and each check; nothing is markup."""
    dataset = Tiny(tmp_path / "<b>.zarr", source_base=str(provider.root))
    assert dataset.backfill(until(6), client="none").succeeded
    well = dataset.validate(now=until(6))
    assert "nothing found" in shown(well).text
    (tmp_path / "<b>.zarr" / "a" / "c" / "0" / "0" / "0").unlink()
    broken = dataset.validate(now=until(6))
    text = shown(broken).text
    assert not broken.succeeded
    for finding in broken.findings:
        assert finding.message in text
        assert finding.repair in text
    assert all(result.validator in text for result in broken.results)
    assert "b" not in shown(broken).counts
