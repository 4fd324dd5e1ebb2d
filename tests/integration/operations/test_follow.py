"""Waiting for a dataset's cycle, and hooks that are told what came of it."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from gridmill.cli import ExitCode, cli
from gridmill.dataset import DynamicalDataset
from gridmill.model.reports.run_report import RunReport, join_reports
from gridmill.operations.follow import DeadlinePassed, Waiting, follow_cycle
from gridmill.stores.state.leases import Lease
from gridmill.validation import Finding
from tiny import Provider, Tiny, TinyJob, dataset_of, hours, snapshot, truth, until


@pytest.fixture
def provider(tmp_path) -> Provider:
    """A provider with the first six of eight files."""
    provider = Provider(tmp_path / "source")
    provider.publish(hours(6))
    return provider


def make(tmp_path: Path, kind: type[DynamicalDataset] = Tiny) -> DynamicalDataset:
    return kind(tmp_path / "a", source_base=str(tmp_path / "source"))


def follow(dataset, client, **changes) -> Iterator[RunReport]:
    options = {"deadline_s": 30.0, "longest_pause_s": 0.05, "client": client, "now": until(8)}
    yield from follow_cycle(dataset, **{**options, **changes})


@contextmanager
def later(call, *args) -> Iterator[None]:
    """Call something while the body runs, half a second in."""
    timer = threading.Timer(0.5, call, args)
    timer.start()
    try:
        yield
    finally:
        timer.join()


@contextmanager
def once_waiting(tmp_path: Path, call, *args) -> Iterator[None]:
    """Call something while the body runs, once the first run of `run` has left its report."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            if list((tmp_path / "a.gridmill" / "runs").glob("*.json")):
                call(*args)
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


# -- waiting ----------------------------------------------------------------------------------


def test_what_is_late_is_published_as_it_comes(client, provider, tmp_path):
    """Each arrival is a run of its own, and the waiting ends with the last."""
    dataset = make(tmp_path)
    seen = []
    for report in follow(dataset, client):
        seen.append(report.positions_after)
        if len(seen) < 3:
            provider.publish([hours(8)[5 + len(seen)]])
    assert seen == [6, 7, 8]
    np.testing.assert_array_equal(dataset.store.open_dataset().a.values, truth(hours(8)))


def test_while_nothing_comes_nothing_is_written(client, provider, tmp_path):
    """Asking leaves no run, no report and no object; what is awaited is told."""
    dataset = make(tmp_path)
    told: list[Waiting] = []
    runs = follow(dataset, client, deadline_s=5.0, on_wait=told.append)
    next(runs)
    before = snapshot(tmp_path)
    with pytest.raises(DeadlinePassed, match=r"2 source files, the first is 2020/20200101T06\.npy"):
        next(runs)
    assert snapshot(tmp_path) == before
    assert told


def test_a_complete_archive_is_not_waited_for(client, provider, tmp_path):
    """One run, and no pause."""
    provider.publish(hours(8))
    dataset = make(tmp_path)
    told: list[Waiting] = []
    assert len(list(follow(dataset, client, on_wait=told.append))) == 1
    assert told == []


class _Patient(TinyJob):
    # A second after the present of these tests the file of 06:00 is late.
    publication_delay = timedelta(hours=2, seconds=1)


def test_a_gap_of_the_provider_ends_the_waiting(client, provider, tmp_path):
    """A file that is absent past its time is given up for: the archive goes on without it."""
    provider.publish(hours(8))
    provider.withdraw(hours(8)[6])
    dataset = make(tmp_path, dataset_of(job=_Patient))
    reports = list(follow(dataset, client))
    assert reports[0].positions_after == 6
    assert reports[-1].positions_after == 8


class _Broken(TinyJob):
    def transform_values_inplace(self, values, data_var):
        """Fail in code."""
        raise KeyError("always")


def test_an_error_in_code_is_not_waited_for(client, provider, tmp_path):
    """Time does not mend it: it is tried twice."""
    provider.publish(hours(8))
    dataset = make(tmp_path, dataset_of(job=_Broken))
    reports = list(follow(dataset, client))
    assert len(reports) == 2
    assert all(report.failures for report in reports)


def test_another_run_in_between_is_let_pass(client, provider, tmp_path):
    """What it does not do is done when it has ended."""
    dataset = make(tmp_path)
    runs = follow(dataset, client)
    assert next(runs).positions_after == 6
    lease = Lease(dataset.store.state, run="other", kind="backfill", positions=[(4, 8)])
    lease.__enter__()
    provider.publish(hours(8))
    with later(lease.__exit__, None, None, None):
        assert next(runs).positions_after == 8


def test_reports_of_one_waiting_join_to_one():
    """Counts add up, what failed is what still does, and the extent goes from first to last."""
    first = RunReport.begin("tiny", "update")
    first.positions_before, first.positions_after = 0, 6
    first.files.update({"succeeded": 6, "download failed": 1})
    first.regions_done = 2
    last = RunReport.begin("tiny", "update")
    last.positions_before, last.positions_after = 6, 8
    last.files.update({"succeeded": 4})
    last.regions_done = 1
    joined = join_reports([first, last])
    assert (joined.positions_before, joined.positions_after) == (0, 8)
    assert joined.files == {"succeeded": 10}
    assert joined.regions_done == 3
    assert joined.succeeded
    assert join_reports([first]) is first


# -- on the command line ----------------------------------------------------------------------


def run(tmp_path: Path, *args: str, spec: str = "tiny:Tiny") -> Result:
    """Update the archive, in this process."""
    options = ["--store", str(tmp_path / "a"), "--source-base", str(tmp_path / "source")]
    options += ["--cluster", "none", "--now", until(8)]
    return CliRunner().invoke(cli, ["update", spec, *options, *args])


def test_update_waits_and_says_one_line(provider, tmp_path):
    """What cron would mail is what was done, and that it waited."""
    with once_waiting(tmp_path, provider.publish, hours(8)):
        done = run(tmp_path, "--wait", "--deadline", "1min", "--pause", "100ms")
    assert done.exit_code == ExitCode.SUCCESS, done.output
    assert "nothing → 2020-01-01 07:00 (8 positions)" in done.stdout
    assert done.stderr.count("waiting for 2 source files") == 1


def test_a_deadline_that_passes_has_its_own_exit_code(provider, tmp_path):
    """What came is published; the line says what was awaited."""
    done = run(tmp_path, "--wait", "--deadline", "500ms", "--pause", "100ms")
    assert done.exit_code == ExitCode.LATE, done.output
    assert "the deadline passed while waiting for 2 source files" in done.stdout
    assert "(6 positions)" in done.stdout


@pytest.mark.parametrize("deadline", ["soon", "2020-01-01", "-1h"])
def test_a_deadline_that_means_nothing_is_one_line(provider, tmp_path, deadline):
    """It is no duration, or has passed."""
    done = run(tmp_path, "--wait", f"--deadline={deadline}")
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert "--deadline" in done.stderr


# -- hooks ------------------------------------------------------------------------------------

KEEP = "import sys, os; open(sys.argv[1], 'a').write(os.environ['GRIDMILL_EVENT'] + "
KEEP += "' ' + os.environ['GRIDMILL_RUN'] + '\\n'); open(sys.argv[1], 'a').write(sys.stdin.read())"


def keep_in(path: Path) -> str:
    """Give a command that keeps what it is told."""
    return f'{sys.executable} -c "{KEEP}" {path}'


def test_a_command_is_told_of_a_publication(provider, tmp_path):
    """The report is on its stdin, the event and the run in its environment."""
    hook = ["--on-publish", keep_in(tmp_path / "told"), "--on-failure", "false"]
    done = run(tmp_path, *hook)
    assert done.exit_code == ExitCode.SUCCESS, done.output
    line, _, content = (tmp_path / "told").read_text().partition("\n")
    told = json.loads(content)
    assert line == f"publish {told['run']}"
    assert told["positions_after"] == 6
    assert "warning" not in done.stderr
    again = run(tmp_path, *hook)
    assert again.exit_code == ExitCode.NOTHING_NEW
    assert (tmp_path / "told").read_text().count("positions_after") == 1


TOLD: list[dict] = []


def remember(told: dict) -> None:
    """Keep what a hook is told."""
    TOLD.append(told)


def refuse(told: dict) -> None:
    """Fail."""
    raise ValueError(f"no catalogue at https://me:secret@{told['dataset_id']}.example.org/x")


def test_a_function_is_told_of_each_publication_while_waiting(provider, tmp_path):
    """It gets the report as a dict."""
    TOLD.clear()
    with once_waiting(tmp_path, provider.publish, hours(8)):
        run(tmp_path, "--wait", "--pause", "100ms", "--on-publish", "test_follow:remember")
    assert [told["positions_after"] for told in TOLD] == [6, 8]
    assert {told["event"] for told in TOLD} == {"publish"}


@pytest.mark.parametrize("hook", ["test_follow:refuse", "false", "no-such-command", "no_mod:x"])
def test_a_hook_that_fails_is_reported_and_the_run_is_not_failed(provider, tmp_path, hook):
    """The exit code stays; the report keeps it, without credentials."""
    done = run(tmp_path, "--on-publish", hook, "--json")
    assert done.exit_code == ExitCode.SUCCESS, done.output
    assert "warning: the hook on_publish failed" in done.stderr
    content = json.loads(done.stdout)
    (note,) = json.loads(Path(content["report"]).read_text())["notes"]
    assert "on_publish failed" in note
    assert "secret" not in done.stderr + note


class BrokenTiny(Tiny):
    """Fails in code."""

    region_job = _Broken


class _Due(TinyJob):
    publication_delay = timedelta(0)


class DueTiny(Tiny):
    """Its files are due at once; what looks at it after a run finds an error."""

    region_job = _Due

    def validators(self):
        """Find an error."""
        return [_FindsAnError()]


class _FindsAnError:
    name = "finds an error"

    def __call__(self, context):
        yield Finding("it is wrong")


@pytest.mark.parametrize(
    ("args", "code"), [((), ExitCode.GAPS), (("--validate",), ExitCode.FAILED)]
)
def test_new_gaps_are_told_to_the_hook_for_failures(provider, tmp_path, args, code):
    """They are to be looked at, by their own exit code; what is found wrong is worse."""
    provider.path(hours(8)[1]).write_bytes(b"no array")
    TOLD.clear()
    hook = ["--on-failure", "test_follow:remember"]
    done = run(tmp_path, *hook, *args, spec="test_follow:DueTiny")
    assert done.exit_code == code, done.output
    assert [(told["event"], told["exit_code"]) for told in TOLD] == [("failure", code)]
    assert "read failed for a, b, pending" in done.stdout


@pytest.mark.parametrize(
    ("spec", "args", "error"),
    [
        ("test_follow:BrokenTiny", [], None),
        ("tiny:Tiny", ["--wait", "--deadline", "300ms", "--pause", "50ms"], "the deadline passed"),
        ("tiny:Nothing", [], "has no class Nothing"),
        ("tiny:Tiny", ["--cluster", "tcp://x:1", "--workers", "2"], "no effect"),
    ],
)
def test_failures_are_told_to_their_hook(provider, tmp_path, spec, args, error):
    """Whatever a run or its start fails of: with the exit code."""
    TOLD.clear()
    done = run(tmp_path, *args, "--on-failure", "test_follow:remember", spec=spec)
    (told,) = TOLD
    assert told["event"] == "failure"
    assert told["exit_code"] == done.exit_code != 0
    assert error is None or error in told["error"]
