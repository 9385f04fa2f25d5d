"""PNG files with more text, or a larger colour profile, than Pillow takes: those chunks are read apart."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST = 1 << 24  # bytes of a text or profile, inflated
XMP = "XML:com.adobe.xmp"
_APART = (b"iCCP", b"tEXt", b"zTXt", b"iTXt")


def too_much(data: bytes, error: Exception) -> bool:
    """Whether Pillow stopped at one of its limits on the texts of a PNG, of which the picture knows nothing."""
    return data.startswith(SIGNATURE) and "MAX_TEXT" in str(error)


def lean(data: bytes) -> tuple[bytes, dict[str, Any], list[str]]:
    """A PNG without texts and profile; what of them is colours or metadata, as Pillow has it in an image's `info`.

    And a note for each of those that is larger than MOST.
    """
    kept: list[bytes] = [SIGNATURE]
    info: dict[str, Any] = {}
    notes: list[str] = []
    for kind, chunk in _chunks(data):
        if kind not in _APART:
            kept.append(chunk)
            continue
        with suppress(ValueError, IndexError, zlib.error):  # Pillow too ignores texts that it cannot read
            name, packed, deflated = _text(kind, chunk[8:-4])
            if kind != b"iCCP" and name != XMP and not name.lower().startswith("raw profile type "):
                continue
            value = _inflated(packed) if deflated else packed
            if value is None:
                what = "colour profile" if kind == b"iCCP" else f"text {name!r}"
                notes.append(f"the {what} is larger than {MOST:,} bytes and was ignored")
            elif kind == b"iCCP":
                info["icc_profile"] = value
            elif name == XMP:
                info["xmp"] = value
            else:
                info[name] = value.decode("latin-1")
    return b"".join(kept), info, notes


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and bytes of each, and of what is left at the end of a damaged file."""
    at = len(SIGNATURE)
    while at < len(data):
        size = struct.unpack_from(">L", data, at)[0] if at + 8 <= len(data) else 0
        end = at + 12 + size
        yield (data[at + 4 : at + 8] if end <= len(data) else b""), data[at:end]
        at = end


def _text(kind: bytes, data: bytes) -> tuple[str, bytes, bool]:
    """Name, content, and whether that is deflated."""
    name, value = data.split(b"\0", 1)
    deflated = kind in (b"iCCP", b"zTXt")
    if kind == b"iTXt":
        deflated = value[0] != 0
        value = value[2:].split(b"\0", 2)[2]
    elif deflated:
        value = value[1:]
    return name.decode("latin-1"), value, deflated


def _inflated(data: bytes) -> bytes | None:
    value = zlib.decompressobj().decompress(data, MOST + 1)
    return value if len(value) <= MOST else None
