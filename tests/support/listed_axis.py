"""Labels for a template that takes them from its provider's listing, where nobody is asked."""

from __future__ import annotations

from typing import Any

import pandas as pd

__all__ = ["with_labels"]


def with_labels(config: Any) -> Any:
    """Return a template; if it has no labels without its provider, one every five minutes."""
    if len(config.append_dim_coordinates(config.label("2026-01-01"))):
        return config
    labels = pd.date_range(config.append_dim_start, periods=100, freq="5min")
    config.append_dim_coordinates = lambda end: labels[labels < config.label(end)]
    return config
