"""Servers that many tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gridmill.testing import S3Server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A real S3 endpoint for the whole run; use a bucket of your own (`public` is readable)."""
    with S3Server(public_buckets=["public"]) as server:
        yield server
