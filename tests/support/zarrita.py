"""zarrita.js, from npm, in Node and in a headless Chromium."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from web_files import WebFiles

__all__ = ["Zarrita", "browser_missing", "zarrita_missing"]

READER = Path(__file__).parent / "zarrita_reader.mjs"
PROGRAM = """
import {{ readAll }} from "./zarrita_reader.mjs";
console.log(JSON.stringify(await readAll("{url}", {names})));
"""
PAGE = """<!doctype html><script type="importmap">{imports}</script><script type="module">
let seen;
try {{
  const {{ readAll }} = await import("/zarrita_reader.mjs");
  seen = await readAll("{url}", {names});
}} catch (error) {{ seen = {{ error: String(error) }}; }}
await fetch("/result", {{ method: "POST", body: JSON.stringify(seen) }});
</script>"""
CHROMIUM = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
ANSWER_S = 90.0


def _modules() -> Path | None:
    """Find npm's folder below GRIDMILL_ZARRITA, or the working folder."""
    given = os.environ.get("GRIDMILL_ZARRITA")
    found = (Path(given) if given else Path.cwd()) / "node_modules"
    return found.absolute() if (found / "zarrita").is_dir() else None


def zarrita_missing() -> str:
    """Say why zarrita.js does not run; empty where it does."""
    if shutil.which("node") is None:
        return "no Node: apt-get install nodejs npm"
    if _modules() is None:
        return "no zarrita: npm install zarrita, and GRIDMILL_ZARRITA names the folder"
    return ""


def browser_missing() -> str:
    """Say why it runs in no browser; empty where it does."""
    return zarrita_missing() or ("" if shutil.which("chromium") else "no Chromium: apt-get install")


class Zarrita:
    """Reads archives; `version` is zarrita's own.

    Parameters
    ----------
    folder
        An empty one for programs and pages.
    """

    def __init__(self, folder: Path) -> None:
        modules = _modules()
        assert modules is not None
        self.folder = folder
        shutil.copy(READER, folder)
        (folder / "node_modules").symlink_to(modules)
        self._imports = {}
        for name in (
            "zarrita",
            "@zarrita/storage",
            "numcodecs",
            "reference-spec-reader",
            "unzipit",
        ):
            self._imports |= _addresses(modules / name, name)
        self.version = json.loads((modules / "zarrita" / "package.json").read_text())["version"]

    def in_node(self, url: str, names: list[str]) -> dict[str, Any]:
        """Return the values that a program reads."""
        program = self.folder / "program.mjs"
        program.write_text(PROGRAM.format(url=url, names=json.dumps(names)))
        done = subprocess.run(
            ["node", str(program)], capture_output=True, text=True, timeout=ANSWER_S
        )
        return json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr}

    def in_browser(self, server: WebFiles, url: str, names: list[str]) -> dict[str, Any]:
        """Return the values that a page of `server`, which serves `folder`, reads."""
        page = PAGE.format(
            url=url, names=json.dumps(names), imports=json.dumps({"imports": self._imports})
        )
        (self.folder / "page.html").write_text(page)
        server.answered.clear()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            place = [f"--user-data-dir={profile}", f"{server.url}/page.html"]
            process = subprocess.Popen(
                ["chromium", *CHROMIUM, *place],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                assert server.answered.wait(ANSWER_S), "the page did not answer"
            finally:
                process.terminate()
                process.wait()
        return dict(server.result)


def _addresses(package: Path, name: str) -> dict[str, str]:
    """Return where a browser finds what a package exports, as Node finds it by package.json."""
    told = json.loads((package / "package.json").read_text())
    exports = told.get("exports") or {".": told.get("module") or told["main"]}
    if "." not in exports:
        exports = {".": exports}
    found = {}
    for path, target in exports.items():
        while isinstance(target, dict):
            target = target.get("browser") or target.get("import") or target.get("default")
        if target is not None:
            key = name if path == "." else f"{name}/{path.removeprefix('./')}"
            found[key] = f"/node_modules/{name}/{target.removeprefix('./')}"
    return found
