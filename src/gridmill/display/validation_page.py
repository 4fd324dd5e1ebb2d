"""The page of a validation: verdict, findings and pictures, in one file that needs no network."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import islice
from typing import Any

import numpy as np
import xarray as xr

from gridmill.display.facts.forms import Fact, Rows, Verdict, told
from gridmill.display.facts.validations import by_repair, describe_findings
from gridmill.display.html import render
from gridmill.model.variables import DataVar
from gridmill.model.wording import count_of, format_duration, moment
from gridmill.validation.checks.values import range_of
from gridmill.validation.context import Context
from gridmill.validation.findings import Validation

__all__ = ["validation_page"]

# Beyond, a page would be slow to make and to read.
MOST_VARIABLES_DRAWN = 40
NEEDED = ("matplotlib", "cmcrameri")


def validation_page(
    context: Context, validation: Validation, reference: xr.Dataset | None = None
) -> str:
    """Return the page of a validation.

    Parameters
    ----------
    context
        What was looked at; its statistics are computed where no validator asked for them.
    validation
        What was found.
    reference
        A dataset whose variables of the same name, or standard name, stand beside the archive's.

    Raises
    ------
    ValueError
        matplotlib or cmcrameri is not installed.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        named = " and ".join(missing)
        raise ValueError(f"pictures need {named}: pip install 'gridmill[validate]'")
    opens = not validation.found_by.get("opens")
    pictures = _pictures(context, reference) if opens and context.published else {}
    content = {
        "title": f"validation of {validation.dataset_id}",
        "verdict": describe_findings([finding.severity for finding in validation.findings]),
        "about": validation.store,
        "facts": _facts(context, validation),
        "groups": by_repair(
            found for result in validation.to_dict()["results"] for found in result["findings"]
        ),
        "availability": None,
        "statistics": None,
        "pictures": [],
        "checks": _checks(validation),
        **pictures,
    }
    return render("validation.html", content)


CHECK_COLUMNS = ("validator", "found", "in", "took")
STATISTICS_COLUMNS = (
    "variable",
    "units",
    "smallest",
    "mean",
    "largest",
    "spread",
    "missing",
    "possible",
)


def _facts(context: Context, validation: Validation) -> list[Fact]:
    facts = [Fact("checked", moment(validation.at))]
    if not validation.found_by.get("opens") and context.published:
        at = context.positions
        ends = f"{context.label(at.start)} … {context.label(at.stop - 1)}"
        facts.append(Fact("positions", f"{ends}  ({count_of(at.stop - at.start, 'position')})"))
        facts.append(Fact("variables", str(len(context.variables))))
    return told(*facts, Fact("only", validation.selection or ""))


def _checks(validation: Validation) -> Rows:
    rows = [
        (
            result.validator,
            Verdict(str(len(result.findings)), "bad")
            if result.findings
            else Verdict("well", "good"),
            result.examined,
            format_duration(result.seconds),
        )
        for result in validation.results
    ]
    return Rows(CHECK_COLUMNS, rows)


def _pictures(context: Context, reference: xr.Dataset | None) -> dict[str, Any]:
    """Draw what is there, where readers see anything."""
    from gridmill.display.pictures.drawing import availability_picture, variable_picture

    varies = any(context.config.varies(var) for var in context.variables)
    drawn = ((var, variable_picture(context, var, reference)) for var in context.variables)
    return {
        "availability": availability_picture(context) if varies else None,
        "statistics": Rows(
            STATISTICS_COLUMNS, [_statistics(context, v) for v in context.variables]
        ),
        "pictures": list(
            islice(
                ((var, drawing) for var, drawing in drawn if drawing is not None),
                MOST_VARIABLES_DRAWN,
            )
        ),
    }


def _statistics(context: Context, var: DataVar) -> tuple[str, ...]:
    stats = context.statistics(var)
    fields = stats.fields
    possible = range_of(var)
    return (
        var.name,
        str(var.attrs["units"]),
        _number(fields["minimum"].min()),
        _number(fields["mean"].mean()),
        _number(fields["maximum"].max()),
        _number(fields["std"].mean()),
        f"{float(stats.missing.mean()):.1%}",
        "–" if possible is None else f"{possible[0]:g} … {possible[1]:g}",
    )


def _number(value: xr.DataArray) -> str:
    number = float(value)
    return "–" if np.isnan(number) else f"{number:.5g}"
