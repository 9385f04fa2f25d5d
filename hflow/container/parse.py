"""Bytes to `Container`. Every declared size is checked before it is used; FormatError is the only error."""

import struct

from hflow.container.crc import crc16
from hflow.container.model import (
    CHUNKED,
    CODED,
    CRC_SIZE,
    CUT,
    EXPLICIT,
    HEADER_SIZE,
    MAX_SECTIONS,
    RESERVED,
    SIGNATURE,
    STANDARD,
    VERSION,
    Container,
    Kind,
    MaskSchedule,
    Profile,
    Section,
    Settings,
    implied_kinds,
    misplaced,
)
from hflow.container.reader import CutReader, Reader, Truncated
from hflow.container.varint import read_varint
from hflow.errors import FormatError

FOREIGN = (
    "not an hflow file: wrong signature"
    " (the HiFiC research codec also writes .hfc, without a header; its files cannot be read)"
)


def sniff(data: bytes) -> bool:
    """Whether `data` starts like an hflow file, of any version."""
    return data[: len(SIGNATURE)] == SIGNATURE


def parse(data: bytes) -> Container:
    """Read a whole file.

    FormatError, with one line: foreign, from a newer version, truncated, damaged or malformed, in that order.
    """
    data = bytes(data)
    reader = Reader(data)
    flags = _read_start(reader)
    try:
        container = _read_rest(reader, flags)
    except Truncated:
        raise
    except FormatError as error:
        # What a flipped bit made of the structure matters less than that a bit flipped.
        if crc16(data[:-CRC_SIZE]) != int.from_bytes(data[-CRC_SIZE:], "little"):
            raise FormatError("damaged: checksum mismatch") from error
        raise
    _check_end(reader)
    return container


def parse_cut(data: bytes) -> tuple[Container, int]:
    """Read a whole file or the beginning of one, and how many bytes are missing at least; 0: the file is whole.

    Sections beyond the end are cut or empty, and nothing has been checked against a checksum. FormatError as for
    `parse`, and if not even the header is there.
    """
    try:
        return parse(data), 0
    except Truncated:
        container, missing = parse_unchecked(data)
    return container, max(1, missing)


def parse_unchecked(data: bytes) -> tuple[Container, int]:
    """What a damaged file says, whatever its checksum is, and how many bytes its sections lack.

    Bytes after them are passed over. FormatError for what has no structure at all.
    """
    reader = CutReader(bytes(data))
    if len(data) < HEADER_SIZE:
        raise FormatError(f"too short: {len(data)} bytes, the header alone is {HEADER_SIZE}")
    return _read_rest(reader, _read_start(reader)), reader.missing


def _read_start(reader: Reader) -> int:
    """Signature and version; returns the flags byte."""
    if not SIGNATURE.startswith(reader.data[: len(SIGNATURE)]):
        raise FormatError(FOREIGN)
    if len(reader.data) > len(SIGNATURE):
        version = reader.data[len(SIGNATURE)] & 0x0F
        if version != VERSION:
            raise FormatError(f"format version {version}: needs a newer hflow (this one reads version {VERSION})")
    reader.owed = HEADER_SIZE - len(SIGNATURE) - 1 + CRC_SIZE
    flags = reader.take(len(SIGNATURE) + 1)[-1]
    reader.owed = CRC_SIZE
    return flags


def _read_rest(reader: Reader, flags: int) -> Container:
    width, height, bundle, fingerprint, rate, packed, checksum = struct.unpack("<HHBBBBH", reader.take(HEADER_SIZE - 4))
    if flags & RESERVED:
        raise FormatError("malformed: a reserved flag is set")
    if not width or not height:
        raise FormatError(f"malformed: the image is {width}x{height}")
    settings = Settings(rate, packed & 7, _mask(packed >> 3 & 7), _profile(packed >> 6))
    chunked = bool(flags & CHUNKED)
    implied = implied_kinds(settings, chunked)
    sections = _read_explicit(reader, settings, implied) if flags & EXPLICIT else _read_compact(reader, implied)
    return Container(width, height, bundle, fingerprint, settings, checksum, chunked, sections, bool(flags & CUT))


def _mask(value: int) -> MaskSchedule:
    try:
        return MaskSchedule(value)
    except ValueError:
        raise FormatError(f"malformed: mask schedule {value} is reserved") from None


def _profile(value: int) -> Profile:
    try:
        return Profile(value)
    except ValueError:
        raise FormatError(f"malformed: profile {value} is reserved") from None


def _read_compact(reader: Reader, implied: tuple[int, ...]) -> tuple[Section, ...]:
    sections = []
    for left in range(len(implied), 0, -1):
        reader.owed = CRC_SIZE + left - 1  # each later section has a length byte at least
        sections.append(Section(implied[-left], reader.take(read_varint(reader.byte))))
    return tuple(sections)


def _read_explicit(reader: Reader, settings: Settings, implied: tuple[int, ...]) -> tuple[Section, ...]:
    count = read_varint(reader.byte)
    if count > MAX_SECTIONS:
        raise FormatError(f"malformed: {count} sections, at most {MAX_SECTIONS} are allowed")
    sections = []
    for left in range(count, 0, -1):
        if reader.ended:
            break
        reader.owed = CRC_SIZE + 2 * (left - 1) + 1  # later sections: a type and a length byte; this one: its length
        kind = reader.byte()
        reader.owed -= 1
        sections.append(Section(kind & 0x7F, reader.take(read_varint(reader.byte)), critical=kind >= 0x80))
    reader.owed = 0
    reader.need(CRC_SIZE)  # a truncated file is called so before its sections are judged
    for section in sections:
        _check_known(section)
    standard = tuple(s.kind for s in sections if s.kind in STANDARD)
    if standard != (implied[: len(standard)] if reader.ended else implied):
        raise FormatError("malformed: the sections are not those that the settings imply")
    if misplaced(settings, tuple(s.kind for s in sections)):
        raise FormatError("malformed: an enhancement stands before what it enhances")
    return tuple(sections)


def _check_known(section: Section) -> None:
    if section.kind in CODED:
        if not section.critical:
            raise FormatError(f"malformed: section {section.kind} is not marked critical")
    elif section.critical:
        name = f" ({Kind(section.kind).name.lower()})" if section.kind in set(Kind) else ""
        raise FormatError(f"critical section {section.kind}{name} is not supported: needs a newer hflow")


def _check_end(reader: Reader) -> None:
    reader.owed = 0
    end = reader.pos
    if int.from_bytes(reader.take(CRC_SIZE), "little") != crc16(reader.data[:end]):
        raise FormatError("damaged: checksum mismatch")
    if surplus := len(reader.data) - reader.pos:
        raise FormatError(f"malformed: {surplus} bytes after the end")
