"""Whether an archive is right: validators, each a small frozen value, and what they find.

A validator of one's own is a frozen dataclass with a `name` and ``check(context) -> CheckResult``;
a dataset names it in `DynamicalDataset.validators`.
"""

from __future__ import annotations

from gridmill.validation.checks.cf_conventions import CfConventions
from gridmill.validation.checks.due import Complete, Current
from gridmill.validation.checks.metadata import (
    CoordinatesAsDeclared,
    MadeAsNow,
    MetadataAsDeclared,
    Opens,
)
from gridmill.validation.checks.objects import ObjectsIntact
from gridmill.validation.checks.replicas import ReplicasEqual
from gridmill.validation.checks.sources import SourcesAgree
from gridmill.validation.checks.values import (
    AllReadable,
    LevelShift,
    MissingValues,
    NoConstantField,
    NoRepeatedField,
    PhysicalRange,
    Tier,
)
from gridmill.validation.context import Context, Validator
from gridmill.validation.findings import CheckResult, Finding, Validation
from gridmill.validation.validate import DEFAULT_VALIDATORS, look_at, validate

__all__ = [
    "DEFAULT_VALIDATORS",
    "AllReadable",
    "CfConventions",
    "CheckResult",
    "Complete",
    "Context",
    "CoordinatesAsDeclared",
    "Current",
    "Finding",
    "LevelShift",
    "MadeAsNow",
    "MetadataAsDeclared",
    "MissingValues",
    "NoConstantField",
    "NoRepeatedField",
    "ObjectsIntact",
    "Opens",
    "PhysicalRange",
    "ReplicasEqual",
    "SourcesAgree",
    "Tier",
    "Validation",
    "Validator",
    "look_at",
    "validate",
]
