"""What shows a declaration asks no provider: neither the dataset's server nor any other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from gridmill.cli import ExitCode, cli
from gridmill.registry import dataset_names, find_dataset
from guarded import Guarded
from tiny import Provider, Tiny, TinyTemplate, hours, until

PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")


@pytest.fixture
def counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guarded]:
    """A server that counts; every request to any host goes there, as to a proxy."""
    Provider(tmp_path / "source").publish(hours(8))
    monkeypatch.chdir(tmp_path)
    with Guarded(tmp_path / "source", "bearer", [""]) as server:
        for name in PROXIES:
            monkeypatch.setenv(name, server.url)
        yield server


@pytest.mark.parametrize("command", ["template", "layout"])
@pytest.mark.parametrize("name", dataset_names())
def test_a_built_in_dataset_is_shown_without_its_provider(counting, command, name):
    """Each of them, by each command that shows what is declared."""
    done = CliRunner().invoke(cli, [command, name])
    assert done.exit_code == ExitCode.SUCCESS, done.output
    assert find_dataset(name)("a.zarr")._repr_html_()
    assert counting.asked == []


def test_an_archive_is_shown_without_its_provider(counting, monkeypatch):
    """Though there is one, and its source files are known; a run asks for each of them."""
    # As far as the present: `layout` takes no end.
    monkeypatch.setattr(TinyTemplate, "append_dim_capacity", 10_000_000)
    options = ["tiny:Tiny", "--store", "a.zarr", "--source-base", counting.url]
    assert Tiny("a.zarr", source_base=counting.url).backfill(until(8), client="none").succeeded
    assert len(counting.asked) == 8
    for command in ("template", "layout"):
        done = CliRunner().invoke(cli, [command, *options])
        assert done.exit_code == ExitCode.SUCCESS, done.output
    assert len(counting.asked) == 8
    assert os.environ["http_proxy"] == counting.url
