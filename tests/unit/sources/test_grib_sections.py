"""What the framing of GRIB messages guarantees, before a decoder sees them."""

from __future__ import annotations

import pickle
import struct

import eccodes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoded_messages import decode
from grib_messages import REGULAR, assemble, encode, encode_in_band_missing, section, sections
from gridmill.sources.grib.framing import (
    EncodedMessage,
    GribCorrupt,
    GribRefused,
    find_field,
    grib1_sections,
    iter_messages,
)
from gridmill.sources.grib.guard.packing import _unpack, check_consistency

VALUES = np.random.default_rng(1).normal(280, 15, (31, 16)).round(1)
WITH_MISSING = np.where(VALUES > 290, np.nan, VALUES)
GRIB1 = "regular_ll_sfc_grib1"


def check(message):
    """Check framing and consistency."""
    check_consistency(message, find_field(message))


def decoded(message):
    handle = eccodes.codes_new_from_message(message)
    try:
        eccodes.codes_set(handle, "missingValue", float("nan"))
        return eccodes.codes_get_values(handle)
    finally:
        eccodes.codes_release(handle)


def test_messages_are_found_wherever_they_are(tmp_path):
    """Files and bytes give the same messages, of both editions, past headers between them."""
    first, second = encode(VALUES), encode(VALUES, sample=GRIB1)
    data = b"\r\r\n123 \r\r\nYAXX90 KWBC 010000\r\r\n" + first + b"\0" * 7 + second + b"end"
    path = tmp_path / "a.grib"
    path.write_bytes(data)
    expected = [
        EncodedMessage(data.index(b"GRIB"), None, first),
        EncodedMessage(data.index(second), None, second),
    ]
    assert list(iter_messages(path)) == list(iter_messages(data)) == expected


@pytest.mark.parametrize("bits", ["7f800000", "ff800000", "7fffffff", "ffff4ccc"])
def test_values_that_are_counted_from_no_number_are_damaged(bits):
    """Infinity and NaN as a reference value: ecCodes takes their bits for numbers of 1e38."""
    message = bytearray(encode(VALUES))
    (start,) = (start for number, start, _ in find_field(bytes(message)) if number == 5)
    message[start + 11 : start + 15] = bytes.fromhex(bits)
    with pytest.raises(GribCorrupt, match=r"reference value .* not a finite number"):
        check(bytes(message))


def test_a_message_with_several_fields_is_taken_apart():
    """Sections repeat from 4, from 3, or refer back to a bitmap: each field becomes a message."""
    u = sections(encode(VALUES, keys={"parameterNumber": 2, "parameterCategory": 2}))
    masked = sections(encode(WITH_MISSING))
    back_reference = section(6, b"\xfe")
    packed = assemble(
        u[0], u[1], u[3], u[4], u[5], u[6], u[7],
        masked[4], masked[5], masked[6], masked[7],
        masked[3], u[4], masked[5], back_reference, masked[7],
    )  # fmt: skip
    fields = list(iter_messages(b"xx" + packed))
    assert [(field.offset, field.submessage) for field in fields] == [(2, 1), (2, 2), (2, 3)]
    np.testing.assert_allclose(decoded(fields[0].data), VALUES.ravel(), atol=2e-3)
    for field in fields[1:]:
        np.testing.assert_allclose(decoded(field.data), WITH_MISSING.ravel(), atol=2e-3)
        check(field.data)
    with pytest.raises(GribRefused, match="iter_messages"):
        check(packed)
    lost = assemble(u[0], u[1], u[3], u[4], u[5], back_reference, u[7], u[4], u[5], u[6], u[7])
    with pytest.raises(GribCorrupt, match="bitmap"):
        list(iter_messages(lost))


def test_a_cut_off_file_gives_its_whole_messages_first():
    """What is whole is yielded; the error says where the rest ends."""
    message = encode(VALUES)
    messages = iter_messages(message + message[:-10])
    assert next(messages).data == message
    with pytest.raises(GribCorrupt, match=f"at byte {len(message)} .* cut off"):
        next(messages)


def test_an_odd_message_does_not_hide_the_rest():
    """Letters in a bulletin's header, a cut or damaged message: those behind are yielded first."""
    message = encode(VALUES)
    damaged = bytearray(message)
    damaged[40] = 99  # the length of section 3
    bulletin = b"YAXX90 KWBC GRIB BULLETIN\r\r\n"
    assert [one.data for one in iter_messages(bulletin + message)] == [message]
    for odd in (bytes(damaged), message[:-30]):
        data = odd + bulletin + message
        found = iter_messages(data)
        assert next(found).offset == len(odd + bulletin)
        with pytest.raises(GribCorrupt, match="at byte 0 "):
            next(found)


def test_what_is_no_grib_file_is_an_error(tmp_path):
    """Empty files, error pages and stubs are not files without messages."""
    path = tmp_path / "empty"
    path.touch()
    with pytest.raises(GribCorrupt, match="is empty"):
        list(iter_messages(path))
    for data in (b"", b"<html>not found</html>", b"GRIB"):
        with pytest.raises(GribCorrupt):
            list(iter_messages(data))


@pytest.mark.parametrize("missing", [False, True])
def test_messages_of_edition_1_beyond_8_mib_have_their_length(missing):
    """ECMWF's convention for lengths that three octets cannot hold is understood."""
    values = np.random.default_rng(2).normal(size=(1500, 2000))
    values[::3, ::7] = np.nan if missing else 0.0
    keys = {"Ni": 2000, "Nj": 1500, "iDirectionIncrementInDegrees": 0.1}
    message = encode(values, sample=GRIB1, bits=24, keys=keys)
    assert len(message) > 1 << 23
    assert [found.data for found in iter_messages(message + encode())] == [message, encode()]
    check(message)


PACKINGS = ["simple", "complex", "complex_spatial_differencing", "ccsds", "jpeg", "png", "ieee"]
CONSTANT = np.full((31, 16), 5.0)


@pytest.mark.parametrize("packing", PACKINGS)
def test_good_messages_pass(packing):
    """No check refuses what ecCodes itself has packed."""
    check(encode(VALUES, packing=f"grid_{packing}"))
    check(encode(WITH_MISSING, packing=f"grid_{packing}"))
    if packing != "png":  # ecCodes 2.50 cannot pack a constant field as PNG
        check(encode(CONSTANT, packing=f"grid_{packing}"))


def test_other_good_messages_pass():
    """Edition 1 and in-band missing values pass, too."""
    check(encode(WITH_MISSING, sample=GRIB1))
    check(encode(CONSTANT, sample=GRIB1))
    check(encode_in_band_missing(1)[0])


def test_many_groups_add_up():
    """Fields of more groups than are checked at once pass, and still fail if one is too many."""
    values = np.random.default_rng(4).normal(size=(800, 500)).cumsum(axis=1)
    keys = {"Ni": 500, "Nj": 800}
    message = encode(values, packing="grid_complex_spatial_differencing", keys=keys)
    parts = sections(message)
    assert int.from_bytes(parts[5][31:35], "big") > 8192
    check(message)
    header = bytearray(parts[5])
    header[45] ^= 1  # the true length of the last group
    with pytest.raises(GribCorrupt, match="groups"):
        check(assemble(*(parts[k] if k != 5 else bytes(header) for k in sorted(parts))))


def damaged(packing, number, octet, value, values=VALUES):
    """Set one octet, counted from 1, of a section."""
    parts = sections(encode(values, packing=f"grid_{packing}"))
    part = bytearray(parts[number])
    part[octet - 1] = value
    parts[number] = bytes(part)
    return assemble(*(parts[key] for key in sorted(parts)))


@pytest.mark.parametrize(
    ("packing", "section_number", "octet", "value", "problem"),
    [
        ("simple", 5, 6, 200, "values for 496 points"),
        ("simple", 5, 20, 64, "bits"),
        ("simple", 5, 11, 61, "template 5.61"),
        ("complex", 5, 20, 200, "groups of 200"),
        ("complex", 5, 23, 255, "management 255"),
        ("complex", 5, 32, 255, "groups of"),
        ("complex", 5, 36, 255, "groups of"),
        ("complex", 5, 37, 99, "groups of"),
        ("complex", 5, 43, 1, "groups of"),
        ("complex", 5, 47, 255, "groups of"),
        ("complex_spatial_differencing", 5, 48, 9, "order 9"),
        ("complex_spatial_differencing", 5, 49, 200, "200 octets"),
        ("jpeg", 7, 17, 77, "JPEG"),
        ("jpeg", 7, 6, 0, "JPEG"),
        ("png", 7, 6, 0, "PNG"),
        ("png", 7, 60, 1, "PNG"),
        ("png", 5, 20, 8, "bits"),
        ("ccsds", 5, 7, 9, "values for 496 points"),
        ("simple", 6, 6, 3, "bitmap is number 3"),
        ("simple", 6, 6, 0, "bitmap of 0 bytes"),
    ],
)
def test_headers_that_contradict_each_other_never_reach_the_decoder(
    packing, section_number, octet, value, problem
):
    """Most of these would end the process inside ecCodes; they are errors with a reason."""
    with pytest.raises((GribCorrupt, GribRefused), match=problem):
        check(damaged(packing, section_number, octet, value))


def test_a_message_needs_its_sections_and_its_end():
    """Sections that are missing, overlap the end, or have no such number are errors."""
    parts = sections(encode(VALUES))
    for without in (1, 3, 4, 5, 6, 7):
        kept = [parts[key] for key in sorted(parts) if key != without]
        with pytest.raises(GribCorrupt, match="sections"):
            check(assemble(*kept))
    with pytest.raises(GribCorrupt, match="number 9"):
        check(assemble(parts[0], parts[1], section(9, b"123")))
    message = encode(VALUES)
    for bad in (message[:-4] + b"7770", message + b"x", message[:-1], message[:10]):
        with pytest.raises(GribCorrupt):
            check(bad)


def test_a_local_section_may_be_empty():
    """DWD, NOAA and the UK Met Office write a section 2 of five bytes: that is valid."""
    parts = sections(encode(VALUES))
    parts[2] = section(2, b"")
    message = assemble(*(parts[number] for number in sorted(parts)))
    check(message)
    np.testing.assert_array_equal(decoded(message), decoded(encode(VALUES)))


def test_sections_of_edition_1_must_fit():
    """A length that leads out of the message is an error there, too."""
    message = encode(WITH_MISSING, sample=GRIB1)
    start = 8
    for _ in range(4):
        bad = bytearray(message)
        bad[start] = 200
        with pytest.raises(GribCorrupt, match="section"):
            check(bytes(bad))
        start += int.from_bytes(message[start : start + 3], "big")
    assert start == len(message) - 4


@given(st.integers(1, 32), st.data())
@settings(deadline=None)  # the machine may be busy
def test_numbers_of_any_width_are_unpacked(bits, data):
    """Groups of 1 to 32 bits that lie end to end are read back."""
    numbers = data.draw(st.lists(st.integers(0, 2**bits - 1), min_size=1, max_size=40))
    text = "".join(f"{number:0{bits}b}" for number in numbers)
    text += "0" * (-len(text) % 8)
    octets = memoryview(bytes(int(text[k : k + 8], 2) for k in range(0, len(text), 8)))
    first = data.draw(st.integers(0, len(numbers) - 1))
    assert _unpack(octets, first, len(numbers) - first, bits).tolist() == numbers[first:]


def test_errors_pickle():
    """They reach the driver from another process."""
    for kind in (GribCorrupt, GribRefused):
        error = pickle.loads(pickle.dumps(kind("what")))
        assert (type(error), str(error)) == (kind, "what")


def test_samples_of_the_tests_are_what_they_say():
    """The sample grid of these tests has the points that their values have."""
    handle = eccodes.codes_grib_new_from_samples(REGULAR)
    assert (eccodes.codes_get(handle, "Nj"), eccodes.codes_get(handle, "Ni")) == VALUES.shape
    eccodes.codes_release(handle)


def grib1_with(**octets):
    """Set octets of section 2 or 4 of an edition 1 message, counted from 1: ``s2_4=9``."""
    message = bytearray(encode(VALUES, sample=GRIB1))
    found = grib1_sections(bytes(message))
    for place, value in octets.items():
        number, octet = map(int, place.removeprefix("s").split("_"))
        message[found[number][0] + octet - 1] = value
    return bytes(message)


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        ({"s2_4": 9}, "9 vertical coordinates"),
        ({"s2_5": 47}, "lists up to byte 46"),
        ({"s2_6": 10}, "representation 10"),
        ({"s2_7": 255, "s2_8": 255}, "grid definition"),
        ({"s2_7": 0, "s2_8": 0}, "0 points"),
        ({"s2_6": 50}, "spectral"),
        ({"s4_4": 0x10, "s4_14": 0x40}, "matrix"),
        ({"s4_11": 200}, "200 bits"),
    ],
)
def test_headers_of_edition_1_are_checked_before_the_decoder_follows_them(octets, problem):
    """Most of these would end the process inside ecCodes, some while it loads the message."""
    with pytest.raises((GribCorrupt, GribRefused), match=problem):
        decode(grib1_with(**octets))


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        ({7: 0xFF}, "points are not between"),
        ({11: 2}, "rows whose lengths take"),
        ({13: 0, 14: 50}, "spectral"),
        ({13: 0, 14: 20, 11: 1}, "list of row lengths"),
    ],
)
def test_grid_definitions_are_checked_before_the_decoder_follows_them(octets, problem):
    """Points, and rows of which each has its own length, must be what the section can hold."""
    parts = sections(encode(VALUES))
    grid = bytearray(parts[3])
    for octet, value in octets.items():
        grid[octet - 1] = value
    parts[3] = bytes(grid)
    with pytest.raises((GribCorrupt, GribRefused), match=problem):
        decode(assemble(*(parts[key] for key in sorted(parts))))


def without_values(packing):
    """Encode gaps alone: with what ecCodes leaves of the data, and with nothing, as NCEP does."""
    some = encode(WITH_MISSING, packing=packing)
    parts = sections(some)
    n_bytes = len(parts[6]) - 6
    parts[6] = parts[6][:6] + bytes(n_bytes)
    header = bytearray(parts[5])
    header[5:9] = bytes(4)
    with_leftovers = {**parts, 5: bytes(header)}
    if packing in ("grid_complex", "grid_complex_spatial_differencing"):
        header[31:35] = bytes(4)
    empty = {**parts, 5: bytes(header), 7: section(7, b"")}
    return [assemble(*(one[key] for key in sorted(one))) for one in (with_leftovers, empty)]


@pytest.mark.parametrize(
    "packing",
    [f"grid_{name}" for name in ("simple", "complex", "complex_spatial_differencing", "jpeg",
                                 "png", "ccsds")],
)  # fmt: skip
def test_a_field_without_a_value_is_all_missing(packing):
    """A bitmap of zeros needs no data, whatever the packing and whatever stands there."""
    for message in without_values(packing):
        values = decode(message)
        assert values.shape == (31, 16)
        assert np.isnan(values).all()


def test_complex_packing_without_groups_is_constant():
    """No groups and no data mean the reference at every point, as ecCodes and wgrib2 read it."""
    parts = sections(encode_in_band_missing(1)[0])
    header = bytearray(parts[5])
    header[11:15] = struct.pack(">f", 5.0)
    header[22] = 0
    for first, last in ((31, 41), (42, 47)):
        header[first:last] = bytes(last - first)
    parts |= {5: bytes(header), 7: section(7, b"")}
    assert (decode(assemble(*(parts[key] for key in sorted(parts)))) == 5.0).all()


def test_a_bitmap_must_mark_as_many_points_as_there_are_values():
    """One bit more or less moves every value behind it to another point."""
    parts = sections(encode(WITH_MISSING))
    bitmap = bytearray(parts[6])
    bitmap[10] ^= 0x10
    parts[6] = bytes(bitmap)
    with pytest.raises(GribCorrupt, match="are marked"):
        check(assemble(*(parts[key] for key in sorted(parts))))
