"""EXIF, XMP and colour profiles of pictures: what is taken from one, and given to the files that can carry it."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Collection
from typing import Any

from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from hflow import exif
from hflow.errors import InputError

KINDS = ("exif", "xmp", "icc")
INFO = {"exif": "exif", "xmp": "xmp", "icc": "icc_profile"}  # Pillow's names
CARRIED = {
    "AVIF": KINDS, "JPEG": KINDS, "MPO": KINDS, "PNG": KINDS, "WEBP": KINDS, "TIFF": ("exif", "icc"), "JPEG2000": (),
}  # fmt: skip
MOST = {"exif": 65_533, "xmp": 65_533 - len(exif.XMP_PREFIX)}  # bytes in a JPEG's marker
UNUSABLE = "the colour profile is unusable and was ignored"
ORIENTATION = re.compile(
    r"""\s+tiff:Orientation\s*=\s*("[^"]*"|'[^']*')|<tiff:Orientation\b[^>]*(/>|>[^<]*</tiff:Orientation\s*>)"""
)


def of(image: Image.Image, keep: Collection[str], notes: list[str]) -> dict[str, bytes]:
    """What is to be kept of a loaded image that will be turned upright, under Pillow's names; notes say what cannot be.

    It can be read, and written into every kind of file that carries it. None of it tells a way up.
    """
    found: dict[str, bytes | None] = {}
    if "exif" in keep:
        found["exif"] = _exif(image, notes)
    if "xmp" in keep:
        found["xmp"] = _xmp(image, notes)
    if "icc" in keep and (profile := image.info.get("icc_profile")):
        found["icc_profile"] = _profile(image, profile, notes)
    return {name: value for name, value in found.items() if value}


def packed(image: Image.Image, keep: Collection[str]) -> dict[str, bytes]:
    """By kind, as a `.hfc` file holds it: EXIF from its TIFF header on. InputError for other kinds.

    What cannot be kept is left out with a warning (`warnings.warn`); an image that `images.load` gave has none of it.
    """
    if unknown := set(keep) - set(KINDS):
        raise InputError(f"metadata are exif, xmp and icc, not {min(unknown)!r}")
    notes: list[str] = []
    found = of(image, keep, notes)
    for note in notes:
        warnings.warn(note, stacklevel=3)
    by_kind = {kind: found.get(name) for kind, name in INFO.items()}
    return {kind: value.removeprefix(exif.PREFIX) for kind, value in by_kind.items() if value}


def unpacked(found: dict[str, bytes]) -> dict[str, bytes]:
    """The contrary: for an image's `info`, without what Pillow could not use."""
    usable = {
        "exif": bool(exif.cleaned(found.get("exif", b""))),
        "xmp": bool(found.get("xmp")),
        "icc": _opened(found.get("icc")) is not None,
    }
    return {
        INFO[kind]: exif.PREFIX + value if kind == "exif" else value for kind, value in found.items() if usable[kind]
    }


def to_save(image: Image.Image, kind: str) -> tuple[dict[str, Any], list[str]]:
    """Pillow's options that put an image's metadata into a file of format `kind`; which of it that cannot carry."""
    have = {k: image.info[name] for k, name in INFO.items() if image.info.get(name)}
    if "exif" in have:
        have["exif"] = exif.cleaned(have["exif"])
    most = MOST if kind in ("JPEG", "MPO") else {}
    carried = {k: v for k, v in have.items() if v and k in CARRIED.get(kind, ()) and len(v) <= most.get(k, len(v))}
    options: dict[str, Any] = {INFO[k]: value for k, value in carried.items()}
    if kind == "PNG" and "xmp" in options:  # which Pillow reads but does not write
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", options.pop("xmp").decode("utf-8", "replace"))
    return options, [k for k in have if k not in carried]


def _exif(image: Image.Image, notes: list[str]) -> bytes | None:
    """Without the thumbnail, and the orientation of an upright picture."""
    try:
        found, whole = exif.of(image)
        if ExifTags.Base.Orientation in found:
            del found[ExifTags.Base.Orientation]
        data, all_of_it = exif.written(found)
    except Exception as error:  # damaged data make Pillow fail in every way there is
        notes.append(f"the EXIF data are damaged and were dropped ({type(error).__name__})")
        return None
    if not (whole and all_of_it):
        notes.append(f"the EXIF data are damaged and were {'in part ' if data else ''}dropped")
    return data


def _xmp(image: Image.Image, notes: list[str]) -> bytes | None:
    """In UTF-8, without the orientation of an upright picture."""
    try:
        raw = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or _xmp_profile(image) or b""
        text = raw if isinstance(raw, str) else bytes(raw).decode("utf-8-sig")
        return ORIENTATION.sub("", text.strip("\0 ")).encode()
    except (ValueError, TypeError):  # of which UnicodeError is one
        notes.append("the XMP data are damaged and were dropped")
        return None


def _xmp_profile(image: Image.Image) -> bytes | None:
    if raw := exif.raw_profile(image, "xmp"):
        return raw
    raw = exif.raw_profile(image, "app1")
    return raw.removeprefix(exif.XMP_PREFIX) if raw and raw.startswith(exif.XMP_PREFIX) else None


def _opened(profile: Any) -> ImageCms.ImageCmsProfile | None:
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except Exception:
        return None


def _profile(image: Image.Image, profile: bytes, notes: list[str]) -> bytes | None:
    """A profile of RGB samples; sRGB is what is meant without one."""
    try:
        about = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space, name = about.profile.xcolor_space.strip(), ImageCms.getProfileDescription(about)
        if space == "RGB":
            ImageCms.buildTransform(about, ImageCms.createProfile("sRGB"), "RGB", "RGB")
    except Exception:
        notes.append(UNUSABLE)
        return None
    if space != "RGB" or image.mode not in ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA"):
        notes.append(f"the colour profile is one for {space}, and was applied rather than kept")
        return None
    return None if "sRGB" in name else profile
