"""The container: what is written is read back, and nothing else is read at all."""

import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hflow.container import (
    Container,
    Kind,
    MaskSchedule,
    Profile,
    Section,
    Settings,
    overhead,
    parse,
    serialize,
    sniff,
)
from hflow.container.crc import crc16
from hflow.container.model import implied_kinds
from hflow.container.varint import read_varint, write_varint
from hflow.errors import FormatError

HYBRID = Settings(rate=9, m=4, mask=MaskSchedule.ONE_4, profile=Profile.HYBRID)


def make(config: Settings = HYBRID, chunked: bool = False, sizes: tuple[int, ...] = (), **fields: int) -> Container:
    kinds = implied_kinds(config, chunked)
    sizes = sizes or (3,) * len(kinds)
    sections = tuple(Section(k, bytes(i % 256 for i in range(1, n + 1))) for k, n in zip(kinds, sizes, strict=True))
    numbers = {"width": 768, "height": 512, "bundle": 1, "fingerprint": 0xA5, "index_checksum": 0xBEEF} | fields
    return Container(settings=config, chunked=chunked, sections=sections, **numbers)


def sealed(body: bytes) -> bytes:
    """Bytes with a right checksum, so that a test reaches what lies behind it."""
    return body + struct.pack("<H", crc16(body))


def explicit(*sections: tuple[int, bytes], count: int | None = None, config: Settings = HYBRID) -> bytes:
    """A file in the explicit layout, written by hand."""
    header = bytearray(serialize(make(config))[:14])
    header[3] |= 0x20
    body = bytes(header) + write_varint(len(sections) if count is None else count)
    return sealed(body + b"".join(bytes([kind]) + write_varint(len(data)) + data for kind, data in sections))


SMALL = serialize(make())
CHUNKED = serialize(make(chunked=True, sizes=(5, 1, 0, 2, 0, 4)))
WITH_EXTRAS = serialize(
    replace(make(), sections=(Section(7, b"note", False), *make().sections, Section(99, b"", False)))
)


def test_the_header_is_what_the_specification_draws() -> None:
    body = bytes.fromhex("eb6866 01 0003 0002 01 a5 09 1c efbe 03010203 03010203")
    assert sealed(body) == SMALL
    assert crc16(b"123456789") == 0x29B1  # the published check value of CCITT-FALSE


def test_a_typical_file_has_20_bytes_of_overhead() -> None:
    c = make(sizes=(700, 754))
    assert overhead(c) == 20
    assert len(serialize(c)) == 1474


@given(
    st.builds(
        Settings, st.integers(0, 255), st.integers(0, 7), st.sampled_from(MaskSchedule), st.sampled_from(Profile)
    ),
    st.booleans(),
    st.integers(1, 65535),
    st.integers(1, 65535),
    st.data(),
)
@settings(max_examples=150, deadline=None)
def test_round_trip(config: Settings, chunked: bool, width: int, height: int, data: st.DataObject) -> None:
    payload = st.binary(max_size=200)
    sections = [Section(k, data.draw(payload)) for k in implied_kinds(config, chunked)]
    for _ in range(data.draw(st.integers(0, 3))):
        extra = Section(data.draw(st.sampled_from([0, 4, 5, 6, 7, 9, 127])), data.draw(payload), critical=False)
        sections.insert(data.draw(st.integers(0, len(sections))), extra)
    if config.rate > 0:
        sections += [Section(Kind.ENHANCEMENT, data.draw(payload)) for _ in range(data.draw(st.integers(0, 2)))]
    c = replace(make(config, chunked), width=width, height=height, sections=tuple(sections))
    encoded = serialize(c)
    assert sniff(encoded)
    assert parse(encoded) == c
    assert overhead(c) + sum(len(s.data) for s in sections) == len(encoded)


def test_the_streams_are_found() -> None:
    c = parse(CHUNKED)
    assert c.continuous == b"\1\2\3\4\5"
    assert c.index_chunks == (b"\1", b"", b"\1\2", b"", b"\1\2\3\4")
    assert c.mask_data is None
    coded = parse(serialize(make(Settings(0, 2, MaskSchedule.CODED, Profile.PQ), sizes=(1, 2))))
    assert (coded.continuous, coded.mask_data, coded.index_chunks) == (None, b"\1", (b"\1\2",))


def test_labels() -> None:
    assert [m.label for m in MaskSchedule] == ["none", "1_16", "1_9", "1_4", "1_2", "all", "coded"]


@pytest.mark.parametrize("encoded", [SMALL, CHUNKED, WITH_EXTRAS])
def test_every_truncation_says_so(encoded: bytes) -> None:
    for size in range(len(encoded)):
        with pytest.raises(FormatError, match=r"^truncated: \d+ bytes missing$") as error:
            parse(encoded[:size])
        assert 1 <= int(str(error.value).split()[1]) <= len(encoded) - size


def test_a_cut_in_the_last_section_counts_exactly() -> None:
    with pytest.raises(FormatError, match="truncated: 4 bytes missing"):
        parse(SMALL[:-4])
    with pytest.raises(FormatError, match="truncated: 7 bytes missing"):  # of 3, a length and the checksum, at least
        parse(CHUNKED[: 14 + 1 + 5])


@pytest.mark.parametrize("encoded", [SMALL, CHUNKED, WITH_EXTRAS])
def test_every_flipped_bit_is_an_error(encoded: bytes) -> None:
    for bit in range(8 * len(encoded)):
        damaged = bytearray(encoded)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError) as error:
            parse(bytes(damaged))
        assert "\n" not in str(error.value)


@given(st.binary(max_size=80), st.sampled_from([b"", SMALL[:3], SMALL[:4], SMALL[:14], SMALL[:3] + b"\x21"]))
@settings(max_examples=500, deadline=None)
def test_garbage_is_a_format_error(tail: bytes, start: bytes) -> None:
    for data in (start + tail, sealed(start + tail)):
        try:
            c = parse(data)
        except FormatError:
            continue
        assert parse(serialize(c)) == c


def test_foreign_files() -> None:
    for data in (b"\x00\x01HiFiC", b"\x89PNG\r\n\x1a\n", b"\xebhg\x01"):
        assert not sniff(data)
        with pytest.raises(FormatError, match=r"not an hflow file.*HiFiC"):
            parse(data)


def test_a_later_version_is_told_before_anything_else() -> None:
    with pytest.raises(FormatError, match=r"version 2: needs a newer hflow"):
        parse(SMALL[:3] + b"\x02")
    with pytest.raises(FormatError, match=r"version 0"):
        parse(SMALL[:3] + b"\x00" + SMALL[4:])


def test_damage_is_told_before_its_consequences() -> None:
    for offset, value in ((3, 0x41), (4, 0), (11, 0xFF), (-1, 0)):
        data = bytearray(serialize(make(width=1)))
        data[offset] = value
        with pytest.raises(FormatError, match="damaged: checksum"):
            parse(bytes(data))


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (3, b"\x81", "reserved flag"),
        (4, b"\0\0", "0x512"),
        (6, b"\0\0", "768x0"),
        (11, b"\x34", "mask schedule 6"),
        (11, b"\xdc", "profile 3"),
    ],
)
def test_reserved_values(offset: int, value: bytes, message: str) -> None:
    body = SMALL[:offset] + value + SMALL[offset + len(value) : -2]
    with pytest.raises(FormatError, match=message):
        parse(sealed(body))


def test_nothing_may_follow() -> None:
    with pytest.raises(FormatError, match="3 bytes after the end"):
        parse(SMALL + b"abc")


def test_a_declared_size_is_not_believed() -> None:
    with pytest.raises(FormatError, match=f"truncated: {2**35 - 1 + 3} bytes missing"):
        parse(SMALL[:14] + b"\xff\xff\xff\xff\x7f")
    with pytest.raises(FormatError, match="1025 sections"):
        parse(explicit(count=1025))
    with pytest.raises(FormatError, match="truncated"):
        parse(explicit(count=1024))


@pytest.mark.parametrize("value", [0, 1, 127, 128, 16383, 16384, 2**21, 2**28, 2**35 - 1])
def test_varints(value: int) -> None:
    encoded = write_varint(value)
    assert len(encoded) == max(1, -(-value.bit_length() // 7))
    assert read_varint(iter(encoded).__next__) == value


@pytest.mark.parametrize("encoded", [b"\x80\x00", b"\x85\x80\x00", b"\xff\xff\xff\xff\xff\x01"])
def test_one_value_has_one_varint(encoded: bytes) -> None:
    with pytest.raises(FormatError):
        read_varint(iter(encoded).__next__)
    with pytest.raises(FormatError, match="malformed"):
        parse(sealed(SMALL[:14] + encoded + bytes(64)))


CONTINUOUS, INDEX = (0x81, b"abc"), (0x83, b"de")


def test_the_explicit_layout_needs_no_extras() -> None:
    c = parse(explicit(CONTINUOUS, INDEX))
    assert c.continuous == b"abc"
    assert parse(serialize(c)) == c


def test_ancillary_sections_are_kept_and_skipped() -> None:
    c = parse(explicit((0x07, b"note"), CONTINUOUS, (0x04, b""), INDEX, (0x63, b"?")))
    assert c.index_chunks == (b"de",)
    assert [(s.kind, s.data) for s in c.extra] == [(7, b"note"), (4, b""), (99, b"?")]
    assert parse(serialize(c)) == c


@pytest.mark.parametrize("kind", [0, 4, 5, 6, 7, 9, 127])
def test_critical_sections_need_a_decoder_that_knows_them(kind: int) -> None:
    with pytest.raises(FormatError, match=rf"critical section {kind}\b.*needs a newer hflow"):
        parse(explicit(CONTINUOUS, (0x80 | kind, b""), INDEX))
    with pytest.raises(FormatError, match="truncated: 1 bytes"):
        parse(explicit(CONTINUOUS, (0x80 | kind, b""), INDEX)[:-1])


@pytest.mark.parametrize(
    "sections",
    [
        (),
        (CONTINUOUS,),
        (INDEX, CONTINUOUS),
        (CONTINUOUS, INDEX, INDEX),
        (CONTINUOUS, (0x82, b""), INDEX),
        ((0x01, b"abc"), INDEX),
    ],
)
def test_standard_sections_are_those_the_settings_imply(sections: tuple[tuple[int, bytes], ...]) -> None:
    with pytest.raises(FormatError, match="malformed"):
        parse(explicit(*sections))


@pytest.mark.parametrize(
    "bad",
    [
        replace(make(), width=0),
        replace(make(), height=65536),
        replace(make(), bundle=256),
        replace(make(), fingerprint=-1),
        replace(make(), index_checksum=65536),
        replace(make(), version=2),
        replace(make(), sections=()),
        replace(make(), sections=make().sections[::-1]),
        replace(make(), settings=replace(HYBRID, m=8)),
        replace(make(), settings=replace(HYBRID, rate=256)),
        replace(make(), sections=(*make().sections, Section(Kind.METADATA, b""))),
        replace(make(), sections=(*make().sections, Section(128, b"", False))),
        replace(make(), sections=(*make().sections, *[Section(9, b"", False)] * 1023)),
    ],
)
def test_a_wrong_object_is_not_written(bad: Container) -> None:
    with pytest.raises(ValueError):
        serialize(bad)


def test_the_magic_file_names_the_format(tmp_path: Path) -> None:
    magic = Path(__file__).parents[2] / "formats" / "hflow.magic"
    (tmp_path / "x.hfc").write_bytes(SMALL)
    try:
        said = subprocess.run(
            ["file", "-b", "-m", magic, tmp_path / "x.hfc"], capture_output=True, text=True, check=True
        ).stdout
    except FileNotFoundError:
        pytest.skip("file(1) is not installed")
    assert said.strip() == "hflow image, version 1, 768 x 512"


def test_parsing_needs_only_the_standard_library() -> None:
    code = "import sys; from hflow.container import parse; print({'torch', 'numpy', 'constriction'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
