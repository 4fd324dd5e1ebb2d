"""The examples below deploy/ are right by the tools made for them, and by gridmill itself."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from gridmill.cli import cli
from repository import ROOT

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"
DASHBOARD = DEPLOY / "grafana" / "gridmill.json"


def run_tool(name: str, *args: str, cwd: Path = DEPLOY) -> None:
    """Run a tool on files, or skip where it is not installed."""
    tool = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if tool is None:
        pytest.skip(f"{name} is not installed")
    done = subprocess.run([tool, *args], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_systemd_knows_the_units() -> None:
    """Units and timers load without a complaint."""
    units = [str(path) for path in sorted((DEPLOY / "systemd").iterdir())]
    run_tool("systemd-analyze", "verify", *units)


def test_alerts_fire_when_they_should() -> None:
    """Prometheus reads the rules, and its own test of them passes."""
    run_tool("promtool", "test", "rules", "rules_test.yml", cwd=RULES.parent)


def test_prometheus_accepts_the_rules() -> None:
    """Each expression parses, and no rule is there twice."""
    run_tool("promtool", "check", "rules", RULES.name, cwd=RULES.parent)


def test_grafana_knows_the_dashboard() -> None:
    """Grafana's own typed models keep every field of it with its value."""
    dashboard = json.loads(DASHBOARD.read_text())
    assert list(unknown_to_grafana(dashboard)) == []


def test_grafana_knows_no_other_fields() -> None:
    """A misspelt field, and a panel's field on a target, are found."""
    dashboard = json.loads(DASHBOARD.read_text())
    dashboard["panels"][0]["gridPoz"] = {"x": 0}
    dashboard["panels"][1]["targets"][0]["unit"] = "s"
    dashboard["refesh"] = "30s"
    assert sorted(unknown_to_grafana(dashboard)) == [
        "/panels/0/gridPoz",
        "/panels/1/targets/0/unit",
        "/refesh",
    ]


def unknown_to_grafana(dashboard: dict[str, Any]) -> Iterator[str]:
    """Yield the paths of what Grafana's models drop or change."""
    reason = "grafana-foundation-sdk is not installed"
    models = pytest.importorskip("grafana_foundation_sdk.models.dashboard", reason=reason)
    plugins = pytest.importorskip("grafana_foundation_sdk.cog.plugins", reason=reason)
    encoder = pytest.importorskip("grafana_foundation_sdk.cog.encoder", reason=reason)
    plugins.register_default_plugins()
    decoded = models.Dashboard.from_json(dashboard)
    return differences(dashboard, json.loads(encoder.JSONEncoder().encode(decoded)))


def differences(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Yield the paths at which two JSON values differ; what only the second has is a default."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key in after:
                yield from differences(value, after[key], f"{path}/{key}")
            else:
                yield f"{path}/{key}"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from differences(one, other, f"{path}/{index}")
    elif before != after:
        yield path


@pytest.mark.parametrize("script", ["prometheus/check.sh", "slurm/my-forecast.sbatch"])
def test_scripts_are_shell(script: str) -> None:
    """A shell reads them whole."""
    run_tool("bash", "-n", script)


@pytest.mark.parametrize("script", ["prometheus/check.sh", "slurm/my-forecast.sbatch"])
def test_shellcheck_finds_nothing(script: str) -> None:
    """Quoting and expansion are safe."""
    run_tool("shellcheck", script)


def commands_of(path: Path) -> list[list[str]]:
    """Return the gridmill commands of a file."""
    text = re.sub(r"\\\n\s*", " ", path.read_text())
    found = re.findall(r"(?:^|env |exec )(gridmill [a-z][^\n'>]*)", text, re.MULTILINE)
    # What a shell would put in is a date.
    return [shlex.split(re.sub(r"\$+\([^)]*\)", "2025-06-24", command)) for command in found]


def test_commands_of_the_examples_parse() -> None:
    """Each has the options and arguments that it is called with."""
    files = [path for path in DEPLOY.rglob("*") if path.suffix in (".service", ".sbatch", ".sh")]
    commands = [command for path in files for command in commands_of(path)]
    assert len(commands) >= 4
    for _, name, *args in commands:
        parent = click.Context(cli, info_name="gridmill", **cli.context_settings)
        needed = [] if "--store" in args else ["--store", "a.zarr"]
        cli.commands[name].make_context(name, [*args, *needed], parent=parent)


def test_the_coiled_script_compiles() -> None:
    """It is Python; what it calls is tested with Coiled's signature in test_signatures.py."""
    path = DEPLOY / "coiled" / "backfill.py"
    compile(path.read_text(), path.name, "exec")


def test_metrics_are_those_that_are_served() -> None:
    """Dashboard and rules ask for metrics of Dask, of gridmill, or of the check."""
    pytest.importorskip("prometheus_client")
    expressions = [
        t["expr"] for p in json.loads(DASHBOARD.read_text())["panels"] for t in p["targets"]
    ]
    rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    expressions += [rule["expr"] for rule in rules]
    asked = {
        name for text in expressions for name in re.findall(r"(?:gridmill|dask)[_:][\w:]+", text)
    }
    recorded = {rule["record"] for rule in rules if "record" in rule}
    written = re.findall(
        r"^(gridmill_\w+)\{", (RULES.parent / "check.sh").read_text(), re.MULTILINE
    )
    assert asked <= recorded | set(written) | served_by_dask() | served_by_gridmill()


def served_by_gridmill() -> set[str]:
    """Return the names of our metrics."""
    from gridmill.runs.dask.metrics import _counters

    counters = _counters()
    assert counters is not None
    return {f"{counter._name}_total" for counter in counters}


def served_by_dask() -> set[str]:
    """Return the names that Dask's sources build for scheduler and worker."""
    import distributed.http

    found = set()
    for kind in ("scheduler", "worker"):
        source = Path(distributed.http.__path__[0], kind, "prometheus", "core.py").read_text()
        names = re.findall(r'build_name\(\s*"(\w+)"', source)
        found |= {f"dask_{kind}_{name}" for name in names}
    return found
