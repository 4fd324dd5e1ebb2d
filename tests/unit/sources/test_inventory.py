"""What inventories of GRIB files, and the byte ranges taken from them, guarantee."""

from __future__ import annotations

import json
import pickle
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checked_messages import check_messages
from gridmill.sources.grib.framing import message_nbytes
from gridmill.sources.grib.inventory.ecmwf import parse_index
from gridmill.sources.grib.inventory.formats import parse_inventory
from gridmill.sources.grib.inventory.inventory import read_inventory
from gridmill.sources.grib.inventory.message import (
    ByteRange,
    InventoryError,
    InventoryMalformed,
    InventoryMismatch,
    Statistic,
)
from gridmill.sources.grib.inventory.noaa import parse_idx
from gridmill.sources.grib.inventory.ranges import (
    check_message,
    local_byte_ranges,
    merge_byte_ranges,
    with_file_size,
)
from gridmill.sources.grib.inventory.selection import (
    AmbiguousMessage,
    MessageNotFound,
    Selector,
    select,
)

HOUR = timedelta(hours=1)

GFS_F006 = """\
1:0:d=2025080100:PRMSL:mean sea level:6 hour fcst:
2:892922:d=2025080100:TMP:2 m above ground:6 hour fcst:
3:1022460:d=2025080100:TMP:500 mb:6 hour fcst:
4:1201385:d=2025080100:APCP:surface:0-6 hour acc fcst:
5:1490920:d=2025080100:APCP:surface:0-6 hour acc fcst:
6:1561969:d=2025080100:DSWRF:surface:0-6 hour ave fcst:
7:1599433:d=2025080100:MASSDEN:8 m above ground:6 hour fcst:aerosol=Dust Dry:
"""


def idx_line(step, rest=""):
    [message] = parse_idx(f"1:0:d=2025080106:X:surface:{step}:{rest}")
    return message


def test_an_idx_line_gives_every_field():
    """Number, offset, date, names and step of wgrib2's line become typed values, the line stays."""
    message = parse_idx(GFS_F006)[3]
    assert (message.number, message.submessage) == (4, None)
    assert message.byte_range == ByteRange(1201385, 1490920)
    assert message.reference_time == datetime(2025, 8, 1)
    assert (message.parameter, message.level, message.level_type) == ("APCP", "surface", "surface")
    assert (message.start_step, message.end_step) == (timedelta(0), 6 * HOUR)
    assert message.statistic is Statistic.ACCUMULATION
    assert (message.member, message.qualifiers) == (None, ())
    assert message.raw == GFS_F006.splitlines()[3]


@pytest.mark.parametrize(
    ("step", "start", "end", "statistic"),
    [
        ("anl", 0 * HOUR, 0 * HOUR, Statistic.INSTANT),
        ("384 hour fcst", 384 * HOUR, 384 * HOUR, Statistic.INSTANT),
        ("495 min fcst", 8.25 * HOUR, 8.25 * HOUR, Statistic.INSTANT),
        ("480-495 min ave fcst", 8 * HOUR, 8.25 * HOUR, Statistic.AVERAGE),
        ("0-0 day acc fcst", 0 * HOUR, 0 * HOUR, Statistic.ACCUMULATION),
        ("0-1 day acc fcst", 0 * HOUR, 24 * HOUR, Statistic.ACCUMULATION),
        ("7-8 hour max fcst", 7 * HOUR, 8 * HOUR, Statistic.MAXIMUM),
        ("7-8 hour min fcst", 7 * HOUR, 8 * HOUR, Statistic.MINIMUM),
        ("0-6 hour last-first fcst", 0 * HOUR, 6 * HOUR, Statistic.DIFFERENCE),
        ("0-6 hour RMS fcst", 0 * HOUR, 6 * HOUR, Statistic.ROOT_MEAN_SQUARE),
        ("0-6 hour StdDev fcst", 0 * HOUR, 6 * HOUR, Statistic.STANDARD_DEVIATION),
        ("0-6 hour ratio fcst", 0 * HOUR, 6 * HOUR, Statistic.OTHER),
        ("0-6 hour ave anl", 0 * HOUR, 6 * HOUR, Statistic.AVERAGE),
        ("0-6 hour fcst", 0 * HOUR, 6 * HOUR, None),  # NCEP's TMIN and TMAX
        ("-3 hour fcst", -3 * HOUR, -3 * HOUR, Statistic.INSTANT),
        ("3 month fcst", None, None, None),
        ("0-1 month ave fcst", None, None, None),
        ("240@3 hour ave(anl),missing=0", None, None, None),
        ("Code Table 4.11=reserved", None, None, None),
    ],
)
def test_the_steps_that_wgrib2_prints_become_durations(step, start, end, statistic):
    """Minutes, hours and days are normalised; what has no fixed length keeps its text alone."""
    message = idx_line(step)
    assert (message.start_step, message.end_step, message.statistic) == (start, end, statistic)
    assert message.step == step


@pytest.mark.parametrize(
    ("suffix", "member"),
    [
        ("ENS=+1", 1),
        ("ENS=-12", -12),
        ("ENS=low-res ctl", 0),
        ("ENS=hi-res ctl", 0),
        ("P-ENS=7", 7),
        ("ens mean", None),
        ("ens spread", None),
        ("prob >0.254:prob fcst 0/10", None),
    ],
)
def test_what_follows_the_step_is_kept_and_members_are_numbered(suffix, member):
    """Every suffix is a qualifier to select by; only one that names a single member gives one."""
    message = idx_line("6 hour fcst", suffix)
    assert message.qualifiers == tuple(suffix.split(":"))
    assert message.member == member


def test_parameters_without_a_name_give_their_code():
    """wgrib2's `var discipline=…` is a parameter like any other, and its figures can be read."""
    name = "var discipline=0 center=7 local_table=1 parmcat=16 parm=201"
    table = "var discipline=209 master_table=2 parmcat=6 parm=1"
    message, other, known = parse_idx(
        f"1:0:d=2022101403:{name}:entire atmosphere:495 min fcst:\n"
        f"2:9:d=2022101403:{table}:surface:anl:\n3:19:d=2022101403:TMP:surface:anl:\n"
    )
    assert select([message], Selector(parameter=name)) == message
    assert message.parameter_code == (0, 16, 201)
    assert (other.parameter_code, known.parameter_code) == ((209, 6, 1), None)


def test_levels_can_be_grouped_by_type():
    """The level's leading number or range is what differs between levels of one type."""
    levels = ["500 mb", "0.4 mb", "2 m above ground", "0-0.1 m below ground", "0C isotherm"]
    text = "".join(f"{n}:{n}:d=2025080100:X:{level}:anl:\n" for n, level in enumerate(levels))
    types = [message.level_type for message in parse_idx(text)]
    assert types == ["mb", "mb", "m above ground", "m below ground", "0C isotherm"]


def test_the_last_line_is_open_until_the_size_of_the_file_is_known():
    """An `.idx` gives no length for its last message; the file's size closes it."""
    messages = parse_idx(GFS_F006)
    assert messages[-1].stop is None
    closed = with_file_size(messages, 1_700_000)
    assert closed[-1].byte_range == ByteRange(1599433, 1_700_000)
    assert closed[:-1] == messages[:-1]
    assert with_file_size(closed, 1_700_000) == closed


def test_submessages_share_the_range_of_their_message():
    """Fields that NCEP packs into one message (`2.1`, `2.2`) are both read from all of it."""
    messages = parse_idx(
        "1:0:d=2005090200:HGT:500 mb:6 hour fcst:\n2.1:500:d=2005090200:UGRD:500 mb:6 hour fcst:\n"
        "2.2:500:d=2005090200:VGRD:500 mb:6 hour fcst:\n3:900:d=2005090200:TMP:500 mb:anl:\n"
    )
    assert [(m.number, m.submessage) for m in messages] == [(1, None), (2, 1), (2, 2), (3, None)]
    assert [m.byte_range for m in messages[:3]] == [(0, 500), (500, 900), (500, 900)]


def test_an_index_reads_the_same_whatever_the_order_of_its_keys():
    """ECMWF's JSON lines differ in their order of keys, and in numbers written as text."""
    line = {
        "domain": "g", "date": "20250301", "time": "0600", "class": "ai", "type": "fc",
        "stream": "oper", "step": "12", "levelist": "500", "levtype": "pl", "param": "t",
        "_offset": 100, "_length": 50,
    }  # fmt: skip
    [message] = parse_index(json.dumps(line))
    backwards = {**dict(reversed(line.items())), "step": 12, "levelist": 500, "time": 600}
    [other] = parse_index(json.dumps(backwards))
    assert (message.parameter, message.level, message.level_type) == ("t", "500 pl", "pl")
    assert message.byte_range == ByteRange(100, 150)
    assert message.reference_time == datetime(2025, 3, 1, 6)
    assert (message.start_step, message.end_step) == (12 * HOUR, 12 * HOUR)
    assert message.statistic is None
    assert message.qualifiers == ("class=ai", "domain=g", "stream=oper", "type=fc")
    assert message.description == (other.reference_time, "t", "500 pl", "12", other.qualifiers)


@pytest.mark.parametrize(
    ("step", "start", "end"),
    [
        ("0-24", 0, 24),
        ("30m", 0.5, 0.5),
        ("1h30m", 1.5, 1.5),
        ("0h-90m", 0, 1.5),
        ("?", None, None),
    ],
)
def test_steps_of_an_index_may_be_ranges_and_have_units(step, start, end):
    """A plain number is hours, as in MARS; units and ranges are understood, the rest stays text."""
    [message] = parse_index(json.dumps({"param": "tp", "step": step, "_offset": 0, "_length": 9}))
    hours = [None if value is None else value * HOUR for value in (start, end)]
    assert [message.start_step, message.end_step] == hours


def test_members_of_an_index_are_numbered_and_its_control_is_zero():
    """`number` names the perturbed member; the control forecast has none and becomes 0."""
    lines = [{"type": "cf"}, {"type": "pf", "number": "17"}, {"type": "em"}]
    text = "\n".join(json.dumps({"param": "2t", "_offset": 0, "_length": 9} | li) for li in lines)
    assert [message.member for message in parse_index(text)] == [0, 17, None]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "<html><title>404 Not Found</title></html>\n",
        GFS_F006 + "8:1700000:d=20250",
        "1:0:d=2025083100x:TMP:surface:anl:",
        "1:0:d=2025023100:TMP:surface:anl:",
        "1:-5:d=2025080100:TMP:surface:anl:",
        "x:0:d=2025080100:TMP:surface:anl:",
        '{"param": "t", "_offset": 0}',
        '{"param": "t", "_offset": 0, "_length": 0}',
        '{"_offset": 0, "_length": 9}',
        '{"param": "t", "_offset": 0, "_le',
        '{"param": "t", "_offset": 0, "_length": 9}\n[1]',
        '{"param": "t", "_offset": null, "_length": 9}',
    ],
)
def test_a_text_that_is_no_inventory_is_an_error_of_the_inventory(text):
    """Empty, cut off or foreign text is refused, and a bad line is named; nothing is left out."""
    with pytest.raises(InventoryMalformed, match="line"):
        parse_inventory(text)


def test_every_real_inventory_is_read_line_by_line(shared_data):
    """Each line of the real files of NOAA and ECMWF gives one message with its step and range."""
    paths = [
        path
        for path in sorted((shared_data / "S2_inventories").rglob("*"))
        if path.suffix in (".idx", ".index")
    ]
    assert len(paths) >= 30
    for path in paths:
        text = path.read_text()
        messages = parse_inventory(text)
        assert [message.raw for message in messages] == text.splitlines()
        for message in messages:
            assert message.parameter, message
            assert None not in (message.start_step, message.end_step), message
            assert message.start_step <= message.end_step, message
            assert (message.stop is None) == (message == messages[-1] and not _is_json(text))
            assert message.stop is None or message.start < message.stop
            assert (message.statistic is None) == _is_json(text), message
            assert ("ENS=" in message.raw) <= (message.member is not None)


def _is_json(text):
    return text.startswith("{")


def test_real_inventories_lead_to_whole_messages_of_their_files(shared_data):
    """Where the real file is at hand, every range of its inventory is one GRIB message."""
    checked = 0
    for inventory in sorted((shared_data / "S2_inventories").rglob("*.grib2.i*")):
        file = inventory.with_suffix("")
        if not file.exists():
            continue
        data = file.read_bytes()
        checked += len(check_messages(inventory.read_text(), data))
    assert checked == 49


def test_real_quirks_can_be_told_apart(shared_data):
    """Sub-hourly, day-long, member and mean lines are each selected by what makes them special."""
    folder = shared_data / "S2_inventories"

    def pick(name, **asked):
        [path] = folder.rglob(f"dynamical*/**/{name}")
        return select(parse_inventory(path.read_text()), Selector(**asked)).raw

    assert "0-1 day acc" in pick(
        "hrrr.t00z.wrfsfcf24.grib2.idx",
        parameter="APCP", start_step=0 * HOUR, end_step=24 * HOUR,
    )  # fmt: skip
    assert "23-24 hour acc" in pick(
        "hrrr.t00z.wrfsfcf24.grib2.idx", parameter="APCP", start_step=23 * HOUR
    )
    assert "ENS=+1" in pick(
        "gep01.t00z.pgrb2s.0p25.f015.idx", parameter="TMP", level="2 m above ground", member=1
    )
    assert "ens mean" in pick(
        "geavg.t00z.pgrb2s.0p25.f009.idx",
        parameter="TMP", level="2 m above ground", qualifiers=("ens mean",),
    )  # fmt: skip
    assert "CLMR" in pick(
        "gfs.t00z.pgrb2.0p25.f007.idx",
        parameter=("CLWMR", "CLMR"), level="1 hybrid level",
    )  # fmt: skip


def test_a_selector_finds_the_one_message():
    """What is not asked does not matter; what is asked must hold."""
    messages = parse_idx(GFS_F006)
    asked = Selector(parameter="TMP", level="500 mb", end_step=6 * HOUR)
    assert select(messages, asked).number == 3
    assert select(messages, Selector(statistic=Statistic.AVERAGE)).number == 6
    assert select(messages, Selector(qualifiers=("aerosol=Dust Dry",))).number == 7


def test_a_missing_message_names_what_was_asked_and_the_nearest():
    """The error says which attribute of the nearest lines differs."""
    with pytest.raises(MessageNotFound) as error:
        select(parse_idx(GFS_F006), Selector(parameter="TMP", level="2 m above grnd"))
    text = str(error.value)
    assert "parameter='TMP', level='2 m above grnd'" in text
    assert text.index("TMP:2 m above ground") < text.index("TMP:500 mb")
    assert "(differs in level)" in text


def test_messages_that_differ_are_never_chosen_between():
    """Several different answers are an error, whatever occurrence was given."""
    with pytest.raises(AmbiguousMessage, match="500 mb"):
        select(parse_idx(GFS_F006), Selector(parameter="TMP", occurrence=0))


def test_duplicate_lines_need_an_occurrence():
    """GFS prints the bucket and the run total alike at f006: the author says which."""
    messages = parse_idx(GFS_F006)
    with pytest.raises(AmbiguousMessage, match="occurrence"):
        select(messages, Selector(parameter="APCP"))
    assert select(messages, Selector(parameter="APCP", occurrence=0)).number == 4
    assert select(messages, Selector(parameter="APCP", occurrence=-1)).number == 5
    assert select(messages, Selector(parameter="PRMSL", occurrence=-1)).number == 1
    with pytest.raises(MessageNotFound, match="there are 2"):
        select(messages, Selector(parameter="APCP", occurrence=2))


NBM = """1:1000:d=2026072512:TMP:2 m above ground:9 hour fcst:
2:2000:d=2026072512:TMP:2 m above ground:9 hour fcst:ens std dev
3:8000:d=2026072512:APCP:surface:8-9 hour acc fcst:
4:9000:d=2026072512:APCP:surface:8-9 hour acc fcst:prob >0.254:prob fcst 255/255
5:9500:d=2026072512:TMP:2 m above ground:9 hour fcst:10% level
"""


def test_the_absence_of_a_qualifier_can_be_demanded():
    """NBM's deterministic fields stand beside deviations, percentiles and probabilities."""
    messages = parse_idx(NBM)
    for parameter, number in (("TMP", 1), ("APCP", 3)):
        with pytest.raises(AmbiguousMessage):
            select(messages, Selector(parameter=parameter))
        assert select(messages, Selector(parameter=parameter, without_qualifiers=("",))).number == (
            number
        )
    some = Selector(parameter="TMP", without_qualifiers=("ens", "10%"))
    assert select(messages, some).number == 1
    with pytest.raises(MessageNotFound, match="without_qualifiers"):
        select(messages[1:2], some)


def ensemble_index(n_members=3):
    """Give an index of three parameters, members beside each other, as ECMWF writes it."""
    lines, offset = [], 0
    for member in range(n_members):
        for parameter, level in (("2t", None), ("t", "500"), ("t", "850"), ("tp", None)):
            line = {"type": "pf" if member else "cf", "stream": "enfo", "step": "6",
                    "levtype": "pl" if level else "sfc", "param": parameter,
                    "_offset": offset, "_length": 10 + member}  # fmt: skip
            line |= {"number": str(member)} if member else {}
            line |= {"levelist": level} if level else {}
            lines.append(json.dumps(line))
            offset += 10 + member
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "text", [ensemble_index(), GFS_F006, ensemble_index().replace("\n", "\r\n")]
)
@pytest.mark.parametrize(
    "asked",
    [
        {"parameter": "2t", "member": 1},
        {"parameter": ("x", "t"), "level": "850 pl", "member": 0},
        {"parameter": "t", "member": 2},
        {"parameter": "tp", "member": 9},
        {"level": "500 pl", "member": 2},
        {"parameter": "TMP", "level": "2 m above ground"},
        {"parameter": "APCP", "occurrence": 1},
        {"parameter": "APCP"},
        {},
    ],
)
def test_an_inventory_answers_as_all_of_its_messages_do(text, asked):
    """What is read only where it is asked for gives the same message, or the same error."""

    def answer(find):
        try:
            return find(Selector(**asked)).raw.strip()
        except (MessageNotFound, AmbiguousMessage) as error:
            return type(error)

    inventory, messages = read_inventory(text.encode()), parse_inventory(text)
    assert list(inventory) == list(messages)
    assert answer(inventory.select) == answer(lambda selector: select(messages, selector))
    assert inventory == read_inventory(text.encode())
    assert inventory != read_inventory(ensemble_index(2).encode())


@pytest.mark.parametrize("cut", [1, 30, 100])
def test_an_index_that_is_cut_off_is_malformed_at_once(cut):
    """A line without its end says that the rest is not there, whatever is asked."""
    with pytest.raises(InventoryMalformed):
        read_inventory(ensemble_index().rstrip().encode()[:-cut])


def test_a_line_of_nonsense_is_malformed_when_it_is_asked_for():
    """What nobody asks for is not read: a line that says nothing hides none of the others."""
    text = ensemble_index(1).replace('"_length": 10}', '"_length": 0}', 1)
    inventory = read_inventory(text.encode())
    assert inventory.select(Selector(parameter="tp")).parameter == "tp"
    with pytest.raises(InventoryMalformed, match=r"line 1 .* length 0"):
        inventory.select(Selector(parameter="2t"))


def test_a_bare_string_of_qualifiers_is_refused():
    """A string would be taken for its letters."""
    with pytest.raises(TypeError, match="tuple"):
        Selector(qualifiers="ens mean")
    with pytest.raises(TypeError, match="without_qualifiers='prob'"):
        Selector(without_qualifiers="prob")


def test_values_and_errors_pickle():
    """Messages, selectors and errors cross process boundaries."""
    values = [*parse_idx(GFS_F006), Selector(parameter=("A", "B"), end_step=HOUR)]
    assert pickle.loads(pickle.dumps(values)) == values
    for kind in (InventoryMalformed, InventoryMismatch, MessageNotFound, AmbiguousMessage):
        error = pickle.loads(pickle.dumps(kind("what")))
        assert (type(error), str(error)) == (kind, "what")
    assert issubclass(InventoryMismatch, InventoryError)
    assert issubclass(InventoryError, ValueError)


def grib(nbytes=100):
    """The framing of an edition 2 message."""
    return b"GRIB\0\0\0\2" + nbytes.to_bytes(8, "big") + bytes(nbytes - 20) + b"7777"


def test_a_whole_message_passes():
    """The bytes of a range that are one message are accepted, in a view too."""
    [message] = with_file_size(parse_idx("1:0:d=2025080100:X:surface:anl:"), 100)
    check_message(message, grib())
    check_message(message, memoryview(grib()))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (grib(99), "99 bytes came instead of 100"),
        (b"X" + grib()[1:], "not with b'GRIB'"),
        (grib(60) + bytes(40), "length field says 60"),
        (grib(60) + grib(40), "length field says 60"),
        (grib()[:-4] + b"7778", "7777"),
        (b"GRIB\0\0\0\3" + grib()[8:], "edition 3"),
    ],
)
def test_bytes_that_are_not_the_promised_message_are_a_mismatch(data, problem):
    """A stale inventory, whose range holds other bytes or several messages, is found out."""
    [message] = with_file_size(parse_idx("1:0:d=2025080100:X:surface:anl:"), 100)
    with pytest.raises(InventoryMismatch, match=problem):
        check_message(message, data)


def test_an_inventory_of_a_longer_file_is_a_mismatch():
    """Ranges beyond the file's size contradict it: the file is cut off, or another."""
    messages = parse_idx(GFS_F006)
    for nbytes in (1599433, 1599432, 10):
        with pytest.raises(InventoryMismatch, match=str(nbytes)):
            with_file_size(messages, nbytes)
    index = parse_index('{"param": "t", "_offset": 0, "_length": 50}')
    with pytest.raises(InventoryMismatch, match="0:50"):
        with_file_size(index, 49)
    assert with_file_size(index, 50) == index


def test_a_cut_off_message_has_no_length():
    """A message that ends inside its headers is an error, not a guess."""
    with pytest.raises(ValueError, match="section 0"):
        message_nbytes(grib()[:12])
    with pytest.raises(ValueError, match="inside its headers"):
        message_nbytes(b"GRIB\x80\0\1\1" + b"\0\0\x1c" + bytes(20))


ranges = st.lists(
    st.tuples(st.integers(0, 500), st.integers(1, 60), st.booleans()).map(
        lambda r: ByteRange(r[0], None if r[2] and r[1] < 4 else r[0] + r[1])
    ),
    max_size=30,
)
END = 10_000  # stands for the end of the file of an open range


def _bytes_of(byte_ranges):
    return {b for r in byte_ranges for b in range(r.start, END if r.stop is None else r.stop)}


@given(ranges, st.integers(0, 50))
@settings(deadline=None)  # the machine may be busy
def test_merged_ranges_cover_everything_at_a_bounded_price(asked, gap):
    """All is covered, sorted, apart by more than the gap; each join costs at most the gap."""
    merged = merge_byte_ranges(asked, max_gap_nbytes=gap)
    wanted, fetched = _bytes_of(asked), _bytes_of(merged)
    assert wanted <= fetched
    assert len(fetched) - len(wanted) <= gap * (len(set(asked)) - len(merged))
    assert all(b.start - a.stop > gap for a, b in pairwise(merged))
    assert merge_byte_ranges(merged, max_gap_nbytes=gap) == merged
    assert merge_byte_ranges(reversed(asked), max_gap_nbytes=gap) == merged


@given(ranges, st.integers(0, 50))
@settings(deadline=None)  # the machine may be busy
def test_every_range_is_found_in_the_local_file(asked, gap):
    """The bytes of the local file at the local range are those of the provider's file."""
    provider = [(b * 2654435761) & 0xFFFF for b in range(END)]
    merged = merge_byte_ranges(asked, max_gap_nbytes=gap)
    local_file = [byte for r in merged for byte in provider[r.start : r.stop]]
    for wanted, local in zip(asked, local_byte_ranges(asked, merged), strict=True):
        assert local_file[local.start : local.stop] == provider[wanted.start : wanted.stop]


def test_a_range_that_was_not_fetched_is_an_error():
    """Local ranges are given only for bytes that are there."""
    for wanted in (ByteRange(0, 5), ByteRange(15, 25), ByteRange(15, None), ByteRange(30, 31)):
        with pytest.raises(ValueError, match="not among those fetched: 10:20"):
            local_byte_ranges([wanted], [ByteRange(10, 20)])


@pytest.mark.parametrize("bad", [ByteRange(5, 5), ByteRange(5, 4), ByteRange(-1, 4)])
def test_empty_and_negative_ranges_are_refused(bad):
    """They would ask a server for what it answers with an error or the whole file."""
    with pytest.raises(ValueError, match="empty or negative"):
        merge_byte_ranges([bad], max_gap_nbytes=0)
    with pytest.raises(ValueError, match="max_gap_nbytes=-1"):
        merge_byte_ranges([], max_gap_nbytes=-1)


@given(st.data())
@settings(deadline=None)  # the machine may be busy
def test_idx_lines_survive_the_round_trip(data):
    """Any inventory in wgrib2's form gives back its numbers, texts and contiguous ranges."""
    lengths = data.draw(st.lists(st.integers(1, 10**7), min_size=1, max_size=20))
    words = st.text("ABCDEFGTMP0123456789 -.()=/", min_size=1, max_size=12).map(str.strip)
    lines, start = [], 0
    for number, length in enumerate(lengths, start=1):
        name, level = data.draw(words), data.draw(words)
        lines.append((number, start, name, level, data.draw(st.integers(1, 400))))
        start += length
    text = "".join(f"{n}:{s}:d=2025080100:{p}:{le}:{h} hour fcst:\n" for n, s, p, le, h in lines)
    messages = with_file_size(parse_idx(text), start)
    assert [m.stop - m.start for m in messages] == lengths
    for message, (number, begin, name, level, hours) in zip(messages, lines, strict=True):
        assert (message.number, message.start) == (number, begin)
        assert (message.parameter, message.level) == (name, level)
        assert message.end_step == hours * HOUR
