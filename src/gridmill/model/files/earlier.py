"""What a place held before what it holds now. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

__all__ = ["Earlier", "kept_compactly"]

# Of one place; a file that is revised every day must not let its record grow for years.
MOST_EARLIER = 10
NEVER_LEFT_OUT = {"variables", "extra"}


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """An earlier version of a place: of a source file, or of who made values of the same file.

    Parameters
    ----------
    variables
        Whose values it gave.
    url
        The source file; empty: the region's source files stayed as they were, and another gridmill,
        epoch or declared version made their values.
    start, stop
        Positions along the append dim, relative to the region's start.
    status
        What had become of the file, see `SourceFileStatus`; empty with `url`.
    nbytes, last_modified, checksum
        Which version of the file it was, see `SourceFileRecord`.
    arrived
        When that version was fetched first (ISO 8601, UTC).
    run
        Which of the record's runs made the values.
    by
        Which of them replaced them.
    until
        When (ISO 8601, UTC).
    extra
        What a later gridmill wrote: kept.
    """

    variables: tuple[str, ...]
    url: str = ""
    start: int = 0
    stop: int = 0
    status: str = ""
    nbytes: int | None = None
    last_modified: str | None = None
    checksum: str | None = None
    arrived: str | None = None
    run: int | None = None
    by: int = 0
    until: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def place(self) -> tuple[str, int, int]:
        """What it is an earlier version of."""
        return self.url, self.start, self.stop

    def to_dict(self) -> dict[str, Any]:
        """Return what is not as by default."""
        own = {name: getattr(self, name) for name in _DEFAULTS}
        said = {name: value for name, value in own.items() if value != _DEFAULTS[name]}
        return {**self.extra, "variables": self.variables, **said}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Earlier:
        """Read what `to_dict` gave."""
        own = {name: raw[name] for name in raw.keys() & _DEFAULTS.keys()}
        extra = {name: raw[name] for name in raw.keys() - own.keys() - {"variables"}}
        return cls(variables=tuple(raw["variables"]), extra=extra, **own)


_DEFAULTS = {one.name: one.default for one in fields(Earlier) if one.name not in NEVER_LEFT_OUT}


def kept_compactly(found: Iterable[Earlier]) -> tuple[Earlier, ...]:
    """Join what variables have in common, and keep the latest versions of each place.

    Examples
    --------
    >>> one, other = (Earlier(variables=(name,), url="f", by=1) for name in "ab")
    >>> [version.variables for version in kept_compactly([one, other])]
    [('a', 'b')]
    """
    joined: dict[Earlier, tuple[str, ...]] = {}
    for version in found:
        of_all = replace(version, variables=())
        joined[of_all] = tuple(dict.fromkeys((*joined.get(of_all, ()), *version.variables)))
    kept: list[Earlier] = []
    times: dict[tuple[tuple[str, ...], tuple[str, int, int]], int] = {}
    for of_all, variables in reversed(joined.items()):
        key = variables, of_all.place
        times[key] = times.get(key, 0) + 1
        if times[key] <= MOST_EARLIER:
            kept.append(replace(of_all, variables=variables))
    return tuple(reversed(kept))
