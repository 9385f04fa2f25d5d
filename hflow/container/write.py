"""`Container` to bytes."""

import struct

from hflow.container.crc import crc16
from hflow.container.model import (
    CHUNKED,
    CODED,
    CUT,
    EXPLICIT,
    MAX_SECTIONS,
    SIGNATURE,
    STANDARD,
    VERSION,
    Container,
    MaskSchedule,
    Profile,
    implied_kinds,
    misplaced,
)
from hflow.container.varint import write_varint


def serialize(c: Container) -> bytes:
    """The bytes of `c`, in the compact layout unless it has extra sections. ValueError if `c` breaks a rule."""
    check(c)
    explicit = bool(c.extra)
    flags = c.version | CHUNKED * c.chunked | EXPLICIT * explicit | CUT * c.cut
    packed = c.settings.m | c.settings.mask << 3 | c.settings.profile << 6
    numbers = (c.width, c.height, c.bundle, c.fingerprint, c.settings.rate, packed, c.index_checksum)
    parts = [SIGNATURE, struct.pack("<BHHBBBBH", flags, *numbers)]
    if explicit:
        parts.append(write_varint(len(c.sections)))
    for section in c.sections:
        if explicit:
            parts.append(bytes([section.kind | 0x80 * section.critical]))
        parts += [write_varint(len(section.data)), section.data]
    body = b"".join(parts)
    return body + struct.pack("<H", crc16(body))


def overhead(c: Container) -> int:
    """Bytes of the file of `c` that are not section data: header, types, lengths, checksum."""
    return len(serialize(c)) - sum(len(s.data) for s in c.sections)


def check(c: Container) -> None:
    """ValueError if a field is out of range or the sections do not fit the settings; what passes can be parsed."""
    limits = {
        "version": (c.version, VERSION, VERSION),
        "width": (c.width, 1, 0xFFFF),
        "height": (c.height, 1, 0xFFFF),
        "bundle": (c.bundle, 0, 0xFF),
        "fingerprint": (c.fingerprint, 0, 0xFF),
        "rate": (c.settings.rate, 0, 0xFF),
        "m": (c.settings.m, 0, 7),
        "index_checksum": (c.index_checksum, 0, 0xFFFF),
        "number of sections": (len(c.sections), 0, MAX_SECTIONS),
    }
    for name, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise ValueError(f"{name} is {value}, not in {low}..{high}")
    MaskSchedule(c.settings.mask)  # ValueError unless one of its values
    Profile(c.settings.profile)
    for section in c.sections:
        if not 0 <= section.kind <= 0x7F:
            raise ValueError(f"section id is {section.kind}, not in 0..127")
        if section.critical != (section.kind in CODED):
            raise ValueError(f"section {section.kind} must{' not' * section.critical} be critical")
    if tuple(s.kind for s in c.sections if s.kind in STANDARD) != implied_kinds(c.settings, c.chunked):
        raise ValueError("the sections are not those that the settings imply")
    if misplaced(c.settings, tuple(s.kind for s in c.sections)):
        raise ValueError("an enhancement stands before what it enhances")
