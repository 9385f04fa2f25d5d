"""EXIF of pictures: where Pillow finds it, the way up that it tells, and what of it describes the picture."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Any

from PIL import ExifTags, Image

Base, IFD = ExifTags.Base, ExifTags.IFD
PREFIX = b"Exif\0\0"
XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"  # of XMP where EXIF may stand too

# Where and how the samples of a file lie, and what has a place of its own: 700 is XMP, the last four are IPTC,
# Photoshop's resources and layers, and the colour profile.
LAYOUT = {
    *range(254, 260), 262, *range(263, 267), 273, *range(277, 282), *range(284, 286), 288, 289, *range(290, 294), 301,
    317, *range(320, 333), *range(334, 337), *range(338, 348), *range(512, 522), *range(529, 533), 559, 700, 33723,
    34377, 34675, 37724,
}  # fmt: skip
# What is taken of a TIFF, which may hold anything.
DESCRIPTIVE = {
    Base.DocumentName, Base.ImageDescription, Base.Make, Base.Model, Base.PageName, Base.XResolution, Base.YResolution,
    Base.ResolutionUnit, Base.Software, Base.DateTime, Base.Artist, Base.HostComputer, Base.Copyright, Base.Rating,
    Base.RatingPercent, Base.XPTitle, Base.XPComment, Base.XPAuthor, Base.XPKeywords, Base.XPSubject,
}  # fmt: skip
PARTS = (IFD.Exif, IFD.GPSInfo)


def of(image: Image.Image) -> tuple[Image.Exif, bool]:
    """What describes a loaded image, with its orientation but without its thumbnail; whether it is all that was there.

    A TIFF has no orientation here: Pillow turns it while loading. XMP, whose orientation Pillow takes for EXIF's where
    that has none, is not looked at. Damaged data make Pillow raise any exception.
    """
    if raw := _raw(image):
        found = Image.Exif()
        found.load(raw)
        return _described(found, tiff=False), _whole(found, re.sub(b"^(Exif\0\0){1,2}", b"", raw))
    if hasattr(image, "tag_v2"):
        return _described(image.getexif(), tiff=True), True
    return Image.Exif(), True


def orientation(image: Image.Image) -> int:
    """How a loaded image is to be turned, 1 to 8; 1 for none, and where the EXIF data say nothing that can be used."""
    exif = Image.Exif()
    try:
        exif.load(_raw(image) or b"")
        found = exif.get(Base.Orientation, 1)
    except Exception:
        return 1
    return int(found) if found in range(1, 9) else 1


def cleaned(data: bytes) -> bytes:
    """EXIF as every kind of file can carry it, with PREFIX; none where Pillow cannot use it."""
    try:
        exif = Image.Exif()
        exif.load(data)
        return written(_described(exif, tiff=False))[0]
    except Exception:
        return b""


def written(exif: Image.Exif) -> tuple[bytes, bool]:
    """The bytes, with PREFIX, that Pillow reads again; whether all of it could be written. None are b""."""
    parts, data = _parts(exif), _bytes(exif)
    whole = data is not None
    if data is None:
        parts = [(path, value) for path, value in parts if _bytes(_joined([(path, value)])) is not None]
        data = _bytes(_joined(parts))
    return (data or b"" if parts else b""), whole


def raw_profile(image: Image.Image, kind: str) -> bytes | None:
    """What ImageMagick and ExifTool put into a PNG's text, in hexadecimal behind a name and a length.

    ValueError where it is none.
    """
    for key, text in image.info.items():
        if isinstance(key, str) and key.lower() == f"raw profile type {kind}":
            return bytes.fromhex("".join(str(text).split()[2:]))
    return None


def _raw(image: Image.Image) -> bytes | None:
    """The block as it lies in a file; a TIFF has none."""
    if raw := image.info.get("exif") or raw_profile(image, "exif"):
        return raw
    raw = raw_profile(image, "app1")
    return raw if raw and raw.startswith(PREFIX) else None


def _described(exif: Image.Exif, tiff: bool) -> Image.Exif:
    """A copy without the tags that describe something else, its parts as plain dictionaries."""
    kept = Image.Exif()
    for tag, value in list(exif.items()):
        if tag in PARTS:
            part = _part(exif, tag)
            if IFD.Interop in exif.get_ifd(tag) and (inner := _part(exif, IFD.Interop)):
                part[IFD.Interop] = inner
            if part:
                kept[tag] = part
        elif tag in DESCRIPTIVE or not (tiff or tag in LAYOUT):
            kept[tag] = _exact(value)
    return kept


def _part(exif: Image.Exif, tag: int) -> dict[int, Any]:
    pointers = {*PARTS, IFD.Interop}  # one to another place, or round in a circle
    return {k: _exact(v) for k, v in exif.get_ifd(tag).items() if k not in LAYOUT and k not in pointers}


def _exact(value: Any) -> Any:
    """Text as the bytes it was, where Pillow would write question marks."""
    return value.encode("latin-1", "replace") if isinstance(value, str) and not value.isascii() else value


def _bytes(exif: Image.Exif) -> bytes | None:
    """As a file, None where Pillow cannot write it or not read it again."""
    try:
        data = exif.tobytes()
        again = Image.Exif()
        again.load(data)
        return data if len(_parts(_described(again, tiff=False))) == len(_parts(exif)) else None
    except Exception:
        return None


def _parts(exif: Image.Exif) -> list[tuple[tuple[int, ...], Any]]:
    """Every tag with where it stands."""

    def walk(path: tuple[int, ...], values: dict[int, Any]) -> Iterator[tuple[tuple[int, ...], Any]]:
        for tag, value in values.items():
            if isinstance(value, dict):
                yield from walk((*path, tag), value)
            else:
                yield (*path, tag), value

    return list(walk((), dict(exif.items())))


def _joined(parts: list[tuple[tuple[int, ...], Any]]) -> Image.Exif:
    exif = Image.Exif()
    for (*path, tag), value in parts:
        at: Any = exif
        for step in path:
            if step not in at:
                at[step] = {}
            at = at[step]
        at[tag] = value
    return exif


def _whole(exif: Image.Exif, raw: bytes) -> bool:
    """Whether every tag that the first directory and its parts announce was read."""
    order = "<" if raw[:2] == b"II" else ">"
    at = [struct.unpack_from(f"{order}L", raw, 4)[0]]
    at += [exif[tag] for tag in PARTS if tag in exif]
    found = [len(exif), *(len(exif.get_ifd(tag)) for tag in PARTS if tag in exif)]
    try:
        return all(struct.unpack_from(f"{order}H", raw, where)[0] <= n for where, n in zip(at, found, strict=True))
    except (struct.error, TypeError):
        return False
