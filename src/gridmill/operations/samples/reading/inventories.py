"""The fields that an inventory lists, without the file that it describes."""

from __future__ import annotations

from gridmill.operations.samples.facts import GribField, GribSample, Sample
from gridmill.sources.grib.inventory.formats import parse_inventory
from gridmill.sources.grib.inventory.message import Message, Statistic

__all__ = ["read_inventory_sample"]

MOST_NBYTES = 64 << 20


def read_inventory_sample(sample: Sample) -> GribSample:
    """Read the lines of an inventory.

    Raises
    ------
    ValueError
        It is none, or no line says of which time it is.
    """
    if (nbytes := sample.path.stat().st_size) > MOST_NBYTES:
        raise ValueError(f"{sample.name} has {nbytes:,} bytes: no inventory has so many")
    messages = parse_inventory(sample.path.read_text())
    is_ecmwf = messages[0].raw.startswith("{")
    taken = [m for m in messages if _reason(m) is None]
    left_out = tuple(f"{m.parameter} {m.level}: {why}" for m in messages if (why := _reason(m)))
    if not taken:
        raise ValueError(
            f"{sample.name} lists no field that can be archived: {'; '.join(left_out[:3])}"
        )
    return GribSample(
        sample=sample,
        fields=tuple(_field_of(message) for message in taken),
        left_out=left_out,
        inventory=".index" if is_ecmwf else ".idx",
    )


def _reason(message: Message) -> str | None:
    """Say why a line is not taken."""
    if message.reference_time is None:
        return "the line has no time"
    if message.start_step is None or message.end_step is None:
        return "its period has no fixed length"
    qualifiers = [q for q in message.qualifiers if "=" not in q and message.member is None]
    return f"a derived field ({', '.join(qualifiers)})" if qualifiers else None


def _field_of(message: Message) -> GribField:
    assert message.reference_time is not None
    assert message.start_step is not None
    assert message.end_step is not None
    return GribField(
        parameter=message.parameter,
        level=message.level,
        start=message.start_step,
        end=message.end_step,
        time=message.reference_time,
        statistic=message.statistic or (None if "{" in message.raw else Statistic.INSTANT),
        member=message.member,
    )
