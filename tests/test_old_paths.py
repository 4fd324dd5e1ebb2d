"""What authors imported from gridmill 0.1.0 is found under the paths that it had."""

from __future__ import annotations

import importlib
import sys

import pytest

NAMES = {
    "gridmill.grib_region_job": ["ForecastFile", "GribForecastJob", "GribVar", "Level", "Window"],
    "gridmill.progress": [
        "ObjectReceipt",
        "ProgressRecord",
        "PublishWhen",
        "RegionState",
        "SourceFileRecord",
        "SourceFileStatus",
        "SourceFill",
        "VariableRecord",
        "region_state",
    ],
    "gridmill.region_job": ["ProcessResults", "RegionJob", "SourceFileCoord"],
    "gridmill.run_report": [
        "Failure",
        "FetchedFile",
        "Problem",
        "RegionTimes",
        "ReplicaOutcome",
        "RunReport",
        "join_reports",
    ],
    "gridmill.template": ["TemplateConfig", "just_after", "parse_label"],
    "gridmill.transforms": [
        "DeaccumulationCounts",
        "deaccumulate_inplace",
        "deaccumulation_footprint",
        "interpolate_single_gaps_inplace",
        "interpolation_footprint",
        "round_mantissa_inplace",
        "scale_inplace",
    ],
}


@pytest.mark.parametrize("module", NAMES)
def test_names_are_found_where_they_were(module):
    """Every public name of a module that was divided is found in it, with a warning."""
    sys.modules.pop(module, None)
    with pytest.warns(DeprecationWarning, match=f"{module} is gridmill[.]"):
        old = importlib.import_module(module)

    assert [name for name in NAMES[module] if not hasattr(old, name)] == []
    with pytest.raises(ImportError):
        exec(f"from {module} import nothing_of_that_name")
