"""What most operations are tried on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiny import Provider, hours


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    """A provider with twelve files."""
    provider = Provider(tmp_path / "source")
    provider.publish(hours(12))
    return provider
