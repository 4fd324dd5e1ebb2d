"""What the long product found is kept with its date and commit, and is never made up."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from repository import ROOT

ENTRY = {
    "name": "died at a backfill",
    "error": None,
    "injected": {"death": 2},
    "completed": 1,
    "opens": 30,
    "torn": 0,
    "violations": 0,
    "objects_redone": 1,
    "files_redone": 2,
}


@pytest.fixture
def long(monkeypatch, tmp_path) -> ModuleType:
    """The script, which keeps its result elsewhere here."""
    spec = importlib.util.spec_from_file_location("long_run", ROOT / "tests/trust/long.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RESULT", tmp_path / "last_result.json")
    monkeypatch.setattr(module, "commit_here", lambda: "0123456789abcdef")
    monkeypatch.chdir(tmp_path)
    return module


def let_chaos(monkeypatch: pytest.MonkeyPatch, **found: dict[str, Any]) -> None:
    """Let the chaos find these on each kind of store."""

    def main(arguments: list[str]) -> int:
        kind, path = arguments[-3], arguments[-1]
        with Path(path).open("w") as results:
            results.write(json.dumps({**ENTRY, **found[kind]}) + "\n")
        return int(bool(found[kind].get("violations")))

    chaos = ModuleType("chaos")
    chaos.KINDS, chaos.main = tuple(found), main
    monkeypatch.setitem(sys.modules, "chaos", chaos)


def test_without_a_run_there_is_no_result(long, capsys):
    """The target says how one is made, and writes nothing."""
    assert long.main(["--show"]) == 0
    assert "no long run is recorded: make test-long" in capsys.readouterr().out
    assert not long.RESULT.exists()


def test_a_result_is_kept_with_date_and_commit(long, monkeypatch, capsys, tmp_path):
    """One failure on one kind of store is a failure of all, and names the run."""
    (tmp_path / "build").mkdir()
    let_chaos(monkeypatch, local={}, s3={"violations": 3})
    assert long.main(["--minutes", "0", "--seed", "5"]) == 1
    kept = json.loads(long.RESULT.read_text())
    assert (kept["passed"], kept["commit"], kept["seed"]) == (False, "0123456789abcdef", 5)
    assert kept["date"].startswith("20")
    assert kept["stores"]["local"]["failed"] == []
    assert kept["stores"]["s3"]["failed"] == ["died at a backfill"]
    assert "last long run: FAILED" in capsys.readouterr().out


def test_a_good_result_passes(long, monkeypatch, capsys, tmp_path):
    """A result that is kept is shown as it was found."""
    (tmp_path / "build").mkdir()
    let_chaos(monkeypatch, local={})
    assert long.main([]) == 0
    assert long.main(["--show"]) == 0
    assert capsys.readouterr().out.count("last long run: passed") == 2
