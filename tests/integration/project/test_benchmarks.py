"""Each benchmark runs, at a size of seconds; no test asserts a time."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.__main__ import BENCHMARKS, main, run
from benchmarks.forecast import write_forecast
from benchmarks.measures import Measure
from benchmarks.plot import plot
from benchmarks.results import PATH, add_run, latest, read_runs, table_row
from benchmarks.sizes import TOY, Size

from gridmill.sources.grib.framing import iter_messages
from gridmill.sources.grib.messages import message_identity


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_runs(name, monkeypatch):
    """It does what it measures, and gives figures."""
    monkeypatch.delenv("GRIDMILL_TEST_DATA", raising=False)  # to make less takes less time
    measures = list(run(name, TOY))
    assert measures
    for measure in measures:
        assert math.isfinite(measure.value)
        assert measure.low <= measure.value <= measure.high


def test_a_run_keeps_what_others_measured(tmp_path):
    """A later run of one benchmark replaces its figures only, and the earlier ones stay known."""
    path = tmp_path / "results.json"
    first = [Measure("a", "× CPU", 2.0, 1.0, 3.0, 2.5), Measure("b", "s", 1.0, 1.0, 1.0)]
    add_run(first, path)
    add_run([Measure("a", "× CPU", 3.0, 3.0, 3.0, 2.5)], path)
    runs = read_runs(path)
    assert {m.key: m.value for m in latest(runs)} == {"a [× CPU]": 3.0, "b [s]": 1.0}
    assert len(runs) == 2
    assert plot(runs, tmp_path / "results.png").stat().st_size > 0


def test_an_interrupted_run_keeps_what_it_measured(monkeypatch):
    """Half an hour of measuring is not lost where the next figure is not reached."""

    def interrupted(folder: Path, size: Size) -> Iterator[Measure]:
        yield Measure("a", "s", 1.0, 1.0, 1.0)
        raise KeyboardInterrupt

    kept: list[Measure] = []
    monkeypatch.setitem(BENCHMARKS, "idle", interrupted)
    monkeypatch.setattr("benchmarks.__main__.add_run", kept.extend)
    for size in ("full", "toy"):  # what a small run measures is no figure
        with pytest.raises(KeyboardInterrupt):
            main(["idle", "--size", size])
    assert [measure.name for measure in kept] == ["a"]


def test_the_site_says_when_and_beside_what_a_figure_was_measured():
    """A wall time of a busy machine says so; what was measured once has no spread."""
    row = table_row("2026-01-02T03:04", Measure("a", "s", 2.0, 1.0, 3.0, foreign_load=1.5))
    assert row == "| a |  | 2 (1–3); others kept 1.5 cores busy | s | 2026-01-02 |"
    row = table_row("2026-01-02T03:04", Measure("b", "MiB", 2.0, 2.0, 2.0, most=1 / 0.9))
    assert row == "| b | ≤ 1.11 | 2, missed | MiB | 2026-01-02 |"


def test_what_is_committed_can_be_read():
    """The README's figures come from it."""
    assert {measure.name.split(":")[0] for measure in latest(json.loads(PATH.read_text()))}


def test_an_unknown_benchmark_is_refused(capsys):
    """The message names those that there are."""
    with pytest.raises(SystemExit):
        main(["fast"])
    assert "encode" in capsys.readouterr().err


def test_generated_messages_have_the_entropy_of_real_ones(shared_data, tmp_path, monkeypatch):
    """Made fields compress to about the size of NOAA's: else a benchmark would flatter somebody."""
    real, made = tmp_path / "real", tmp_path / "made"
    real.mkdir()
    write_forecast(real, 2)
    monkeypatch.delenv("GRIDMILL_TEST_DATA")
    write_forecast(made, 2)
    sizes = [_sizes(folder) for folder in (real, made)]
    for parameter, nbytes in sizes[1].items():
        assert 0.5 < nbytes / sizes[0][parameter] < 2.0, parameter


def _sizes(folder: Path) -> dict[tuple[int | None, int, int], int]:
    """Give the bytes of the first message of each parameter at lead 2."""
    found: dict[tuple[int | None, int, int], int] = {}
    (path,) = folder.rglob("*.f002")
    for message in iter_messages(path):
        content = message.data
        identity = message_identity(content)
        key = (identity.discipline, identity.category, identity.number)
        found.setdefault(key, len(content))
    return found
