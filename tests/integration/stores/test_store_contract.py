"""The contract of final stores, over local Zarr, S3 Zarr and Icechunk on both."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from gridmill.stores.final_store import FinalStore
from gridmill.stores.opening import open_store
from gridmill.testing import S3Server, StoreContract


class TestLocalZarr(StoreContract):
    """Plain Zarr in a local folder."""

    def make_store(self, tmp_path: Path) -> FinalStore:
        """Give a store in a folder."""
        return open_store(str(tmp_path / "a.zarr"), "contract")


class TestLocalIcechunk(StoreContract):
    """Icechunk in a local folder."""

    def make_store(self, tmp_path: Path) -> FinalStore:
        """Give a repository in a folder."""
        return open_store(str(tmp_path / "a.icechunk"), "contract")


class OnS3(StoreContract):
    """Any format in a bucket of a real server."""

    format = "zarr"
    secrets = (S3Server.secret_key,)

    @pytest.fixture(autouse=True)
    def _server(self, s3_server: S3Server) -> None:
        self.server = s3_server

    def make_store(self, tmp_path: Path) -> FinalStore:
        """Give a store below a prefix."""
        return open_store(
            f"s3://public/contract/{uuid.uuid4().hex}",
            "contract",
            format=self.format,
            storage_options=self.server.storage_options,
        )


class TestS3Zarr(OnS3):
    """Plain Zarr in a bucket."""


class TestS3Icechunk(OnS3):
    """Icechunk in a bucket."""

    format = "icechunk"
