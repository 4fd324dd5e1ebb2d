"""What errors about source files show of their addresses, which may hold a login or a token."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gridmill import Address, DownloadSettings, RegionJob, SourceFileCoord, fetch
from gridmill.planning.source_files.places import place_files
from gridmill.sources.fetch.credentials.access import NO_ACCESS
from gridmill.sources.listings.asking import Asked, Limits, ask_folder

SECRET = "me:hush@example.org/a?token=hush"


@dataclass(frozen=True)
class Somewhere(SourceFileCoord):
    """A file of a dim that no variable has."""

    def get_url(self) -> str:
        """Return an address that holds a login."""
        return f"https://{SECRET}"

    def out_loc(self) -> dict[str, Any]:
        """Name a dim that there is not."""
        return {"nowhere": 0}


class Job:
    """Gives that file, of a shape that does not fit."""

    access = NO_ACCESS

    def generate_source_file_coords(self, ds: Any, variables: Any) -> list[SourceFileCoord]:
        """Give it."""
        return [Somewhere()]

    def read_data(self, coord: Any, data_var: Any) -> Any:
        """Give one value too many."""
        return np.zeros(2)


def failing(kind: str, path: object) -> object:
    """Return what fails with an address in its error."""
    url = f"gopher://{SECRET}"
    if kind == "address":
        return Address(url, provisional=" ")
    if kind == "listing":
        return ask_folder(url, "by address", DownloadSettings(), Limits(), Asked())
    if kind == "repository":
        remote = pytest.importorskip("gridmill.sources.arrays.icechunk").IcechunkRemote
        return remote(url, DownloadSettings(), "main")
    job: Any = Job()
    if kind == "place":
        return list(place_files(job, SimpleNamespace(dims=()), job, []))  # type: ignore[arg-type]
    if kind == "shape":
        data_var: Any = SimpleNamespace(name="t2m", dims=("time",), regridded=None)
        return RegionJob.read_data_into(job, Somewhere(), data_var, np.zeros(1))
    return fetch(url, path)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["address", "listing", "repository", "place", "shape", "file"])
def test_an_address_in_an_error_shows_no_credential(kind, tmp_path):
    """Whichever part of gridmill refuses it."""
    with pytest.raises(ValueError, match=r"example\.org/a") as caught:
        failing(kind, tmp_path / "a")
    assert "hush" not in repr(caught.value)
    assert "token=***" in str(caught.value)
