"""What `gridmill layout` says that reads cost."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from generated import GeneratedTemplate, times_of
from georeferenced import ForGdalTemplate
from gridmill.datasets.noaa.gfs_forecast import NoaaGfsForecast
from gridmill.display.terminal.structure import layout_content, show_layout


def test_a_forecast_is_compared_with_the_best_known_archive() -> None:
    """Requests of the three reads, declared, proposed and public; levels have no public one."""
    config = NoaaGfsForecast.template_config()
    surface, levels = layout_content(config, "2026-01-01", None)["cuts"]
    reads = {cost["read"]: cost["requests"] for cost in surface["access"]["public"]}
    assert reads == {"point series": 2000, "map": 74, "forecast": 3}
    assert len(surface["access"]["declared"]) == len(surface["access"]["proposed"]) == 3
    assert levels["access"]["public"] is None


def test_the_trade_and_the_readers_are_explained() -> None:
    """GDAL is named where shards or crc32c keep an old one out, and only there."""
    for template, is_named in ((GeneratedTemplate, True), (ForGdalTemplate, False)):
        content = layout_content(template(), times_of(8)[-1], None)
        out = StringIO()
        Console(file=out, width=200).print(show_layout(content))
        assert "Long chunks along time make series cheap" in out.getvalue()
        assert ("GDAL reads shards" in out.getvalue()) == is_named
