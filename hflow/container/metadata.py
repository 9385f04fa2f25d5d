"""Metadata sections: EXIF, XMP and a colour profile beside the picture, deflated where that makes them smaller."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from hflow.container.model import Container, Kind, Section
from hflow.container.varint import write_varint

TYPES = {"exif": 1, "xmp": 2, "icc": 3}
DEFLATED = 0x80
LIMIT = 1 << 24  # bytes, inflated
EXPLICIT = 4  # bytes that a file of up to three standard sections grows by with the explicit layout


def sections(data: Mapping[str, bytes]) -> tuple[Section, ...]:
    """Sections of what there is of exif (from its TIFF header on), xmp and icc. KeyError for other names."""
    return tuple(Section(Kind.METADATA, _pack(TYPES[name], value), critical=False) for name, value in data.items())


def name(section: Section) -> str | None:
    """exif, xmp or icc; None for what has no meaning here."""
    code = section.data[0] & ~DEFLATED if section.data else 0
    return next((name for name, known in TYPES.items() if known == code), None)


def read(file: Container) -> dict[str, bytes]:
    """What a file holds of exif, xmp and icc, the first of each; what cannot be used is passed over, as it must be."""
    found: dict[str, bytes] = {}
    for section in file.sections:
        if section.kind == Kind.METADATA and (which := name(section)):
            value = _unpack(section.data)
            if value is not None:
                found.setdefault(which, value)
    return found


def cost(extra: tuple[Section, ...]) -> int:
    """Bytes that these sections add to a file, at most."""
    return sum(1 + len(write_varint(len(s.data))) + len(s.data) for s in extra) + EXPLICIT * bool(extra)


def _pack(code: int, data: bytes) -> bytes:
    small = zlib.compress(data, 9, wbits=-zlib.MAX_WBITS)
    return bytes([code | DEFLATED]) + small if len(small) < len(data) else bytes([code]) + data


def _unpack(data: bytes) -> bytes | None:
    if not data[0] & DEFLATED:
        return data[1:]
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        value = inflate.decompress(data[1:], LIMIT)
    except zlib.error:
        return None
    return value if inflate.eof and not inflate.unused_data else None
