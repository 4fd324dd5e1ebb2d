"""The fields of a GRIB file: their headers, without a value being decoded."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from gridmill.model.wording import count_of
from gridmill.operations.samples.facts import GribField, GribSample, Sample
from gridmill.operations.samples.proposing.levels import level_words
from gridmill.operations.samples.proposing.naming import WMO
from gridmill.sources.grib.framing import (
    EncodedMessage,
    GribCorrupt,
    GribRefused,
    iter_messages,
)
from gridmill.sources.grib.grids import Grid
from gridmill.sources.grib.keys import text
from gridmill.sources.grib.layout import packing_step
from gridmill.sources.grib.messages import OpenMessage, open_message

__all__ = ["read_grib_sample"]

# A header takes 3 ms. Files of more have members or leads by the dozen, of which these tell enough.
MOST_MESSAGES = 3000


def read_grib_sample(sample: Sample) -> GribSample:
    """Read what each message of a file is.

    Raises
    ------
    ValueError
        None can be read.
    """
    fields: list[GribField] = []
    left_out: list[str] = []
    messages = _whole_messages(sample.path, left_out)
    for message in islice(messages, MOST_MESSAGES):
        try:
            fields.append(_field_of(message))
        except (GribRefused, GribCorrupt) as error:
            left_out.append(f"the message at byte {message.offset:,}: {error}")
    if next(messages, None) is not None:
        left_out.append(f"what comes after {count_of(MOST_MESSAGES, 'message')}")
    if not fields:
        raise ValueError(
            f"{sample.name} has no message that can be archived: "
            f"{'; '.join(left_out[:3]) or 'it is empty'}; docs/grib.md lists what can"
        )
    return GribSample(sample=sample, fields=tuple(fields), left_out=tuple(left_out))


def _whole_messages(path: Path, left_out: list[str]) -> Iterator[EncodedMessage]:
    """Return the messages that are whole; the first that is not is named after all others."""
    try:
        yield from iter_messages(path)
    except GribCorrupt as error:
        left_out.append(f"what is no whole message: {error}")


def _field_of(message: EncodedMessage) -> GribField:
    with open_message(message.data) as opened:
        identity = opened.identity
        if identity.start_step is None or identity.end_step is None:
            raise GribRefused(f"{opened.short_name}: its period has no fixed length")
        if not identity.is_plain and identity.member is None:
            raise GribRefused(f"{opened.short_name}: derived, a percentile or a probability")
        is_edition_2 = identity.discipline is not None
        codes = (identity.discipline or 0, identity.category, identity.number)
        known = [
            _known(word) for word in (opened.short_name, opened.units, text(opened.handle, "name"))
        ]
        if is_edition_2 and not known[0]:
            known = list(WMO.get(codes, known))
        return GribField(
            parameter=opened.short_name,
            level=level_words(identity.first_surface, identity.second_surface),
            start=identity.start_step,
            end=identity.end_step,
            time=identity.reference_time,
            statistic=identity.statistic,
            member=identity.member,
            codes=codes if is_edition_2 else None,
            surface=identity.first_surface,
            below=identity.second_surface,
            short_name=known[0],
            units=known[1],
            standard_name=_known(text(opened.handle, "cfName")),
            title=known[2],
            grid=_grid_of(opened),
            step=packing_step(opened.handle),
            nbytes=len(message.data),
            offset=message.offset,
            submessage=message.submessage,
        )


def _grid_of(opened: OpenMessage) -> Grid:
    grid = opened.grid
    if grid.latitudes is None and grid.y is None:
        raise GribRefused(
            f"{opened.short_name}: its mesh ({grid.mesh}) is in a file of its own; declare a "
            "CellGrid with places from it, see gridmill.authoring.grids"
        )
    return grid


def _known(word: str) -> str:
    return "" if word in ("unknown", "~") else word
