"""Reads pictures: any that Pillow reads becomes 8-bit sRGB, upright."""

from __future__ import annotations

import io
import os
from collections.abc import Collection
from contextlib import suppress
from typing import IO, Any

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from hflow import exif, metadata, png
from hflow.errors import HflowError, InputError

MAX_SIDE = 65_535
MAX_PIXELS = 1 << 28
LIMIT = "PIL.Image.MAX_IMAGE_PIXELS"  # of the program around us: it stays what it is
GREY, ALPHA = ("1", "L", "LA", "La"), ("LA", "La", "PA", "RGBA", "RGBa")
IN_EIGHT_BITS = {"1": 255, "L;2": 85, "L;4": 17}  # what Pillow multiplies the samples of a PNG with

Source = str | os.PathLike[str] | bytes | IO[bytes]


def load(source: Source, name: str | None = None, keep: Collection[str] = ()) -> tuple[Image.Image, list[str]]:
    """Read a picture as an upright sRGB image, with a warning for everything that was dropped on the way.

    name: what errors call it, default the file's. keep: what of exif, xmp and icc stays in the image's `info`, where
    there is any; with icc, the colours stay those of an RGB profile. InputError for what is no picture, damaged, too
    large, or beyond the limit that the program sets Pillow (`PIL.Image.MAX_IMAGE_PIXELS`).
    """
    name = name or _name(source)
    try:
        data = _bytes(source)
        try:
            return _read(data, keep)
        except ValueError as error:
            if not png.too_much(data, error):
                raise
        data, info, lost = png.lean(data)
        image, notes = _read(data, keep, info)
        return image, lost + notes
    except Exception as error:  # damaged files make Pillow's readers fail in every way there is
        raise InputError(f"{name}: {_reason(error)}") from error


def as_srgb(image: Image.Image, keep: Collection[str] = ()) -> tuple[Image.Image, list[str]]:
    """An image of any mode as `load` gives it, with a warning for everything that was dropped; it stays as it is.

    Upright by the EXIF orientation that it still carries (`exif.orientation`); XMP's turns nothing, as in browsers.
    White is 65,535 of 16 and 32 bits and 1.0 of floats, or the brightest sample if that is more. InputError for what
    cannot be read or has a size that no file can have.
    """
    try:
        check_size(image)
        image = _loaded(image)
        notes: list[str] = []
        info = metadata.of(image, keep, notes)
        rgb = _rgb(image, None if "icc_profile" in info else image.info.get("icc_profile"), notes)
        rgb = _turned(rgb, exif.orientation(image))
    except Exception as error:
        raise InputError(_reason(error)) from error
    rgb.info = {}
    rgb.info.update(info)
    return rgb, notes


def check_size(image: Image.Image) -> None:
    """InputError for a picture that is too large, or nothing."""
    width, height = image.size
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise InputError(f"{width} x {height} pixels, sides must be 1 to {MAX_SIDE:,}")
    if width * height > MAX_PIXELS:
        raise InputError(f"{width} x {height} pixels, more than {MAX_PIXELS:,}")


def _name(source: Source) -> str:
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return str(getattr(source, "name", "image data"))


def _bytes(source: Source) -> bytes:
    if isinstance(source, str | os.PathLike):
        with open(source, "rb") as file:
            return file.read()
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    with suppress(AttributeError, io.UnsupportedOperation):
        source.seek(0)
    return source.read()


def _read(data: bytes, keep: Collection[str], info: dict[str, Any] | None = None) -> tuple[Image.Image, list[str]]:
    """info: what Pillow would have found in the file."""
    with Image.open(io.BytesIO(data)) as file:
        check_size(file)
        notes = _animation(file)
        image = _loaded(file)
        image.info.update(info or {})
        rgb, dropped = as_srgb(image, keep)
    return rgb, notes + dropped


def _reason(error: Exception) -> str:
    if isinstance(error, HflowError) or isinstance(error.__cause__, HflowError):  # the cause: of Pillow's plugin
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        return "not an image in a known format"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        most = Image.MAX_IMAGE_PIXELS or MAX_PIXELS
        ours = most >= MAX_PIXELS
        return f"more than {MAX_PIXELS:,} pixels" if ours else f"more than Pillow's limit of {most:,} pixels ({LIMIT})"
    if isinstance(error, MemoryError):
        return "too large for the memory that is free"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"damaged image ({_line(error)})"


def _line(message: object) -> str:
    return " ".join(str(message).split()) or type(message).__name__


def _animation(image: Image.Image) -> list[str]:
    frames = getattr(image, "n_frames", 1)
    # The further frames of MPO, a camera's JPEG, are previews and gain maps.
    return [f"only the first of {frames} frames is used"] if frames > 1 and image.format != "MPO" else []


def _loaded(image: Image.Image) -> Image.Image:
    """An image with its pixels there: the same one, unless its transparent colour has to be said otherwise."""
    key = _colour_key(image)
    xmp = image.info.pop("xmp", None) if hasattr(image, "tag_v2") else None  # Pillow would turn a TIFF by it
    try:
        image.load()
    finally:
        if xmp is not None:
            image.info["xmp"] = xmp
    if key == image.info.get("transparency"):
        return image
    image = image.copy()
    image.info["transparency"] = key
    return image


def _colour_key(image: Image.Image) -> Any:
    """The transparent colour in 8 bits, where Pillow has one of the 2, 4 or 16 that a PNG's samples are of."""
    key: Any = image.info.get("transparency")
    tiles = getattr(image, "tile", None)  # none once it is loaded
    raw = tiles[0][3] if tiles and image.format == "PNG" else None
    if isinstance(key, int) and isinstance(raw, str):
        return min(key * IN_EIGHT_BITS[raw], 255) if raw in IN_EIGHT_BITS else key
    if image.mode == "RGB" and _transparent(image) and (raw == "RGB;16B" or max(key) > 255):
        return tuple(part >> 8 for part in key)
    return key


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    if orientation != 1:
        image.getexif()[ExifTags.Base.Orientation] = orientation
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _rgb(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    image = _eight_bits(image, notes)
    alpha = None
    if _transparent(image):
        # Of a palette a copy: Pillow makes entries of it transparent.
        image = (image.copy() if image.mode == "P" else image).convert("LA" if image.mode in GREY else "RGBA")
        alpha = image.getchannel("A")
        image = image.convert(image.mode[:-1])
    elif "transparency" in image.info:  # of another mode, which would stop Pillow
        image = image.copy()
        del image.info["transparency"]
    image = _srgb(image, profile, notes)
    if alpha is None or alpha.getextrema() == (255, 255):
        return image
    notes.append("transparent pixels were put on white")
    return Image.composite(image, Image.new("RGB", image.size, "white"), alpha)


def _transparent(image: Image.Image) -> bool:
    """Whether there is alpha or a transparent colour that the mode can have; an `info` may say one of another mode."""
    key = image.info.get("transparency")
    if image.mode == "P":
        entry = isinstance(key, bytes) or (isinstance(key, int) and 0 <= key < 256)
        return entry or (image.palette is not None and image.palette.mode.endswith("A"))
    if image.mode == "RGB":
        return isinstance(key, tuple) and len(key) == 3 and all(isinstance(part, int) for part in key)
    return image.mode in ALPHA or (image.mode in GREY and isinstance(key, int))


def _eight_bits(image: Image.Image, notes: list[str]) -> Image.Image:
    """Scale deep grey samples to 8 bits, where Pillow's convert() would clip them; a transparent one becomes alpha."""
    if image.mode not in ("I", "F") and not image.mode.startswith("I;"):
        return image
    if image.mode == "F":
        notes.append("floating-point samples were scaled to 8 bits")
    samples = np.asarray(image)
    grey = Image.fromarray(_to_bytes(samples.astype(np.float32), 1.0 if image.mode == "F" else 65_535.0))
    key = image.info.get("transparency")
    if not isinstance(key, int):
        return grey
    return Image.merge("LA", (grey, Image.fromarray(np.where(samples == key, 0, 255).astype(np.uint8))))


def _to_bytes(grey: np.ndarray, white: float) -> np.ndarray:
    # Samples above the nominal white set the scale themselves: a dark picture rather than a clipped one.
    white = max(white, float(grey.max(where=np.isfinite(grey), initial=0)))
    grey = np.nan_to_num(grey, posinf=white, neginf=0)
    return np.clip(grey * (255 / white) + 0.5, 0, 255).astype(np.uint8)


def _srgb(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    if image.mode == "LAB":  # Pillow converts from Lab by profile only
        return _convert(image, ImageCms.createProfile("LAB"))
    if image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    if profile:
        try:
            return _convert(image, ImageCms.ImageCmsProfile(io.BytesIO(profile)))
        except Exception:
            if metadata.UNUSABLE not in notes:
                notes.append(metadata.UNUSABLE)
    return image.convert("RGB")


def _convert(image: Image.Image, profile: Any) -> Image.Image:
    srgb = ImageCms.createProfile("sRGB")
    done = ImageCms.profileToProfile(image, profile, srgb, ImageCms.Intent.PERCEPTUAL, outputMode="RGB")
    assert done is not None
    return done
