"""How the files of a folder are called: a pattern with fields, which their names are read by.

Own and strict rather than a library's: of those that read names backwards, one is under the GPL and
another takes "2025-13-01" for a name that is not its business or for an error, as it comes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

__all__ = ["Pattern"]

# How many digits each part of a date has; as `datetime.strptime` reads them.
DIGITS = {
    "Y": r"\d{4}",
    "y": r"\d{2}",
    "m": r"\d{2}",
    "d": r"\d{2}",
    "j": r"\d{3}",
    "H": r"\d{2}",
    "M": r"\d{2}",
    "S": r"\d{2}",
    "f": r"\d{1,6}",
    "%": "%",
}
FIELD = re.compile(r"\{(?P<name>[^{}:]*)(?::(?P<form>[^{}]*))?\}")
NUMBER = re.compile(r"(?:0(?P<width>\d+))?d")


@dataclass(frozen=True)
class Pattern:
    """A name with fields, strict in both directions.

    Parameters
    ----------
    text
        Literal text with fields in braces: ``{name}`` any text without a slash; ``{name:d}`` a
        whole number of any digits, ``{name:03d}`` of three; ``{name:%Y%j%H%M}`` a date, as
        ``strptime`` writes it, of ``%Y %y %m %d %j %H %M %S %f``. ``{}`` is any text that nobody
        needs. A name given twice must be the same twice.

    Raises
    ------
    ValueError
        A field is written in another way.

    Examples
    --------
    >>> pattern = Pattern("OR_RRQPEF-M{mode:d}_s{start:%Y%j%H%M%S%f}_c{created}.nc")
    >>> pattern.fields_of("OR_RRQPEF-M6_s20250011200204_c20250011209.nc")["start"]
    datetime.datetime(2025, 1, 1, 12, 0, 20, 400000)
    >>> pattern.fields_of("OR_RRQPEF-M6_s20259991200204_c1.nc") is None
    True
    >>> pattern.with_fields({"mode": 6, "start": datetime(2025, 1, 1, 12)})
    'OR_RRQPEF-M6_s2025001120000000000_c*.nc'
    """

    text: str

    def __post_init__(self) -> None:
        """Refuse what cannot be read."""
        _ = self._matcher

    def fields_of(self, name: str) -> dict[str, Any] | None:
        """Return what the fields hold in a name; None if it is called otherwise."""
        found = self._matcher.fullmatch(name)
        if found is None:
            return None
        fields = {}
        for field, form in self._forms.items():
            try:
                fields[field] = _value(found[_group(field)], form)
            except ValueError:  # the digits of a date that no calendar has
                return None
        return fields

    def with_fields(self, fields: Mapping[str, Any]) -> str:
        """Return the name with these fields; what is not known is a ``*``.

        Raises
        ------
        ValueError
            One of them is no field of the pattern.
        """
        if unknown := sorted(fields.keys() - self._forms.keys()):
            raise ValueError(
                f"{self.text!r} has no field {', '.join(map(repr, unknown))}; it has "
                f"{', '.join(map(repr, self._forms)) or 'none'}"
            )

        def written(found: re.Match[str]) -> str:
            name = found["name"]
            return format(fields[name], self._forms[name]) if name in fields else "*"

        return FIELD.sub(written, self.text)

    @cached_property
    def _matcher(self) -> re.Pattern[str]:
        return re.compile("".join(self._pieces()), re.ASCII)

    @cached_property
    def _forms(self) -> dict[str, str]:
        forms: dict[str, str] = {}
        for field in FIELD.finditer(self.text):
            if field["name"]:
                forms.setdefault(field["name"], field["form"] or "")
        return forms

    def _pieces(self) -> Iterator[str]:
        end, seen = 0, set[str]()
        for field in FIELD.finditer(self.text):
            yield self._literal(self.text[end : field.start()])
            name, form, end = field["name"], field["form"] or "", field.end()
            if name in seen and form not in ("", self._forms[name]):
                raise ValueError(f"{self.text!r} writes {name!r} in two forms; use two names")
            if name in seen:
                yield f"(?P={_group(name)})"
                continue
            seen |= {name} if name else set()
            shape = self._shape(form)
            yield f"(?P<{_group(name)}>{shape})" if name else f"(?:{shape})"
        yield self._literal(self.text[end:])

    def _literal(self, text: str) -> str:
        if "{" in text or "}" in text:
            raise ValueError(f"{self.text!r} has a brace without its other one; write {{name}}")
        return re.escape(text)

    def _shape(self, form: str) -> str:
        if not form:
            return "[^/]+?"
        if number := NUMBER.fullmatch(form):
            return rf"\d{{{number['width']}}}" if number["width"] else r"\d+"
        parts = re.findall(r"%(.?)|([^%]+)", form)
        if "%" not in form or any(not text and sign not in DIGITS for sign, text in parts):
            raise ValueError(
                f"the field {form!r} of {self.text!r} is no form: leave it out for text, or write "
                f"d, 03d, or a date of {' '.join(f'%{sign}' for sign in DIGITS)}"
            )
        return "".join(re.escape(text) if text else DIGITS[sign] for sign, text in parts)


def _group(name: str) -> str:
    if name and not name.isidentifier():
        raise ValueError(f"the field {name!r} is no name: begin with a letter, without spaces")
    return f"f_{name}"


def _value(text: str, form: str) -> Any:
    if not form:
        return text
    return int(text) if NUMBER.fullmatch(form) else _date(text, form)


def _date(text: str, form: str) -> datetime:
    """Read a date part by part: by itself `strptime` would divide 2025999 as it finds a date."""
    pieces = re.findall(r"%(.)|([^%]+)", form)
    shape = "".join(re.escape(literal) if literal else f"({DIGITS[s]})" for s, literal in pieces)
    found = re.fullmatch(shape, text)
    assert found is not None
    signs = [f"%{sign}" for sign, literal in pieces if not literal]
    return datetime.strptime(" ".join(found.groups()), " ".join(signs))
