"""Labels that go back and forth are reported: they may be meant, and readers stumble over them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tiny import Provider, TinyTemplate, dataset_of, hours, until


@pytest.mark.parametrize(
    ("labels", "is_told"),
    [([0.0, 2.0, 1.0], True), ([2.0, 1.0, 0.0], False), ([0.0, 1.0, 2.0], False)],
)
def test_labels_that_go_back_and_forth_are_a_warning(tmp_path: Path, labels, is_told) -> None:
    """Falling ones are as good as rising ones."""

    class Template(TinyTemplate):
        """On such columns."""

        def dimension_coordinates(self):
            """Give rows and columns."""
            return {**super().dimension_coordinates(), "x": np.array(labels)}

    Provider(tmp_path / "source").publish(hours(4))
    base = str(tmp_path / "source")
    dataset = dataset_of(template=Template)(tmp_path / "a", source_base=base)
    dataset.backfill(until(4), client="none", now=until(4))
    report = dataset.validate(now=until(4))
    assert report.succeeded
    found = [(f.severity, f.variables) for f in report.findings if "back and forth" in f.message]
    assert found == [("warning", ("x",))] * is_told
