"""Addresses of dynamical.org's public copies of what providers keep for days only."""

from __future__ import annotations

__all__ = ["DYNAMICAL"]

DYNAMICAL = "https://s3-us-west-2.amazonaws.com/us-west-2.opendata.source.coop/dynamical"
