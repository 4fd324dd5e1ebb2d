"""Keeps credentials out of what is said: error lines, tracebacks and logs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["keep_secret", "mask"]

SECRET_NAME = re.compile(
    r"secret|token|passw|credential|signature|api_?key|access_?key|^key$", re.I
)
# What is written after such a name.
WRITTEN = re.compile(
    r"""((?:secret|token|passw|credential|access_?key|api_?key)\w*["']?\s*[:=]\s*["']?)"""
    r"""(?!None\b|\*\*\*)[^\s"',;&)}\]]{6,}""",
    re.IGNORECASE,
)
# Shorter ones would be found in innocent words.
LEAST_LENGTH = 6

_kept: set[str] = set()


def keep_secret(options: Mapping[str, Any]) -> None:
    """Remember the values of options whose names look secret, at any depth."""
    _kept.update(value for value in _secret_values(options) if len(value) >= LEAST_LENGTH)


def mask(text: str) -> str:
    """Replace what is, or may be, a credential by `***`.

    Masked are credentials in URLs (see `gridmill.model.urls.mask_url`), values that were given as
    options or in the environment under a name that looks secret, and what is written
    after such a name. White space stays.
    """
    from gridmill.sources.fetch.credentials.hidden import hide
    from gridmill.sources.fetch.download import mask_url

    text = hide(text)
    text = re.sub(r"\S+", lambda word: mask_url(word[0]), text)
    for secret in sorted(_kept | set(_of_environment()), key=len, reverse=True):
        text = text.replace(secret, "***")
    return WRITTEN.sub(r"\1***", text)


def _secret_values(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _secret_values(value)
        elif isinstance(value, str) and SECRET_NAME.search(name):
            yield value


def _of_environment() -> Iterator[str]:
    return (value for value in _secret_values(os.environ) if len(value) >= LEAST_LENGTH)
