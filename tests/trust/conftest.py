"""One cluster, one reader and one set of reference archives for all tests of trust."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from trust_harness import Lab


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Where drivers meet faults."""
    with Lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab
