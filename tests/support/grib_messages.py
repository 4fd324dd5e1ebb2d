"""GRIB messages made by the tests: with ecCodes' samples, or bit by bit where it cannot."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import eccodes
import numpy as np

REGULAR = "regular_ll_sfc_grib2"


def encode(
    values: np.ndarray | None = None,
    *,
    sample: str = REGULAR,
    packing: str | None = None,
    bits: int = 16,
    keys: Mapping[str, object] | None = None,
) -> bytes:
    """Encode `values`, NaN as a bitmap, or what the sample holds, on the sample's grid and keys."""
    handle = eccodes.codes_grib_new_from_samples(sample)
    try:
        for key, value in (keys or {}).items():
            eccodes.codes_set(handle, key, value)
        if values is not None:
            missing = np.isnan(values)
            if missing.any():
                eccodes.codes_set(handle, "bitmapPresent", 1)
                eccodes.codes_set(handle, "missingValue", -1e20)
            if packing:
                eccodes.codes_set(handle, "packingType", packing)
            if packing != "grid_ieee":
                eccodes.codes_set(handle, "bitsPerValue", bits)
            eccodes.codes_set_values(handle, np.where(missing, -1e20, values).ravel())
        return bytes(eccodes.codes_get_message(handle))
    finally:
        eccodes.codes_release(handle)


def sections(message: bytes) -> dict[int, bytes]:
    """Cut an edition 2 message with one field into its sections; 0 is the first 8 octets."""
    found, start = {0: message[:8]}, 16
    while start < len(message) - 4:
        nbytes = int.from_bytes(message[start : start + 4], "big")
        found[message[start + 4]] = message[start : start + nbytes]
        start += nbytes
    return found


def assemble(*parts: bytes) -> bytes:
    """Make an edition 2 message out of its first 8 octets and its sections."""
    body = b"".join(parts[1:])
    return parts[0] + (len(body) + 20).to_bytes(8, "big") + body + b"7777"


def section(number: int, body: bytes) -> bytes:
    """Put length and number before the body of a section."""
    return (len(body) + 5).to_bytes(4, "big") + bytes([number]) + body


def pack_bits(numbers: list[int], width: int) -> bytes:
    """Write unsigned integers of `width` bits end to end, padded to whole octets."""
    text = "".join(f"{number:0{width}b}" for number in numbers) if width else ""
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big") if text else b""


def encode_in_band_missing(management: int) -> tuple[bytes, np.ndarray]:
    """Encode complex packing (template 5.2) that marks missing values by codes of all ones.

    With `management` 2 the code below all ones means missing, too.
    """
    base = sections(encode())
    n_points = 16 * 31
    codes = [0, 1, 7, 6, 2]
    lengths = [len(codes), 3, 2, n_points - len(codes) - 3 - 2]
    header = b"".join(
        [
            n_points.to_bytes(4, "big"),
            (2).to_bytes(2, "big"),  # template
            bytes(4),  # reference value 0.0
            bytes(4),  # binary and decimal scale 0
            bytes([4, 0, 1, management]),  # bits of group references, type, splitting, management
            b"\xff" * 8,  # substitutes of missing values, not given
            len(lengths).to_bytes(4, "big"),
            bytes([0, 2]),  # group widths: reference, bits
            (0).to_bytes(4, "big") + b"\1",  # group lengths: reference, increment
            lengths[-1].to_bytes(4, "big") + bytes([16]),  # length of the last, bits
        ]
    )
    references, widths = [8, 15, 14, 3], [3, 0, 0, 0]
    data = (
        pack_bits(references, 4)
        + pack_bits(widths, 2)
        + pack_bits([*lengths[:-1], 0], 16)
        + pack_bits(codes, 3)
    )
    missing = np.nan
    second = missing if management == 2 else 14.0
    expected = [8, 9, missing, second, 10, *[missing] * 3, *[second] * 2, *[3] * lengths[-1]]
    message = assemble(
        base[0], base[1], base[3], base[4], section(5, header), section(6, b"\xff"),
        section(7, data),
    )  # fmt: skip
    return message, np.array(expected).reshape(31, 16)


def changed(message: bytes, keys: Mapping[str, object]) -> bytes:
    """Give a message with other keys of its header; the packed values stay as they are."""
    handle = eccodes.codes_new_from_message(message)
    try:
        for key, value in keys.items():
            eccodes.codes_set(handle, key, value)
        return bytes(eccodes.codes_get_message(handle))
    finally:
        eccodes.codes_release(handle)


def raised(message: bytes, by: float) -> bytes:
    """Give an edition 2 message whose values are all `by` larger (before decimal scaling)."""
    parts = sections(message)
    header = parts[5]
    reference = struct.unpack(">f", header[11:15])[0] + by
    parts[5] = header[:11] + struct.pack(">f", reference) + header[15:]
    return assemble(*(parts[number] for number in sorted(parts)))


def packed_in_steps(message: bytes, values: np.ndarray, decimal: int) -> bytes:
    """Give an edition 2 message with other values, in whole steps of 10 to minus `decimal`.

    So write NCEP's models: the step follows from the range of the field. ecCodes would spread the
    values over all bits instead.
    """
    numbers = np.rint(np.asarray(values, "float64") * 10.0**decimal).astype("int64").ravel()
    first = int(numbers.min())
    bits = max(1, int(numbers.max() - first).bit_length())
    # Sign and magnitude.
    scale = abs(decimal) | (0x8000 if decimal < 0 else 0)
    header = b"".join(
        [
            len(numbers).to_bytes(4, "big"),
            (0).to_bytes(2, "big"),  # template: simple packing
            struct.pack(">f", first),
            bytes(2),  # binary scale
            scale.to_bytes(2, "big"),
            bytes([bits, 0]),
        ]
    )
    parts = sections(message)
    parts[5], parts[6] = section(5, header), section(6, b"\xff")
    parts[7] = section(7, pack_bits((numbers - first).tolist(), bits))
    return assemble(*(parts[number] for number in sorted(parts)))
