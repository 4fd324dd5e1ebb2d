"""Settings from a file, the environment and the command line; and secrets that nobody sees."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gridmill.cli import ExitCode, cli
from gridmill.cli.output.secrets import keep_secret, mask
from gridmill.dataset import DynamicalDataset
from tiny import Provider, Tiny, hours, until

SECRET = "wJalrXUtnFEMI"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """Work in a folder of one's own, with the source files of eight hours."""
    monkeypatch.chdir(tmp_path)
    Provider(tmp_path / "source").publish(hours(8))
    root = logging.getLogger()
    handlers = list(root.handlers)
    yield tmp_path
    root.handlers[:] = handlers
    logging.captureWarnings(False)


def run(*args: str, env: dict[str, str] | None = None) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(cli, list(args), env=env)


def planned_store(*args: str, env: dict[str, str] | None = None) -> str:
    """Give the store that a plan is for, by its folder's name."""
    done = run("plan", "tiny:Tiny", "--now", until(8), "--json", *args, env=env)
    assert done.exit_code == 0, done.output
    return Path(json.loads(done.stdout)["store"]).name


def test_the_command_line_comes_before_the_environment_before_the_file(here):
    """Each overrides those before it, and the file that is named the one that lies here."""
    (here / "gridmill.toml").write_text('store = "of-the-file"')
    (here / "other.toml").write_text('store = "of-the-other-file"')
    env = {"GRIDMILL_STORE": "of-the-environment"}
    assert planned_store() == "of-the-file"
    assert planned_store("--config", "other.toml") == "of-the-other-file"
    assert planned_store(env={"GRIDMILL_CONFIG": "other.toml"}) == "of-the-other-file"
    assert planned_store(env=env) == "of-the-environment"
    assert planned_store("--store", "given", env=env) == "given"


def test_settings_of_a_dataset_hold_for_it_only(here):
    """They come before those of all."""
    (here / "gridmill.toml").write_text(
        'store = "common"\n[datasets."tiny:Tiny"]\nstore = "its-own"\n'
        '[datasets.ostia-sst-monthly]\nstore = "no"'
    )
    assert planned_store() == "its-own"
    (here / "gridmill.toml").write_text(
        'store = "common"\n[datasets.ostia-sst-monthly]\nstore = "no"'
    )
    assert planned_store() == "common"


def test_a_run_takes_all_that_a_file_can_say(here):
    """Lists, tables, numbers and flags arrive as their options have them."""
    (here / "gridmill.toml").write_text(
        'store = "a.zarr"\nsource-base = ["nowhere", "source"]\ncluster = "local"\nworkers = 1\n'
        "cluster-option = { processes = false, protocol = 'tcp://', "
        "dashboard_address = '127.0.0.1:0' }\nfsync = true\n"
    )
    done = run("update", "tiny:Tiny", "--now", until(8))
    assert done.exit_code == ExitCode.SUCCESS, done.output
    assert "(8 positions)" in done.stdout


def test_what_a_file_says_of_its_cluster_does_not_hold_for_another(here):
    """A cluster on the command line starts without the file's options."""
    (here / "gridmill.toml").write_text(
        'store = "a"\nsource-base = ["source"]\ncluster = "coiled"\nworkers = 20\n'
        "cluster-option = { region = 'x' }"
    )
    done = run("update", "tiny:Tiny", "--now", until(8), "--cluster", "none")
    assert done.exit_code == ExitCode.SUCCESS, done.output


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        ("stoer = 'a'", "'stoer' is no setting: did you mean store?"),
        ("until = '2020'", "'until' is no setting"),
        ("yes = true", "'yes' is no setting"),
        ("workers = 'two'", "workers is a whole number, not 'two'"),
        ("workers = true", "workers is a whole number, not True"),
        ("wait = 1", "wait is true or false, not 1"),
        ("store = 1", "store is a text, not 1"),
        ("source-base = [1]", "source-base is a text"),
        ("cluster-option = 'a=1'", "cluster-option is a table"),
        ("workers = 0", "0 is not in the range"),
        ("datasets = 1", "datasets is a table of tables"),
        ("[datasets.x]\nstor = 'a'", "gridmill.toml, datasets.x: 'stor' is no setting"),
        ("[datasets]\nx = 1", "datasets.x: 1 is no table"),
        ("store =", "gridmill.toml cannot be read: Invalid value"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(here, content, fragment):
    """File, setting and rule are named; also what concerns another command or dataset."""
    (here / "gridmill.toml").write_text(content)
    done = run("update", "tiny:Tiny", "--store", "a")
    assert done.exit_code == ExitCode.WRONG_INPUT
    (line,) = done.stderr.splitlines()
    assert fragment in line


def test_a_file_that_is_named_must_be_there():
    """One that is not is a mistake, not the default."""
    done = run("plan", "tiny:Tiny", "--config", "nowhere.toml")
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert "nowhere.toml cannot be read" in done.stderr


def test_a_broken_file_does_not_stand_in_the_way_of_help(here):
    """One can still look up what is right."""
    (here / "gridmill.toml").write_text("nonsense")
    assert run("--help").exit_code == 0
    assert run("update", "-h").exit_code == run("update", "--help").exit_code == 0


# -- secrets ----------------------------------------------------------------------------------


class Chatty(Tiny):
    """Says in an error, and in a log, all that it knows."""

    def __init__(self, store, **options):
        super().__init__(store, **{**options, "storage_options": None})
        self.known = options["storage_options"]

    def status(self, **options):
        """Fail with it."""
        logging.getLogger("gridmill.chatty").warning("known: %s", self.known)
        raise RuntimeError(f"could not sign with {self.known} at https://me:{SECRET}2@host/x")


def test_no_secret_is_in_an_error_a_traceback_or_a_log(here):
    """Not even with --debug, and not what the environment holds either."""
    assert issubclass(Chatty, DynamicalDataset)
    make = ["update", "tiny:Tiny", "--store", "a", "--source-base", "source", "--cluster", "none"]
    assert run(*make, "--now", until(8)).exit_code == ExitCode.SUCCESS
    nested = json.dumps({"aws_secret_access_key": f"{SECRET}3"})
    options = [f"--store-option=secret={SECRET}", f"--store-option=client_kwargs={nested}"]
    args = ["status", "test_settings:Chatty", "--store", "a", *options]
    for more in ([], ["--debug"], ["--debug", "--log-format", "json"]):
        done = run(*args, *more)
        assert done.exit_code == ExitCode.FAILED
        assert "could not sign with" in done.stderr
        assert "known: " in done.stderr
        assert "***" in done.stderr
        assert SECRET not in done.output
    assert "Traceback" in done.stderr


def test_masking_leaves_the_rest_as_it_is(monkeypatch):
    """Only what is secret goes; layout and innocent words stay."""
    monkeypatch.setenv("EXAMPLE_API_TOKEN", "abcdef123456")
    keep_secret({"endpoint_url": "http://127.0.0.1:9000", "key": "AKIAEXAMPLE"})
    text = "  File 'x.py'\n\tkey = AKIAEXAMPLE at http://127.0.0.1:9000 with abcdef123456\n"
    assert mask(text) == "  File 'x.py'\n\tkey = *** at http://127.0.0.1:9000 with ***\n"
    assert mask("{'secret': 'not-known-before', 'region': 'us-east-1'}") == (
        "{'secret': '***', 'region': 'us-east-1'}"
    )
    assert mask("the token of a region: 20 tokens, token=None") == (
        "the token of a region: 20 tokens, token=None"
    )


def test_logs_for_machines_are_an_object_a_line(here):
    """With time, level, logger and message; stdout stays what it was."""
    args = ["update", "tiny:Tiny", "--store", "a", "--source-base", "source", "--cluster", "none"]
    done = run(*args, "--now", until(8), "--verbose", "--log-format", "json")
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    loggers = {line["logger"] for line in lines}
    assert loggers >= {"gridmill.runs.narration", "gridmill.publishing.publisher"}
    assert {"time", "level", "logger", "message"} == set(lines[0])
