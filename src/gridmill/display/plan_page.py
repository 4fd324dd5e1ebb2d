"""A plan as a page, and as what a notebook shows of it. Pure.

See Also
--------
gridmill.display.facts : what is said of a plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gridmill.display.facts.forms import Verdict
from gridmill.display.facts.plans import (
    describe_plan,
    region_label,
    regions_skipped,
    regions_to_do,
    why_skipped,
    why_to_do,
)
from gridmill.display.html import render
from gridmill.display.stretches import Stretch, stretches_chart
from gridmill.model.wording import count_of

__all__ = ["plan_card", "plan_page"]

# What is told at once; all of it is behind a click.
MOST_ROWS = 20


def plan_page(content: Mapping[str, Any]) -> str:
    """Return the page of a plan: what a run will do and need, and what it will skip.

    Parameters
    ----------
    content
        What `Plan.describe` gives.
    """
    return render("plan.html", _shown(content))


def plan_card(content: Mapping[str, Any]) -> str:
    """Return what a notebook shows of a plan, see `plan_page`."""
    return render("plan_card.html", _shown(content))


def _shown(content: Mapping[str, Any]) -> dict[str, Any]:
    to_do = content["region_jobs_to_do"]
    what = f"{count_of(to_do, 'region')} to do" if to_do else "nothing to do"
    return {
        "title": f"plan: {content['kind']} of {content['dataset_id']}",
        "verdict": Verdict(what, "quiet"),
        "about": content["store"],
        "facts": describe_plan(content),
        "warnings": content["warnings"],
        "chart": _chart(content),
        "to_do": regions_to_do(content),
        "skipped": regions_skipped(content),
        "most": MOST_ROWS,
    }


def _chart(content: Mapping[str, Any]) -> str:
    """Draw along the append dim what is done, and what is to do."""
    varying = [region for region in content["regions"] if region["first"] is not None]
    if not varying:
        return ""
    stretches = [
        Stretch(region["start"], region["stop"], _state(region), _tooltip(region))
        for region in varying
    ]
    return stretches_chart(stretches, content["positions"], content["published"])


def _state(region: Mapping[str, Any]) -> str:
    if not region["todo"]:
        return "done"
    return "partly done" if region["skipped"] else "to do"


def _tooltip(region: Mapping[str, Any]) -> str:
    return f"{region_label(region)}: {why_to_do(region) or why_skipped(region)}"
