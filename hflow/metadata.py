"""EXIF, XMP and colour profiles of pictures: what is taken from one, and given to the files that can carry it."""

from __future__ import annotations

import io
from collections.abc import Collection
from typing import Any

from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from hflow.errors import InputError

KINDS = ("exif", "xmp", "icc")
INFO = {"exif": "exif", "xmp": "xmp", "icc": "icc_profile"}  # Pillow's names
CARRIED = {
    "AVIF": KINDS, "JPEG": KINDS, "MPO": KINDS, "PNG": KINDS, "WEBP": KINDS, "TIFF": ("exif", "icc"), "JPEG2000": (),
}  # fmt: skip
PREFIX = b"Exif\0\0"


def of(image: Image.Image, keep: Collection[str], notes: list[str]) -> dict[str, bytes]:
    """What is to be kept of an image, under Pillow's names; notes say what cannot be."""
    found: dict[str, bytes | None] = {}
    if "exif" in keep and "exif" in image.info:
        found["exif"] = _exif(image, notes)
    if "xmp" in keep and (xmp := image.info.get("xmp")):
        found["xmp"] = xmp.encode() if isinstance(xmp, str) else bytes(xmp)
    if "icc" in keep and (profile := image.info.get("icc_profile")):
        found["icc_profile"] = _profile(image, profile, notes)
    return {name: value for name, value in found.items() if value}


def packed(image: Image.Image, keep: Collection[str]) -> dict[str, bytes]:
    """By kind, as a `.hfc` file holds it: EXIF from its TIFF header on. InputError for other kinds."""
    if unknown := set(keep) - set(KINDS):
        raise InputError(f"metadata are exif, xmp and icc, not {min(unknown)!r}")
    found = {kind: image.info.get(INFO[kind]) for kind in KINDS if kind in keep}
    return {kind: value.removeprefix(PREFIX) for kind, value in found.items() if value}


def unpacked(found: dict[str, bytes]) -> dict[str, bytes]:
    """The contrary: for an image's `info`."""
    return {INFO[kind]: PREFIX + value if kind == "exif" else value for kind, value in found.items()}


def to_save(image: Image.Image, kind: str) -> tuple[dict[str, Any], list[str]]:
    """Pillow's options that put an image's metadata into a file of format `kind`; which of it that cannot carry."""
    have = {k: image.info[name] for k, name in INFO.items() if image.info.get(name)}
    carried = CARRIED.get(kind, ())
    options: dict[str, Any] = {INFO[k]: value for k, value in have.items() if k in carried}
    if kind == "PNG" and "xmp" in options:  # which Pillow reads but does not write
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", options.pop("xmp").decode("utf-8", "replace"))
    return options, [k for k in have if k not in carried]


def _exif(image: Image.Image, notes: list[str]) -> bytes | None:
    """Without the thumbnail, and the orientation of an upright picture."""
    try:
        exif = image.getexif()
        if exif.get(ExifTags.Base.Orientation) == 1:
            del exif[ExifTags.Base.Orientation]
        return exif.tobytes() if exif else None
    except Exception as error:  # damaged data make Pillow fail in every way there is
        notes.append(f"the EXIF data are damaged and were dropped ({type(error).__name__})")
        return None


def _profile(image: Image.Image, profile: bytes, notes: list[str]) -> bytes | None:
    """A profile of RGB samples; sRGB is what is meant without one."""
    try:
        about = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space, name = about.profile.xcolor_space.strip(), ImageCms.getProfileDescription(about)
    except Exception:
        return None  # said where colours are converted
    if space != "RGB" or image.mode not in ("RGB", "RGBA", "RGBX", "P", "PA"):
        notes.append(f"the colour profile is one for {space}, and was applied rather than kept")
        return None
    return None if "sRGB" in name else profile
