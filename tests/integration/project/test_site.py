"""The documentation site is built from this tree, whole and without a warning."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gridmill.cli import cli
from gridmill.registry import dataset_names
from repository import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site; notebooks are run by tests of their own."""
    out = tmp_path_factory.mktemp("site")
    options = ["-q", "-W", "--keep-going", "-D", "nb_execution_mode=off"]
    build = [sys.executable, "-m", "sphinx", *options, "-d", str(out / "trees"), "docs", str(out)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


def test_every_command_and_dataset_has_its_place(site: Path) -> None:
    """Commands are sections of one page, datasets are pages."""
    shown = (site / "reference" / "cli.html").read_text()
    assert not [name for name in cli.commands if f'id="gridmill-{name}"' not in shown]
    assert not [n for n in dataset_names() if not (site / "catalogue" / f"{n}.html").exists()]


def test_a_page_needs_no_network(site: Path) -> None:
    """Styles and scripts of every page are files of the site."""
    loaded = re.compile(r'<(?:script|link rel="stylesheet"|img)[^>]*(?:src|href)="(https?:[^"]*)"')
    found = {url for page in site.rglob("*.html") for url in loaded.findall(page.read_text())}
    assert found == set()


def test_external_links_are_listed_with_their_pages(site: Path) -> None:
    """The build needs no network and follows none; whoever has one can, see the list."""
    lines = (site / "external-links.txt").read_text().splitlines()
    listed = {url: pages.split() for url, _, pages in (line.partition("  ") for line in lines)}
    assert "compared" in [page for pages in listed.values() for page in pages]
    assert all(url.startswith("http") and pages for url, pages in listed.items())
    linked = set(
        re.findall(
            r'<a class="reference external" href="(https?://[^"#]*)"',
            (site / "compared.html").read_text(),
        )
    )
    assert linked
    assert linked <= {url.partition("#")[0] for url in listed}


def test_a_phone_shows_a_picture_that_can_be_read(site: Path) -> None:
    """The home page has the pipeline in two shapes, each for light and dark, and styles choose."""
    home, styles = (site / "index.html").read_text(), (site / "_static" / "site.css").read_text()
    for shape in ("wide", "narrow"):
        for theme in ("light", "dark"):
            (drawing,) = re.findall(rf'<img[^>]*class="pipeline {shape} only-{theme}[^>]*>', home)
            assert "alt=" in drawing
    assert re.search(r"max-width: 40rem\).*\.wide \{ display: none", styles, re.DOTALL)


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    """What `import gridmill` offers is described."""
    import gridmill

    pages = {page.stem.removeprefix("gridmill.") for page in site.rglob("reference/api/*.html")}
    assert set(gridmill.__all__) - {"__version__"} <= pages
